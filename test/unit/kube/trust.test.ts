/** Whose fault a failure of TLS is: real servers, real certificates, two kubeconfigs. */
import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { ServerOptions } from "node:https";
import type { Socket } from "node:net";
import { after, describe, test } from "node:test";
import { TLSSocket } from "node:tls";
import { systemClock } from "../../../src/clock.ts";
import type { ClientCredentials } from "../../../src/kube/kubeconfig.ts";
import { ApiNoAnswer } from "../../../src/kube/transport.ts";
import type { ApiRequest, WatchHandlers } from "../../../src/kube/transport.ts";
import { createHttpsTransport } from "../../../src/kube/https-transport.ts";
import type { LogFields } from "../../../src/log.ts";
import { silentLogger } from "../../../src/log.ts";
import { authority, issue, issueServing } from "../../support/backends/pki.ts";
import { issue as issueFor, makeAuthority } from "../../support/embedded-api/certificates.ts";
import type { Authority, Certificate } from "../../support/embedded-api/certificates.ts";

const DAY_MS = 86_400_000;
const before = authority("kubernetes-ca");
/** What `kubeadm reset` and `kubeadm init` leave: another key, the same name. */
const now = authority("kubernetes-ca");
const LEASE: ApiRequest = {
  method: "GET",
  path: "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold",
};
const RENEWAL: ApiRequest = {
  ...LEASE,
  method: "PATCH",
  contentType: "application/json-patch+json",
  body: [],
};
const cleanups: (() => Promise<void> | void)[] = [];
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

function credentialsOf(
  name: string,
  ca: Authority,
  more: Partial<ClientCredentials> = {},
): ClientCredentials {
  const { cert, key } = issue(ca, name);
  return {
    path: name,
    ca: ca.cert,
    clientCertificate: { cert, key },
    token: undefined,
    user: name,
    servername: "kubernetes",
    startsAt: null,
    expiresAt: null,
    fingerprint: name,
    ...more,
  };
}

interface Api {
  readonly address: string;
  readonly users: string[];
  /** Starts again with certificates of another CA. */
  become(ca: Authority): void;
}

async function apiServer(
  ca: Authority,
  serving: Certificate = issueServing(ca),
  more: ServerOptions = {},
): Promise<Api> {
  const users: string[] = [];
  const options = { ...serving, ca: ca.cert, requestCert: true, rejectUnauthorized: false, ...more };
  const server = createServer(options, (request: IncomingMessage, response: ServerResponse) => {
    users.push(userOf(request));
    response.end(request.url?.includes("watch") === true ? '{"type":"ADDED","object":1}\n' : "{}");
  });
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => void sockets.add(socket));
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return {
    address: `127.0.0.1:${address.port}`,
    users,
    become(next) {
      server.setSecureContext({ ...issueServing(next), ca: next.cert });
      server.closeAllConnections();
    },
  };
}

function userOf({ socket }: IncomingMessage): string {
  assert.ok(socket instanceof TLSSocket);
  return String(socket.getPeerCertificate().subject.CN);
}

function transportWith(...usable: ClientCredentials[]) {
  const verdicts: string[] = [];
  const warnings: LogFields[] = [];
  const transport = createHttpsTransport({
    clock: systemClock(() => performance.now()),
    log: { ...silentLogger, warn: (fields) => void warnings.push(fields) },
    credentials: {
      usable: () => usable,
      rejected: (each, why) => verdicts.push(`${each.path}: ${String(why)}`),
      accepted: (each) => verdicts.push(`${each.path} ok`),
      proved: () => {},
      mayTryOther: () => true,
    },
    servers: () => [],
    userAgent: "leasehold/test",
  });
  cleanups.push(() => transport.close());
  return { transport, verdicts, warnings, usable };
}

async function failure(answer: Promise<unknown>): Promise<Pick<ApiNoAnswer, "reason" | "sent">> {
  const error = await answer.then(
    () => assert.fail("there was an answer"),
    (caught: unknown) => caught,
  );
  assert.ok(error instanceof ApiNoAnswer, String(error));
  return { reason: error.reason, sent: error.sent };
}

const expired = { notBefore: new Date(Date.now() - 2 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) };

describe("our own kubeconfig fails in TLS and admin.conf does not: the request goes out by admin.conf, and ours is found at fault", () => {
  const cases: Record<string, [own: ClientCredentials, told: RegExp]> = {
    "its CA is the one of before kubeadm reset": [
      credentialsOf("own", before),
      /its CA does not vouch for the server's certificate \(\w+\)$/,
    ],
    "its CA is of another name": [
      credentialsOf("own", authority("other")),
      /its CA does not vouch .*\(UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN\)$/,
    ],
    "its tls-server-name is wrong": [
      credentialsOf("own", now, { servername: "api.example.com" }),
      /the server's certificate is for another name \(ERR_TLS_CERT_ALTNAME_INVALID\)$/,
    ],
  };
  for (const [what, [own, told]] of Object.entries(cases)) {
    for (const request of [LEASE, RENEWAL]) {
      test(`${what}, ${request.method}`, async () => {
        const api = await apiServer(now);
        const { transport, verdicts } = transportWith(own, credentialsOf("admin", now));
        const answer = await transport.send(api.address, request, 5000);
        assert.deepEqual([answer.status, answer.user], [200, "admin"]);
        assert.deepEqual(api.users, ["admin"]);
        assert.equal(verdicts.length, 2);
        assert.ok(verdicts[0]?.startsWith(`own: ${api.address}: `), verdicts[0]);
        assert.match(verdicts[0] ?? "", told);
        assert.equal(verdicts[1], "admin ok");
      });
    }
  }

  test("its CA has expired, and admin.conf has the new one", async () => {
    const renewed = makeAuthority({
      commonName: "kubernetes-ca",
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
    });
    const old = makeAuthority({ commonName: "kubernetes-ca", ...expired });
    const api = await apiServer(renewed);
    const { transport, verdicts } = transportWith(
      credentialsOf("own", renewed, { ca: old.cert }),
      credentialsOf("admin", renewed),
    );
    assert.equal((await transport.send(api.address, LEASE, 5000)).status, 200);
    assert.deepEqual(
      verdicts.map((each) => each.split(/[: ]/)[0]),
      ["own", "admin"],
    );
  });

  for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
    test(`a server that insists on a certificate of its CA refuses ours, ${maxVersion}`, async () => {
      const api = await apiServer(now, issueServing(now), { rejectUnauthorized: true, maxVersion });
      const { cert, key } = issue(before, "own");
      const { transport, verdicts } = transportWith(
        credentialsOf("own", now, { clientCertificate: { cert, key } }),
        credentialsOf("admin", now),
      );
      assert.equal((await transport.send(api.address, LEASE, 5000)).status, 200);
      assert.deepEqual(api.users, ["admin"]);
      assert.ok(verdicts[0]?.startsWith("own: ") === true && verdicts[1] === "admin ok", verdicts.join());
    });
  }

  test("a watch moves on as well", async () => {
    const api = await apiServer(now);
    const { transport, verdicts } = transportWith(credentialsOf("own", before), credentialsOf("admin", now));
    const ended = Promise.withResolvers<Parameters<WatchHandlers["onEnd"]>[0]>();
    const events: unknown[] = [];
    transport.watch(api.address, "/watch", { onEvent: (type) => events.push(type), onEnd: ended.resolve });
    assert.deepEqual(await ended.promise, { kind: "end" });
    assert.deepEqual([events, api.users], [["ADDED"], ["admin"]]);
    assert.ok(verdicts[0]?.startsWith("own: ") === true && verdicts[1] === "admin ok", verdicts.join());
  });
});

describe("a server that no kubeconfig trusts", () => {
  const wrong: Record<string, () => Promise<Api>> = {
    "of another CA": () => apiServer(before),
    "whose certificate has expired": () =>
      apiServer(now, issueFor(now, { commonName: "kubernetes", names: ["kubernetes"], ...expired })),
    "whose certificate is for another name": () =>
      apiServer(
        now,
        issueFor(now, {
          commonName: "x",
          names: ["x.example.com"],
          notBefore: new Date(Date.now() - DAY_MS),
          notAfter: new Date(Date.now() + DAY_MS),
        }),
      ),
  };
  for (const [what, start] of Object.entries(wrong)) {
    test(`${what} is at fault itself: nothing is sent, no kubeconfig is, and the log names both files, once`, async () => {
      const api = await start();
      const { transport, verdicts, warnings } = transportWith(
        credentialsOf("own", now),
        credentialsOf("admin", now),
      );
      for (let i = 0; i < 3; i++)
        assert.deepEqual(await failure(transport.send(api.address, LEASE, 5000)), {
          reason: "tls",
          sent: false,
        });
      assert.deepEqual(verdicts, []);
      assert.deepEqual(api.users, []);
      assert.deepEqual(
        warnings.map(({ server, path }) => [server, path]),
        [
          [api.address, "own"],
          [api.address, "admin"],
        ],
      );
      assert.match(String(warnings[0]?.["reason"]), /\(\w+\)$/);
    });
  }

  test("ends a watch with an error, after both were tried", async () => {
    const api = await apiServer(before);
    const { transport, verdicts } = transportWith(credentialsOf("own", now), credentialsOf("admin", now));
    const ended = Promise.withResolvers<Parameters<WatchHandlers["onEnd"]>[0]>();
    transport.watch(api.address, "/watch", { onEvent: () => {}, onEnd: ended.resolve });
    assert.equal((await ended.promise).kind, "error");
    assert.deepEqual(verdicts, []);
  });
});

describe("a server of another cluster, which only admin.conf trusts", () => {
  test("is not asked while ours are good elsewhere: two clusters' Leases would be mixed", async () => {
    const [ours, stranger] = [await apiServer(now), await apiServer(before)];
    const { transport, verdicts } = transportWith(credentialsOf("own", now), credentialsOf("admin", before));
    await transport.send(ours.address, LEASE, 5000);
    assert.deepEqual(await failure(transport.send(stranger.address, LEASE, 5000)), {
      reason: "tls",
      sent: false,
    });
    assert.deepEqual(stranger.users, []);
    assert.deepEqual(verdicts, ["own ok"]);
  });

  test("but when every server has changed its CA, one round over them is enough for the change-over", async () => {
    const servers = [await apiServer(before), await apiServer(before), await apiServer(before)];
    const { transport, verdicts } = transportWith(credentialsOf("own", before), credentialsOf("admin", now));
    for (const { address } of servers) await transport.send(address, LEASE, 5000);
    assert.deepEqual(verdicts.splice(0), ["own ok", "own ok", "own ok"]);
    for (const server of servers) server.become(now);
    const [a, b, c] = servers.map(({ address }) => address);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    for (const address of [a, b]) await failure(transport.send(address, LEASE, 5000));
    assert.equal((await transport.send(c, LEASE, 5000)).user, "admin");
    assert.equal((await transport.send(a, LEASE, 5000)).user, "admin");
  });
});

describe("a watch that is turned away", () => {
  for (const status of [401, 403]) {
    test(`${status}: goes on by the next kubeconfig`, async () => {
      const users: string[] = [];
      const server = createServer(
        { ...issueServing(now), ca: now.cert, requestCert: true, rejectUnauthorized: false },
        (request, response) => {
          users.push(userOf(request));
          response.statusCode = userOf(request) === "admin" ? 200 : status;
          response.end('{"type":"ADDED","object":1}\n');
        },
      );
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      cleanups.push(() => {
        server.closeAllConnections();
        server.close();
      });
      const address = server.address();
      assert.ok(typeof address === "object" && address !== null);
      const { transport, verdicts } = transportWith(credentialsOf("own", now), credentialsOf("admin", now));
      const ended = Promise.withResolvers<Parameters<WatchHandlers["onEnd"]>[0]>();
      const events: string[] = [];
      transport.watch(`127.0.0.1:${address.port}`, `${LEASE.path}?watch=true`, {
        onEvent: (type) => events.push(type),
        onEnd: ended.resolve,
      });
      assert.deepEqual(await ended.promise, { kind: "end" });
      assert.deepEqual(
        [users, events, verdicts],
        [["own", "admin"], ["ADDED"], [`own: ${status}`, "admin ok"]],
      );
    });
  }
});

test("a connection that breaks before the answer condemns nothing that was good a moment ago, and no write is sent twice", async () => {
  let broken = false;
  const users: string[] = [];
  const server = createServer(
    { ...issueServing(now), ca: now.cert, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      users.push(userOf(request));
      if (broken) request.socket.destroy();
      else response.end("{}");
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const at = `127.0.0.1:${address.port}`;
  broken = true;
  const fresh = transportWith(credentialsOf("own", now), credentialsOf("admin", now));
  assert.deepEqual(await failure(fresh.transport.send(at, RENEWAL, 5000)), { reason: "refused", sent: true });
  assert.deepEqual([users.splice(0), fresh.verdicts], [["own"], []]);
  broken = false;
  const used = transportWith(credentialsOf("own", now), credentialsOf("admin", now));
  await used.transport.send(at, LEASE, 5000);
  broken = true;
  assert.deepEqual(await failure(used.transport.send(at, LEASE, 5000)), { reason: "refused", sent: true });
  assert.deepEqual([users, used.verdicts], [["own", "own"], ["own ok"]]);
});
