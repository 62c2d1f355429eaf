/** What the agents' user may do: manifests/rbac.yaml grants it, and `leasehold doctor` asks for it. Pure. */
import type { Config } from "../config/config.ts";
import { pathOf } from "./rbac.ts";

/** One right, as a SelfSubjectAccessReview asks for it. */
export interface Right {
  /** In kubectl's words: `patch leases/leasehold in kube-system`. */
  readonly words: string;
  /** The agent cannot do its work without it. */
  readonly needed: boolean;
  /** The `spec` of a SelfSubjectAccessReview. */
  readonly attributes: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** The rights of manifests/rbac.yaml, each verb by itself. */
export function neededRights({
  leaseNamespace,
  leaseName,
  checkPath,
}: Pick<Config, "leaseNamespace" | "leaseName" | "checkPath">): readonly Right[] {
  const lease = { group: "coordination.k8s.io", resource: "leases", namespace: leaseNamespace };
  const slices = { group: "discovery.k8s.io", resource: "endpointslices", namespace: "default" };
  const path = pathOf({ checkPath });
  return [
    ...["get", "watch", "patch"].map((verb) => onResource({ ...lease, name: leaseName, verb }, true)),
    ...["list", "update"].map((verb) => onResource({ ...lease, name: leaseName, verb }, false)),
    onResource({ ...lease, verb: "create" }, true),
    // Events on a Node are in `default`, those on the Lease in its own namespace.
    ...[...new Set([leaseNamespace, "default"])].flatMap((namespace) =>
      ["events.k8s.io", ""].flatMap((group) =>
        ["create", "patch"].map((verb) => onResource({ group, resource: "events", namespace, verb }, false)),
      ),
    ),
    onResource({ ...slices, verb: "list" }, true),
    ...["get", "watch"].map((verb) => onResource({ ...slices, verb }, false)),
    {
      words: `get ${path}`,
      needed: false,
      attributes: { nonResourceAttributes: { path, verb: "get" } },
    },
  ];
}

/**
 * The rights of manifests/worker-rbac.yaml: a worker reads the API servers' addresses, asks for their health, and
 * reads in the Lease which of them are drained.
 */
export function workerRights(
  config: Pick<Config, "leaseNamespace" | "leaseName" | "checkPath">,
): readonly Right[] {
  return neededRights(config).flatMap((right) => {
    const { resource, verb } = right.attributes["resourceAttributes"] ?? {};
    if (resource === undefined || resource === "endpointslices") return [right];
    return resource === "leases" && verb === "get" ? [{ ...right, needed: false }] : [];
  });
}

interface OnResource {
  readonly group: string;
  readonly resource: string;
  readonly namespace: string;
  readonly verb: string;
  readonly name?: string;
}

function onResource(attributes: OnResource, needed: boolean): Right {
  const { group, resource, namespace, verb, name } = attributes;
  // Two groups have events, and kubectl tells them apart by the group.
  const type = group === "events.k8s.io" ? `${resource}.${group}` : resource;
  return {
    words: `${verb} ${type}${name === undefined ? "" : `/${name}`} in ${namespace}`,
    needed,
    attributes: { resourceAttributes: { ...attributes } },
  };
}
