/** What candidates know of the holder by its wire, and how a holder is lost. */
import type { SentinelStatus } from "../../src/sentinel/evidence.ts";
import type { Fault } from "../support/lab/switch.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";

/** The kernel ends the address of a dead agent this long after its last refresh, at most. */
export const FENCE_MS = 4_500;

/**
 * Waits until every other node's sentinel knows the holder well enough: its silence would be proof of its
 * death.
 */
export async function provable(
  cluster: Cluster,
  holder: ClusterNode,
  by: SentinelStatus["by"] = "icmp",
): Promise<void> {
  await cluster.lab.until(
    async () => {
      for (const node of cluster.others(holder)) {
        const wire = await wireOf(node);
        if (wire?.proof !== "ready" || wire.by !== by)
          throw new Error(`${node.name}: ${JSON.stringify(wire)}`);
      }
      return true;
    },
    20_000,
    `${holder.name}'s silence would be proof, by ${by}`,
  );
}

export async function wireOf(node: ClusterNode): Promise<SentinelStatus | null> {
  return (await node.status()).wire;
}

/**
 * The power fails: no frame comes or goes, and nothing on the node runs on. For the others a frozen server on
 * a cut link is as good as gone, and is back sooner. Answers the cut.
 */
export async function lose(cluster: Cluster, node: ClusterNode): Promise<Fault> {
  const dark = await cluster.lab.isolate(node.host);
  node.plane.apiServer.stop();
  node.plane.etcd.stop();
  await node.endAgent("SIGKILL");
  return dark;
}

/** Undoes what {@link lose} and other accidents did to the network and the servers. */
export async function recover(cluster: Cluster): Promise<void> {
  await cluster.lab.heal();
  for (const { apiServer, etcd } of cluster.plane.nodes) {
    etcd.continue();
    apiServer.continue();
  }
  for (const node of cluster.nodes) node.agent?.cont();
  await cluster.plane.ready();
}
