/** What an API server's port can do to a health check: `GET /readyz` over TLS, healthy or with a fault. */
import { createServer as createHttp, type Server as HttpServer } from "node:http";
import type { Socket } from "node:net";
import { TLSSocket, createSecureContext, type SecureContext } from "node:tls";
import type { CheckTls } from "../../../src/backends/probe.ts";
import { authority, issue, issueServing } from "./pki.ts";
import { startServer, type TestServer } from "./servers.ts";

export type Behaviour =
  /** Answers /readyz with this status after `delayMs`; `close`: and ends the connection. */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly delayMs?: number;
      readonly close?: boolean;
      /** Default "ok". */
      readonly body?: string;
    }
  /** TLS works, no answer ever. */
  | { readonly kind: "hang" }
  /** The kernel accepts, the process is stopped. */
  | { readonly kind: "silent" }
  | { readonly kind: "reset" }
  | { readonly kind: "alert" }
  | { readonly kind: "garbage" }
  /** Headers, then an endless body. */
  | { readonly kind: "flood" };

const ca = authority("test-ca");
const serverCert = issueServing(ca);
const strangerCert = issueServing(authority("another-ca"));

const CLIENT = "leasehold";

/** Credentials that its servers accept and that accept its servers. */
export const checkTls: CheckTls = { ca: ca.cert, ...issue(ca, CLIENT), servername: "kubernetes" };

export interface ApiServer extends TestServer {
  behaviour: Behaviour;
  /** Requests for /readyz that came with a certificate of ours. */
  authenticated: number;
  requests: number;
  /** The header of each request, "" without one. */
  readonly authorizations: string[];
}

/** `stranger`: with a certificate of a CA that nobody trusts. */
export async function startApiServer(behaviour: Behaviour, port = 0, stranger = false): Promise<ApiServer> {
  const context = createSecureContext({ ...(stranger ? strangerCert : serverCert), ca: ca.cert });
  const authorizations: string[] = [];
  const state = { behaviour, authenticated: 0, requests: 0, authorizations };
  const http = httpServer(state);
  const server = await startServer((socket) => accept(socket, state.behaviour, context, http), port);
  return Object.assign(state, server);
}

function accept(socket: Socket, behaviour: Behaviour, secureContext: SecureContext, http: HttpServer): void {
  switch (behaviour.kind) {
    case "silent":
      return;
    case "reset":
      socket.resetAndDestroy();
      return;
    case "alert":
      // Alert, TLS 1.2, two bytes: fatal, handshake_failure (RFC 8446 section 6).
      socket.once("data", () => socket.end(Buffer.from("15030300020228", "hex")));
      return;
    case "status":
    case "hang":
    case "garbage":
    case "flood": {
      const tls = new TLSSocket(socket, {
        isServer: true,
        secureContext,
        requestCert: true,
        rejectUnauthorized: false,
      });
      tls.on("error", () => socket.destroy());
      if (behaviour.kind === "garbage") tls.once("data", () => tls.write("no HTTP at all\r\n\r\n"));
      else http.emit("connection", tls);
    }
  }
}

function httpServer(
  state: Pick<ApiServer, "requests" | "authenticated" | "authorizations"> & { readonly behaviour: Behaviour },
): HttpServer {
  return createHttp({ keepAliveTimeout: 0 }, (request, response) => {
    state.requests++;
    state.authorizations.push(request.headers.authorization ?? "");
    if (request.socket instanceof TLSSocket && request.socket.getPeerCertificate().subject?.CN === CLIENT)
      state.authenticated++;
    const { behaviour } = state;
    if (behaviour.kind === "flood") {
      response.writeHead(200);
      const block = Buffer.alloc(16_384, 97);
      const more = (): void =>
        void (response.write(block) ? setImmediate(more) : response.once("drain", more));
      response.once("close", () => response.destroy());
      more();
      return;
    }
    if (behaviour.kind !== "status") return;
    const answer = (): void => {
      if (behaviour.close === true) response.setHeader("connection", "close");
      response.writeHead(request.url === "/readyz" ? behaviour.status : 404);
      response.end(behaviour.body ?? "ok");
    };
    if (behaviour.delayMs === undefined) answer();
    else setTimeout(answer, behaviour.delayMs);
  });
}
