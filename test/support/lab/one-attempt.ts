/**
 * One new connection of a client, to its outcome: what {@link ClientProbe} and the soak's prober do again and
 * again.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";

export interface AttemptTarget {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  /** TLS with this server name; verified where there is an authority. */
  readonly tls: { readonly ca: Buffer | undefined; readonly servername: string } | undefined;
  /** Send one GET and count only `status`; without it an open connection (TLS: handshake) counts. */
  readonly path: string | undefined;
  readonly status: number;
}

function open({ host, port, tls }: AttemptTarget): Socket {
  const target = { host, port, noDelay: true };
  if (tls === undefined) return connect(target);
  const { ca, servername } = tls;
  const authority = ca === undefined ? {} : { ca };
  return connectTls({ ...target, servername, rejectUnauthorized: ca !== undefined, ...authority });
}

/** Calls `done` once, with `ok` or an error code without spaces. */
export function attemptOnce(target: AttemptTarget, done: (outcome: string) => void): void {
  const { path, timeoutMs } = target;
  const socket = open(target);
  let ended = false;
  const finish = (outcome: string): void => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    done(outcome);
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
  socket.on(target.tls === undefined ? "connect" : "secureConnect", () => {
    if (path === undefined) finish("ok");
    else socket.write(`GET ${path} HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n`);
  });
  let head = "";
  socket.on("data", (chunk: Buffer) => {
    if (ended || path === undefined) return;
    head += chunk.toString("latin1");
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
    if (status !== undefined) finish(status === String(target.status) ? "ok" : `HTTP-${status}`);
    else if (head.length > 64) finish("not-HTTP");
  });
}
