/** A client that holds many established connections, and how each of them lives. */
import { fileURLToPath } from "node:url";
import type { Host } from "./host.ts";
import { LogCursor } from "./log-cursor.ts";
import type { TlsOptions } from "./probe.ts";
import type { LabProcess } from "./process.ts";

export interface HoldOptions {
  readonly host: string;
  readonly port: number;
  /** The client's port of the first connection, the next ones follow; default: the kernel's choice. */
  readonly localPort?: number | undefined;
  /** Default 60. */
  readonly count?: number;
  /**
   * echo: sends a numbered line every `everyMs` and expects it back. listen: only listens to lines. watch:
   * one GET of `path`, then only listens (chunk sizes and headers are lines too). request: a GET of `path`
   * every `everyMs` on the same connection; the answers' lines are lines.
   */
  readonly mode: "echo" | "listen" | "watch" | "request";
  /** Default 100. */
  readonly everyMs?: number;
  readonly tls?: TlsOptions;
  readonly path?: string;
  /**
   * What {@link HeldConnections.finish} does with each connection. half-close (default): sends FIN and
   * listens on. server-closes: one more GET, with `Connection: close`, so that the server's FIN comes first;
   * ours follows a second after the end of its data. reset: sends RST.
   */
  readonly finish?: "half-close" | "server-closes" | "reset";
}

export interface HeldConnection {
  readonly id: number;
  /** undefined while it has not been opened. */
  openedMs: number | undefined;
  closedMs: number | undefined;
  /** `ended` (FIN), or an error code such as ECONNRESET; "" while alive. */
  closedBy: string;
  readonly lines: { readonly atMs: number; readonly text: string }[];
}

interface Report {
  readonly c: number;
  readonly t: number;
  readonly e: "open" | "line" | "close";
  readonly v: string;
}

export class HeldConnections implements AsyncDisposable {
  readonly #process: LabProcess;
  readonly #cursor: LogCursor;
  readonly #connections: HeldConnection[];

  private constructor(process: LabProcess, count: number) {
    this.#process = process;
    this.#cursor = new LogCursor(process.logFile);
    this.#connections = Array.from({ length: count }, (_, id) => ({
      id,
      openedMs: undefined,
      closedMs: undefined,
      closedBy: "",
      lines: [],
    }));
  }

  static async start(
    client: Host,
    options: HoldOptions,
    name = `hold-${options.host.replaceAll(":", "_")}-${options.port}`,
  ): Promise<HeldConnections> {
    const script = fileURLToPath(new URL("children/hold.ts", import.meta.url));
    const child = await client.spawn([process.execPath, script, JSON.stringify(options)], { name });
    return new HeldConnections(child, options.count ?? 60);
  }

  all(): readonly HeldConnection[] {
    for (const line of this.#cursor.lines()) {
      if (!line.startsWith("{"))
        throw new Error(`${this.#process.name}: ${line}\n${this.#process.lastLines(10).join("\n")}`);
      const report: Report = JSON.parse(line);
      const connection = this.#connections[report.c];
      if (connection === undefined) throw new Error(`${this.#process.name}: no connection ${report.c}`);
      switch (report.e) {
        case "open":
          connection.openedMs = report.t;
          break;
        case "line":
          connection.lines.push({ atMs: report.t, text: report.v });
          break;
        case "close":
          connection.closedMs = report.t;
          connection.closedBy = report.v;
          break;
      }
    }
    return this.#connections;
  }

  alive(): HeldConnection[] {
    return this.all().filter(
      (connection) => connection.openedMs !== undefined && connection.closedMs === undefined,
    );
  }

  /** Ends every connection, in the way that was chosen at the start; how each ended, the list tells. */
  finish(): void {
    this.#process.kill("SIGUSR2");
  }

  /** Those that were opened and then ended, by anybody. */
  lost(): HeldConnection[] {
    return this.all().filter(
      (connection) => connection.openedMs !== undefined && connection.closedMs !== undefined,
    );
  }

  /**
   * Mode echo: the longest time from sending a line to its return. Lines still on their way
   * do not count: see {@link longestSilenceMs}.
   */
  worstAnswerMs(): number {
    const answers = this.all().flatMap((connection) =>
      connection.lines.map((line) => line.atMs - Number(line.text.split(" ")[1])),
    );
    return Math.max(0, ...answers);
  }

  /** The longest time that a connection heard nothing, from its opening until its end or `untilMs`. */
  longestSilenceMs(untilMs: number): number {
    const silences = this.all().flatMap(({ openedMs, closedMs, lines }) => {
      if (openedMs === undefined) return [];
      const times = [openedMs, ...lines.map((line) => line.atMs), closedMs ?? untilMs];
      return times.slice(1).map((time, index) => time - (times[index] ?? time));
    });
    return Math.max(0, ...silences);
  }

  /** Connections whose numbered lines (modes echo and listen) have a hole or come out of order. */
  outOfSequence(): HeldConnection[] {
    return this.all().filter((connection) =>
      connection.lines.some((line, index) => Number.parseInt(line.text, 10) !== index),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
