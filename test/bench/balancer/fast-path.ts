/**
 * The agent's own rules, as the agent would load them, on a holder and on a backend, without an agent: no
 * election, no API server, nothing else that takes processor time.
 */
import { timedElements } from "../../../src/fastpath/loader.ts";
import { ruleset } from "../../../src/fastpath/ruleset.ts";
import type { FastPathNode, WirePlan } from "../../../src/fastpath/tables.ts";
import { transaction } from "../../../src/fastpath/transaction.ts";
import { parseIp } from "../../../src/net.ts";
import type { IpAddress } from "../../../src/net.ts";
import type { Host } from "../../support/lab/host.ts";

export interface FastPathTopology {
  readonly vip: string;
  readonly port: number;
  readonly holder: Host;
  readonly backend: Host;
  /**
   * A second address of `backend`: with one taker only, the rules need no hash, and the hash must be paid for
   * as in any real cluster.
   */
  readonly alias: string;
}

/** Of nobody: the alias stands for a node of its own, and nothing comes from there. */
const ALIAS_MAC = "02:00:00:00:03:ff";

export async function loadFastPath(topology: FastPathTopology): Promise<void> {
  const { vip, holder, backend, alias } = topology;
  await backend.run(["ip", "addr", "add", `${alias}/24`, "dev", "eth0"]);
  await holder.run(["ip", "addr", "add", `${vip}/32`, "dev", "eth0"]);
  const self: FastPathNode = { name: "n1", addresses: [ip(holder.ipv4)], mac: holder.mac };
  const servers: FastPathNode[] = [
    { name: "n2", addresses: [ip(backend.ipv4)], mac: backend.mac },
    { name: "n3", addresses: [ip(alias)], mac: ALIAS_MAC },
  ];
  await load(topology, holder, self, servers);
  const [first, ...others] = servers;
  if (first !== undefined) await load(topology, backend, first, [self, ...others]);
  if ((await forwarded(topology)) !== 0) throw new Error("the fast path's counters should begin at 0");

  async function load(
    { port }: FastPathTopology,
    host: Host,
    node: FastPathNode,
    peers: readonly FastPathNode[],
  ): Promise<void> {
    const [link]: readonly { readonly ifindex: number }[] = JSON.parse(
      await host.run(["ip", "-json", "link", "show", "dev", "eth0"]),
    );
    if (link === undefined) throw new Error(`${host.name} has no eth0`);
    const wire: WirePlan = {
      interfaceName: "eth0",
      interfaceIndex: link.ifindex,
      self: node,
      peers,
      leftOut: [],
      inRing: ["n1", "n2", "n3"],
      acceptsNew: ["n2", "n3"],
      passesOn: false,
      deliverTo: port,
      listener: port,
      hasIngress: true,
      shortConntrackTimeouts: true,
    };
    const plan = { vips: [ip(vip)], ports: [port], podInterfaces: [], wire, own: [] };
    await host.run(["nft", "-f", "-"], { input: transaction(ruleset(plan), [], timedElements(plan)) });
  }
}

/** Packets that the holder has sent on to the backend. */
export async function forwarded({ holder }: FastPathTopology): Promise<number> {
  const listed = await holder.run(["nft", "list", "counters", "netdev"]);
  return [...listed.matchAll(/counter to_\S+ \{\s*packets (\d+)/g)].reduce(
    (sum, [, packets]) => sum + Number(packets),
    0,
  );
}

function ip(text: string): IpAddress {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`no address: ${text}`);
  return parsed;
}
