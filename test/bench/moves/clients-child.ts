/**
 * Many clients of the API in one process, which counts for itself: hundreds of watches bring thousands of
 * events a second, too many to hand on. `clients-child.ts '{...}'` ({@link ClientsOptions}); writes `ready`
 * once each has had its first answer. Then, a line each: `mark`: forget how late events have been; `report`:
 * a JSON line of {@link ClientReport}s; `finish NODE`: half-close every connection that is open and not to
 * NODE's API server, and a JSON line of {@link Ending}s once all have ended or the time is over.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";
import { monotonicMs } from "../../support/lab/clock.ts";
import type { ClientKind, ClientReport, ClientsOptions, Ending } from "./clients.ts";
import { EventCounter, EventFeed } from "./events.ts";

const options: ClientsOptions = JSON.parse(process.argv[2] ?? "{}");
const ca = readFileSync(options.tls.caFile);
const cert = readFileSync(options.tls.certFile);
const key = readFileSync(options.tls.keyFile);
/** Each API server has its own certificate, whoever carries the bytes. */
const names = new Map(
  Object.entries(options.certificates).map(([node, file]) => [
    new X509Certificate(readFileSync(file)).fingerprint256,
    node,
  ]),
);
const feed = new EventFeed();
/** TLS handshakes under way; more would only wait for each other. */
const AT_ONCE = 16;
const FINISH_MS = 3_000;
const TRIES = 3;

class Client {
  readonly kind: ClientKind;
  #ready = Promise.withResolvers<void>();
  server = "";
  closedMs: number | null = null;
  closedBy = "";
  lastHeardMs = 0;
  /** When the request that has no answer yet was sent. */
  askedMs: number | null = null;
  counter: EventCounter | undefined;
  #socket: TLSSocket | undefined;
  #finished = "";

  constructor(kind: ClientKind) {
    this.kind = kind;
  }

  /** Resolves with the first answer. */
  open(host: string, port: number): Promise<void> {
    this.#ready = Promise.withResolvers();
    this.closedMs = null;
    this.closedBy = "";
    this.askedMs = null;
    const target = { host, port, noDelay: true };
    const socket = connect({ ...target, ca, cert, key, servername: "kubernetes" });
    this.#socket = socket;
    socket.on("error", (error: NodeJS.ErrnoException) => (this.closedBy = error.code ?? error.message));
    socket.on("end", () => (this.closedBy ||= "ended"));
    socket.on("close", () => {
      this.closedMs = monotonicMs();
      this.closedBy ||= "closed";
      this.#ready.reject(new Error(`${this.kind} ${host}:${port} ${this.closedBy}`));
    });
    socket.once("secureConnect", () => {
      this.server = names.get(socket.getPeerCertificate().fingerprint256) ?? "";
      this.counter = this.kind === "request" ? undefined : new EventCounter(feed, this.server);
      this.#ask();
    });
    socket.on("data", (chunk: Buffer) => {
      const nowMs = monotonicMs();
      this.lastHeardMs = nowMs;
      this.askedMs = null;
      this.counter?.read(chunk.toString("latin1"), nowMs);
      if (this.counter === undefined || this.counter.any) this.#ready.resolve();
    });
    return this.#ready.promise;
  }

  /** Asks again and again, from now on. */
  keepAsking(): void {
    if (this.kind === "request") setInterval(() => this.#ask(), options.everyMs);
  }

  #ask(): void {
    if (this.closedMs !== null || this.#finished !== "" || this.server === "") return;
    // One at a time, as a client of the API does.
    if (this.askedMs !== null) return;
    this.askedMs = monotonicMs();
    const path = this.kind === "request" ? options.requestPath : options.watchPath;
    this.#socket?.write(`GET ${path} HTTP/1.1\r\nHost: kubernetes\r\nAccept: application/json\r\n\r\n`);
  }

  report(): ClientReport {
    const { kind, server, closedMs, closedBy, lastHeardMs, askedMs } = this;
    return { kind, server, closedMs, closedBy, lastHeardMs, askedMs, events: this.counter?.seen() ?? null };
  }

  /** Sends FIN and waits for the other side's; undefined for one that had ended before. */
  finish(): Promise<Ending> | undefined {
    const socket = this.#socket;
    if (socket === undefined || this.closedMs !== null) return undefined;
    this.#finished = "asked";
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        resolve({ server: this.server, how: "hung" });
        socket.destroy();
      }, FINISH_MS);
      socket.once("close", () => {
        clearTimeout(timer);
        resolve({ server: this.server, how: this.closedBy });
      });
      socket.end();
    });
  }
}

/** A handshake may fail on a busy machine, and then the client tries again, as clients do. */
async function open(client: Client, host: string, port: number): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await client.open(host, port);
      break;
    } catch (error) {
      if (tries === TRIES) throw error;
    }
  }
  client.keepAsking();
}

async function openAll(clients: readonly Client[], host: string): Promise<void> {
  const waiting = [...clients];
  const worker = async (): Promise<void> => {
    for (let client = waiting.pop(); client !== undefined; client = waiting.pop())
      await open(client, host, options.port);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const direct = options.direct.map((host) => ({ host, client: new Client("direct") }));
const clients = Array.from(
  { length: options.watches + options.requests },
  (_, index) => new Client(index < options.watches ? "watch" : "request"),
);
for (const { host, client } of direct) await open(client, host, 6443);
await openAll(clients, options.host);
process.stdout.write("ready\n");

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [word = "", node] = line.split(" ");
    const everyone = [...direct.map(({ client }) => client), ...clients];
    switch (word) {
      case "mark":
        for (const { counter } of everyone) counter?.mark();
        break;
      case "report":
        process.stdout.write(`${JSON.stringify(everyone.map((client) => client.report()))}\n`);
        break;
      case "finish":
        void Promise.all(
          clients.filter(({ server }) => server !== node).flatMap((client) => client.finish() ?? []),
        ).then((endings) => process.stdout.write(`${JSON.stringify(endings)}\n`));
        break;
    }
  })
  .once("close", () => process.exit());
