/**
 * Remembers how each API server answered this agent last, so that the log can say which of them failed, and
 * how, when that costs the VIP.
 */
import type { Clock } from "../clock.ts";
import { remember } from "./remember.ts";
import type { RequestReport } from "./transport.ts";

/** An older answer says nothing about a loss of now. */
const FRESH_MS = 15_000;
/** Most servers that are remembered. No control plane has so many. */
const MOST_SERVERS = 32;

export interface ServerAnswers {
  note(report: RequestReport): void;
  /**
   * Returns how each of `servers` failed last, by its `ip:port`. A server whose last answer was good is left
   * out, and so is one that was not asked in the last 15 s.
   */
  failures(servers: readonly string[]): Readonly<Record<string, string>>;
}

interface Last {
  readonly atMs: number;
  /** null: the answer was good. */
  readonly failure: string | null;
}

export function createServerAnswers({ clock }: { readonly clock: Clock }): ServerAnswers {
  const last = new Map<string, Last>();
  return {
    note(report) {
      const failure = failureOf(report);
      if (failure === undefined) return;
      remember(last, report.server, { atMs: clock.now(), failure }, MOST_SERVERS);
    },
    failures(servers) {
      const found: Record<string, string> = {};
      for (const server of servers) {
        const one = last.get(server);
        if (one === undefined || one.failure === null || clock.now() - one.atMs > FRESH_MS) continue;
        found[server] = one.failure;
      }
      return found;
    },
  };
}

/** Returns null for a good answer, and undefined for a report that tells nothing: a watch that ended. */
function failureOf({ code, durationMs, verb }: RequestReport): string | null | undefined {
  if (verb === "WATCH") return undefined;
  switch (code) {
    case "end":
      return undefined;
    case "refused":
      return "refused or reset the connection";
    case "silent":
      return `did not answer within ${Math.round(durationMs)} ms`;
    case "tls":
      return "TLS failed";
    case "credentials":
      return "there are no credentials to ask it with";
    default:
      // 404, 409 and 422 are answers to a compare-and-swap. The API server and etcd work.
      return code < 400 || code === 404 || code === 409 || code === 422 ? null : `answered ${code}`;
  }
}
