/**
 * Holds `count` connections and writes one JSON line for each thing that happens to one:
 * {"c":3,"t":1234.5,"e":"open"|"line"|"close"|"error","v":"..."}; t in CLOCK_MONOTONIC ms.
 */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { monotonicMs } from "../clock.ts";
import type { HoldOptions } from "../hold.ts";

const options: HoldOptions = JSON.parse(process.argv[2] ?? "{}");
const { tls } = options;
const read = (file: string | undefined): Buffer | undefined => (file === undefined ? undefined : readFileSync(file));
const ca = read(tls?.caFile);
const cert = read(tls?.certFile);
const key = read(tls?.keyFile);

let pending = "";
function report(connection: number, event: string, value = ""): void {
  if (pending === "") setTimeout(flush, 5);
  pending += `${JSON.stringify({ c: connection, t: Math.round(monotonicMs() * 1000) / 1000, e: event, v: value })}\n`;
}
function flush(): void {
  process.stdout.write(pending);
  pending = "";
}

function open(): Socket {
  const target = { host: options.host, port: options.port, noDelay: true };
  if (tls === undefined) return connect(target);
  return connectTls({
    ...target,
    servername: tls.servername ?? "kubernetes",
    rejectUnauthorized: ca !== undefined,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  });
}

function hold(id: number): void {
  const socket = open();
  let closing = "closed";
  socket.on("error", (error: NodeJS.ErrnoException) => (closing = error.code ?? error.message));
  socket.on("end", () => (closing = "ended"));
  socket.on(tls === undefined ? "connect" : "secureConnect", () => {
    report(id, "open");
    switch (options.mode) {
      case "echo": {
        let sequence = 0;
        const timer = setInterval(() => socket.write(`${sequence++} ${monotonicMs().toFixed(3)}\n`), options.everyMs ?? 100);
        socket.on("close", () => clearInterval(timer));
        break;
      }
      case "watch":
        get();
        break;
      case "request": {
        const timer = setInterval(() => get(), options.everyMs ?? 100);
        socket.on("close", () => clearInterval(timer));
        get();
        break;
      }
      case "listen":
        break;
    }
  });
  function get(): void {
    socket.write(`GET ${options.path ?? "/"} HTTP/1.1\r\nHost: kubernetes\r\nAccept: application/json\r\n\r\n`);
  }
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) report(id, "line", line.trimEnd());
  });
  socket.on("close", () => report(id, "close", closing));
}

for (let id = 0; id < (options.count ?? 60); id++) hold(id);
setInterval(() => {}, 1 << 30); // stays to tell that all have ended
