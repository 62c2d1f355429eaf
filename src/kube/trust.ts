/**
 * Finds out whose fault a TLS failure is: the server's, or that of the kubeconfig that we used. No error code
 * tells. A CA that has not signed the certificate may mean a rotated cluster CA or a wrong machine. An
 * expired certificate in the chain may be the server's or that of our CA. So the agent tries the other
 * kubeconfig at the same server. If the server takes it, the first kubeconfig is at fault, for every server.
 * If the other one fails as well, the server is at fault.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Credentials } from "./credentials.ts";
import type { ClientCredentials } from "./kubeconfig.ts";
import { remember } from "./remember.ts";

/** A failure that the credentials may have caused. */
export interface Doubt {
  readonly kind: "tls" | "reset";
  readonly used: ClientCredentials;
  /** What failed, in an operator's words. */
  readonly reason: string;
}

export interface TrustDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly credentials: Pick<Credentials, "rejected" | "accepted">;
}

/** The record of which credentials work at which server. */
export interface Trust {
  /**
   * Tells whether the next credentials may be tried at `server` after this failure. They may not while
   * another server takes these: then the fault is this server's. Call it once for each doubt.
   */
  mayBeTheirs(server: string, doubt: Doubt): boolean;
  /**
   * Records an HTTP answer, which proves that TLS works with `used`: earlier failures there were the
   * credentials' fault.
   * @param turnedAway 401 or 403, if the server refused the user
   */
  answered(
    server: string,
    used: ClientCredentials,
    turnedAway: number | undefined,
    doubts: readonly Doubt[],
  ): void;
  /** Records that `server` took no credentials: it stays open whose fault the doubts are. */
  undecided(server: string, doubts: readonly Doubt[]): void;
}

/**
 * Credentials that a server took within this time are good. A server that does not know them belongs to
 * another cluster. It must not be asked with the other kubeconfig, because that would mix two clusters'
 * Leases. The time is shorter than what a holder has from a failed renewal to its renew deadline (by default
 * it renews every 1 s, and the deadline is 4 s). So the change of kubeconfig is in time if every server has
 * changed its CA.
 */
const GOOD_MS = 2_000;
/** The same failure with the same server is logged again after this long. */
const REPEAT_MS = 300_000;
/** How many servers and credentials are remembered, which is more than a control plane has. */
const MOST = 256;

/** Creates an empty record. It tells `credentials` its verdicts. */
export function createTrust({ clock, log, credentials }: TrustDeps): Trust {
  /** When a server last took the credentials, by credentials and then by server. */
  const taken = new Map<string, Map<string, number>>();
  const told = new Map<string, { readonly reason: string; readonly atMs: number }>();

  function takenLately({ fingerprint }: ClientCredentials): boolean {
    const sinceMs = clock.now() - GOOD_MS;
    return [...(taken.get(fingerprint)?.values() ?? [])].some((atMs) => atMs > sinceMs);
  }

  return {
    mayBeTheirs(server, { kind, used }) {
      // If a server that took these credentials breaks a connection, that says nothing about them. If it
      // fails in TLS, it does.
      if (kind === "tls") taken.get(used.fingerprint)?.delete(server);
      return !takenLately(used);
    },

    answered(server, used, turnedAway, doubts) {
      for (const doubt of doubts) credentials.rejected(doubt.used, `${server}: ${doubt.reason}`);
      if (turnedAway === undefined) {
        const servers = taken.get(used.fingerprint) ?? new Map<string, number>();
        remember(servers, server, clock.now(), MOST);
        remember(taken, used.fingerprint, servers, MOST);
        credentials.accepted(used);
      } else {
        credentials.rejected(used, turnedAway);
      }
      if (told.delete(`${server} ${used.path}`))
        log.info({ server, path: used.path }, "TLS with the API server works again");
    },

    undecided(server, doubts) {
      for (const { kind, used, reason } of doubts) {
        // A server that is going down breaks connections too.
        if (kind === "reset") continue;
        const key = `${server} ${used.path}`;
        const before = told.get(key);
        if (before?.reason === reason && clock.now() - before.atMs < REPEAT_MS) continue;
        remember(told, key, { reason, atMs: clock.now() }, MOST);
        log.warn({ server, path: used.path, reason }, "TLS with the API server fails, the agent tries again");
      }
    },
  };
}
