/**
 * Whose fault is it when TLS fails with a server: the server's, or that of the kubeconfig we came with? No error code says. A CA that signed nothing here is
 * what both a rotated cluster CA and a wrong machine look like, and an expired certificate in the chain may be the server's or our CA's. So it is tried out:
 * the other kubeconfig is shown to the same server. If it is taken there, the first one is at fault, for every server; if it fares no better, the server is.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Credentials } from "./credentials.ts";
import type { ClientCredentials } from "./kubeconfig.ts";

/** A failure that may be the credentials' own. */
export interface Doubt {
  readonly kind: "tls" | "reset";
  readonly used: ClientCredentials;
  /** In an operator's words. */
  readonly reason: string;
}

export interface TrustDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly credentials: Pick<Credentials, "rejected" | "accepted">;
}

export interface Trust {
  /** May the next credentials be tried at `server` after this? Not while another server takes these: then the fault is this server's. Call it once for each doubt. */
  mayBeTheirs(server: string, doubt: Doubt): boolean;
  /** An HTTP answer, so TLS is good with `used`: what failed there before was the credentials' fault. @param turnedAway 401 or 403 for who we are */
  answered(server: string, used: ClientCredentials, turnedAway: number | undefined, doubts: readonly Doubt[]): void;
  /** Nothing was taken at `server`: whose fault the doubts are stays open. */
  undecided(server: string, doubts: readonly Doubt[]): void;
}

/**
 * Credentials that a server took this lately are good ones. A server that does not know them belongs to another cluster, and must not be asked with
 * the other kubeconfig: two clusters' Leases would be mixed. Shorter than the time that a holder has between two renewals of which
 * the first failed and its renew deadline (by default 1 s and 4 s): where every server has changed its CA, the change-over is in time.
 */
const GOOD_MS = 2_000;
/** The same trouble with the same server is told again after this long. */
const REPEAT_MS = 300_000;
/** Servers and credentials that are remembered: more than a control plane has. */
const MOST = 256;

export function createTrust({ clock, log, credentials }: TrustDeps): Trust {
  /** By credentials, then by server: when it last took them. */
  const taken = new Map<string, Map<string, number>>();
  const told = new Map<string, { readonly reason: string; readonly atMs: number }>();

  function takenLately({ fingerprint }: ClientCredentials): boolean {
    const sinceMs = clock.now() - GOOD_MS;
    return [...(taken.get(fingerprint)?.values() ?? [])].some((atMs) => atMs > sinceMs);
  }

  return {
    mayBeTheirs(server, { kind, used }) {
      // That a server which took them breaks a connection now says nothing about them; that it fails in TLS now does.
      if (kind === "tls") taken.get(used.fingerprint)?.delete(server);
      return !takenLately(used);
    },

    answered(server, used, turnedAway, doubts) {
      for (const doubt of doubts) credentials.rejected(doubt.used, `${server}: ${doubt.reason}`);
      if (turnedAway === undefined) {
        const servers = taken.get(used.fingerprint) ?? new Map<string, number>();
        remember(servers, server, clock.now());
        remember(taken, used.fingerprint, servers);
        credentials.accepted(used);
      } else {
        credentials.rejected(used, turnedAway);
      }
      if (told.delete(`${server} ${used.path}`)) log.info({ server, path: used.path }, "TLS with the API server works again");
    },

    undecided(server, doubts) {
      for (const { kind, used, reason } of doubts) {
        // A server that is just going down breaks connections too.
        if (kind === "reset") continue;
        const key = `${server} ${used.path}`;
        const before = told.get(key);
        if (before?.reason === reason && clock.now() - before.atMs < REPEAT_MS) continue;
        remember(told, key, { reason, atMs: clock.now() });
        log.warn({ server, path: used.path, reason }, "No TLS with the API server; tried again");
      }
    },
  };
}

/** The oldest goes where there are too many. */
function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > MOST && oldest !== undefined) map.delete(oldest);
}
