/** The clients of one round, as the benchmark sees them: started, asked, and what their reports mean. */
import { spawn } from "node:child_process";
import type { ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { monotonicMs } from "../../support/lab/clock.ts";
import type { Host } from "../../support/lab/host.ts";
import type { TlsOptions } from "../../support/lab/probe.ts";
import type { EventsSeen } from "./events.ts";

/**
 * watch: one GET, then it only listens. request: a GET every now and then on the same connection. direct: a
 * watch past all balancers.
 */
export type ClientKind = "watch" | "request" | "direct";

export interface ClientsOptions {
  readonly host: string;
  readonly port: number;
  readonly watches: number;
  readonly requests: number;
  readonly watchPath: string;
  readonly requestPath: string;
  /** Between two requests. */
  readonly everyMs: number;
  /** API servers' own addresses, a direct watch each. */
  readonly direct: readonly string[];
  readonly tls: Required<Omit<TlsOptions, "servername">>;
  /** Each node's API server's certificate, by the node's name. */
  readonly certificates: Readonly<Record<string, string>>;
}

export interface ClientReport {
  readonly kind: ClientKind;
  /** Name of the node whose API server it is connected to. */
  readonly server: string;
  readonly closedMs: number | null;
  /** `ended` (FIN), or an error code such as ECONNRESET; "" while open. */
  readonly closedBy: string;
  readonly lastHeardMs: number;
  readonly askedMs: number | null;
  /** null of a request client. */
  readonly events: EventsSeen | null;
}

/** How a half-closed connection ended. */
export interface Ending {
  readonly server: string;
  /** `ended` when the other side's FIN came; `hung`, or an error's code. */
  readonly how: string;
}

const OPEN_LIMIT_MS = 60_000;

export class Clients implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Resolves when all are connected and have had an answer. */
  static async start(host: Host, options: ClientsOptions): Promise<Clients> {
    const script = fileURLToPath(new URL("clients-child.ts", import.meta.url));
    const [file = "", ...args] = host.inside([process.execPath, script, JSON.stringify(options)]);
    const clients = new Clients(spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] }));
    const timer = setTimeout(() => clients.#child.kill("SIGKILL"), OPEN_LIMIT_MS);
    try {
      const line = await clients.#line();
      if (line !== "ready") throw new Error(`clients: ${line}`);
      return clients;
    } catch (error) {
      await clients[Symbol.asyncDispose]();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the clients' process has ended");
    return value;
  }

  mark(): void {
    this.#child.stdin.write("mark\n");
  }

  async report(): Promise<{ readonly atMs: number; readonly clients: readonly ClientReport[] }> {
    this.#child.stdin.write("report\n");
    const atMs = monotonicMs();
    return { atMs, clients: JSON.parse(await this.#line()) };
  }

  /** @param dead node whose API server is gone: its connections are not waited for */
  async finish(dead: string | undefined): Promise<readonly Ending[]> {
    this.#child.stdin.write(`finish ${dead ?? ""}\n`);
    return JSON.parse(await this.#line());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}
