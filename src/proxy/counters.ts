/** Adds up the counters of several workers, living and dead. Pure. */
import type { BackendId } from "../backends/backend.ts";
import type { BackendCounters, ProxyCounters } from "./messages.ts";

/** The counters of a worker that has counted nothing. */
export const noCounters: ProxyCounters = { connections: 0, refused: 0, backends: [] };

/** Adds up counters, those of backends by their id. */
export function sum(all: readonly ProxyCounters[]): ProxyCounters {
  let connections = 0;
  let refused = 0;
  const backends = new Map<BackendId, BackendCounters>();
  for (const counters of all) {
    connections += counters.connections;
    refused += counters.refused;
    for (const item of counters.backends) {
      const before = backends.get(item.id);
      backends.set(item.id, before === undefined ? item : addBackend(before, item));
    }
  }
  return { connections, refused, backends: [...backends.values()] };
}

/** Returns what remains of a worker's counters after its end: its sessions have ended with it. */
export function withoutSessions({ refused, backends }: ProxyCounters): ProxyCounters {
  return { connections: 0, refused, backends: backends.map((item) => ({ ...item, active: 0 })) };
}

function addBackend(a: BackendCounters, b: BackendCounters): BackendCounters {
  return {
    id: a.id,
    active: a.active + b.active,
    sessions: a.sessions + b.sessions,
    connectErrors: a.connectErrors + b.connectErrors,
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
  };
}
