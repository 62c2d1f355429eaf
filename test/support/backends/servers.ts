/** Backends for the balancer's tests, on loopback, each with a fault to play. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import type { Backend } from "../../../src/backends/backend.ts";
import { hostPort } from "../../../src/net.ts";

export interface TestServer {
  readonly port: number;
  readonly backend: Backend;
  readonly sockets: ReadonlySet<Socket>;
  /** Connections ever accepted. */
  accepted(): number;
  /** Stops listening and destroys what is open: the process has died. */
  close(): Promise<void>;
}

/** Listens on 127.0.0.1; `port` 0 takes a free one. Half-open connections are left to `handle`. */
export async function startServer(handle: (socket: Socket) => void, port = 0): Promise<TestServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted++;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    handle(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", 1024, resolve);
  });
  const address = server.address();
  if (typeof address !== "object" || address === null)
    throw new Error("a listening TCP server has an address");
  return {
    port: address.port,
    backend: backendAt(address.port),
    sockets,
    accepted: () => accepted,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.resetAndDestroy();
      }),
  };
}

export function backendAt(port: number, local = false): Backend {
  return { id: hostPort("127.0.0.1", port), host: "127.0.0.1", port, local };
}

/** Sends back what it gets, end included. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** A port on which nothing listens. */
export async function freePort(): Promise<number> {
  const server = await startServer(() => {});
  await server.close();
  return server.port;
}

/** A port whose SYNs are dropped. */
export async function startBlackHole(): Promise<{ readonly backend: Backend; close(): Promise<void> }> {
  const gate = new SharedArrayBuffer(4);
  const worker = new Worker(new URL("./deaf-listener.ts", import.meta.url), { workerData: gate });
  const port = await new Promise<number>((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (address: { readonly port: number }) => resolve(address.port));
  });
  // The accept queue takes backlog + 1 connections; a few more make sure, and stay unanswered.
  const fillers = Array.from({ length: 4 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  await new Promise((resolve) => setTimeout(resolve, 50));
  return {
    backend: backendAt(port),
    async close() {
      for (const filler of fillers) filler.destroy();
      Atomics.store(new Int32Array(gate), 0, 1);
      Atomics.notify(new Int32Array(gate), 0);
      await worker.terminate();
    },
  };
}
