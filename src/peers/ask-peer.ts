/**
 * Asks another node's agent. The connection counts only when the key at its other end is the one that the
 * Lease named for that node: nothing is sent before that is known. What comes back is bounded in bytes and in
 * time, and stays a text that is not trusted. An answer may also be followed while it goes on.
 */
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";
import { LineSplitter } from "../kube/line-splitter.ts";
import { hostPort } from "../net.ts";
import { keyIdOf } from "./certificate.ts";
import type { PeerIdentity } from "./identity.ts";
import type { Peer } from "./known-peers.ts";

export type PeerAnswer =
  | { readonly kind: "ok"; readonly text: string }
  /** Why there is no answer, as the end of the sentence "the agent of NODE at ADDRESS: ...". */
  | { readonly kind: "failed"; readonly why: string };

export interface AskOptions {
  /** Numeric address to ask from: a peer answers only at known addresses. Default: the kernel's choice. */
  readonly from?: string;
  readonly timeoutMs: number;
  readonly mostBytes: number;
}

/** Gets `path` from the peer. Never rejects. */
export async function askPeer(
  identity: PeerIdentity,
  peer: Peer,
  path: string,
  { timeoutMs, mostBytes, from }: AskOptions,
): Promise<PeerAnswer> {
  const signal = AbortSignal.timeout(timeoutMs);
  let socket: TLSSocket | undefined;
  try {
    socket = await connected(identity, peer, from, signal);
    return { kind: "ok", text: await answer(socket, peer, path, mostBytes, signal) };
  } catch (error) {
    return { kind: "failed", why: signal.aborted ? `no answer in ${timeoutMs} ms` : reasonOf(error) };
  } finally {
    socket?.destroy();
  }
}

function connected(
  { key, cert }: PeerIdentity,
  peer: Peer,
  from: string | undefined,
  signal: AbortSignal,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: peer.ip,
      port: peer.port,
      ...(from === undefined ? {} : { localAddress: from }),
      key,
      cert,
      minVersion: "TLSv1.3",
      // No authority has signed the certificate. Its key is compared below, which says more.
      rejectUnauthorized: false,
    });
    const give = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    const late = (): void => give(new Error("too late"));
    signal.addEventListener("abort", late, { once: true });
    if (signal.aborted) return late();
    // The error of a connection that has ended already is told by its request.
    socket.on("error", give);
    socket.once("secureConnect", () => {
      signal.removeEventListener("abort", late);
      const certificate = socket.getPeerX509Certificate();
      if (certificate !== undefined && keyIdOf(certificate) === peer.key) resolve(socket);
      else give(new Error("what answers there has another key than the Lease names for this node"));
    });
  });
}

async function answer(
  socket: TLSSocket,
  peer: Peer,
  path: string,
  mostBytes: number,
  signal: AbortSignal,
): Promise<string> {
  const response = await responseOf(socket, peer, path, signal);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    response.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= mostBytes) return void chunks.push(chunk);
      reject(new Error("the answer is too long"));
      response.destroy();
    });
    response.on("error", reject);
    response.on("aborted", () => reject(new Error("the answer ended early")));
    response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
  });
}

/** Resolves with the beginning of an answer of status 200. Rejects for every other. */
function responseOf(
  socket: TLSSocket,
  peer: Peer,
  path: string,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        createConnection: () => socket,
        path,
        headers: { host: hostPort(peer.ip, peer.port), connection: "close" },
        maxHeaderSize: 8 * 1_024,
        signal,
      },
      (response) => {
        if (response.statusCode === 200) return resolve(response);
        response.destroy();
        reject(new Error(`it answered ${response.statusCode}`));
      },
    );
    sent.on("error", reject);
    sent.end();
  });
}

export interface FollowOptions {
  /** As of {@link AskOptions}. */
  readonly from?: string;
  /** Milliseconds until the key at the other end must be known. */
  readonly connectMs: number;
  /** Milliseconds after which the stream is ended here. */
  readonly lifeMs: number;
  /** The longest line that is taken, in bytes. */
  readonly mostBytes: number;
  /**
   * Milliseconds between two lines that are passed on. A peer that sends more has to wait, by TCP, and of what
   * came together the last line counts.
   */
  readonly betweenMs: number;
}

/** Milliseconds of silence after which TCP asks whether the peer's machine is there (tcp(7), TCP_KEEPIDLE). */
const KEEP_ALIVE_MS = 10_000;

/**
 * Gets `path` from the peer and passes on the lines of the answer as they come. Calls `onEnd` once when the
 * answer ends or none comes, unless `close` was called before.
 */
export function followPeer(
  identity: PeerIdentity,
  peer: Peer,
  path: string,
  { from, connectMs, lifeMs, mostBytes, betweenMs }: FollowOptions,
  onLine: (line: string) => void,
  onEnd: () => void,
): { close(): void } {
  const closed = new AbortController();
  const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(lifeMs)]);

  async function follow(): Promise<void> {
    let socket: TLSSocket | undefined;
    try {
      socket = await connected(
        identity,
        peer,
        from,
        AbortSignal.any([signal, AbortSignal.timeout(connectMs)]),
      );
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      const response = await responseOf(socket, peer, path, signal);
      const splitter = new LineSplitter(mostBytes);
      for await (const chunk of response) {
        const lines = Buffer.isBuffer(chunk) ? splitter.push(chunk) : undefined;
        if (lines === undefined) break;
        const line = lines.at(-1);
        if (line === undefined) continue;
        if (signal.aborted) break;
        onLine(line);
        await delay(betweenMs, undefined, { signal });
      }
    } catch {
      // Whatever ended it, the caller asks again. `askPeer` says why a peer does not answer.
    } finally {
      socket?.destroy();
    }
    if (!closed.signal.aborted) onEnd();
  }

  void follow();
  return { close: () => closed.abort() };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // A peer ends the connection of a client that it does not know, before or after the handshake.
  return "code" in error && error.code === "ECONNRESET"
    ? "it closed the connection, which it does when it does not know this node's key or address yet"
    : error.message;
}
