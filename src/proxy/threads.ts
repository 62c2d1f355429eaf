/**
 * The proxy as the main thread sees it: several worker threads that listen on one port (SO_REUSEPORT), among which the
 * kernel spreads connections by a hash of their addresses. They share nothing but the limit of connections; one that
 * dies takes its own sessions with it, and the others accept what comes meanwhile.
 */
import { createServer } from "node:net";
import { LeaseholdError } from "../errors.ts";
import { heldMemory } from "./connection-count.ts";
import { sum } from "./counters.ts";
import type { ProxyCounters, ProxySettings, ToProxy } from "./messages.ts";
import { ProxyThread, type ProxyThreadDeps } from "./thread.ts";

export interface ProxyThreadsDeps extends Omit<ProxyThreadDeps, "settings" | "share"> {
  readonly settings: ProxySettings;
  readonly workers: number;
}

/**
 * On two cores, which the proxy shares with an API server and etcd, two threads carried no more than one, and took more
 * CPU time for it (docs/benchmarks.md). Every thread costs memory: more than two are for those who ask.
 */
export function workersFor(cores: number): number {
  return cores < 4 ? 1 : 2;
}

export class ProxyThreads {
  readonly #deps: ProxyThreadsDeps;
  /** None before the start. */
  #threads: readonly ProxyThread[] = [];
  #wasListening = false;

  constructor(deps: ProxyThreadsDeps) {
    this.#deps = deps;
  }

  /** The port while at least one listener accepts. */
  get listening(): number | undefined {
    return this.#threads.find(({ listening }) => listening !== undefined)?.listening;
  }

  /** Of the oldest: a worker that listens and hangs keeps its share of the clients waiting. One that is dead has no share. */
  heartbeatAgeMs(): number {
    const accepting = this.#threads.filter(({ listening }) => listening !== undefined);
    const asked = accepting.length > 0 ? accepting : this.#threads;
    return asked.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...asked.map((thread) => thread.heartbeatAgeMs()));
  }

  counters(): ProxyCounters {
    return sum(this.#threads.map((thread) => thread.counters()));
  }

  /**
   * Resolves once every listener accepts.
   * @throws LeaseholdError LH_LISTEN when the port cannot be had, LH_WORKER when a thread does not start
   */
  async start(): Promise<void> {
    const { settings, workers } = this.#deps;
    const port = await freeToUs(settings.port);
    const memory = heldMemory(workers);
    this.#threads = Array.from(
      { length: workers },
      (_, slot) =>
        new ProxyThread({
          ...this.#deps,
          settings: { ...settings, port },
          share: { memory, slot },
          onChange: () => this.#changed(),
        }),
    );
    const results = await Promise.allSettled(this.#threads.map((thread) => thread.start()));
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return;
    await this.stop(0);
    throw failed.reason;
  }

  /** To all. Lost on one that does not run: it gets {@link ProxyThreadDeps.backends} when it starts. */
  post(message: ToProxy): void {
    for (const thread of this.#threads) thread.post(message);
  }

  /** Stops accepting, gives sessions `drainMs`, ends the threads. */
  async stop(drainMs: number): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop(drainMs)));
  }

  #changed(): void {
    const { listening } = this;
    if ((listening !== undefined) !== this.#wasListening) {
      this.#wasListening = listening !== undefined;
      if (listening === undefined) this.#deps.log.info({ port: this.#deps.settings.port }, "balancer closed its listener");
      else this.#deps.log.info({ port: listening }, "balancer listens");
    }
    this.#deps.onChange();
  }
}

/**
 * Listens alone for a moment: with SO_REUSEPORT another agent of this machine would share the port without a word.
 * Answers the port, which is a free one for 0.
 */
function freeToUs(port: number, host = "::"): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      // A kernel without IPv6 (ipv6.disable=1) has no `::` to listen on.
      if (host === "::" && (error.code === "EAFNOSUPPORT" || error.code === "EADDRNOTAVAIL")) resolve(freeToUs(port, "0.0.0.0"));
      else reject(new LeaseholdError("LH_LISTEN", `the balancer cannot listen on port ${port}: ${error.message}`));
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
