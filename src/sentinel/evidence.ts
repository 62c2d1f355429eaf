/** What the election learns from the VIP's wire, and whom it wants watched; see sentinel.ts. */
import type { IpAddress } from "../net.ts";

export type Evidence =
  /** Proof of death: the kernel that held the VIP in this tenure does not answer for it, while a third host answers us. */
  | { readonly kind: "silent"; readonly tenure: string }
  /** It answers after all, after it was found silent. Nothing is found silent for a minute then, in any tenure; longer each time; see back-off.ts. */
  | { readonly kind: "answering"; readonly tenure: string }
  /** The answer to {@link Sentinel.probe}. `owner`: MAC of one that has the VIP; `prober`: of one that asks for it as we do; null: nobody. */
  | { readonly kind: "probed"; readonly owner: string | null; readonly prober: string | null }
  /** A machine that is not the holder we watch says that the VIP is at `mac`. Once for each burst of frames, and again whenever it is said again. */
  | { readonly kind: "claimed"; readonly mac: string }
  /** `heard`: anybody at all was heard on this link lately (3 s). Sent on change; nothing is said before the first one was heard. */
  | { readonly kind: "neighbours"; readonly heard: boolean };

/** A third host: its answer shows that our own link works. */
export interface Witness {
  readonly address: IpAddress;
  /** undefined: found out by asking. */
  readonly mac: string | undefined;
}

export interface Watched {
  /** Whose kernel has the VIP and is to be found silent; null: nobody but us, or unknown. */
  readonly holder: { readonly tenure: string; readonly mac: string } | null;
  readonly witnesses: readonly Witness[];
  /** `slow` where a false alarm would cost connections: without the fast path. */
  readonly pace: "fast" | "slow";
}

export interface SentinelStatus {
  /** Whether the holder's silence would be proof, and if not, why not yet. `no-witness`: none is named, or none answered when it was needed. */
  readonly proof: "none" | "calibrating" | "ready" | "no-witness" | "backing-off" | "silent";
  /** What it is asked by. */
  readonly by: "icmp" | "arp";
  /** In a row, by every address. */
  readonly missed: number;
  /** False once nobody was heard for 3 s; null before anybody was heard. */
  readonly neighbours: boolean | null;
}

/** Listens on the VIP's wire, and asks on it. */
export interface Sentinel {
  start(onEvidence: (evidence: Evidence) => void): void;
  /** From now on. Who stays the same keeps what is known of it. */
  watch(watched: Watched): void;
  /**
   * Asks, three times, whether anybody has the VIP (RFC 5227 section 2.1.1, quicker), and gives one `probed`. `spread`: after a random time of up to 1 s, so that
   * nodes that were switched on together do not all ask at once. A second call while one is under way changes nothing. While nothing can be sent, or what
   * comes is lost, it goes on asking. Not before {@link start}.
   */
  probe(spread: boolean): void;
  /** Reads what has come, now, and tells it before it returns. For who is about to take the VIP, after a pause perhaps in which another one has. */
  poll(): void;
  status(): SentinelStatus;
  stop(): void;
}
