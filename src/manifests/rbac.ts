/** The Lease, and what the agents' users may do: RBAC and the FlowSchema. Pure. */
import type { Config } from "../config/config.ts";
import { quoted, scalar } from "./yaml.ts";

type Lease = Pick<Config, "leaseName" | "leaseNamespace">;
type Health = Pick<Config, "checkPath">;

const HEALTH = "leasehold-health";

/** The labels of everything but the pods, in an object's metadata. */
export const LABELS = `  labels:
    app.kubernetes.io/name: leasehold
    app.kubernetes.io/part-of: control-plane
`;

type Subject =
  | { readonly kind: "User" | "Group"; readonly name: string }
  | { readonly kind: "ServiceAccount"; readonly name: string; readonly namespace: string };

/** The user of step 5's kubeconfig. */
export const AGENTS: Subject = { kind: "User", name: "leasehold" };
/** The organization of that kubeconfig's certificate. */
const AGENTS_GROUP = "leasehold:agents";
/** Every kubelet: the Node authorizer puts them into this group. */
const KUBELETS: Subject = { kind: "Group", name: "system:nodes" };

interface Binding {
  readonly name: string;
  /** undefined: the role is a ClusterRole, and holds everywhere. */
  readonly namespace?: string;
  readonly role: string;
  readonly subject: Subject;
}

/** Gives a role to its only subject. */
export function binding({ name, namespace, role, subject }: Binding): string {
  const kind = namespace === undefined ? "ClusterRole" : "Role";
  const lines = [`kind: ${subject.kind}`, `name: ${subject.name}`];
  if (subject.kind === "ServiceAccount") lines.push(`namespace: ${subject.namespace}`);
  else lines.unshift("apiGroup: rbac.authorization.k8s.io");
  return `apiVersion: rbac.authorization.k8s.io/v1
kind: ${kind}Binding
metadata:
  name: ${name}
${namespace === undefined ? "" : `  namespace: ${namespace}\n`}${LABELS}roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ${kind}
  name: ${role}
subjects:
  - ${lines.join("\n    ")}
`;
}

/** The URL path that RBAC compares: it does not see what follows the path (`?exclude=etcd`). */
export const pathOf = ({ checkPath }: Health): string => checkPath.replace(/\?.*$/s, "");

/** `rbac` returns the text of manifests/rbac.yaml, for the Lease of that name and that health check. */
export function rbac({ leaseName, leaseNamespace, ...health }: Lease & Health): string {
  const [name, namespace] = [scalar(leaseName), scalar(leaseNamespace)];
  return `# This file creates the Lease and gives the agents' user, \`leasehold\`, its permissions. Step 5 of the README creates the
# kubeconfig of that user on each control-plane node.
#
# The Lease has an annotation from the start, because a JSON Patch cannot add below a parent that is missing.
# Only the agents write the Lease's spec. Applying this file again does not touch it.
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: ${name}
  namespace: ${namespace}
${LABELS}  annotations:
    leasehold.dev/description: Who holds the control plane's virtual IP. Written by the leasehold agents.
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: leasehold
  namespace: ${namespace}
${LABELS}rules:
  - apiGroups: ["coordination.k8s.io"]
    resources: ["leases"]
    resourceNames: [${quoted(leaseName)}]
    verbs: ["get", "list", "watch", "update", "patch"]
  # With \`create\` the holder can put back a Lease that somebody deleted. Without it the holder would have the VIP only
  # provisionally, until this file is applied again. RBAC cannot limit \`create\` to a name: admission.yaml does.
  - apiGroups: ["coordination.k8s.io"]
    resources: ["leases"]
    verbs: ["create"]
  - apiGroups: ["events.k8s.io", ""]
    resources: ["events"]
    verbs: ["create", "patch"]
---
${binding({ name: "leasehold", namespace: namespace, role: "leasehold", subject: AGENTS })}---
# The agents write Events on the Nodes too, which \`kubectl describe node\` shows. The API keeps those in this namespace.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: leasehold-events
  namespace: default
${LABELS}rules:
  - apiGroups: ["events.k8s.io", ""]
    resources: ["events"]
    verbs: ["create", "patch"]
---
${binding({ name: "leasehold-events", namespace: "default", role: "leasehold-events", subject: AGENTS })}---
# The agents read the API servers' addresses from the EndpointSlice \`kubernetes\`, which they find by its label.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: leasehold-endpoints
  namespace: default
${LABELS}rules:
  - apiGroups: ["discovery.k8s.io"]
    resources: ["endpointslices"]
    verbs: ["get", "list", "watch"]
---
${binding({ name: "leasehold-endpoints", namespace: "default", role: "leasehold-endpoints", subject: AGENTS })}---
# The agents ask every API server whether it is ready. Kubernetes lets every user do that, by the ClusterRoles
# system:public-info-viewer and system:discovery, and some clusters take these away. An API server that refuses the
# question counts as ready.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: ${HEALTH}
${LABELS}rules:
  - nonResourceURLs: [${quoted(pathOf(health))}]
    verbs: ["get"]
---
${binding({ name: HEALTH, role: HEALTH, subject: AGENTS })}`;
}

/** `admission` returns the text of manifests/admission.yaml, for the Lease of that name. */
export function admission({ leaseName, leaseNamespace }: Lease): string {
  // Names of Kubernetes have neither quotes nor backslashes.
  const isOurs = `has(object.metadata.name) && object.metadata.name == '${leaseName}' && object.metadata.namespace == '${leaseNamespace}'`;
  const isAgent = `request.userInfo.username == '${AGENTS.name}' || (has(request.userInfo.groups) && '${AGENTS_GROUP}' in request.userInfo.groups)`;
  return `# RBAC cannot limit \`create\` to a name (kubernetes.io/docs/reference/access-authn-authz/rbac). Without this policy a thief of
# the agents' kubeconfig can create Leases of other names, and so name a leader for components that elect one, or fill
# etcd. The API server judges the policy by itself, without a webhook. Kubernetes has such policies since 1.30.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: leasehold
${LABELS}spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: ["coordination.k8s.io"]
        apiVersions: ["*"]
        operations: ["CREATE"]
        resources: ["leases"]
  # Step 5 of the README gives the agents this group. It stays when they get another user.
  matchConditions:
    - name: agents
      expression: ${quoted(isAgent)}
  validations:
    - expression: ${quoted(isOurs)}
      message: ${quoted(`the agents of leasehold may create the Lease ${leaseNamespace}/${leaseName} and no other`)}
      reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: leasehold
${LABELS}spec:
  policyName: leasehold
  validationActions: ["Deny"]
`;
}

/** `flowSchema` returns the text of manifests/flowschema.yaml, for Leases of that namespace. */
export function flowSchema({ leaseNamespace }: Lease): string {
  return `# Renewals must not queue behind a flood of other requests. This gives them the priority level that
# kube-controller-manager's own Lease has.
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata:
  name: leasehold
${LABELS}spec:
  priorityLevelConfiguration:
    name: leader-election
  matchingPrecedence: 150
  distinguisherMethod:
    type: ByUser
  rules:
    - subjects:
        - kind: User
          user:
            name: leasehold
      resourceRules:
        - apiGroups: ["coordination.k8s.io"]
          resources: ["leases"]
          namespaces: [${quoted(leaseNamespace)}]
          verbs: ["get", "list", "watch", "create", "update", "patch"]
`;
}

/** `workerRbac` returns the text of manifests/worker-rbac.yaml, for the Lease of that name. */
export function workerRbac({ leaseName, leaseNamespace }: Lease): string {
  const namespace = scalar(leaseNamespace);
  return `# For clusters that run the balancer on workers (worker.yaml): run \`kubectl apply -f manifests/worker-rbac.yaml\` once,
# after \`kubectl apply -k manifests\`. A worker's agent reads the API servers' addresses with the kubelet's own
# credentials (group system:nodes). The Node authorizer does not let a kubelet read EndpointSlices, so RBAC has to.
${binding({ name: "leasehold-workers", namespace: "default", role: "leasehold-endpoints", subject: KUBELETS })}---
# A worker's agent asks every API server whether it is ready, as the agents of rbac.yaml do.
${binding({ name: "leasehold-workers-health", role: HEALTH, subject: KUBELETS })}---
# A worker's agent reads in the Lease which API servers a person has drained.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: leasehold-workers-lease
  namespace: ${namespace}
${LABELS}rules:
  - apiGroups: ["coordination.k8s.io"]
    resources: ["leases"]
    resourceNames: [${quoted(leaseName)}]
    verbs: ["get"]
---
${binding({ name: "leasehold-workers-lease", namespace, role: "leasehold-workers-lease", subject: KUBELETS })}`;
}
