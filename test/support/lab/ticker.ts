/** Events for watches: one object that changes all the time, and what a watch must have seen of it. */
import { fileURLToPath } from "node:url";
import type { HeldConnection } from "./hold.ts";
import type { Host } from "./host.ts";
import { LogCursor } from "./log-cursor.ts";
import type { LabProcess } from "./process.ts";

export interface TickerOptions {
  /** `host:port` of the API server that takes the patches. */
  readonly server: string;
  /** Of the ConfigMap, which exists. */
  readonly path: string;
  readonly everyMs: number;
  readonly tls: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
}

export interface Tick {
  readonly n: number;
  /** When it was made. */
  readonly t: number;
}

export class Ticker implements AsyncDisposable {
  readonly #process: LabProcess;
  readonly #cursor: LogCursor;
  readonly #ticks: Tick[] = [];

  private constructor(process: LabProcess) {
    this.#process = process;
    this.#cursor = new LogCursor(process.logFile);
  }

  static async start(host: Host, options: TickerOptions, name = "ticker"): Promise<Ticker> {
    const script = fileURLToPath(new URL("children/ticker.ts", import.meta.url));
    return new Ticker(await host.spawn([process.execPath, script, JSON.stringify(options)], { name }));
  }

  /** All that an API server has taken. */
  ticks(): readonly Tick[] {
    for (const line of this.#cursor.lines()) {
      if (!line.startsWith("{")) throw new Error(`${this.#process.name}: ${line}`);
      this.#ticks.push(JSON.parse(line));
    }
    return this.#ticks;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

export interface Seen {
  /** Ticks that it should have seen and did not. */
  readonly missed: number;
  /** The longest time from an event's making to its arrival. */
  readonly latestMs: number;
  readonly seen: number;
}

/** What one watch saw of `ticks`, after the state that it began with. */
export function seenBy(watch: HeldConnection, ticks: readonly Tick[]): Seen {
  const arrivals = new Map<number, number>();
  for (const { text, atMs } of watch.lines) {
    // A watch event is a line of its own; chunk sizes and headers are not JSON.
    if (!text.startsWith('{"type"')) continue;
    const n = /"data":\{"n":"(\d+)"/.exec(text)?.[1];
    if (n !== undefined && !arrivals.has(Number(n))) arrivals.set(Number(n), atMs);
  }
  const first = Math.min(...arrivals.keys());
  // The very first is the state at the watch's beginning, made at any time before.
  const due = ticks.filter((tick) => tick.n > first);
  const latencies = due.flatMap((tick) => {
    const atMs = arrivals.get(tick.n);
    return atMs === undefined ? [] : [atMs - tick.t];
  });
  return {
    missed: due.length - latencies.length,
    latestMs: Math.max(0, ...latencies),
    seen: latencies.length,
  };
}
