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
/**
 * A Go server ends TLS first (close_notify), waits half a second for the client, and then ends TCP. Whoever
 * sends FIN meanwhile is reset, and neither side keeps a socket in TIME-WAIT; whoever waits for the server's
 * FIN, and answers with nothing but its own, leaves the server with one.
 */
const serverCloses = options.finish === "server-closes";
const AFTER_ITS_FIN_MS = 1_000;
const read = (file: string | undefined): Buffer | undefined =>
  file === undefined ? undefined : readFileSync(file);
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

/** What carries the connection, and what is said over it. */
function open(id: number): { readonly tcp: Socket; readonly socket: Socket } {
  const tcp = connect({
    host: options.host,
    port: options.port,
    noDelay: true,
    allowHalfOpen: serverCloses,
    localPort: options.localPort === undefined ? undefined : options.localPort + id,
  });
  if (tls === undefined) return { tcp, socket: tcp };
  const socket = connectTls({
    socket: tcp,
    servername: tls.servername ?? "kubernetes",
    rejectUnauthorized: ca !== undefined,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  });
  return { tcp, socket };
}

/** Nothing is asked any more once the end has begun. */
let finishing = false;
const opened: ReturnType<typeof open>[] = [];

function finish({ tcp, socket }: ReturnType<typeof open>): void {
  switch (options.finish ?? "half-close") {
    case "half-close":
      socket.end();
      break;
    case "server-closes":
      socket.write(get("Connection: close\r\n"));
      break;
    case "reset":
      tcp.resetAndDestroy();
      break;
  }
}

const get = (headers = ""): string =>
  `GET ${options.path ?? "/"} HTTP/1.1\r\nHost: kubernetes\r\nAccept: application/json\r\n${headers}\r\n`;

function hold(id: number): void {
  const connection = open(id);
  const { socket } = connection;
  opened.push(connection);
  const ask = (): void => void (finishing || socket.write(get()));
  let closing = "closed";
  socket.on("error", (error: NodeJS.ErrnoException) => (closing = error.code ?? error.message));
  socket.on("end", () => {
    closing = "ended";
    if (serverCloses) setTimeout(() => socket.destroy(), AFTER_ITS_FIN_MS);
  });
  socket.on(tls === undefined ? "connect" : "secureConnect", () => {
    report(id, "open");
    switch (options.mode) {
      case "echo": {
        let sequence = 0;
        const timer = setInterval(
          () => socket.write(`${sequence++} ${monotonicMs().toFixed(3)}\n`),
          options.everyMs ?? 100,
        );
        socket.on("close", () => clearInterval(timer));
        break;
      }
      case "watch":
        ask();
        break;
      case "request": {
        const timer = setInterval(ask, options.everyMs ?? 100);
        socket.on("close", () => clearInterval(timer));
        ask();
        break;
      }
      case "listen":
        break;
    }
  });
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) report(id, "line", line.trimEnd());
  });
  socket.on("close", () => report(id, "close", closing));
}

for (let id = 0; id < (options.count ?? 60); id++) hold(id);
process.on("SIGUSR2", () => {
  finishing = true;
  for (const connection of opened) if (!connection.socket.destroyed) finish(connection);
});
setInterval(() => {}, 1 << 30); // stays to tell that all have ended
