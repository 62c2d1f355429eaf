/** A real proxy on a free port, and clients for it. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Backend, BackendId } from "../../../src/backends/backend.ts";
import { systemClock } from "../../../src/clock.ts";
import { silentLogger } from "../../../src/log.ts";
import {
  createBalancer,
  type Balancer,
  type BalancerDeps,
  type BalancerSettings,
} from "../../../src/proxy/balancer.ts";
import type { ProxyBackend, ProxySettings } from "../../../src/proxy/messages.ts";
import { ProxyThreads, type ProxyThreadsDeps } from "../../../src/proxy/threads.ts";

export const clock = systemClock(() => performance.now());

export const settings: BalancerSettings = {
  balancerPort: 0,
  balancerAddresses: undefined,
  balancerWorkers: 1,
  algorithm: "roundrobin",
  maxConnections: 1000,
  slowStartMs: 0,
  connectTimeoutMs: 500,
  drainTimeoutMs: 300,
  checkPath: "/readyz",
  checkIntervalMs: 100,
  checkTimeoutMs: 300,
  checkRise: 2,
  checkFall: 3,
};

export const workerUrl = new URL("../../../src/proxy/worker.ts", import.meta.url);

/** Not started. */
export function makeBalancer(
  changes: Partial<BalancerSettings> = {},
  deps: Partial<BalancerDeps> = {},
): Balancer {
  return createBalancer({
    clock,
    log: silentLogger,
    settings: { ...settings, ...changes },
    local: () => undefined,
    tls: () => undefined,
    workerUrl,
    ...deps,
  });
}

/** Waits until `condition` holds. Throws after `limitMs`, which is a bound and not an expectation. */
export async function until(what: string, condition: () => boolean, limitMs = 10_000): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function openClient(port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  await once(socket, "connect");
  return socket;
}

/** How a connection went, from the client's side. */
export interface Ending {
  readonly bytes: Buffer;
  /** An orderly end, or the error's code. */
  readonly end: string;
}

/** Reads until the other side ends or breaks the connection, then closes it. */
export function readAll(socket: Socket): Promise<Ending> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    const done = (end: string): void => {
      socket.destroy();
      resolve({ bytes: Buffer.concat(chunks), end });
    };
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.once("end", () => done("FIN"));
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
  });
}

/** Sends `text`, half-closes, reads all. */
export async function exchange(port: number, text: string): Promise<Ending> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  const ending = readAll(socket);
  socket.end(text);
  return await ending;
}

export interface ProxyUnderTest {
  readonly port: number;
  readonly threads: ProxyThreads;
  /** Backends that the worker found unreachable, in order. */
  readonly failed: readonly BackendId[];
  /** These take new connections from now on. */
  serve(backends: readonly Backend[]): void;
  closeSessions(id: BackendId): void;
  stop(drainMs?: number): Promise<void>;
}

/** The workers alone, without health checks: what they are told stands. */
export async function startProxy(
  backends: readonly Backend[],
  changes: Partial<ProxySettings> = {},
  deps: Partial<Pick<ProxyThreadsDeps, "workers" | "workerUrl" | "openPending" | "closeListener">> = {},
): Promise<ProxyUnderTest> {
  const failed: BackendId[] = [];
  let current = backends;
  const listed = (): readonly ProxyBackend[] =>
    current.map((backend) => ({ ...backend, serving: true, returnedAgoMs: undefined }));
  const threads = new ProxyThreads({
    clock,
    log: silentLogger,
    settings: {
      port: 0,
      algorithm: "roundrobin",
      maxConnections: 1000,
      slowStartMs: 0,
      connectTimeoutMs: 300,
      ...changes,
    },
    workers: 1,
    workerUrl,
    ...deps,
    backends: listed,
    onConnectFailed: (id) => void failed.push(id),
    onChange: () => {},
  });
  await threads.start();
  return {
    port: threads.listening ?? 0,
    threads,
    failed,
    serve: (backends) => {
      current = backends;
      threads.post({ kind: "backends", backends: listed() });
    },
    closeSessions: (id) => threads.post({ kind: "close-sessions", id }),
    stop: (drainMs = 0) => threads.stop(drainMs),
  };
}
