import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { HealthCheck } from "../../../src/ops/health.ts";
import {
  healthText,
  liveness,
  oneCheckText,
  readiness,
  readinessElsewhere,
} from "../../../src/ops/health.ts";
import type { AgentStatus } from "../../../src/ops/status.ts";
import { backend, exampleStatus, released } from "./example.ts";

const PLAIN = { verbose: false, excluded: [] };
const VERBOSE = { verbose: true, excluded: [] };

const failing = (checks: readonly HealthCheck[]): readonly string[] =>
  checks.filter(({ ok }) => !ok).map(({ name }) => name);

describe("liveness", () => {
  test("is given for a healthy agent and a worker's", () => {
    assert.deepEqual(failing(liveness(exampleStatus())), []);
    assert.deepEqual(failing(liveness(exampleStatus({ election: null, vip: null }))), []);
  });
  test("does not depend on API servers, backends or the role", () => {
    const status = exampleStatus({
      election: {
        state: "FAULT",
        faults: ["balancer"],
        lastReadAgeMs: null,
        holder: null,
        renewedAtMs: null,
      },
      vip: { addresses: released, wanted: false, validForMs: null },
      balancer: { listening: false, backends: [{ ...backend, grade: "DOWN" }] },
      agent: {
        apiServers: [],
        credentials: {
          source: "none",
          expiresAt: null,
          problem: "/none: no such file",
          warning: null,
          certificates: [],
        },
      },
    });
    assert.deepEqual(failing(liveness(status)), []);
  });
  test("ends when the balancer's worker stays silent", () => {
    assert.deepEqual(failing(liveness(exampleStatus({ balancer: { heartbeatAgeMs: 30_001 } }))), ["worker"]);
  });
  test("ends when the VIP is still bound long after the right to it, and only then", () => {
    assert.deepEqual(failing(liveness(exampleStatus({ vip: { validForMs: -5_001 } }))), ["fence"]);
    assert.deepEqual(failing(liveness(exampleStatus({ vip: { validForMs: -4_000 } }))), []);
    assert.deepEqual(
      failing(liveness(exampleStatus({ vip: { validForMs: -60_000, addresses: released } }))),
      [],
    );
  });
});

describe("readiness", () => {
  test("is given to a MASTER that has every address and a BACKUP that has none", () => {
    assert.deepEqual(failing(readiness(exampleStatus())), []);
    assert.deepEqual(
      failing(readiness(exampleStatus({ election: { state: "BACKUP" }, vip: { addresses: released } }))),
      [],
    );
  });
  test("is refused to a MASTER that lacks one address and a BACKUP that has one", () => {
    const half = [
      { address: "192.0.2.10", bound: true },
      { address: "2001:db8::10", bound: false },
    ];
    for (const [state, odd] of [
      ["MASTER", "2001:db8::10 is not bound"],
      ["BACKUP", "192.0.2.10 is bound"],
    ] as const) {
      const checks = readiness(exampleStatus({ election: { state }, vip: { addresses: half } }));
      assert.deepEqual(failing(checks), ["vip"]);
      assert.match(checks.find(({ name }) => name === "vip")?.detail ?? "", new RegExp(odd));
    }
  });
  test("is refused while the agent waits for the VIP's interface, and names what is missing", () => {
    const waiting = 'eth0 does not have LEASEHOLD_NODE_IP="192.0.2.11" yet';
    const checks = readiness(exampleStatus({ election: null, vip: null, agent: { waiting } }));
    assert.deepEqual(checks[0], {
      name: "network",
      ok: false,
      detail: `waiting for the VIP's interface: ${waiting}`,
    });
    assert.deepEqual(failing(checks), ["network"]);
  });
  test("is refused in FAULT and INIT, with the reason", () => {
    const fault = readiness(
      exampleStatus({
        election: { state: "FAULT", faults: ["balancer", "interface"] },
        vip: { addresses: released },
      }),
    );
    assert.deepEqual(
      fault.filter(({ ok }) => !ok),
      [{ name: "election", ok: false, detail: "FAULT: balancer, interface" }],
    );
    assert.deepEqual(
      failing(readiness(exampleStatus({ election: { state: "INIT" }, vip: { addresses: released } }))),
      ["election"],
    );
  });
  test("needs the listener and a backend that is UP, on workers too", () => {
    const balancer = { listening: false, backends: [{ ...backend, grade: "DRAIN" as const }] };
    assert.deepEqual(failing(readiness(exampleStatus({ election: null, vip: null, balancer }))), [
      "listener",
      "backends",
    ]);
  });
  test("names the port that cannot be opened and why; the agent is alive all the same", () => {
    const listenFailure = "port 8443 cannot be opened: another program has it (EADDRINUSE)";
    const status = exampleStatus({ balancer: { listening: false, listenFailure, heartbeatAgeMs: 0 } });
    assert.deepEqual(
      readiness(status).filter(({ ok }) => !ok),
      [{ name: "listener", ok: false, detail: listenFailure }],
    );
    assert.deepEqual(failing(liveness(status)), []);
  });
});

test("a node without a backend is told what is missing", () => {
  const status = exampleStatus({
    election: null,
    vip: null,
    balancer: { backends: [] },
    agent: { noBackend: "no API server is known: there are no credentials" },
  });
  assert.match(
    healthText("readyz", readiness(status), VERBOSE).text,
    /\[-\]backends failed: no API server is known: there are no credentials\n/,
  );
});

describe("the agent's own ports", () => {
  const listeners = [
    { name: "health", address: "127.0.0.1:10084", listening: true, error: null },
    {
      name: "ops",
      address: "192.0.2.11:10081",
      listening: false,
      error: "listen EADDRINUSE: address already in use 192.0.2.11:10081",
    },
  ] as const;
  test("show in readiness when one cannot be had, and never in liveness: a restart would not free it", () => {
    const status = exampleStatus({ agent: { listeners } });
    assert.deepEqual(
      readiness(status).filter(({ ok }) => !ok),
      [
        {
          name: "ops-port",
          ok: false,
          detail:
            "cannot listen on 192.0.2.11:10081: listen EADDRINUSE: address already in use 192.0.2.11:10081; trying again",
        },
      ],
    );
    assert.deepEqual(failing(liveness(status)), []);
  });
});

describe("the answer", () => {
  const checks = [
    { name: "ping", ok: true, detail: "" },
    { name: "vip", ok: false, detail: "is not bound" },
  ];
  test("is ok in a word, or every check when asked", () => {
    assert.deepEqual(healthText("livez", checks.slice(0, 1), PLAIN), { ok: true, text: "ok" });
    assert.deepEqual(healthText("livez", checks.slice(0, 1), VERBOSE), {
      ok: true,
      text: "[+]ping ok\nlivez check passed\n",
    });
  });
  test("lists every check when one fails", () => {
    assert.deepEqual(healthText("readyz", checks, PLAIN), {
      ok: false,
      text: "[+]ping ok\n[-]vip failed: is not bound\nreadyz check failed\n",
    });
  });
});

describe("a check that is excluded", () => {
  const CHECKS = [
    { name: "ping", ok: true, detail: "" },
    { name: "backends", ok: false, detail: "no backend" },
    { name: "ops-port", ok: false, detail: "taken" },
  ];
  test("does not count, and the others do", () => {
    const both = { verbose: false, excluded: ["backends", "ops-port"] };
    assert.deepEqual(healthText("readyz", CHECKS, both), { ok: true, text: "ok" });
    assert.deepEqual(healthText("readyz", CHECKS, { verbose: true, excluded: ["backends"] }), {
      ok: false,
      text: "[+]ping ok\n[+]backends excluded: ok\n[-]ops-port failed: taken\nreadyz check failed\n",
    });
  });
  test("but does not exist is said as kube-apiserver says it, and refuses nothing", () => {
    const excluded = ["zebra", "backends", "ops-port", 'a"b', "zebra"];
    assert.deepEqual(healthText("readyz", CHECKS, { verbose: true, excluded }), {
      ok: true,
      text:
        "[+]ping ok\n[+]backends excluded: ok\n[+]ops-port excluded: ok\n" +
        'warn: some health checks cannot be excluded: no matches for "a\\"b","zebra"\nreadyz check passed\n',
    });
    assert.deepEqual(healthText("readyz", CHECKS, { verbose: false, excluded }), { ok: true, text: "ok" });
  });
  test("and there is only while the agent waits is no mistake", () => {
    const checks = readiness(exampleStatus());
    assert.ok(!checks.some(({ name }) => name === "network"));
    assert.doesNotMatch(healthText("readyz", checks, { verbose: true, excluded: ["network"] }).text, /warn/);
  });
});

describe("one check", () => {
  const checks = readiness(exampleStatus({ balancer: { listening: false } }));
  test("answers for itself alone", () => {
    assert.deepEqual(oneCheckText(checks, "election"), { ok: true, text: "ok" });
    const listener = oneCheckText(checks, "listener");
    assert.equal(listener?.ok, false);
    assert.match(listener.text, /^internal server error: .*\n$/);
    assert.equal(oneCheckText(checks, "zebra"), undefined);
    assert.equal(oneCheckText(liveness(exampleStatus()), "election"), undefined);
  });
  test("has the same name in every state", () => {
    const all = (status: AgentStatus) => [...readiness(status), ...readinessElsewhere(status)];
    const waiting = all(exampleStatus({ election: null, vip: null, agent: { waiting: "no eth0" } }));
    for (const name of ["network", "election", "vip", "listener", "backends"]) {
      assert.equal(oneCheckText(all(exampleStatus()), name)?.ok, true, name);
      assert.ok(oneCheckText(waiting, name) !== undefined, name);
    }
    for (const name of ["network", "election", "vip"])
      assert.equal(oneCheckText(waiting, name)?.ok, false, name);
  });
});
