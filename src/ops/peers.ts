/**
 * Asks the other nodes' agents for those who ask this one: a person on one node, the page, `leasehold status`.
 * Only known peers are asked, only for these paths, and never at an address that a request names. Every
 * answer is bounded, and asked for once in half a second at most.
 */
import type { Clock } from "../clock.ts";
import { plainText } from "../kube/plain-text.ts";
import { hostPort } from "../net.ts";
import type { AskOptions, PeerAnswer } from "../peers/ask-peer.ts";
import type { KnownPeers, Peer } from "../peers/known-peers.ts";

export interface PeerDesk {
  /** The known peers, in the order of their names. */
  all(): readonly Peer[];
  /** undefined: there is no such peer. Never rejects. */
  ask(node: string, path: PeerPath): Promise<PeerAnswer> | undefined;
}

export interface PeerDeskDeps {
  readonly clock: Clock;
  readonly known: Pick<KnownPeers, "find" | "all">;
  readonly ask: (peer: Peer, path: PeerPath, options: AskOptions) => Promise<PeerAnswer>;
}

const MIB = 1_024 * 1_024;

/** What an agent tells its peers, and how long and large the answer may be. */
const PEER_PATHS = {
  "/status": { timeoutMs: 1_500, mostBytes: MIB },
  "/metrics": { timeoutMs: 2_000, mostBytes: 4 * MIB },
  "/decisions": { timeoutMs: 5_000, mostBytes: 32 * MIB },
  "/moves": { timeoutMs: 1_500, mostBytes: MIB },
  "/page": { timeoutMs: 2_000, mostBytes: 4 * MIB },
} as const satisfies Readonly<Record<string, AskOptions>>;

export type PeerPath = keyof typeof PEER_PATHS;

export function isPeerPath(path: string): path is PeerPath {
  return Object.hasOwn(PEER_PATHS, path);
}

/** Milliseconds for which an answer, or the lack of one, is kept. */
const KEPT_MS = 500;

export function createPeerDesk({ clock, known, ask }: PeerDeskDeps): PeerDesk {
  const kept = new Map<string, Promise<PeerAnswer>>();
  return {
    all: () => known.all(),
    ask(node, path) {
      const peer = known.find(node);
      if (peer === undefined) return undefined;
      const name = `${node}${path}`;
      const asked = kept.get(name) ?? ask(peer, path, PEER_PATHS[path]).then((answer) => told(peer, answer));
      if (!kept.has(name)) {
        kept.set(name, asked);
        // From its end on: one that is slow must not be asked beside itself.
        void asked.finally(() => clock.after(KEPT_MS, () => kept.delete(name)));
      }
      return asked;
    },
  };
}

/** The words may be the peer's own, or those of what answers in its place. */
function told({ node, ip, port }: Peer, answer: PeerAnswer): PeerAnswer {
  if (answer.kind === "ok") return answer;
  return {
    kind: "failed",
    why: plainText(`the agent of ${node} at ${hostPort(ip, port)}: ${answer.why}`),
  };
}
