import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createReporter } from "../../../src/agent/reporter.ts";
import { LeaseholdError } from "../../../src/errors.ts";
import type { AgentState } from "../../../src/election/states.ts";
import type { Report } from "../../../src/election/types.ts";
import type { KubeEvent, Regarding } from "../../../src/kube/events.ts";
import type { LogFields, Logger } from "../../../src/log.ts";

const SERVERS = { "192.0.2.11:6443": "did not answer within 500 ms" };

function setUp() {
  const said: string[] = [];
  const fields: LogFields[] = [];
  const counted: string[] = [];
  const events: (KubeEvent & { readonly on: Regarding["kind"] })[] = [];
  const errors: unknown[] = [];
  const told: AgentState[] = [];
  const line = (level: string) => (what: LogFields, message: string) => {
    said.push(`${level}: ${message}`);
    fields.push(what);
    if (what["err"] !== undefined) errors.push(what["err"]);
  };
  const log: Logger = {
    error: line("error"),
    warn: line("warn"),
    info: line("info"),
    debug: () => {},
    child: () => log,
  };
  let now: { state: AgentState; faults: readonly string[] } = { state: "INIT", faults: [] };
  const reporter = createReporter({
    node: "n1",
    log,
    metrics: {
      transition: (to) => void counted.push(to),
      holderSilent: () => void counted.push("silent"),
      addressConflict: (mac, peer) => void counted.push(`conflict ${mac} ${peer}`),
    },
    events: { record: (event, { kind }) => void events.push({ ...event, on: kind }) },
    now: () => now,
    leaseUid: () => "u1",
    apiServers: () => SERVERS,
    onState: (state) => void told.push(state),
  });
  const { report } = reporter;
  type Role = Extract<Report, { kind: "transition" }>["to"];
  let from: Role = "BACKUP";
  const become = (to: Role, reason = "because"): void => {
    now = { state: to, faults: [] };
    report({ kind: "transition", from, to, reason });
    reporter.observe();
    from = to;
  };
  const see = (state: AgentState, faults: readonly string[] = []): void => {
    now = { state, faults };
    reporter.observe();
  };
  return { said, fields, errors, counted, events, told, report, become, see };
}

const onLease = (events: ReturnType<typeof setUp>["events"]): readonly string[] =>
  events
    .filter(({ on, reason }) => on === "Lease" && reason === "LeaderElection")
    .map(({ action }) => action);

describe("a change of state", () => {
  test("is one move and one leader, however often the Lease is lost and won in between", () => {
    const { become, counted, events } = setUp();
    become("PROVISIONAL");
    assert.deepEqual(onLease(events), [], "it has no Lease yet");
    become("MASTER");
    become("PROVISIONAL");
    become("MASTER");
    become("BACKUP");
    assert.deepEqual(counted, ["PROVISIONAL", "BACKUP"]);
    assert.deepEqual(onLease(events), ["BecomeLeader", "StopLeading"]);
  });

  test("that never had the Lease tells nobody of a leader", () => {
    const { become, events } = setUp();
    become("PROVISIONAL");
    become("BACKUP");
    assert.deepEqual(onLease(events), []);
  });

  test("to INIT, BACKUP and FAULT is told as well, though the role is the same", () => {
    const { see, said, fields, counted, told, events } = setUp();
    see("BACKUP");
    see("BACKUP");
    see("FAULT", ["balancer", "interface"]);
    see("BACKUP");
    assert.deepEqual(said, ["info: State changed", "warn: State changed", "info: State changed"]);
    assert.deepEqual(counted, ["BACKUP", "FAULT", "BACKUP"]);
    assert.deepEqual(told, ["BACKUP", "FAULT", "BACKUP"]);
    assert.deepEqual(
      fields.map(({ prevState, state, reason }) => [prevState, state, reason]),
      [
        ["INIT", "BACKUP", "every check has reported"],
        ["BACKUP", "FAULT", "this node has a fault: balancer, interface"],
        ["FAULT", "BACKUP", "this node has no fault any more"],
      ],
    );
    assert.deepEqual(
      events.map(({ on, type, reason }) => [on, type, reason]),
      [["Node", "Warning", "VIPFault"]],
    );
  });

  test("that loses the VIP is a warning and an Event with the API servers that failed, and how", () => {
    const { become, said, fields, events } = setUp();
    become("MASTER");
    become("BACKUP", "this node could not renew the Lease before the renew deadline");
    assert.deepEqual(said.slice(1), ["warn: State changed: this node lost the VIP"]);
    assert.deepEqual(fields[1]?.["apiServers"], SERVERS);
    const lost = events.filter(({ reason }) => reason === "VIPLost");
    assert.deepEqual(
      lost.map(({ on, type }) => [on, type]),
      [
        ["Lease", "Warning"],
        ["Node", "Warning"],
      ],
    );
    assert.match(lost[0]?.note ?? "", /renew deadline \(192\.0\.2\.11:6443 did not answer within 500 ms\)/);
  });

  for (const [how, begin, to, reason] of [
    ["the successor has taken the offer", "n2", "BACKUP", "n2 holds the Lease"],
    ["the agent stops", null, "RELEASING", "the agent is stopping, and no candidate has taken the Lease"],
  ] as const) {
    test(`that gives the VIP away as planned is no warning (${how})`, () => {
      const { become, report, said, events } = setUp();
      become("MASTER");
      if (begin !== null) report({ kind: "handover", reason: "preempt", to: begin });
      become(to, reason);
      assert.equal(said.at(-1), "info: State changed");
      assert.ok(!events.some(({ type }) => type === "Warning"));
      assert.equal(events.findLast(({ on }) => on === "Node")?.reason, "VIPReleased");
    });
  }

  test("to a node that was offered nothing is a loss", () => {
    const { become, report, said } = setUp();
    become("MASTER");
    report({ kind: "handover", reason: "preempt", to: "n2" });
    report({ kind: "handover", reason: "preempt", to: null });
    become("BACKUP", "n2 holds the Lease");
    assert.equal(said.at(-1), "warn: State changed: this node lost the VIP");
  });

  test("to PROVISIONAL is a warning on the Lease and the Node", () => {
    const { become, said, events } = setUp();
    become("PROVISIONAL", "provisional: this node cannot write the Lease");
    assert.deepEqual(said, ["warn: State changed: this node has the VIP provisionally"]);
    assert.deepEqual(
      events.map(({ on, reason, note }) => [on, reason, note]),
      ["Lease", "Node"].map((on) => [
        on,
        "VIPProvisional",
        "n1 has the VIP and not the Lease: this node cannot write the Lease",
      ]),
    );
  });

  test("has reasons and actions in CamelCase, as Kubernetes asks", () => {
    const { become, see, events, report } = setUp();
    become("PROVISIONAL");
    become("MASTER");
    report({ kind: "conflict", mac: "02:00:00:00:00:99", node: null, outcome: "defended" });
    become("BACKUP");
    see("FAULT", ["vip"]);
    assert.ok(events.length > 8);
    for (const { reason, action } of events)
      for (const word of [reason, action]) assert.match(word, /^[A-Z][A-Za-z]+$/);
  });
});

describe("a conflict", () => {
  for (const [outcome, action] of [
    ["refused", "RefuseVIP"],
    ["defended", "DefendVIP"],
    ["yielded", "YieldVIP"],
  ] as const) {
    test(`with a stranger is an error, a count and a VIPConflict Event that names the MAC (${outcome})`, () => {
      const { report, said, counted, events } = setUp();
      report({ kind: "conflict", mac: "02:00:00:00:00:99", node: null, outcome });
      assert.deepEqual(said, ["error: Address conflict"]);
      assert.deepEqual(counted, ["conflict 02:00:00:00:00:99 null"]);
      assert.deepEqual(
        events.map((event) => [event.on, event.type, event.reason, event.action]),
        [
          ["Lease", "Warning", "VIPConflict", action],
          ["Node", "Warning", "VIPConflict", action],
        ],
      );
      assert.match(events[0]?.note ?? "", /02:00:00:00:00:99/);
    });
  }

  test("with another candidate is theirs to settle: a warning, no Event", () => {
    const { report, said, counted, events } = setUp();
    report({ kind: "conflict", mac: "02:00:00:00:00:02", node: "n2", outcome: "yielded" });
    assert.deepEqual(counted, ["conflict 02:00:00:00:00:02 n2"]);
    assert.deepEqual(said, ["warn: Another candidate claims the VIP"]);
    assert.deepEqual(events, []);
  });
});

test("different VIPs are an error that names both lists and the nodes", () => {
  const { report, said, errors } = setUp();
  report({
    kind: "vip-mismatch",
    own: ["10.88.0.101"],
    vips: ["10.88.0.100", "fd00::100"],
    nodes: ["n2", "n3"],
  });
  assert.deepEqual(said, ["error: The nodes have different VIPs"]);
  const [error] = errors;
  assert.ok(error instanceof LeaseholdError);
  assert.equal(error.code, "LH_VIP_MISMATCH");
  assert.equal(error.message, "this node serves 10.88.0.101, and n2, n3 serve 10.88.0.100, fd00::100");
});

test("a machine that asks for the VIP as well is told, and when it is not waited for any longer", () => {
  const { report, said } = setUp();
  report({ kind: "prober", mac: "02:00:00:00:00:01", outcome: "waits" });
  report({ kind: "prober", mac: "02:00:00:00:00:01", outcome: "ignored" });
  assert.deepEqual(
    said.map((line) => line.split(":")[0]),
    ["info", "warn"],
  );
});

test("a dead holder is told and counted", () => {
  const { report, said, counted } = setUp();
  report({ kind: "proof", holder: "n2" });
  assert.equal(said.length, 1);
  assert.deepEqual(counted, ["silent"]);
});

test("a machine that has the VIP before there is an API is told with its MAC address", () => {
  const { report, said, fields } = setUp();
  report({ kind: "taken", mac: "02:00:00:00:00:99" });
  assert.match(said[0] ?? "", /^warn: A machine has the VIP, and no API server tells/);
  assert.equal(fields[0]?.["mac"], "02:00:00:00:00:99");
});
