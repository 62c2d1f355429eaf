/**
 * Follows the VIP's interface and this node's addresses on it while the agent runs. A DHCP server may give the
 * node another address, the link may be renamed, or the interface that the agent found at boot may not have
 * been the right one: a VPN can be up before the network card.
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { LeaseholdError } from "../errors.ts";
import {
  chooseInterface,
  hasAddress,
  holds,
  isStillGood,
  linkTypeProblem,
  ownAddress,
  wrongNodeIp,
} from "../linux/links.ts";
import type { Network } from "../linux/links.ts";
import type { LinkEntry } from "../linux/rtnetlink.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import { placeOn, reservedErrors } from "./node-network.ts";
import type { NetworkReader, NodeNetwork } from "./node-network.ts";

type Settings = Pick<Config, "vips" | "interface" | "nodeIp">;

export interface NetworkChangesDeps extends NetworkReader {
  readonly clock: Clock;
  readonly log: Logger;
  /** Reads one interface by its name, with the addresses of the machine. It costs less than everything. */
  readonly readLink: (interfaceName: string) => Network;
  /** Calls back when links or addresses may have changed. */
  readonly subscribe: (callback: () => void) => { close(): void };
  /** True while the VIP is bound on this machine. */
  readonly holdsVip: () => boolean;
  /** Called after each change. `current` answers what is new. */
  readonly onChange: () => void;
}

export interface NetworkChanges {
  readonly current: () => NodeNetwork;
  close(): void;
}

/** What a look at the network has found. `problem`: what an operator has to know about it. */
export interface Found {
  readonly nodeNetwork: NodeNetwork;
  readonly problem: LeaseholdError | null;
}

/**
 * Milliseconds between two looks while the kernel reports changes. A holder refreshes its address twice a
 * second, which the kernel reports each time.
 */
const LOOK_MS = 2_000;
/** Milliseconds between two looks in any case: a report may be missed. */
const LOOK_ANYWAY_MS = 10_000;
/**
 * Milliseconds between two looks for a better interface before this node has had the VIP: after a report, and in
 * any case. All links and routes are read for it, and a node may have thousands.
 */
const BETTER_MS = 10_000;
const BETTER_ANYWAY_MS = 60_000;
/**
 * A link is left after so many milliseconds without carrier, and not for a flap. One that is gone is left at once,
 * unless it has carried the VIP.
 */
const DEAD_LINK_MS = 10_000;

/** Begins to follow the network, from `first` on. */
export function followNetwork(
  config: Settings,
  first: NodeNetwork,
  deps: NetworkChangesDeps,
): NetworkChanges {
  const { clock, log } = deps;
  let nodeNetwork = first;
  /** The interface on which this node has had the VIP. */
  let proven = "";
  /** The interface that this node had to leave because it did not work; "": none. The node goes back to it. */
  let left = "";
  /** The last change has not been taken over yet. */
  let isUntold = false;
  let changed = true;
  let changedSinceSearch = true;
  let lookedMs = clock.now();
  let searchedMs = clock.now();
  /** Since when the link has been found without carrier; undefined: it works. */
  let deadSinceMs: number | undefined;
  let complaint = "";

  function look(): void {
    const nowMs = clock.now();
    if (deps.holdsVip()) proven = nodeNetwork.interfaceName;
    if (!changed && nowMs < lookedMs + LOOK_ANYWAY_MS) return;
    changed = false;
    lookedMs = nowMs;
    try {
      note(found(nowMs));
      if (isUntold) deps.onChange();
      isUntold = false;
    } catch (error) {
      // The process may be out of descriptors. The next look finds what this one has missed.
      log.debug({ err: error }, "The machine's network was not read, or a change of it was not taken over");
      changed = true;
    }
  }

  function found(nowMs: number): Found {
    const near = deps.readLink(nodeNetwork.interfaceName);
    const [link] = near.links;
    const works = link !== undefined && isWorking(link);
    deadSinceMs = works ? undefined : (deadSinceMs ?? nowMs);
    const isDead = deadSinceMs !== undefined && nowMs >= deadSinceMs + DEAD_LINK_MS;
    const isDue = nowMs >= searchedMs + (changedSinceSearch ? BETTER_MS : BETTER_ANYWAY_MS);
    const isProven = proven === nodeNetwork.interfaceName;
    const isSearched = works ? isDue && (!isProven || isBack()) : isDead || (link === undefined && !isProven);
    if (!isSearched) return lookAgain(config, nodeNetwork, near, "stay");
    searchedMs = nowMs;
    changedSinceSearch = false;
    const families = [...new Set(config.vips.map(({ family }) => family))];
    const network = { ...deps.readNetwork(), routes: deps.linkRoutes(families) };
    const result = lookAgain(config, nodeNetwork, network, "move", deps.gateways);
    const { interfaceName } = result.nodeNetwork;
    return works && isProven && interfaceName !== left
      ? lookAgain(config, nodeNetwork, near, "stay")
      : result;
  }

  /** The interface that this node had to leave works again. */
  function isBack(): boolean {
    const [link] = left === "" ? [] : deps.readLink(left).links;
    return link !== undefined && isWorking(link);
  }

  function note({ nodeNetwork: next, problem }: Found): void {
    const message = problem?.message ?? "";
    if (problem !== null && message !== complaint)
      log.warn(
        { err: problem, code: problem.code, hint: problem.hint },
        "This node's place on the VIP's network is not what it should be",
      );
    complaint = message;
    if (textOf(next) === textOf(nodeNetwork)) return;
    const before = nodeNetwork;
    nodeNetwork = next;
    if (before.interfaceName !== next.interfaceName) {
      const isSubstitute = deadSinceMs !== undefined && next.interfaceName !== left;
      left = isSubstitute ? left || before.interfaceName : "";
    }
    deadSinceMs = undefined;
    if (before.interfaceName !== next.interfaceName || before.nodeIp.text !== next.nodeIp.text)
      log.warn(
        {
          interface: next.interfaceName,
          nodeIp: next.nodeIp.text,
          interfaceBefore: before.interfaceName,
          nodeIpBefore: before.nodeIp.text,
        },
        before.interfaceName === next.interfaceName
          ? "This node has another address on the VIP's network, and the agent uses it now"
          : "The VIP's interface is another one now",
      );
    isUntold = true;
  }

  const subscription = deps.subscribe(() => (changed = changedSinceSearch = true));
  const timer = clock.every(LOOK_MS, look);
  return {
    current: () => nodeNetwork,
    close() {
      subscription.close();
      timer.cancel();
    },
  };
}

/**
 * Says where the node is now. Pure, but for `gateways`.
 *
 * An address stays as long as the interface has it, is not deprecated, and no other is nearer to the VIP. So
 * the address that a node is known by changes when it has to, and not when a second one comes. A set
 * LEASEHOLD_NODE_IP always stays. While the interface has no address at all, as between two DHCP leases, what
 * was known stays too.
 * @param before the node's place until now
 * @param moving "move": another interface may be chosen if that one works, and the former does not or is worse
 */
export function lookAgain(
  config: Settings,
  before: NodeNetwork,
  network: Network,
  moving: "move" | "stay",
  gateways: NetworkReader["gateways"] = () => [],
): Found {
  const { vips } = config;
  const present = network.links.find(({ name }) => name === before.interfaceName);
  const other = moving === "move" ? betterLink(config, network, present) : undefined;
  const isFree =
    other !== undefined &&
    (config.nodeIp === undefined || hasAddress(network, other, config.nodeIp)) &&
    reservedErrors(network, [other], vips, { gateways }).length === 0;
  const link = isFree ? other : present;
  if (link === undefined) return { nodeNetwork: before, problem: null };
  const still = (known: IpAddress): IpAddress | undefined =>
    isStillGood(network, link, vips, known) ? known : ownAddress(network, link, vips, known.family);
  const nodeIp = config.nodeIp ?? still(before.nodeIp);
  if (nodeIp === undefined) return { nodeNetwork: before, problem: lost(link, before.nodeIp) };
  const place = placeOn(network, link, vips, nodeIp, (family) => {
    const known = before.addresses.find((address) => address.family === family);
    return known === undefined ? ownAddress(network, link, vips, family) : still(known);
  });
  // Without a subnet there would be no limit to the addresses that the Lease may name.
  const isBare = link === present && place.subnets.length === 0;
  const isRight = config.nodeIp === undefined || hasAddress(network, link, config.nodeIp);
  return {
    nodeNetwork: isBare ? { ...place, subnets: before.subnets } : place,
    problem: isRight
      ? (linkTypeProblem(link) ?? null)
      : (wrongNodeIp(network, link, vips, nodeIp) ?? lost(link, nodeIp)),
  };
}

/** The interface that the agent would choose if it started now; undefined: none is better than `present`. */
function betterLink(
  config: Settings,
  network: Network,
  present: LinkEntry | undefined,
): LinkEntry | undefined {
  let link: LinkEntry;
  try {
    link = chooseInterface(network, config.vips, config.interface);
  } catch (error) {
    if (error instanceof LeaseholdError && error.code !== "LH_NATIVE") return undefined;
    throw error;
  }
  if (present === undefined) return link;
  if (link.index === present.index || !isWorking(link)) return undefined;
  // A working link that has no address for a moment has not become the wrong one.
  const isMissed = isWorking(present) && !config.vips.every((vip) => holds(network, present, vip));
  return isMissed ? undefined : link;
}

function lost(link: LinkEntry, { text }: IpAddress): LeaseholdError {
  return new LeaseholdError("LH_NODE_IP", `${link.name} does not have this node's address ${text} any more`);
}

function isWorking({ up, carrier }: LinkEntry): boolean {
  return up && carrier;
}

function textOf({ interfaceName, nodeIp, addresses, subnets }: NodeNetwork): string {
  return JSON.stringify([
    interfaceName,
    nodeIp.text,
    addresses.map(({ text }) => text),
    subnets.map(({ address, prefixLength }) => `${address.text}/${prefixLength}`),
  ]);
}
