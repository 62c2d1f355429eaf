/**
 * Says what gave `leasehold status` no usable answer, what is missing without it, and what a person can type instead.
 * Pure.
 */
import { plainText } from "../kube/plain-text.ts";
import { isLoopback, parseServer } from "../net.ts";
import type { AgentFacts } from "./agent-facts.ts";
import type { Answers, Asking } from "./ask.ts";

/** What gave no usable answer. */
export interface Gap {
  readonly where: string;
  readonly why: string;
  /** What is missing or old without it: sentences. */
  readonly missing: string;
  /** The commands that ask it by hand, or that mend it. */
  readonly type: readonly string[];
}

/** Where kubeadm, k3s and RKE2 put the administrator's kubeconfig on the node itself. The pod may have it elsewhere. */
function adminConf({ adminKubeconfig, kubeconfig }: Answers["config"]): string {
  const own = [adminKubeconfig, kubeconfig].find(
    (path) => path?.startsWith("/etc/rancher/") === true || path?.endsWith("/kubelet.conf") === true,
  );
  return own ?? "/etc/kubernetes/admin.conf";
}

/** The API server to ask by hand: one that answers, or else the first. A certificate is not valid for loopback. */
function serverByHand({ servers, config }: Answers, local: AgentFacts | undefined): string {
  const alive = local?.apiServers.find(({ grade }) => grade === "UP")?.server;
  const first = servers.find((server) => !isLoopback(parseServer(server)?.host ?? ""));
  return alive ?? first ?? `NODE:${config.backendPort}`;
}

/** Words of an address that no machine answers for. A refused connection comes from a machine that lives. */
const UNREACHABLE = /EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ETIMEDOUT|no answer/;

/** What gave no usable answer, this node's agent first. */
export function byHand(answers: Answers, local: AgentFacts | undefined): readonly Gap[] {
  const { agent, peers, kernel, lease, recording, config } = answers;
  const gap = (asked: Asking<unknown>, missing: string, type: readonly string[]): Gap[] =>
    asked.kind === "ok" ? [] : [{ where: plainText(asked.where), why: plainText(asked.why), missing, type }];
  const crictl = [
    "crictl ps -a --name leasehold",
    "crictl logs $(crictl ps -a --name leasehold -q | head -n 1)",
  ];
  return [
    ...gap(
      agent,
      `Without it no other node's agent was asked. ${lease.kind === "ok" ? "What is said above of the nodes is from the Lease" : "Nothing is known of the nodes"}. \`leasehold status\` on another node asks the agents from there.`,
      crictl,
    ),
    ...[...peers].flatMap(([node, asked]) =>
      gap(asked, `What is said above of ${node} is from the Lease, and may be old.`, [
        `ssh ${node} leasehold status`,
        ...(asked.kind === "failed" && UNREACHABLE.test(asked.why)
          ? [`# If the machine is gone for good: "A dead node" in docs/operations.md`]
          : []),
      ]),
    ),
    ...gap(kernel, "It is not known whether this machine has the VIP bound.", ["ip -br address"]),
    ...gap(
      lease,
      agent.kind === "ok"
        ? "What is said above of the Lease is what this node's agent read last."
        : "Nothing is known of the Lease.",
      leaseByHand(answers, local),
    ),
    // While the agent is down and was never written, there is one thing to repair and not two.
    ...(agent.kind === "ok"
      ? gap(recording, "The last changes of this node's role are not known.", [
          `ls ${config.dataDir}/decisions`,
        ])
      : []),
  ];
}

/** What to type where the Lease could not be read. */
function leaseByHand(answers: Answers, local: AgentFacts | undefined): readonly string[] {
  const { lease, config } = answers;
  const server = `--server https://${serverByHand(answers, local)}`;
  const why = lease.kind === "failed" ? lease.why : "";
  if (/answered 403\b/.test(why)) {
    // The kubelet may not give rights to anybody.
    const admin = adminConf({ ...config, kubeconfig: "" });
    const rights = local?.role === "balancer" ? "worker-rbac" : "rbac";
    // It changes no Lease that is there already.
    return [`leasehold manifest ${rights} | kubectl --kubeconfig ${admin} ${server} apply -f -`];
  }
  return [
    `kubectl --kubeconfig ${adminConf(config)} ${server} get lease -n ${config.leaseNamespace} ${config.leaseName} -o yaml`,
    // A server that turned the agent away lives, and its container tells nothing more.
    ...(/answered 401\b/.test(why) ? [] : ["crictl ps -a --name 'kube-apiserver|etcd'"]),
  ];
}
