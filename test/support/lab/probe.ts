/** A client that opens a new connection every few milliseconds, and what it saw. */
import { fileURLToPath } from "node:url";
import type { Host } from "./host.ts";
import { LogCursor } from "./log-cursor.ts";
import type { LabProcess } from "./process.ts";

export interface TlsOptions {
  /** Verified when given; without it any certificate will do. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Default `kubernetes`, a name that every API server's certificate has. */
  readonly servername?: string;
}

export interface ProbeOptions {
  readonly host: string;
  readonly port: number;
  /** Default 5. */
  readonly intervalMs?: number;
  /** An attempt without an answer after this long has failed; default 3000. */
  readonly timeoutMs?: number;
  readonly tls?: TlsOptions;
  /**
   * Send one GET and count only this {@link status}; without it an open connection (TLS: handshake) counts.
   */
  readonly path?: string;
  /** Default 200. */
  readonly status?: number;
  /**
   * The client gets a processor whenever it wants one, as it would on a machine of its own: else its own
   * waiting looks like a gap. As root only.
   */
  readonly realTime?: boolean;
}

export interface Attempt {
  readonly sentMs: number;
  /** Until the answer or the failure. */
  readonly ms: number;
  readonly ok: boolean;
  /** "" when ok. */
  readonly error: string;
}

export interface Gap {
  readonly fromMs: number;
  readonly toMs: number;
  readonly ms: number;
}

export class ClientProbe implements AsyncDisposable {
  readonly #process: LabProcess;
  readonly #cursor: LogCursor;
  readonly #attempts: Attempt[] = [];

  private constructor(process: LabProcess) {
    this.#process = process;
    this.#cursor = new LogCursor(process.logFile);
  }

  static async start(
    client: Host,
    options: ProbeOptions,
    name = `probe-${options.host.replaceAll(":", "_")}-${options.port}`,
  ): Promise<ClientProbe> {
    const script = fileURLToPath(new URL("children/probe.ts", import.meta.url));
    // No nice value: where processes are scheduled by sessions (sched(7), autogroup) it means nothing between
    // two of them.
    const scheduled = options.realTime === true ? ["chrt", "--rr", "1"] : [];
    return new ClientProbe(
      await client.spawn([...scheduled, process.execPath, script, JSON.stringify(options)], { name }),
    );
  }

  /** All attempts that have ended so far, in the order in which they were sent. */
  attempts(): readonly Attempt[] {
    for (const line of this.#cursor.lines()) {
      const match = /^(\d+\.\d+) (\d+\.\d+) (\S+)$/.exec(line);
      if (match === null)
        throw new Error(`${this.#process.name}: ${line}\n${this.#process.lastLines(10).join("\n")}`);
      const [, sent = "", ms = "", outcome = ""] = match;
      this.#attempts.push({
        sentMs: Number(sent),
        ms: Number(ms),
        ok: outcome === "ok",
        error: outcome === "ok" ? "" : outcome,
      });
    }
    return this.#attempts.sort((a, b) => a.sentMs - b.sentMs);
  }

  /** Ends the client; what it saw stays readable. */
  async stop(): Promise<readonly Attempt[]> {
    await this.#process[Symbol.asyncDispose]();
    return this.attempts();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/**
 * The longest distance between the send times of two answered probes in a row. What was sent
 * before the first and after the last answered one counts too, so that no answer at all is no
 * short gap: with none the gap is infinite.
 */
export function longestGap(attempts: readonly Attempt[]): Gap {
  const answered = attempts.filter((attempt) => attempt.ok);
  if (answered.length === 0) return { fromMs: attempts[0]?.sentMs ?? 0, toMs: Infinity, ms: Infinity };
  const edges = [attempts[0], ...answered, attempts.at(-1)].filter((attempt) => attempt !== undefined);
  let worst: Gap = { fromMs: 0, toMs: 0, ms: 0 };
  for (const [index, attempt] of edges.entries()) {
    const before = edges[index - 1];
    if (before === undefined || attempt.sentMs - before.sentMs <= worst.ms) continue;
    worst = { fromMs: before.sentMs, toMs: attempt.sentMs, ms: attempt.sentMs - before.sentMs };
  }
  return worst;
}

/**
 * The longest time in which the client sent nothing. No gap can be measured finer than this: on a busy
 * machine it is the client's own process that had to wait for a processor, not the service.
 */
export function longestPauseMs(attempts: readonly Attempt[]): number {
  return attempts.reduce(
    (worst, attempt, index) =>
      Math.max(worst, attempt.sentMs - (attempts[index - 1]?.sentMs ?? attempt.sentMs)),
    0,
  );
}

export function failures(attempts: readonly Attempt[]): Attempt[] {
  return attempts.filter((attempt) => !attempt.ok);
}

/** `12034 probes, 3 failed (2 ECONNREFUSED, 1 ETIMEDOUT), longest gap 87 ms`, for messages. */
export function describeAttempts(attempts: readonly Attempt[]): string {
  const failed = failures(attempts);
  const causes = Map.groupBy(failed, (attempt) => attempt.error);
  const list = [...causes].map(([error, all]) => `${all.length} ${error}`).join(", ");
  const gap = longestGap(attempts);
  const pauseMs = longestPauseMs(attempts);
  const pause = pauseMs < 50 ? "" : ` (the client itself sent nothing for ${pauseMs.toFixed(0)} ms)`;
  return `${attempts.length} probes, ${failed.length} failed${list === "" ? "" : ` (${list})`}, longest gap ${gap.ms.toFixed(0)} ms${pause}`;
}
