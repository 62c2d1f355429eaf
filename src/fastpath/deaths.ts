/** API servers that go DOWN, and when those who wait for them are told: their sockets here at once, idle clients elsewhere as soon as it can help them. */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Flow } from "./nft.ts";
import type { PlanBackend } from "./plan.ts";
import type { Sessions } from "./sessions.ts";

export interface DeathsDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sessions: Sessions;
  /** The VIP is bound here, so clients elsewhere are ours to tell. */
  readonly holdsVip: () => boolean;
  /** All addresses of the nodes of these API servers. */
  readonly addressesOf: (hosts: readonly string[]) => ReadonlySet<string>;
}

export interface Deaths {
  /** Every change of grade must pass here: what happened between two plans must not be missed. */
  observe(backends: readonly PlanBackend[]): void;
  /** The rules lead elsewhere now: tells whom the deaths since the last call concern. */
  tell(): Promise<void>;
  stop(): void;
}

/**
 * When, after a death, idle clients are asked whether their connection lives. An answer that reaches a node which still sends on to the dead one is
 * lost. The pulses of two nodes come to a verdict within one turn of each other (100 ms), health checks alone within seconds. A client answers
 * no more than twice a second (tcp_invalid_ratelimit), so asking too early, or again too soon, costs half a second.
 */
const ASK_CLIENTS_MS = [120, 700, 5_000] as const;

export function createDeaths(deps: DeathsDeps): Deaths {
  const { clock, log, sessions } = deps;
  const died = new Map<string, number>();
  let grades: ReadonlyMap<string, PlanBackend["grade"]> = new Map();
  let stopped = false;

  async function tellOf(hosts: readonly string[], clients: Promise<readonly Flow[]> | null): Promise<void> {
    try {
      await sessions.backendsDied(deps.addressesOf(hosts), await clients);
    } catch (error) {
      log.warn({ err: error, backends: hosts }, "Telling the clients of a dead API server failed");
    }
  }

  return {
    observe(backends) {
      const now = new Map(backends.map(({ host, grade }) => [host, grade]));
      for (const [host, grade] of now) {
        if (grade !== "DOWN") died.delete(host);
        // One that was DOWN when first seen has told its clients itself, long ago.
        else if (grades.has(host) && grades.get(host) !== "DOWN") died.set(host, clock.now());
      }
      grades = now;
    },
    async tell() {
      if (died.size === 0) return;
      const dead = [...died.keys()];
      const sinceMs = Math.max(...died.values());
      died.clear();
      await tellOf(dead, null);
      // While we wait for the others' verdict. Who comes after a death does not come to the dead one.
      let listed = deps.holdsVip() ? sessions.clients() : undefined;
      for (const delayMs of ASK_CLIENTS_MS) {
        clock.after(sinceMs + delayMs - clock.now(), () => {
          const clients = listed;
          listed = undefined;
          const still = dead.filter((host) => grades.get(host) === "DOWN");
          if (!stopped && still.length > 0 && deps.holdsVip()) void tellOf(still, clients ?? sessions.clients());
        });
      }
    },
    stop() {
      stopped = true;
    },
  };
}
