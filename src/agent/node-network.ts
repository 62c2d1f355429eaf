/** The network of this node as the VIP needs it: the VIP's interface and the node's own addresses on it. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { LeaseholdError } from "../errors.ts";
import { chooseInterface, chooseNodeIp, ownAddress } from "../linux/links.ts";
import type { Network } from "../linux/links.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import { foreignOwner } from "../vip/vip.ts";

/** The VIP's interface on this node, with the node's own addresses. */
export interface NodeNetwork {
  readonly interfaceName: string;
  readonly nodeIp: IpAddress;
  /** The node's own addresses on that interface, at most one of each family. */
  readonly addresses: readonly IpAddress[];
}

export interface NodeNetworkDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly readNetwork: () => Network;
}

/** Milliseconds between two looks at the network. At boot the agent may be faster than the network. */
const NETWORK_RETRY_MS = 1_000;

/**
 * Waits until there is an interface for the VIPs. There is no time limit, because a machine's network may
 * come late.
 * @param signal ends the wait; the promise is then rejected
 * @throws {LeaseholdError} LH_AMBIGUOUS_INTERFACE, LH_ADDRESS_OWNER: waiting would not help
 */
export async function findNodeNetwork(
  config: Pick<Config, "vips" | "interface" | "nodeIp">,
  deps: NodeNetworkDeps,
  signal: AbortSignal,
): Promise<NodeNetwork> {
  let complaint = "";
  for (;;) {
    try {
      const network = deps.readNetwork();
      refuseOwn(network, config.vips);
      const link = chooseInterface(network, config.vips, config.interface);
      const nodeIp = config.nodeIp ?? chooseNodeIp(network, link, config.vips);
      return {
        interfaceName: link.name,
        nodeIp,
        addresses: ownAddresses(network, link, config.vips, nodeIp),
      };
    } catch (error) {
      if (
        !(error instanceof LeaseholdError) ||
        (error.code !== "LH_INTERFACE" && error.code !== "LH_NODE_IP")
      )
        throw error;
      if (error.message !== complaint) deps.log.warn({ err: error }, "No interface for the VIP yet, waiting");
      complaint = error.message;
    }
    await pause(deps.clock, NETWORK_RETRY_MS, signal);
  }
}

/**
 * Refuses a VIP that is this machine's own address, because such an address stays when the node fails. A host
 * address without an end is no problem: another program bound it and may remove it, so the agent starts and
 * waits.
 * @throws {LeaseholdError} LH_ADDRESS_OWNER, which names all such addresses
 */
export function refuseOwn(network: Network, vips: readonly IpAddress[]): void {
  const problems = foreignOwner({ addresses: () => network.addresses }, vips).map(
    ({ address, prefixLength, linkIndex, validSeconds }) => {
      const name = network.links.find(({ index }) => index === linkIndex)?.name ?? `interface ${linkIndex}`;
      const source =
        validSeconds === null ? "" : ", given to it for a time, as DHCP and router advertisements do";
      return `LEASEHOLD_VIP="${address.text}" is this machine's own address (${address.text}/${prefixLength} on ${name}${source})`;
    },
  );
  if (problems.length === 0) return;
  throw new LeaseholdError(
    "LH_ADDRESS_OWNER",
    `${problems.join("; ")}; use an address that no machine has and that no DHCP server gives out`,
  );
}

/**
 * Answers the node's addresses of both families, whatever the VIPs' families are: an API server is known by
 * an address of one family, and clients may ask for it by the other.
 */
function ownAddresses(
  network: Network,
  link: Network["links"][number],
  vips: readonly IpAddress[],
  nodeIp: IpAddress,
): readonly IpAddress[] {
  return ([4, 6] as const).flatMap((family) =>
    nodeIp.family === family ? [nodeIp] : (ownAddress(network, link, vips, family) ?? []),
  );
}

function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stopped = (): void => {
      timer.cancel();
      reject(new Error("stopped while waiting for the network"));
    };
    const timer = clock.after(delayMs, () => {
      signal.removeEventListener("abort", stopped);
      resolve();
    });
    signal.addEventListener("abort", stopped, { once: true });
  });
}
