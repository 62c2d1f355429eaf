/** What the clients' reports say of one fault. Pure. */
import type { ClientReport, Ending } from "./clients.ts";

export interface Outcome {
  /**
   * Of the connections whose API server lives: those open and heard of at the end, percent; undefined: there
   * were none.
   */
  readonly livePercent: number | undefined;
  /** Of the same: closed by anybody. */
  readonly closed: number;
  /** Of the same: open, but nothing comes any more. */
  readonly hung: number;
  /** Of the living watches: events that others saw and they did not. */
  readonly missed: number;
  /** Of the living watches: an event's making to its arrival, the worst, ms. */
  readonly latestMs: number;
  /** Likewise, from its first arrival anywhere from the same API server. */
  readonly behindMs: number;
  /**
   * Of the connections to a dead API server, from the fault to the end of the last one; Infinity when some
   * still wait. undefined: there were none.
   */
  readonly toldWatchesMs: number | undefined;
  readonly toldRequestsMs: number | undefined;
}

/** Open, and silent for longer than this with events or an answer due: hung. */
const SILENT_MS = 2_000;

/** @param dead name of the node whose API server is gone; undefined: none is */
export function outcomeOf(
  reports: readonly ClientReport[],
  when: { readonly faultMs: number; readonly endMs: number; readonly dead: string | undefined },
): Outcome {
  const { faultMs, endMs, dead } = when;
  const mine = reports.filter((client) => client.kind !== "direct");
  const safe = mine.filter((client) => client.server !== dead);
  const doomed = mine.filter((client) => client.server === dead);
  // A server that itself sends nothing (it has lost its etcd) hangs nobody.
  const speaking = new Set(
    reports
      .filter((client) => client.events !== null && endMs - client.lastHeardMs < SILENT_MS)
      .map((client) => client.server),
  );
  const isHung = (client: ClientReport): boolean => {
    if (client.closedMs !== null) return false;
    const watches =
      client.kind === "watch" && speaking.has(client.server) && endMs - client.lastHeardMs > SILENT_MS;
    return (
      watches || (client.askedMs !== null && client.kind === "request" && endMs - client.askedMs > SILENT_MS)
    );
  };
  const closed = safe.filter((client) => client.closedMs !== null).length;
  const hung = safe.filter(isHung).length;
  const events = safe.filter((client) => client.closedMs === null).flatMap((client) => client.events ?? []);
  const told = (kind: ClientReport["kind"]): number | undefined => {
    const ends = doomed
      .filter((client) => client.kind === kind)
      .map((client) => (client.closedMs === null ? Infinity : client.closedMs - faultMs));
    return ends.length === 0 ? undefined : Math.max(...ends);
  };
  return {
    livePercent: safe.length === 0 ? undefined : (100 * (safe.length - closed - hung)) / safe.length,
    closed,
    hung,
    missed: events.reduce((sum, { missed }) => sum + missed, 0),
    latestMs: Math.max(0, ...events.map(({ latestMs }) => latestMs)),
    behindMs: Math.max(0, ...events.map(({ behindMs }) => behindMs)),
    toldWatchesMs: told("watch"),
    toldRequestsMs: told("request"),
  };
}

/** Of half-closed connections whose API server lives: those that did not get its FIN. */
export function disorderly(endings: readonly Ending[], dead: string | undefined): number {
  return endings.filter(({ server, how }) => server !== dead && how !== "ended").length;
}
