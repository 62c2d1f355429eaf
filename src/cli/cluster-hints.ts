/** Says what the tables of `leasehold status` do not say by themselves, each with what to do. Pure. */
import { parseServer } from "../net.ts";
import type { AgentFacts } from "./agent-facts.ts";
import type { Answers } from "./ask.ts";
import { shortDisks } from "./disk-room.ts";

/** The agents that answered, this node's first. */
export function agentsOf({ agent, peers }: Pick<Answers, "agent" | "peers">): readonly AgentFacts[] {
  return [agent, ...peers.values()].flatMap((asked) => (asked.kind === "ok" ? [asked.value] : []));
}

/** A node of the Lease. `alive` is false when its agent is silent, and null where that cannot be told. */
interface NodeSeen {
  readonly node: string;
  readonly ip: string;
  readonly alive: boolean | null;
}

/**
 * What is wrong with the agents' kubeconfigs. Nodes of which the same is true have one sentence, also where their
 * certificates were made one after the other on one day.
 */
export function credentialsHints(answers: Answers): readonly string[] {
  const ill = agentsOf(answers).flatMap(({ node, credentials, ending }) => {
    const what = credentials === null ? ending : `${credentials}. See LH_KUBECONFIG in docs/operations.md`;
    return what === null ? [] : [{ node, what }];
  });
  const days = Map.groupBy(ill, ({ what }) => what.replaceAll(/(\d{4}-\d\d-\d\d)T[\d:.]+Z/g, "$1"));
  return [...days].map(([day, agents]) => {
    const [first] = new Set(agents.map(({ what }) => what)).size === 1 ? agents : [];
    return `Credentials of ${namesOf(agents)}: ${first?.what ?? day}.`;
  });
}

const namesOf = (nodes: readonly { readonly node: string }[]): string =>
  nodes.map(({ node }) => node).join(", ");

/** What a grade and an answer in the table of API servers do not say by themselves. */
export function serverHints(answers: Answers, nodes: readonly NodeSeen[]): readonly string[] {
  const agents = agentsOf(answers);
  const denied = agents.filter(({ apiServers }) => apiServers.some(({ reason }) => /^40[13]$/.test(reason)));
  return [
    ...(denied.length === 0
      ? []
      : [
          `401 or 403 in the column ANSWER: that API server lives and takes connections, and does not accept the credentials of ${namesOf(denied)}.`,
        ]),
    ...withoutEtcd(agents),
    ...nodes.flatMap((node) => [
      ...walledOff(node, answers, agents),
      ...unnamedServer(node, answers, agents),
    ]),
  ];
}

/** A firewall on a node, which lets the node's own agent reach its API server and no other agent. */
function walledOff(
  { node, ip }: NodeSeen,
  { agent, peers }: Answers,
  agents: readonly AgentFacts[],
): readonly string[] {
  const seen = agents.flatMap(({ node: by, apiServers }) =>
    apiServers.filter(({ server }) => parseServer(server)?.host === ip).map((one) => ({ node: by, ...one })),
  );
  const own = seen.find((one) => one.node === node);
  const others = seen.filter((one) => one.node !== node);
  if (others.length === 0 || !others.every(({ reason }) => reason === "timeout: tcp")) return [];
  const server = others[0]?.server ?? "";
  const by = namesOf(others);
  if (own?.grade === "UP")
    return [
      `${node} reaches its own API server ${server}, which does not answer ${by}: a firewall on ${node}? Run \`leasehold doctor\` on ${node}.`,
    ];
  // A node that writes the Lease lives.
  const writes =
    agent.kind === "ok" &&
    agent.value.election?.candidates.some((one) => one.node === node && one.fresh === true) === true;
  return writes && peers.get(node)?.kind === "failed"
    ? [
        `The agent of ${node} wrote the Lease within the last half minute, and its API server ${server} does not answer ${by}: a firewall on ${node}? Run \`leasehold doctor\` on ${node}.`,
      ]
    : [];
}

/** Everything but the recordings works without room. */
export const diskHints = ({ disks }: Answers): readonly string[] =>
  shortDisks(disks)
    .filter(({ isFull }) => isFull)
    .map(({ text }) => `No recording can be written: ${text}. See "A full disk" in docs/operations.md.`);

/** What an API server answers without etcd. Its own health check waits for etcd too. */
const WITHOUT_ETCD = /^(?:500|timeout)$/;

function withoutEtcd(agents: readonly AgentFacts[]): readonly string[] {
  const seen = agents.flatMap(({ apiServers }) => apiServers);
  const suspected = seen.some(({ reason }) => WITHOUT_ETCD.test(reason));
  return suspected && seen.every(({ grade }) => grade !== "UP")
    ? [
        'No API server is UP, and they answer 500 or too late: etcd may have lost its quorum. See "Lost quorum" in docs/operations.md.',
      ]
    : [];
}

/** The others have no row for an API server that has left the cluster's list. */
function unnamedServer(
  { node, ip, alive }: NodeSeen,
  { config }: Answers,
  agents: readonly AgentFacts[],
): readonly string[] {
  const listed = agents
    .filter((one) => one.node !== node)
    .flatMap(({ apiServers }) => apiServers.flatMap(({ server }) => parseServer(server)?.host ?? []));
  // The cluster may name its servers by the nodes' addresses of the other family.
  const isComparable = listed.some((host) => host.includes(":") === ip.includes(":"));
  // LEASEHOLD_BACKENDS is the whole list where it is set.
  if (ip === "" || config.backends.length > 0 || !isComparable || listed.includes(ip)) return [];
  const unnamed = `The API server of ${node} (${ip}) is not among the cluster's API servers`;
  return alive === false
    ? [
        `${unnamed}, and the agent of ${node} is silent. If the machine is gone for good, see "A dead node" in docs/operations.md.`,
      ]
    : [
        `${unnamed} (kubectl get endpointslices -n default): it does not run, or it hangs. Run \`leasehold doctor\` on ${node}, and see LeaseholdBackendDown in docs/operations.md.`,
      ];
}
