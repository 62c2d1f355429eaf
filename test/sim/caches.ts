/**
 * Each API server's watch cache, as kube-apiserver 1.36 was seen to keep it over a loss of etcd's quorum: it
 * goes on answering, with what it last heard; a server whose own etcd member still runs forgets it after 34
 * s; and when the quorum is back it may take 11 s more until it hears anything new.
 */
import type { Answer } from "./lease-table.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

const OUTLIVES_QUORUM_MS = 34_000;
const CATCHES_UP_MS = 11_000;

type Cache =
  | { readonly kind: "none" }
  | { readonly kind: "live"; readonly answer: Answer }
  /** etcd tells it nothing. `backMs`: when it will hear again, once there is a quorum. */
  | {
      readonly kind: "blind";
      readonly answer: Answer;
      readonly untilMs: number;
      readonly backMs: number | undefined;
    };

/** What etcd is to the caches. */
interface Etcd {
  readonly table: { readonly current: Answer };
  quorate(server: number): boolean;
}

export class Caches {
  readonly #etcd: Etcd;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #caches: Cache[];

  constructor(etcd: Etcd, scheduler: Scheduler, random: Random, servers: number) {
    this.#etcd = etcd;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#caches = Array.from({ length: servers }, () => ({ kind: "none" }));
  }

  /** Something is new in etcd, or can be heard from it now. */
  tellAll(): void {
    for (const server of this.#caches.keys()) this.#tell(server);
  }

  /** The server's process has ended. */
  drop(server: number): void {
    this.#caches[server] = { kind: "none" };
  }

  /** What it answers to `resourceVersion=0`; undefined where it has no cache and must ask etcd. */
  read(server: number): Answer | undefined {
    const cache = this.#tell(server);
    switch (cache.kind) {
      case "none":
        return undefined;
      case "live":
        return cache.answer;
      case "blind":
        return this.#scheduler.nowMs < cache.untilMs || cache.backMs !== undefined ? cache.answer : undefined;
    }
  }

  #tell(server: number): Cache {
    const next = this.#next(this.#caches[server] ?? { kind: "none" }, this.#etcd.quorate(server));
    this.#caches[server] = next;
    return next;
  }

  #next(cache: Cache, quorate: boolean): Cache {
    const { nowMs } = this.#scheduler;
    const live = (): Cache => ({ kind: "live", answer: this.#etcd.table.current });
    switch (cache.kind) {
      case "none":
        return quorate ? live() : cache;
      case "live":
        if (quorate) return live();
        return {
          ...cache,
          kind: "blind",
          untilMs: this.#random.chance(0.5) ? nowMs + OUTLIVES_QUORUM_MS : Number.POSITIVE_INFINITY,
          backMs: undefined,
        };
      case "blind": {
        if (!quorate) return { ...cache, backMs: undefined };
        const backMs = cache.backMs ?? nowMs + this.#random.logarithmic(100, CATCHES_UP_MS);
        return nowMs < backMs ? { ...cache, backMs } : live();
      }
    }
  }
}
