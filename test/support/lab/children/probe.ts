/**
 * Opens a new connection every `intervalMs` and writes one line for each attempt that ended:
 * `<sent> <duration> <ok|error code>`, times in CLOCK_MONOTONIC milliseconds.
 */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { monotonicMs } from "../clock.ts";
import type { ProbeOptions } from "../probe.ts";

const options: ProbeOptions = JSON.parse(process.argv[2] ?? "{}");
const timeoutMs = options.timeoutMs ?? 3000;
const intervalMs = options.intervalMs ?? 5;
const path = options.path;
const ca = options.tls?.caFile === undefined ? undefined : readFileSync(options.tls.caFile);

function open(): Socket {
  const target = { host: options.host, port: options.port, noDelay: true };
  if (options.tls === undefined) return connect(target);
  return connectTls({
    ...target,
    servername: options.tls.servername ?? "kubernetes",
    rejectUnauthorized: ca !== undefined,
    ...(ca === undefined ? {} : { ca }),
  });
}

function probe(): void {
  const sentMs = monotonicMs();
  const socket = open();
  let done = false;
  const finish = (outcome: string): void => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    process.stdout.write(`${sentMs.toFixed(3)} ${(monotonicMs() - sentMs).toFixed(3)} ${outcome}\n`);
    if (outcome === "ok") socket.end();
    else socket.destroy();
  };
  const timer = setTimeout(() => finish("ETIMEDOUT"), timeoutMs);
  // A peer that never closes its half must not pile up sockets here.
  socket.setTimeout(timeoutMs, () => socket.destroy());
  socket.on("error", (error: NodeJS.ErrnoException) =>
    finish((error.code ?? error.message).replaceAll(" ", "-")),
  );
  socket.on("close", () => finish("closed"));
  socket.on("end", () => finish("ended"));
  socket.on(options.tls === undefined ? "connect" : "secureConnect", () => {
    if (path === undefined) finish("ok");
    else socket.write(`GET ${path} HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n`);
  });
  let head = "";
  socket.on("data", (chunk: Buffer) => {
    if (done || path === undefined) return;
    head += chunk.toString("latin1");
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
    if (status !== undefined) finish(status === String(options.status ?? 200) ? "ok" : `HTTP-${status}`);
    else if (head.length > 64) finish("not-HTTP");
  });
}

// Timers have whole milliseconds and come late under load: aim at the grid, skip what was missed.
const startMs = monotonicMs();
let due = 0;
function next(): void {
  probe();
  due = Math.max(due + 1, Math.ceil((monotonicMs() - startMs) / intervalMs));
  setTimeout(next, Math.max(0, startMs + due * intervalMs - monotonicMs()));
}
next();
