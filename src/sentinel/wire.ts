/**
 * The VIP's Ethernet below every process: which machine answers for an address, claims it or asks for it. The
 * real wire is AF_PACKET (`linux-wire.ts`); the simulation has its own. Nothing here waits. Frames stay in
 * the socket until the sentinel drains it.
 */
import type { IpAddress } from "../net.ts";

/**
 * A frame of interest. MAC addresses are written aa:bb:cc:dd:ee:ff. This machine's own frames are left out.
 */
export type Heard =
  /** An ICMP or ICMPv6 echo reply, from `address`, in a frame from `mac`. */
  | {
      readonly kind: "echo";
      readonly address: IpAddress;
      readonly mac: string;
      readonly identifier: number;
      readonly sequence: number;
    }
  /**
   * "`address` is at `mac`": any ARP with that sender (RFC 5227 section 2.4), request, reply or announcement;
   * a neighbour advertisement. `reply`: it answers this node's question.
   */
  | {
      readonly kind: "owner";
      readonly address: IpAddress;
      readonly mac: string;
      readonly reply: boolean;
    }
  /**
   * "Does anybody have `address`? I would like to": an ARP probe (sender 0.0.0.0) or duplicate address
   * detection (RFC 4862 section 5.4.2).
   */
  | { readonly kind: "probe"; readonly address: IpAddress; readonly mac: string }
  /** Some ARP or neighbour discovery: another machine is on this link. */
  | { readonly kind: "host"; readonly mac: string };

/** What the wire listens for. It leaves all other frames to the kernel, which drops them without a copy. */
export interface Listening {
  /** The identifier of the echo replies, 16 bits. */
  readonly identifier: number;
  /**
   * The MAC addresses of the machines whose answers prove something. Their frames are kept apart, so that a
   * flood in other names does not drive them out.
   */
  readonly macs: readonly string[];
  /** The VIPs. Probes for them are heard, and who has them. */
  readonly vips: readonly IpAddress[];
  /** The addresses of which it matters who has them, apart from the VIPs. */
  readonly others: readonly IpAddress[];
}

/**
 * The frames since the last call, and whether some are missing, because more came than one turn may take or
 * the kernel dropped some. `answers`: one of a machine in {@link Listening.macs}, or an echo reply, may be
 * missing. `claims`: what another machine said of an address may be missing.
 */
export interface HeardOnWire {
  readonly heard: readonly Heard[];
  readonly missing: { readonly answers: boolean; readonly claims: boolean };
  /** Some are missing because too many came, and not because the link went away. */
  readonly flooded: boolean;
}

/** The VIP's wire. */
export interface Wire {
  /**
   * Sends one echo request to `address` in a frame to `mac`, from the node's own address of that family.
   * Answers false when it could not be sent (no link, no own address of that family), which says nothing
   * about the other machine. It never throws for the state of the network.
   */
  echo(address: IpAddress, mac: string, identifier: number, sequence: number): boolean;
  /**
   * Asks everybody "who has `address`?" (IPv6: the solicited-node group). As `node` the question has this
   * node's own address as sender, from which neighbours may learn. As `probe` it has no sender, so that no
   * neighbour table changes (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2). IPv6 without an own address
   * asks as a probe.
   */
  ask(address: IpAddress, as: "node" | "probe"): boolean;
  /** Sets what is heard from now on. Before the first call no echo and no address is heard. */
  listen(listening: Listening): void;
  /** Reads the frames that came since the last call. */
  drain(): HeardOnWire;
  close(): void;
}
