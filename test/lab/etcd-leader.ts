/**
 * Which node has etcd's leader, over the JSON gateway that every member serves. A dead leader costs the API
 * more than a dead follower.
 */
import type { Cluster, ClusterNode } from "./cluster.ts";

const MAINTENANCE = "http://127.0.0.1:2379/v3/maintenance";

export interface MemberStatus {
  /** Ids have 64 bits and are written as decimal strings. */
  readonly id: string;
  /** "0" while there is none. */
  readonly leader: string;
}

/** @throws Error when the answer is none of a member's status */
export function parseStatus(text: string): MemberStatus {
  const answer: { readonly header?: { readonly member_id?: unknown }; readonly leader?: unknown } =
    JSON.parse(text);
  const { header, leader } = answer;
  const id = header?.member_id;
  // The gateway leaves out what is zero.
  if (typeof id !== "string" || (leader !== undefined && typeof leader !== "string"))
    throw new Error(`no etcd status: ${text}`);
  return { id, leader: leader ?? "0" };
}

function call(node: ClusterNode, method: string, body: object): Promise<string> {
  return node.host.run([
    "curl",
    "--silent",
    "--show-error",
    "--fail",
    "--max-time",
    "5",
    "--data",
    JSON.stringify(body),
    `${MAINTENANCE}/${method}`,
  ]);
}

async function status(node: ClusterNode): Promise<MemberStatus> {
  return parseStatus(await call(node, "status", {}));
}

/** Waits until all members agree that `wanted`'s is the leader, and asks the present one to hand over. */
export async function leadFrom(cluster: Cluster, wanted: ClusterNode): Promise<void> {
  await cluster.lab.until(
    async () => {
      const members = await Promise.all(
        cluster.nodes.map(async (node) => ({ node, ...(await status(node)) })),
      );
      const target = members.find(({ node }) => node === wanted);
      const leader = members.find(({ id }) => id === target?.leader);
      if (target === undefined || leader === undefined) throw new Error("etcd has no leader");
      if (leader.node !== wanted) await call(leader.node, "transfer-leadership", { targetID: target.id });
      return members.every((member) => member.leader === target.id);
    },
    15_000,
    `etcd's leader is on ${wanted.name}`,
  );
}
