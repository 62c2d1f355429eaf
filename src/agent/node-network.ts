/** The network of this node as the VIP needs it: the VIP's interface and the node's own addresses on it. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { LeaseholdError } from "../errors.ts";
import {
  chooseInterface,
  chooseNodeIp,
  hasAddress,
  holds,
  ownAddress,
  reservedAs,
  subnetsOf,
  subnetsOfVips,
  wrongNodeIp,
} from "../linux/links.ts";
import type { Network } from "../linux/links.ts";
import type { Logger } from "../log.ts";
import type { Family, IpAddress, Subnet } from "../net.ts";
import { foreignOwner } from "../vip/vip.ts";

/** The VIP's interface on this node, with the node's own addresses. */
export interface NodeNetwork {
  readonly interfaceName: string;
  readonly nodeIp: IpAddress;
  /** The node's own addresses on that interface, at most one of each family. */
  readonly addresses: readonly IpAddress[];
  /** The subnets on that interface that contain a VIP. Empty where the VIP is reached by a route alone. */
  readonly subnets: readonly Subnet[];
}

/** How the machine's network is read. */
export interface NetworkReader {
  readonly readNetwork: () => Network;
  /** Lists the networks that are on a link by a route without a gateway. */
  readonly linkRoutes: (families: readonly Family[]) => NonNullable<Network["routes"]>;
  /** Lists the next hops of the default routes out of an interface. */
  readonly gateways: (interfaceName: string, families: readonly Family[]) => readonly IpAddress[];
}

export interface NodeNetworkDeps extends NetworkReader {
  readonly clock: Clock;
  readonly log: Logger;
  /** Told what the agent waits for, in one sentence, each time that changes; null when the wait is over. */
  readonly onWaiting: (reason: string | null) => void;
}

type NetworkSettings = Pick<Config, "vips" | "interface" | "nodeIp" | "takeOver">;

type Found =
  | { readonly kind: "found"; readonly nodeNetwork: NodeNetwork }
  /** The machine may not have got its network yet. */
  | { readonly kind: "wait"; readonly error: LeaseholdError }
  /** Waiting would not help. */
  | { readonly kind: "wrong"; readonly errors: readonly LeaseholdError[] };

/** Milliseconds between two looks at the network. At boot the agent may be faster than the network. */
const NETWORK_RETRY_MS = 1_000;
/** An agent that waits says so this often, so that a later reader of its log need not search. */
const REPEAT_MS = 60_000;

/**
 * Waits until there is an interface for the VIPs. There is no time limit, because a machine's network may
 * come late.
 * @param signal ends the wait; the promise is then rejected
 * @throws {LeaseholdError} LH_AMBIGUOUS_INTERFACE, LH_ADDRESS_OWNER, LH_LINK_TYPE, LH_NODE_IP,
 * LH_VIP_RESERVED: waiting would not help. LH_CONFIG when it is more than one of these.
 */
export async function findNodeNetwork(
  config: NetworkSettings,
  deps: NodeNetworkDeps,
  signal: AbortSignal,
): Promise<NodeNetwork> {
  const { clock, log } = deps;
  const startMs = clock.now();
  let complaint = "";
  let saidMs = 0;
  for (;;) {
    const found = look(config, deps);
    if (found.kind === "wrong") throw together(found.errors);
    if (found.kind === "found") {
      if (complaint !== "") deps.onWaiting(null);
      return found.nodeNetwork;
    }
    const { error } = found;
    const nowMs = clock.now();
    if (error.message !== complaint || nowMs - saidMs >= REPEAT_MS) {
      log.warn(
        { err: error, code: error.code, hint: error.hint, waitedMs: Math.round(nowMs - startMs) },
        "Waiting for the VIP's interface",
      );
      saidMs = nowMs;
    }
    if (error.message !== complaint) deps.onWaiting(error.message);
    complaint = error.message;
    await pause(clock, NETWORK_RETRY_MS, signal);
  }
}

/** Looks once. Every setting that cannot be right is reported, not only the first. */
function look(config: NetworkSettings, reader: NetworkReader): Found {
  const { vips } = config;
  const families = [...new Set(vips.map(({ family }) => family))];
  const network = { ...reader.readNetwork(), routes: reader.linkRoutes(families) };
  const errors = ownErrors(network, vips, config.takeOver);
  const link = attempt(() => chooseInterface(network, vips, config.interface));
  if (link instanceof LeaseholdError) {
    if (link.code !== "LH_INTERFACE") errors.push(link);
    return errors.length > 0 ? { kind: "wrong", errors } : { kind: "wait", error: link };
  }
  errors.push(...reservedErrors(network, [link], vips, reader));
  const wrong = config.nodeIp && wrongNodeIp(network, link, vips, config.nodeIp);
  if (wrong !== undefined) errors.push(wrong);
  if (errors.length > 0) return { kind: "wrong", errors };
  const nodeIp = attempt(() => ownNodeIp(config, network, link));
  if (nodeIp instanceof LeaseholdError) return { kind: "wait", error: nodeIp };
  const nodeNetwork = placeOn(network, link, vips, nodeIp, (family) =>
    ownAddress(network, link, vips, family),
  );
  return { kind: "found", nodeNetwork };
}

/**
 * Makes the node's place on a link of its address there and of what `ownOf` answers for the other family. Both
 * families count, whatever the VIPs' families are: an API server is known by an address of one family, and
 * clients may ask for it by the other.
 */
export function placeOn(
  network: Network,
  link: Network["links"][number],
  vips: readonly IpAddress[],
  nodeIp: IpAddress,
  ownOf: (family: Family) => IpAddress | undefined,
): NodeNetwork {
  const addresses = ([4, 6] as const).flatMap((family) =>
    nodeIp.family === family ? [nodeIp] : (ownOf(family) ?? []),
  );
  return { interfaceName: link.name, nodeIp, addresses, subnets: subnetsOf(network, link, vips) };
}

function ownNodeIp(config: NetworkSettings, network: Network, link: Network["links"][number]): IpAddress {
  const { nodeIp, vips } = config;
  if (nodeIp === undefined) return chooseNodeIp(network, link, vips);
  if (hasAddress(network, link, nodeIp)) return nodeIp;
  throw new LeaseholdError("LH_NODE_IP", `${link.name} does not have LEASEHOLD_NODE_IP="${nodeIp.text}" yet`);
}

/**
 * Refuses a VIP that no agent may bind on this machine, for a worker: there the VIP is not bound, but the
 * rules would take packets that are meant for the machine itself, for its gateway or for everybody.
 * @param takeOver other software has the VIP, see LEASEHOLD_TAKE_OVER
 * @throws {LeaseholdError} LH_ADDRESS_OWNER, LH_VIP_RESERVED; LH_CONFIG when it is more than one of these
 */
export function refuseVips(
  vips: readonly IpAddress[],
  reader: Omit<NetworkReader, "linkRoutes">,
  takeOver = false,
): void {
  const network = reader.readNetwork();
  const errors = [
    ...ownErrors(network, vips, takeOver),
    ...reservedErrors(network, network.links, vips, reader),
  ];
  if (errors.length > 0) throw together(errors);
}

/**
 * Refuses a VIP that is this machine's own address, because such an address stays when the node fails. A host
 * address without an end is no problem: another program bound it and may remove it, so the agent starts and
 * waits. During a take-over so does an address that has a subnet or a lifetime, and not both.
 */
function ownErrors(network: Network, vips: readonly IpAddress[], takeOver: boolean): LeaseholdError[] {
  const problems = foreignOwner({ addresses: () => network.addresses }, vips, takeOver).map(
    ({ address, prefixLength, linkIndex, validSeconds }) => {
      const name = network.links.find(({ index }) => index === linkIndex)?.name ?? `interface ${linkIndex}`;
      const source =
        validSeconds === null ? "" : ", given to it for a time, as DHCP and router advertisements do";
      return `LEASEHOLD_VIP="${address.text}" is this machine's own address (${address.text}/${prefixLength} on ${name}${source})`;
    },
  );
  if (problems.length === 0) return [];
  return [
    new LeaseholdError(
      "LH_ADDRESS_OWNER",
      `${problems.join("; ")}; use an address that no machine has and that no DHCP server gives out`,
    ),
  ];
}

/** Refuses a VIP that belongs to the network itself or to its router. */
export function reservedErrors(
  network: Network,
  links: Network["links"],
  vips: readonly IpAddress[],
  reader: Pick<NetworkReader, "gateways">,
): LeaseholdError[] {
  const families = [...new Set(vips.map(({ family }) => family))];
  const problems = links.flatMap((link) => {
    const near = vips.filter((vip) => holds(network, link, vip));
    const routers = near.length === 0 ? [] : reader.gateways(link.name, families);
    return near.flatMap((vip) => {
      const what = routers.some(({ text }) => text === vip.text)
        ? `the gateway of ${link.name}'s default route`
        : reservedAs(network, link, vip);
      return what === undefined ? [] : [`LEASEHOLD_VIP="${vip.text}" is ${what}`];
    });
  });
  if (problems.length === 0) return [];
  return [
    new LeaseholdError(
      "LH_VIP_RESERVED",
      `${problems.join("; ")}; use an address of that network that no machine has`,
    ),
  ];
}

function together(errors: readonly LeaseholdError[]): LeaseholdError {
  const [only, ...more] = errors;
  return only !== undefined && more.length === 0
    ? only
    : new LeaseholdError("LH_CONFIG", errors.map(({ message }) => message).join(". "));
}

/** Returns an error that tells the operator something. Every other error is thrown. */
function attempt<T>(make: () => T): T | LeaseholdError {
  try {
    return make();
  } catch (error) {
    if (error instanceof LeaseholdError && error.code !== "LH_NATIVE") return error;
    throw error;
  }
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

/**
 * Answers the subnets that contain a VIP on a worker, which has no interface of its own for it. At boot the agent may
 * be faster than the network, so it looks again while there are none.
 */
export function followSubnets(
  vips: readonly IpAddress[],
  { readNetwork, log }: Pick<NodeNetworkDeps, "readNetwork" | "log">,
): () => readonly Subnet[] {
  let known: readonly Subnet[] = [];
  return () => {
    if (known.length > 0 || vips.length === 0) return known;
    try {
      known = subnetsOfVips(readNetwork(), vips);
    } catch (error) {
      // The process may be out of descriptors.
      log.debug({ err: error }, "The machine's network was not read");
    }
    return known;
  };
}
