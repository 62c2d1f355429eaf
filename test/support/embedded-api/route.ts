/** What a request's path and query ask for. Pure. */
import type { ResourceType } from "./resources.ts";
import type { StoreResponse } from "./status.ts";
import { badRequest, failure } from "./status.ts";

export interface Route {
  readonly resource: ResourceType;
  readonly namespace: string;
  /** Undefined for the collection. */
  readonly name: string | undefined;
  readonly watch: boolean;
  /** Undefined when absent or empty: the newest. */
  readonly resourceVersion: number | undefined;
  readonly timeoutSeconds: number | undefined;
  /** Members of metadata that must be equal. */
  readonly fields: readonly (readonly [string, string])[];
  readonly labels: readonly (readonly [string, string])[];
  /** The answer where the query cannot be understood. */
  readonly refusal: StoreResponse | undefined;
}

/** Undefined for everything else under /apis. */
export function parseRoute(path: string, resources: readonly ResourceType[]): Route | undefined {
  const url = new URL(path, "http://store");
  const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
  const [apis, group, version, namespaces, namespace, plural, name, ...more] = parts;
  const resource = resources.find(
    (each) => each.group === group && each.version === version && each.plural === plural,
  );
  if (
    apis !== "apis" ||
    namespaces !== "namespaces" ||
    namespace === undefined ||
    resource === undefined ||
    more.length > 0
  ) {
    return undefined;
  }
  const text = url.searchParams.get("resourceVersion") ?? "";
  const fields = selector(url.searchParams.get("fieldSelector"));
  const labels = selector(url.searchParams.get("labelSelector"));
  const unknown = fields.find(([field]) => field !== "metadata.name" && field !== "metadata.namespace");
  let refusal: StoreResponse | undefined;
  if (!/^\d*$/.test(text)) {
    const why = `strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
    refusal = failure(500, `resourceVersion: Invalid value: ${JSON.stringify(text)}: ${why}`);
  } else if (unknown !== undefined) {
    refusal = badRequest(
      `"${unknown[0]}" is not a known field selector: only "metadata.name", "metadata.namespace"`,
    );
  }
  const timeout = Number(url.searchParams.get("timeoutSeconds") ?? "0");
  const watch = url.searchParams.get("watch");
  return {
    resource,
    namespace,
    name,
    watch: name === undefined && (watch === "true" || watch === "1"),
    resourceVersion: text === "" ? undefined : Number(text),
    timeoutSeconds: timeout > 0 ? timeout : undefined,
    fields: fields.map(([field, value]) => [field.replace(/^metadata\./, ""), value]),
    labels,
    refusal,
  };
}

/** Equality only; Leasehold uses nothing else. */
function selector(text: string | null): [string, string][] {
  return (text ?? "")
    .split(",")
    .filter((part) => part !== "")
    .map((part) => {
      const [field = "", value = ""] = part.split(/==?/);
      return [field, value];
    });
}
