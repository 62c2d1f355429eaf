/** What the election learns from the VIP's wire, and which holder it wants watched; see `sentinel.ts`. */
import type { IpAddress } from "../net.ts";

/** What the sentinel has found. */
export type Evidence =
  /**
   * Proof of death: the kernel that held the VIP in this term does not answer for it, while a third host
   * answers.
   */
  | { readonly kind: "silent"; readonly tenure: string }
  /**
   * The holder answers after it was found silent. No holder is then found silent for a minute, in any term,
   * and for longer each time; see `back-off.ts`.
   */
  | { readonly kind: "answering"; readonly tenure: string }
  /**
   * The answer to {@link Sentinel.probe}: the MAC address of a machine that has the VIP, and of one that asks
   * for it as well. Each is null when there is none.
   */
  | { readonly kind: "probed"; readonly owner: string | null; readonly prober: string | null }
  /**
   * A machine that is not the watched holder says that the VIP is at `mac`. Sent once for each burst of
   * frames.
   */
  | { readonly kind: "claimed"; readonly mac: string }
  /**
   * `heard`: another host was heard on this link in the last 3 s. Sent on change, and not before the first
   * one was heard.
   */
  | { readonly kind: "neighbours"; readonly heard: boolean };

/** A third host. Its answer shows that this node's own link works. */
export interface Witness {
  readonly address: IpAddress;
  /** The MAC address in its annotation; undefined where it has to be asked for. */
  readonly mac: string | undefined;
}

/** Whom the sentinel watches. */
export interface Watched {
  /** The holder whose kernel has the VIP; null when that is this node, or unknown. */
  readonly holder: { readonly tenure: string; readonly mac: string } | null;
  readonly witnesses: readonly Witness[];
  /** `slow` where a false alarm would cost connections: without the fast path. */
  readonly pace: "fast" | "slow";
}

/** The sentinel's part of `/status`. */
export interface SentinelStatus {
  /**
   * Says whether the holder's silence would be proof, and if not, why not. `no-witness`: no third host is
   * named, or none answered when it was needed. `flooded`: answers of the holder may have been lost in the
   * last second. `no-arp`: the VIP's interface is not an Ethernet interface with ARP, so nothing can be heard
   * or asked there.
   */
  readonly proof:
    | "none"
    | "no-arp"
    | "calibrating"
    | "ready"
    | "no-witness"
    | "backing-off"
    | "flooded"
    | "silent";
  /** The means by which the holder is asked. */
  readonly by: "icmp" | "arp";
  /** The answers in a row that every address has missed. */
  readonly missed: number;
  /** False when no other host was heard for 3 s; null before the first one was heard. */
  readonly neighbours: boolean | null;
  /**
   * True when frames were lost within the last minute, because more came than the sockets hold. What other
   * machines claim may then be noticed late. Where answers of the holder are lost, its silence is no proof.
   */
  readonly flooded: boolean;
}

/** Listens and asks on the VIP's wire. */
export interface Sentinel {
  /** Begins to listen. */
  start(onEvidence: (evidence: Evidence) => void): void;
  /** Sets whom to watch from now on. What is known of a holder that stays the same is kept. */
  watch(watched: Watched): void;
  /**
   * Asks three times whether another machine has the VIP (RFC 5227 section 2.1.1, with shorter pauses), and
   * reports one `probed`. It goes on asking while nothing can be sent, or while frames are lost. It does
   * nothing before {@link start}.
   * @param spread delays the first question by up to 1 s at random, so that nodes that were switched on
   * together do not all ask at once
   * @param claims this node would take the VIP now, and says so: it sends probes, which others that ask for the VIP
   * give way to. Otherwise it asks as any host that looks for a neighbour. Default: true
   * @param questions how often it asks: 1 to 3. Default: 3
   */
  probe(spread: boolean, claims?: boolean, questions?: number): void;
  /**
   * Reads the frames that have come and reports them before it returns. A node that is about to take the VIP
   * calls it, because another node may have taken the VIP while this process stood still.
   */
  poll(): void;
  status(): SentinelStatus;
  stop(): void;
}
