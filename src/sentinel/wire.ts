/**
 * What the VIP's Ethernet says below every process: who answers for an address, who claims it, who asks for it. The real one is AF_PACKET
 * (`linux-wire.ts`); the simulation has its own. Nothing here waits: frames lie in the socket until somebody drains it.
 */
import type { IpAddress } from "../net.ts";

/** MACs are aa:bb:cc:dd:ee:ff. Frames of this machine's own are left out. */
export type Heard =
  /** An ICMP or ICMPv6 echo reply, from `address`, in a frame from `mac`. */
  | { readonly kind: "echo"; readonly address: IpAddress; readonly mac: string; readonly identifier: number; readonly sequence: number }
  /** "`address` is at `mac`": any ARP with that sender (RFC 5227 section 2.4), request, reply or announcement; a neighbour advertisement. */
  | { readonly kind: "owner"; readonly address: IpAddress; readonly mac: string }
  /** "Does anybody have `address`? I would like to": an ARP probe (sender 0.0.0.0) or duplicate address detection (RFC 4862 section 5.4.2). */
  | { readonly kind: "probe"; readonly address: IpAddress; readonly mac: string };

/** `overrun`: more came than one turn may take, or the kernel dropped some; an answer may be missing. */
export interface HeardOnWire {
  readonly heard: readonly Heard[];
  readonly overrun: boolean;
}

export interface Wire {
  /**
   * One echo request to `address` in a frame to `mac`, from the node's own address of that family. False when it could not be sent (no link, no own
   * address of that family): that says nothing about the other one. Never throws for the state of the network.
   */
  echo(address: IpAddress, mac: string, identifier: number, sequence: number): boolean;
  /**
   * "Who has `address`?", to everybody (IPv6: to the solicited-node group). As `node`: with this node's own address as sender, which neighbours may learn
   * from; as `probe`: without a sender, which changes nobody's mind (RFC 5227 section 2.1.1; RFC 4862 section 5.4.2). IPv6 without an own address asks as a probe.
   */
  ask(address: IpAddress, as: "node" | "probe"): boolean;
  /** What came since the last call. */
  drain(): HeardOnWire;
  close(): void;
}
