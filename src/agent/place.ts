/** Where this node stands: the VIP's interface and the node's own address on it. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { LeaseholdError } from "../errors.ts";
import { chooseInterface, chooseNodeIp, ownAddress } from "../linux/links.ts";
import type { Network } from "../linux/links.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import { foreignOwner } from "../vip/vip.ts";

export interface Place {
  readonly interfaceName: string;
  readonly nodeIp: IpAddress;
  /** The node's own on that interface, at most one of each family. */
  readonly addresses: readonly IpAddress[];
}

export interface PlaceDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly readNetwork: () => Network;
}

/** At boot the agent may be faster than the network. */
const RETRY_MS = 1_000;

/**
 * Waits until there is an interface for the VIPs, for ever: a machine whose network comes late is no reason to end.
 * @throws {LeaseholdError} LH_AMBIGUOUS_INTERFACE, LH_ADDRESS_OWNER: waiting would not help
 */
export async function findPlace(
  config: Pick<Config, "vips" | "interface" | "nodeIp">,
  deps: PlaceDeps,
  signal: AbortSignal,
): Promise<Place> {
  let complaint = "";
  for (;;) {
    try {
      const network = deps.readNetwork();
      refuseOwn(network, config.vips);
      const link = chooseInterface(network, config.vips, config.interface);
      const nodeIp = config.nodeIp ?? chooseNodeIp(network, link, config.vips);
      return { interfaceName: link.name, nodeIp, addresses: ownAddresses(network, link, config.vips, nodeIp) };
    } catch (error) {
      if (!(error instanceof LeaseholdError) || (error.code !== "LH_INTERFACE" && error.code !== "LH_NODE_IP")) throw error;
      if (error.message !== complaint) deps.log.warn({ err: error }, "No interface for the VIP yet, waiting");
      complaint = error.message;
    }
    await pause(deps.clock, RETRY_MS, signal);
  }
}

/**
 * A VIP that the machine has anyway cannot be taken from it when it fails. A host address for ever is another program's, and may go: the agent starts and waits.
 * @throws {LeaseholdError} LH_ADDRESS_OWNER, which names all of them
 */
export function refuseOwn(network: Network, vips: readonly IpAddress[]): void {
  const problems = foreignOwner({ addresses: () => network.addresses }, vips).map(({ address, prefixLength, linkIndex, validSeconds }) => {
    const name = network.links.find(({ index }) => index === linkIndex)?.name ?? `interface ${linkIndex}`;
    const source = validSeconds === null ? "" : ", given to it for a time, as DHCP and router advertisements do";
    return `LEASEHOLD_VIP="${address.text}" is this machine's own address (${address.text}/${prefixLength} on ${name}${source})`;
  });
  if (problems.length === 0) return;
  throw new LeaseholdError("LH_ADDRESS_OWNER", `${problems.join("; ")}; use an address that no machine has and that no DHCP server gives out`);
}

/** Of both families, whatever the VIPs are: the API servers are known by an address of one, and may be asked for by the other. */
function ownAddresses(network: Network, link: Network["links"][number], vips: readonly IpAddress[], nodeIp: IpAddress): readonly IpAddress[] {
  return ([4, 6] as const).flatMap((family) => (nodeIp.family === family ? [nodeIp] : (ownAddress(network, link, vips, family) ?? [])));
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
