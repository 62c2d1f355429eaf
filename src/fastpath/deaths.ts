/**
 * Watches for API servers that go DOWN, and ends connections to them. Sockets on this node are ended at once.
 * Idle clients elsewhere are told as soon as it can help them: by the node that has the VIP then, and by the
 * one that gets it from a machine that is lost.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { FlowList } from "./flows.ts";
import type { PlanBackend } from "./plan.ts";
import type { Sessions } from "./sessions.ts";

export interface DeathsDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sessions: Sessions;
  /** True while the VIP is bound here. Then this node tells the clients elsewhere. */
  readonly holdsVip: () => boolean;
  /** Answers all addresses of the nodes of these API servers. */
  readonly addressesOf: (hosts: readonly string[]) => ReadonlySet<string>;
}

/** The API servers that have died. */
export interface Deaths {
  /**
   * Looks at the grades. Every change must pass here, because a death between two plans must not be missed.
   */
  observe(backends: readonly PlanBackend[]): void;
  /**
   * Tells the clients of the API servers that died since the last call. The rules must lead elsewhere by
   * then.
   */
  tell(): Promise<void>;
  stop(): void;
}

/**
 * Milliseconds after a death at which idle clients are asked whether their connection lives. An answer is
 * lost if it reaches a node that still sends on to the dead one. The host liveness checks of two nodes come
 * to a verdict within one turn of each other (100 ms), health checks alone within seconds. A client answers
 * no more than twice a second (tcp_invalid_ratelimit), so a question that comes too early, or again too soon,
 * costs half a second.
 */
const ASK_CLIENTS_MS = [120, 700, 5_000] as const;
/**
 * Milliseconds for which a new holder tells the clients of an API server that died before it had the VIP. The
 * Lease of a lost holder may have to run out first.
 */
const LATE_HOLDER_MS = 60_000;

export function createDeaths(deps: DeathsDeps): Deaths {
  const { clock, log, sessions } = deps;
  /** When those that are DOWN died. */
  const gone = new Map<string, number>();
  /** Those of them whose clients have not been told since. */
  const untold = new Set<string>();
  let held = false;
  let grades: ReadonlyMap<string, PlanBackend["grade"]> = new Map();
  let stopped = false;

  async function tellOf(hosts: readonly string[], clients: Promise<FlowList> | null): Promise<void> {
    try {
      await sessions.backendsDied(deps.addressesOf(hosts), await clients);
    } catch (error) {
      log.warn(
        { err: error, backends: hosts },
        "The agent could not tell the clients of a dead API server to connect again",
      );
    }
  }

  /** Asks the clients while this node has the VIP. The delays count from `sinceMs`. */
  function ask(dead: readonly string[], sinceMs: number): void {
    // The list is made while this node waits for the others' verdict. A client that comes later does not come
    // to the dead API server.
    let listed = deps.holdsVip() ? sessions.clients() : undefined;
    for (const delayMs of ASK_CLIENTS_MS) {
      clock.after(sinceMs + delayMs - clock.now(), () => {
        const clients = listed;
        listed = undefined;
        const still = dead.filter((host) => grades.get(host) === "DOWN");
        if (!stopped && still.length > 0 && deps.holdsVip())
          void tellOf(still, clients ?? sessions.clients());
      });
    }
  }

  return {
    observe(backends) {
      const now = new Map(backends.map(({ host, grade }) => [host, grade]));
      for (const [host, grade] of now) {
        if (grade !== "DOWN") {
          gone.delete(host);
          untold.delete(host);
        }
        // The clients of an API server that was DOWN when first seen were told long ago.
        else if (grades.has(host) && grades.get(host) !== "DOWN") {
          gone.set(host, clock.now());
          untold.add(host);
        }
      }
      grades = now;
    },
    async tell() {
      const isNewHolder = !held && deps.holdsVip();
      held = deps.holdsVip();
      const dead = [...untold];
      const sinceMs = Math.max(...dead.map((host) => gone.get(host) ?? clock.now()));
      untold.clear();
      if (dead.length > 0) {
        await tellOf(dead, null);
        ask(dead, sinceMs);
      }
      for (const [host, goneMs] of gone) if (clock.now() - goneMs >= LATE_HOLDER_MS) gone.delete(host);
      const earlier = [...gone.keys()].filter((host) => !dead.includes(host));
      if (isNewHolder && earlier.length > 0) ask(earlier, clock.now());
    },
    stop() {
      stopped = true;
    },
  };
}
