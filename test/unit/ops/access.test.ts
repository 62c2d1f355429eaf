/** Who may read the ops port: the rules, and the port itself, with real certificates. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:https";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { silentLogger } from "../../../src/log.ts";
import { createAccess } from "../../../src/ops/access.ts";
import type { Access, ReviewAnswer, Shown } from "../../../src/ops/access.ts";
import { peerIdentity } from "../../../src/peers/identity.ts";
import { authority, issue, issueServing } from "../../support/backends/pki.ts";
import { issue as issueAny } from "../../support/embedded-api/certificates.ts";
import type { Certificate } from "../../support/embedded-api/certificates.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { outside } from "../../support/outside.ts";
import { makeOps, startedOps } from "./rig.ts";

const DAY_MS = 86_400_000;
const ca = authority("kubernetes");
const otherCa = authority("kubernetes");

const member = (
  organization: string | readonly string[],
  days: readonly [number, number] = [-1, 1],
): Certificate =>
  issueAny(ca, {
    commonName: "ann",
    organization,
    notBefore: new Date(Date.now() + days[0] * DAY_MS),
    notAfter: new Date(Date.now() + days[1] * DAY_MS),
  });

const withCertificate = ({ cert }: Certificate): Shown => ({
  certificate: new X509Certificate(cert),
  token: undefined,
});
const withToken = (token: string): Shown => ({ certificate: undefined, token });
const NOTHING: Shown = { certificate: undefined, token: undefined };

interface Review {
  readonly path: string;
  readonly spec: Readonly<Record<string, unknown>>;
}

interface Rig {
  readonly access: Access;
  readonly clock: FakeClock;
  readonly reviews: Review[];
  /** undefined: no API server answers. */
  answer: ((review: Review) => ReviewAnswer) | undefined;
}

/** An API that knows the token "good" as prom, and lets prom and ann get /metrics. */
function usual({ path, spec }: Review): ReviewAnswer {
  if (path.endsWith("/tokenreviews"))
    return {
      status: 201,
      body: {
        status:
          spec["token"] === "good"
            ? {
                authenticated: true,
                user: { username: "prom", uid: "7", groups: ["scrapers", "system:authenticated"] },
              }
            : { authenticated: false },
      },
    };
  const wanted = JSON.stringify(spec["nonResourceAttributes"]);
  return { status: 201, body: { status: { allowed: wanted === '{"path":"/metrics","verb":"get"}' } } };
}

function make(bundle: string | undefined = ca.cert): Rig {
  const clock = new FakeClock();
  const reviews: Review[] = [];
  const rig: Rig = {
    clock,
    reviews,
    answer: usual,
    access: createAccess({
      clock: {
        now: () => clock.now(),
        wall: () => new Date(),
        after: (delayMs, callback) => clock.after(delayMs, callback),
        every: (intervalMs, callback) => clock.every(intervalMs, callback),
        alongside: (delayMs, callback) => clock.alongside(delayMs, callback),
      },
      clusterCa: () => bundle,
      review: async (path, body) => {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every review has a spec
        const review = { path, spec: (body as { spec: Review["spec"] }).spec };
        reviews.push(review);
        return rig.answer?.(review);
      },
    }),
  };
  return rig;
}

const kind = async (rig: Rig, shown: Shown, path = "/metrics"): Promise<string> =>
  (await rig.access.judge(shown, path)).kind;

describe("a bearer token", () => {
  test("is reviewed, and its user's right to the path is", async () => {
    const rig = make();
    assert.equal(await kind(rig, withToken("good")), "allowed");
    assert.deepEqual(rig.reviews[1]?.spec, {
      user: "prom",
      uid: "7",
      groups: ["scrapers", "system:authenticated"],
      nonResourceAttributes: { path: "/metrics", verb: "get" },
    });
    assert.equal(await kind(rig, withToken("good"), "/status"), "forbidden");
    assert.equal(await kind(rig, withToken("bad")), "unauthenticated");
    assert.equal(await kind(rig, NOTHING), "unauthenticated");
    assert.equal(await kind(rig, withToken("x".repeat(20_000))), "unauthenticated");
  });

  test("is asked about once in a minute, and when it is refused once in ten seconds", async () => {
    const rig = make();
    for (let time = 0; time < 3; time++)
      await Promise.all([kind(rig, withToken("good")), kind(rig, withToken("bad"))]);
    assert.equal(rig.reviews.length, 3);
    rig.clock.advance(10_001);
    await Promise.all([kind(rig, withToken("good")), kind(rig, withToken("bad"))]);
    assert.equal(rig.reviews.length, 4);
    rig.clock.advance(50_000);
    rig.answer = () => ({ status: 201, body: { status: { authenticated: false } } });
    assert.equal(await kind(rig, withToken("good")), "unauthenticated");
  });

  test("that was allowed lately is good while no API server answers, for ten minutes", async () => {
    const rig = make();
    assert.equal(await kind(rig, withToken("good")), "allowed");
    rig.answer = undefined;
    rig.clock.advance(599_000);
    assert.equal(await kind(rig, withToken("good")), "allowed");
    assert.equal(await kind(rig, withToken("good"), "/status"), "unknown");
    assert.equal(await kind(rig, withToken("new")), "unknown");
    rig.clock.advance(1_001);
    assert.equal(await kind(rig, withToken("good")), "unknown");
  });

  test("is nobody's when the API's answer is odd, and the missing right is named", async () => {
    for (const body of [
      {},
      "text",
      { status: {} },
      { status: { authenticated: "yes", user: { username: "x" } } },
      { status: { authenticated: true, user: { username: "" } } },
      { status: { authenticated: true, user: null } },
    ]) {
      const rig = make();
      rig.answer = () => ({ status: 201, body });
      assert.notEqual(await kind(rig, withToken("good")), "allowed", JSON.stringify(body));
    }
    const rig = make();
    rig.answer = () => ({ status: 403, body: {} });
    const verdict = await rig.access.judge(withToken("good"), "/metrics");
    assert.match("why" in verdict ? verdict.why : "", /apply manifests\/monitoring/);
  });

  test("of a stranger cannot flood the API, nor fill the memory", async () => {
    const rig = make();
    const verdicts = await Promise.all(
      Array.from({ length: 100 }, (_, index) => rig.access.judge(withToken(`try-${index}`), "/metrics")),
    );
    assert.equal(verdicts.filter(({ kind }) => kind === "unauthenticated").length, 8);
    assert.equal(rig.reviews.length, 8);
    for (let index = 0; index < 600; index++) await kind(rig, withToken(`late-${index}`));
    const asked = rig.reviews.length;
    await kind(rig, withToken("late-0"));
    assert.equal(rig.reviews.length, asked + 1);
  });
});

describe("a flood of strangers", () => {
  test("pushes out no verdict of a client that was allowed", async () => {
    const rig = make();
    assert.equal(await kind(rig, withToken("good")), "allowed");
    for (let index = 0; index < 1_000; index++) await kind(rig, withToken(`late-${index}`));
    const asked = rig.reviews.length;
    assert.equal(await kind(rig, withToken("good")), "allowed");
    assert.equal(rig.reviews.length, asked);
    // It is no longer allowed: the verdict that counts is the last one.
    rig.answer = () => ({ status: 201, body: { status: { authenticated: false } } });
    rig.clock.advance(60_000);
    assert.equal(await kind(rig, withToken("good")), "unauthenticated");
    assert.equal(await kind(rig, withToken("good")), "unauthenticated");
  });

  test("keeps no client from being asked about again that was allowed", async () => {
    const rig = make();
    assert.equal(await kind(rig, withToken("good")), "allowed");
    rig.clock.advance(61_000);
    const flood = Array.from({ length: 20 }, (_, index) =>
      rig.access.judge(withToken(`try-${index}`), "/metrics"),
    );
    assert.equal(await kind(rig, withToken("good")), "allowed");
    await Promise.all(flood);
  });
});

describe("a client certificate", () => {
  test("of the cluster's CA says who asks, without the API", async () => {
    const rig = make();
    assert.equal(await kind(rig, withCertificate(member("dev"))), "allowed");
    assert.deepEqual(rig.reviews, [
      {
        path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        spec: {
          user: "ann",
          groups: ["dev", "system:authenticated"],
          nonResourceAttributes: { path: "/metrics", verb: "get" },
        },
      },
    ]);
    assert.equal(await kind(rig, withCertificate(member("dev")), "/status"), "forbidden");
  });

  test("of another CA, that has ended or not begun, or is a server's, says nothing", async () => {
    for (const certificate of [
      issue(otherCa, "ann"),
      member("system:masters", [-2, -1]),
      member("system:masters", [1, 2]),
      issueServing(ca),
      ca,
      peerIdentity(directory, "n1", silentLogger),
    ])
      assert.equal(await kind(make(), withCertificate(certificate)), "unauthenticated");
    assert.equal(await kind(make(""), withCertificate(member("dev"))), "unauthenticated");
    assert.equal(
      await kind(
        make("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        withCertificate(member("dev")),
      ),
      "unauthenticated",
    );
    // Any certificate of a bundle counts: a CA that is being replaced has two.
    assert.equal(await kind(make(otherCa.cert + ca.cert), withCertificate(member("dev"))), "allowed");
  });

  test("has every organization as a group, also where several stand in one relative name", async () => {
    const down = make();
    down.answer = undefined;
    const shown = withCertificate(member(["dev", "system:masters"]));
    assert.equal(await kind(down, shown, "/status"), "allowed");
  });

  test("of an administrator is enough while no API server answers", async () => {
    for (const [organization, without, withApi] of [
      ["system:masters", "allowed", "allowed"],
      ["kubeadm:cluster-admins", "allowed", "forbidden"],
      ["dev", "unknown", "forbidden"],
    ] as const) {
      const shown = withCertificate(member(organization));
      const down = make();
      down.answer = undefined;
      assert.equal(await kind(down, shown, "/status"), without, organization);
      assert.equal(await kind(make(), shown, "/status"), withApi, organization);
    }
  });
});

const directory = mkdtempSync(join(tmpdir(), "leasehold-access-"));
process.once("exit", () => rmSync(directory, { recursive: true, force: true }));

interface Reply {
  readonly status: number;
  readonly body: string;
}

function get(url: string, options: object = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: false, rejectUnauthorized: false, ...options }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on("error", reject).end();
  });
}

describe("the ops port on every address", () => {
  async function started(t: TestContext): Promise<{ readonly port: number; readonly rig: Rig }> {
    const rig = make();
    const { ops } = await startedOps(t, {
      host: "0.0.0.0",
      remote: { identity: peerIdentity(directory, "n1", silentLogger), access: rig.access },
    });
    return { port: ops.port(), rig };
  }

  test("serves this machine's programs plainly, and other machines by TLS and by right", async (t) => {
    const address = outside();
    if (address === undefined) return t.skip("this machine has no address but loopback");
    const { port, rig } = await started(t);
    assert.equal((await fetch(`http://127.0.0.1:${port}/status`)).status, 200);
    await assert.rejects(fetch(`http://${address}:${port}/status`));
    const url = `https://${address}:${port}`;
    assert.equal((await get(`${url}/livez`)).status, 200);
    for (const path of ["/", "/status", "/metrics", "/events", "/peers", "/peers/n2/status", "/nothing"])
      assert.equal((await get(`${url}${path}`)).status, 401, path);
    const bearer = { headers: { authorization: "Bearer good" } };
    const metrics = await get(`${url}/metrics`, bearer);
    assert.equal(metrics.status, 200);
    assert.match(metrics.body, /^leasehold_/m);
    assert.deepEqual(await get(`${url}/status`, bearer), {
      status: 403,
      body: '403 user "prom" may not get /status\n',
    });
    // What is judged is the path that is served.
    assert.equal((await get(`${url}/metrics/../status`, bearer)).status, 403);
    assert.equal((await get(`${url}/status`, member("system:masters"))).status, 200);
    assert.equal((await get(`${url}/status`, issue(otherCa, "ann"))).status, 401);
    rig.answer = undefined;
    assert.equal((await get(`${url}/status`, { headers: { authorization: "Bearer other" } })).status, 503);
    assert.equal((await get(`${url}/metrics`, bearer)).status, 200);
  });

  test("goes on answering the scraper, programs of this machine and probes while strangers flood it", async (t) => {
    const address = outside();
    if (address === undefined) return t.skip("this machine has no address but loopback");
    const { port } = await started(t);
    const url = `https://${address}:${port}`;
    const bearer = { headers: { authorization: "Bearer good" } };
    assert.equal((await get(`${url}/metrics`, bearer)).status, 200);
    const crowd: Socket[] = [];
    t.after(() => crowd.forEach((socket) => socket.destroy()));
    const strangers = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"];
    for (let round = 0; round < 10; round++) {
      // Some say nothing, some begin TLS and stop, and some send what is no TLS.
      for (const localAddress of strangers)
        for (const text of ["", "", "\x16\x03\x01\x02\x00\x01\x00", "GET / HTTP/1.1\r\n\r\n"])
          for (let count = 0; count < 5; count++) {
            const socket = connect({ host: address, port, localAddress });
            socket.on("error", () => {}).once("connect", () => socket.write(text));
            crowd.push(socket);
          }
      assert.equal((await get(`${url}/metrics`, bearer)).status, 200);
      assert.equal((await fetch(`http://127.0.0.1:${port}/status`)).status, 200);
    }
    assert.equal(crowd.length, 1_000);
  });

  test("is not opened without a rule for who may read", () => {
    assert.throws(() => makeOps({ host: "192.0.2.1" }), RangeError);
  });

  test("a stranger's web page cannot read it by a name that leads to loopback", async (t) => {
    const { port } = await started(t);
    for (const [host, status] of [
      ["attacker.example", 421],
      ["attacker.example:10081", 421],
      ["localhost:1", 200],
      ["127.0.0.1", 200],
      ["[::1]:10081", 200],
    ] as const)
      assert.equal(await statusFor(port, host), status, host);
  });
});

async function statusFor(port: number, host: string): Promise<number> {
  const { request: plain } = await import("node:http");
  return new Promise((resolve, reject) => {
    plain({ host: "127.0.0.1", port, path: "/status", agent: false, headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on("error", reject)
      .end();
  });
}
