import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { ServerOptions } from "node:https";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createTcpServer } from "node:net";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, describe, test } from "node:test";
import { TLSSocket } from "node:tls";
import { systemClock } from "../../../src/clock.ts";
import { createCredentials } from "../../../src/kube/credentials.ts";
import type { ClientCredentials } from "../../../src/kube/kubeconfig.ts";
import { ApiNoAnswer } from "../../../src/kube/transport.ts";
import type { ApiRequest, WatchHandlers } from "../../../src/kube/transport.ts";
import { createHttpsTransport } from "../../../src/kube/https-transport.ts";
import type { HttpsTransport } from "../../../src/kube/https-transport.ts";
import { silentLogger } from "../../../src/log.ts";
import { authority, issue, issueServing } from "../../support/backends/pki.ts";
import { kubeconfigText } from "./kubeconfig-fixture.ts";
import { settle } from "./scripted-transport.ts";

const ca = authority("kubernetes-ca");
const serving = issueServing(ca);
const GET: ApiRequest = { method: "GET", path: "/x" };
const LEASE: ApiRequest = {
  method: "GET",
  path: "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold",
};
const cleanups: (() => Promise<void> | void)[] = [];
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

function credentialsOf(name: string, more: Partial<ClientCredentials> = {}): ClientCredentials {
  const { cert, key } = issue(ca, name);
  const clientCertificate = { cert, key };
  return {
    path: name,
    ca: ca.cert,
    clientCertificate,
    token: undefined,
    servername: "kubernetes",
    startsAt: null,
    expiresAt: null,
    fingerprint: name,
    ...more,
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/**
 * A TLS server with kube-apiserver's manners: asks for a client certificate, verifies it, does not insist.
 */
async function apiServer(
  handler: Handler,
  more: ServerOptions = {},
): Promise<{ readonly address: string; readonly connections: () => number }> {
  const server = createServer(
    { ...serving, ca: ca.cert, requestCert: true, rejectUnauthorized: false, ...more },
    (request, response) => {
      void handler(request, response);
    },
  );
  let connections = 0;
  server.on("secureConnection", () => connections++);
  return { address: await listening(server), connections: () => connections };
}

async function listening(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return addressOf(server);
}

function addressOf(server: Server): string {
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return `127.0.0.1:${address.port}`;
}

function transportWith(...usable: ClientCredentials[]) {
  const verdicts: string[] = [];
  const transport: HttpsTransport = createHttpsTransport({
    clock: systemClock(() => performance.now()),
    log: silentLogger,
    credentials: {
      usable: () => usable,
      rejected: (each, status) => verdicts.push(`${each.path} ${status}`),
      accepted: (each) => verdicts.push(`${each.path} ok`),
      proved: () => {},
      mayTryOther: () => true,
    },
    servers: () => [],
    userAgent: "leasehold/test",
  });
  cleanups.push(() => transport.close());
  return { transport, verdicts, usable };
}

/** A transport whose credentials are two files. */
async function withFiles(address: string) {
  const directory = await mkdtemp(join(tmpdir(), "leasehold-transport-"));
  const [ownPath, adminPath] = [join(directory, "own"), join(directory, "admin")];
  await writeFile(ownPath, kubeconfigText(ca, issue(ca, "own")));
  await writeFile(adminPath, kubeconfigText(ca, issue(ca, "admin")));
  let laterMs = 0;
  const clock = systemClock(() => performance.now() + laterMs);
  const onChange = (): void => {};
  const credentials = createCredentials({ clock, log: silentLogger, ownPath, adminPath, onChange });
  await credentials.start();
  const transport = createHttpsTransport({
    clock,
    log: silentLogger,
    credentials,
    servers: () => [],
    userAgent: "leasehold/test",
  });
  cleanups.push(async () => {
    credentials.stop();
    transport.close();
    await rm(directory, { recursive: true });
  });
  return {
    transport,
    send: async (request: ApiRequest): Promise<number> =>
      (await transport.send(address, request, 5000)).status,
    later: (ms: number) => void (laterMs += ms),
    /** A new kubeconfig of the same user, which is tried at once. */
    writeOwn: async (trusted = ca) => {
      await writeFile(ownPath, kubeconfigText(trusted, issue(ca, "own")));
      await credentials.reload();
    },
  };
}

async function noAnswer(answer: Promise<unknown>): Promise<Pick<ApiNoAnswer, "reason" | "sent">> {
  try {
    await answer;
  } catch (error) {
    assert.ok(error instanceof ApiNoAnswer, String(error));
    return { reason: error.reason, sent: error.sent };
  }
  assert.fail("there was an answer");
}

function tlsOf(request: IncomingMessage): TLSSocket & { readonly servername?: unknown } {
  assert.ok(request.socket instanceof TLSSocket);
  return request.socket;
}

function peerName(request: IncomingMessage): string {
  return String(tlsOf(request).getPeerCertificate().subject.CN);
}

describe("one request", () => {
  test("goes out as it should, over one kept connection, with our certificate and the name kubernetes", async () => {
    const seen: unknown[] = [];
    const server = await apiServer(async (request, response) => {
      const body = await text(request);
      const socket = tlsOf(request);
      const { accept, "content-type": type, "user-agent": agent } = request.headers;
      seen.push([
        request.method,
        request.url,
        accept,
        type,
        agent,
        body,
        socket.servername,
        peerName(request),
        socket.authorized,
      ]);
      response.setHeader("content-type", "application/json").end('{"a":1}');
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    const patch: ApiRequest = {
      method: "PATCH",
      path: "/y?z=1",
      contentType: "application/json-patch+json",
      body: [{ op: "test" }],
    };
    const answer = await transport.send(server.address, patch, 5000);
    await transport.send(server.address, GET, 5000);
    assert.deepEqual(answer, { server: server.address, status: 200, body: { a: 1 } });
    assert.deepEqual(seen, [
      [
        "PATCH",
        "/y?z=1",
        "application/json",
        "application/json-patch+json",
        "leasehold/test",
        '[{"op":"test"}]',
        "kubernetes",
        "leasehold",
        true,
      ],
      ["GET", "/x", "application/json", undefined, "leasehold/test", "", "kubernetes", "leasehold", true],
    ]);
    assert.equal(server.connections(), 1);
  });

  test("an answer that is no JSON comes as text, an empty one as undefined", async () => {
    const server = await apiServer(
      (request, response) => void response.end(request.url === "/x" ? "404 page {not" : ""),
    );
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.equal((await transport.send(server.address, GET, 5000)).body, "404 page {not");
    assert.equal((await transport.send(server.address, { ...GET, path: "/empty" }, 5000)).body, undefined);
  });

  test("a token is sent as such", async () => {
    let seen: string | undefined;
    const server = await apiServer((request, response) => {
      seen = request.headers.authorization;
      response.end("{}");
    });
    const { transport } = transportWith(credentialsOf("t", { clientCertificate: undefined, token: "abc" }));
    await transport.send(server.address, GET, 5000);
    assert.equal(seen, "Bearer abc");
  });

  test("nobody listens: refused, and nothing was sent", async () => {
    const closed = createTcpServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const address = addressOf(closed);
    await new Promise((resolve) => closed.close(resolve));
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(address, GET, 5000)), { reason: "refused", sent: false });
  });

  test("accepts and closes before TLS: refused, and nothing was sent", async () => {
    const address = await listening(createTcpServer((socket) => socket.destroy()));
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(address, GET, 5000)), { reason: "refused", sent: false });
  });

  test("accepts and says nothing: silent, and nothing was sent, nor will it be", async () => {
    const address = await listening(createTcpServer(() => {}));
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(address, GET, 150)), { reason: "silent", sent: false });
  });

  test("takes the request and says nothing: silent, and it was sent; the next request goes elsewhere", async () => {
    let requests = 0;
    const server = await apiServer((_request, response) => {
      if (++requests > 1) response.end("{}");
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(server.address, GET, 300)), {
      reason: "silent",
      sent: true,
    });
    assert.equal((await transport.send(server.address, GET, 5000)).status, 200);
    assert.equal(server.connections(), 2);
  });

  test("a hung request does not hold up the next one", async () => {
    const server = await apiServer((request, response) => {
      if (request.url !== "/hang") response.end("{}");
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    const hung = noAnswer(transport.send(server.address, { ...GET, path: "/hang" }, 1000));
    assert.equal((await transport.send(server.address, GET, 5000)).status, 200);
    assert.deepEqual(await hung, { reason: "silent", sent: true });
  });

  test("reset in mid-answer: refused, and it was sent", async () => {
    const server = await apiServer((request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("half", () => request.socket.destroy());
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(server.address, GET, 5000)), {
      reason: "refused",
      sent: true,
    });
  });

  test("an answer that stops half-way is silent at the deadline", async () => {
    const server = await apiServer(
      (_request, response) => void response.writeHead(200, { "content-length": "100" }).write("half"),
    );
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(server.address, GET, 300)), {
      reason: "silent",
      sent: true,
    });
  });

  test("an answer without end is cut off", async () => {
    const server = await apiServer((_request, response) => {
      const chunk = Buffer.alloc(1024 * 1024, "x");
      for (let i = 0; i < 6; i++) response.write(chunk);
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(server.address, GET, 5000)), {
      reason: "refused",
      sent: true,
    });
  });

  test("a certificate for another name, or of another CA, is a TLS failure", async () => {
    const server = await apiServer((_request, response) => void response.end("{}"));
    const { transport } = transportWith(credentialsOf("a", { servername: "example.com" }));
    assert.deepEqual(await noAnswer(transport.send(server.address, GET, 5000)), {
      reason: "tls",
      sent: false,
    });
    const stranger = transportWith(credentialsOf("b", { ca: authority("other").cert }));
    assert.deepEqual(await noAnswer(stranger.transport.send(server.address, GET, 5000)), {
      reason: "tls",
      sent: false,
    });
  });

  test("no variable of Node's has a token sent to a server of another CA", async (t) => {
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    t.after(() => delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]);
    const server = await apiServer(() => assert.fail("a server that is not verified is asked nothing"));
    const stranger = { clientCertificate: undefined, token: "abc", ca: authority("other").cert };
    const { transport } = transportWith(credentialsOf("t", stranger));
    assert.equal((await noAnswer(transport.send(server.address, GET, 5000))).reason, "tls");
  });

  test("something that is no HTTP at all answers: somebody is there, but refuses", async () => {
    const server = await apiServer((request) => void request.socket.end("SSH-2.0-OpenSSH\r\n\r\n"));
    const { transport } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await noAnswer(transport.send(server.address, GET, 5000)), {
      reason: "refused",
      sent: true,
    });
  });

  test("without credentials nothing is sent", async () => {
    const server = await apiServer((_request, response) => void response.end("{}"));
    const { transport } = transportWith();
    assert.deepEqual(await noAnswer(transport.send(server.address, GET, 5000)), {
      reason: "credentials",
      sent: false,
    });
    assert.equal(server.connections(), 0);
  });
});

describe("connections", () => {
  test("one that is still being opened when its request is given up serves the next request", async () => {
    const urls: (string | undefined)[] = [];
    let slow = true;
    let goOn = (): void => {};
    const server = await apiServer(
      (request, response) => {
        urls.push(request.url);
        response.end("{}");
      },
      { SNICallback: (_name, done) => (slow ? void (goOn = () => done(null)) : done(null)) },
    );
    const { transport } = transportWith(credentialsOf("leasehold"));
    const givenUp = transport.send(server.address, { ...GET, path: "/late" }, 100);
    assert.deepEqual(await noAnswer(givenUp), { reason: "silent", sent: false });
    slow = false;
    goOn();
    while (server.connections() === 0) await settle();
    assert.equal((await transport.send(server.address, GET, 5000)).status, 200);
    assert.deepEqual([urls, server.connections()], [["/x"], 1]);
  });

  test("are not used again after an answer that closes them, nor after the server has closed them", async () => {
    const sockets: Socket[] = [];
    const server = await apiServer((request, response) => {
      sockets.push(request.socket);
      if (request.url === "/last") response.setHeader("connection", "close");
      response.end("{}");
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    for (let count = 0; count < 2; count++) {
      assert.equal((await transport.send(server.address, { ...GET, path: "/last" }, 5000)).status, 200);
      assert.equal((await transport.send(server.address, GET, 5000)).status, 200);
      const idle = sockets.at(-1) ?? assert.fail("no socket");
      const closed = new Promise((resolve) => idle.once("close", resolve));
      idle.end();
      await closed;
      await settle();
    }
    assert.equal(server.connections(), 4);
  });

  test("whose server keeps them for a second are not used again", async () => {
    const server = await apiServer((_request, response) => {
      response.writeHead(200, { connection: "keep-alive", "keep-alive": "timeout=1" }).end("{}");
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    for (let count = 0; count < 3; count++)
      assert.equal((await transport.send(server.address, GET, 5000)).status, 200);
    assert.equal(server.connections(), 3);
  });

  test("of one server are 32 at most: what finds none waits, and is never sent once it is given up", async () => {
    const held: ServerResponse[] = [];
    const urls = new Set<string | undefined>();
    const server = await apiServer((request, response) => {
      urls.add(request.url);
      held.push(response);
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    const ask = (path: string, timeoutMs = 10_000): Promise<unknown> =>
      transport.send(server.address, { ...GET, path }, timeoutMs);
    const first = Array.from({ length: 32 }, (_, index) => ask(`/${index}`));
    while (held.length < 32) await settle();
    const givenUp = ask("/given-up", 50);
    const later = ask("/later");
    assert.deepEqual(await noAnswer(givenUp), { reason: "silent", sent: false });
    assert.deepEqual([held.length, server.connections()], [32, 32]);
    for (const response of held.splice(0)) response.end("{}");
    await Promise.all(first);
    while (held.length === 0) await settle();
    held[0]?.end("{}");
    await later;
    assert.deepEqual([urls.has("/later"), urls.has("/given-up"), server.connections()], [true, false, 32]);
  });

  test("keep no listener of an earlier request", async () => {
    const server = await apiServer((_request, response) => void response.end("{}"));
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on("warning", warned);
    const { transport } = transportWith(credentialsOf("leasehold"));
    for (let count = 0; count < 50; count++) await transport.send(server.address, GET, 5000);
    await settle();
    process.off("warning", warned);
    assert.deepEqual([warnings, server.connections()], [[], 1]);
  });

  test("a header that cannot be sent is a failure of its request alone", async () => {
    const server = await apiServer((_request, response) => void response.end("{}"));
    const broken = credentialsOf("t", { clientCertificate: undefined, token: "a\nb" });
    const { transport, usable } = transportWith(broken);
    assert.equal((await noAnswer(transport.send(server.address, GET, 5000))).reason, "silent");
    usable.splice(0, 1, credentialsOf("leasehold"));
    assert.equal((await transport.send(server.address, GET, 5000)).status, 200);
  });

  test("end with the transport, and so does every request", async () => {
    const begun = Promise.withResolvers<void>();
    const server = await apiServer(() => begun.resolve());
    const { transport } = transportWith(credentialsOf("leasehold"));
    const hung = noAnswer(transport.send(server.address, GET, 5000));
    await begun.promise;
    transport.close();
    assert.deepEqual(await hung, { reason: "silent", sent: true });
    assert.equal((await noAnswer(transport.send(server.address, GET, 5000))).reason, "credentials");
  });
});

describe("credentials", () => {
  test("ours are turned away on the Lease: the same request goes out as admin", async () => {
    const server = await apiServer((request, response) => {
      response.statusCode = peerName(request) === "admin" ? 200 : 403;
      response.end("{}");
    });
    const { transport, verdicts } = transportWith(credentialsOf("own"), credentialsOf("admin"));
    assert.equal((await transport.send(server.address, LEASE, 5000)).status, 200);
    assert.deepEqual(verdicts, ["own 403", "admin ok"]);
  });

  test("ours have used the Lease before: a 403 is the answer, to a request and to a watch, and admin.conf stays unused", async () => {
    let status = 403;
    const askedAs: string[] = [];
    const server = await apiServer((request, response) => {
      askedAs.push(peerName(request));
      response.writeHead(peerName(request) === "admin" ? 200 : status).end("{}");
    });
    const { send, transport, writeOwn } = await withFiles(server.address);
    // While RBAC is not there: any other answer proves nothing.
    status = 200;
    assert.equal(await send(GET), 200);
    status = 403;
    assert.equal(await send(LEASE), 200);
    assert.deepEqual(askedAs, ["own", "own", "admin"]);
    await writeOwn();
    for (const proof of [404, 409, 200]) {
      status = proof;
      assert.equal(await send(LEASE), proof);
    }
    status = 403;
    askedAs.length = 0;
    for (let i = 0; i < 3; i++) assert.equal(await send(LEASE), 403);
    const end = await new Promise((resolve) => {
      transport.watch(server.address, `${LEASE.path}?watch=1`, { onEvent: () => {}, onEnd: resolve });
    });
    assert.deepEqual(end, { kind: "status", status: 403 });
    assert.deepEqual(askedAs, ["own", "own", "own", "own"]);
    status = 401;
    assert.equal(await send(LEASE), 200);
    assert.deepEqual(askedAs.slice(4), ["own", "admin"]);
  });

  test("ours have used the Lease before: a connection that the server ends leads to nothing, and a CA that does not fit to admin.conf", async () => {
    const askedAs: string[] = [];
    let resets = true;
    const server = await apiServer((request, response) => {
      askedAs.push(peerName(request));
      if (resets && peerName(request) === "own") request.socket.destroy();
      else response.end("{}");
    });
    const { send, later, writeOwn } = await withFiles(server.address);
    // Not proven: the reset may be about the certificate.
    assert.equal(await send(LEASE), 200);
    assert.deepEqual(askedAs, ["own", "admin"]);
    resets = false;
    await writeOwn();
    assert.equal(await send(LEASE), 200);
    resets = true;
    // Longer than what one server took says about the others.
    later(3_000);
    askedAs.length = 0;
    await assert.rejects(send(LEASE), ApiNoAnswer);
    assert.deepEqual(askedAs, ["own"]);
    // With the same user and another CA they have yet to prove themselves.
    await writeOwn(authority("other"));
    assert.equal(await send(LEASE), 200);
    assert.deepEqual(askedAs, ["own", "admin"]);
  });

  test("403 on something else is just an answer, 401 never is", async () => {
    let status = 403;
    const server = await apiServer((_request, response) => void response.writeHead(status).end("{}"));
    const { transport, verdicts } = transportWith(credentialsOf("own"), credentialsOf("admin"));
    assert.equal((await transport.send(server.address, GET, 5000)).status, 403);
    assert.deepEqual(verdicts, ["own ok"]);
    status = 401;
    assert.equal((await transport.send(server.address, GET, 5000)).status, 401);
    assert.deepEqual(verdicts, ["own ok", "own 401", "admin 401"]);
  });

  test("are swapped without breaking a request under way", async () => {
    const waiting: ServerResponse[] = [];
    const names: string[] = [];
    const server = await apiServer((request, response) => {
      names.push(peerName(request));
      if (request.url === "/slow") waiting.push(response);
      else response.end("{}");
    });
    const { transport, usable } = transportWith(credentialsOf("old"));
    const slow = transport.send(server.address, { ...GET, path: "/slow" }, 5000);
    while (waiting.length === 0) await settle();
    usable.splice(0, 1, credentialsOf("new"));
    assert.equal((await transport.send(server.address, GET, 5000)).status, 200);
    waiting[0]?.end('{"done":true}');
    const ended = new Promise((resolve) => waiting[0]?.socket?.once("close", resolve));
    assert.deepEqual((await slow).body, { done: true });
    assert.deepEqual(names, ["old", "new"]);
    // The connection of credentials that are gone is not kept.
    await ended;
  });
});

describe("a watch", () => {
  function watched(transport: HttpsTransport, address: string) {
    const events: unknown[] = [];
    const ended = Promise.withResolvers<Parameters<WatchHandlers["onEnd"]>[0]>();
    const first = Promise.withResolvers<void>();
    const handle = transport.watch(address, "/w", {
      onEvent: (type, object) => {
        events.push([type, object]);
        first.resolve();
      },
      onEnd: ended.resolve,
    });
    return { events, ended: ended.promise, first: first.promise, handle };
  }

  test("delivers events, however the bytes are cut, and the end", async () => {
    const server = await apiServer(async (_request, response) => {
      const bytes = Buffer.from(
        '{"type":"ADDED","object":{"n":"ä"}}\n\n{"type":"MODIFIED","object":2}\n{"type":"DELETED","object":3}\n',
      );
      for (const byte of bytes) {
        response.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    const { events, ended } = watched(transport, server.address);
    assert.deepEqual(await ended, { kind: "end" });
    assert.deepEqual(events, [
      ["ADDED", { n: "ä" }],
      ["MODIFIED", 2],
      ["DELETED", 3],
    ]);
  });

  test("tells the status of a refused watch, and lets the credentials know", async () => {
    const server = await apiServer((_request, response) => void response.writeHead(401).end("{}"));
    const { transport, verdicts } = transportWith(credentialsOf("leasehold"));
    assert.deepEqual(await watched(transport, server.address).ended, { kind: "status", status: 401 });
    assert.deepEqual(verdicts, ["leasehold 401"]);
  });

  test("a reset in mid-stream, garbage and an endless line end it as errors", async () => {
    const { transport } = transportWith(credentialsOf("leasehold"));
    const reset = await apiServer(
      (request, response) => void response.write('{"type":"ADDED","obj', () => request.socket.destroy()),
    );
    assert.equal((await watched(transport, reset.address).ended).kind, "error");
    const garbage = await apiServer((_request, response) => void response.write('{"type":1,"object":{}}\n'));
    assert.equal((await watched(transport, garbage.address).ended).kind, "error");
    const endless = await apiServer((_request, response) => void response.write("x".repeat(2 * 1024 * 1024)));
    assert.equal((await watched(transport, endless.address).ended).kind, "error");
  });

  test("closing it ends the stream at the server and says nothing", async () => {
    const gone = Promise.withResolvers<void>();
    const server = await apiServer((request, response) => {
      request.socket.on("close", () => gone.resolve());
      response.write('{"type":"ADDED","object":1}\n');
    });
    const { transport } = transportWith(credentialsOf("leasehold"));
    const { handle, first, ended } = watched(transport, server.address);
    await first;
    handle.close();
    handle.close();
    await gone.promise;
    assert.equal(await Promise.race([ended, Promise.resolve("nothing")]), "nothing");
  });
});
