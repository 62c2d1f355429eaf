/**
 * Watches of the Lease: streams that an API server fills from the history, in order, until they end, are
 * torn, or fall silent.
 */
import type { WatchHandlers } from "../../src/kube/transport.ts";
import { status } from "./lease-table.ts";
import type { LeaseTable } from "./lease-table.ts";
import type { Network } from "./network.ts";
import type { SimProcess } from "./process.ts";
import { DISTRUST } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

interface Stream {
  readonly node: number;
  readonly server: number;
  readonly process: SimProcess;
  readonly handlers: WatchHandlers;
  /** Index of the next event in the table's history. */
  next: number;
  lastDeliveryMs: number;
  open: boolean;
}

/** What the API servers are to their watches. */
interface Servers {
  readonly table: LeaseTable;
  readonly modes: readonly { readonly kind: string }[];
  readonly deafWatch: readonly boolean[];
  readonly refusal: readonly number[];
  quorate(server: number): boolean;
}

export class Watches {
  readonly #plane: Servers;
  readonly #scheduler: Scheduler;
  readonly #network: Network;
  readonly #random: Random;
  #streams: Stream[] = [];

  constructor(plane: Servers, scheduler: Scheduler, network: Network, random: Random) {
    this.#plane = plane;
    this.#scheduler = scheduler;
    this.#network = network;
    this.#random = random;
  }

  /** Something is new, or can be told now. */
  pumpAll(): void {
    for (const stream of this.#streams) this.#pump(stream);
  }

  /** The server's machine is gone: nobody is told that the stream has ended. */
  lose(server: number): void {
    this.#streams = this.#streams.filter((stream) => stream.server !== server);
  }

  tear(which: (server: number) => boolean): void {
    for (const stream of this.#streams.filter(({ server }) => which(server))) {
      this.#endStream(stream, { kind: "error", message: "connection reset" });
    }
  }

  open(
    node: number,
    process: SimProcess,
    server: number,
    path: string,
    handlers: WatchHandlers,
  ): { close(): void } {
    const query = new URL(path, "http://api").searchParams;
    const stream: Stream = { node, server, process, handlers, next: 0, lastDeliveryMs: 0, open: true };
    this.#network.send(node, server, process.trueMs, () => this.#opened(stream, query));
    return {
      close: () => {
        stream.open = false;
        this.#streams = this.#streams.filter((other) => other !== stream);
      },
    };
  }

  #opened(stream: Stream, query: URLSearchParams): void {
    const mode = this.#plane.modes[stream.server]?.kind;
    if (!stream.open || mode === "dark" || mode === "hung") return;
    if (mode === "down") return this.#endStream(stream, { kind: "error", message: "connection refused" });
    const refusal = this.#plane.refusal[stream.node] ?? 0;
    if (refusal === DISTRUST)
      return this.#endStream(stream, { kind: "error", message: "certificate signed by unknown authority" });
    if (refusal !== 0) return this.#endStream(stream, { kind: "status", status: refusal });
    const from = this.#plane.table.watchFrom(query.get("resourceVersion"));
    if (from === "expired") {
      this.#deliver(stream, (handlers) => handlers.onEvent("ERROR", status(410, "too old resource version")));
      return this.#endStream(stream, { kind: "end" });
    }
    stream.next = from;
    this.#streams.push(stream);
    this.#pump(stream);
    const lifeMs = Number(query.get("timeoutSeconds") ?? "60") * 1_000;
    this.#scheduler.after(lifeMs, () => {
      if (stream.open && this.#plane.modes[stream.server]?.kind === "up")
        this.#endStream(stream, { kind: "end" });
    });
  }

  #pump(stream: Stream): void {
    const { server } = stream;
    if (!stream.open || !stream.process.alive) return;
    if (
      this.#plane.deafWatch[server] === true ||
      this.#plane.modes[server]?.kind === "hung" ||
      !this.#plane.quorate(server)
    )
      return;
    if (!this.#network.open(server, stream.node)) return;
    for (const event of this.#plane.table.eventsFrom(stream.next)) {
      this.#deliver(stream, (handlers) => handlers.onEvent(event.type, event.object));
    }
    stream.next = this.#plane.table.historyEnd;
  }

  #deliver(stream: Stream, what: (handlers: WatchHandlers) => void): void {
    const atMs = Math.max(
      stream.lastDeliveryMs,
      this.#scheduler.nowMs + this.#random.between(0.2, 4) + this.#network.delay(stream.server, stream.node),
    );
    stream.lastDeliveryMs = atMs;
    this.#scheduler.at(atMs, () =>
      stream.process.deliver(() => {
        if (stream.open) what(stream.handlers);
      }),
    );
  }

  #endStream(stream: Stream, reason: Parameters<WatchHandlers["onEnd"]>[0]): void {
    this.#streams = this.#streams.filter((other) => other !== stream);
    // The end of a connection does not get through a cut either: the client hears nothing more.
    if (!this.#network.open(stream.server, stream.node)) return;
    this.#deliver(stream, (handlers) => {
      stream.open = false;
      handlers.onEnd(reason);
    });
  }
}
