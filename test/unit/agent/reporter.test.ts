import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createReporter } from "../../../src/agent/reporter.ts";
import { LeaseholdError } from "../../../src/errors.ts";
import type { Report } from "../../../src/election/types.ts";
import type { LeaseEvent } from "../../../src/kube/events.ts";
import type { VrrpState } from "../../../src/kube/record.ts";
import type { LogFields, Logger } from "../../../src/log.ts";

function setUp() {
  const said: string[] = [];
  const counted: string[] = [];
  const events: LeaseEvent[] = [];
  const errors: unknown[] = [];
  const line = (level: string) => (fields: LogFields, message: string) => {
    said.push(`${level}: ${message}`);
    if (fields["err"] !== undefined) errors.push(fields["err"]);
  };
  const log: Logger = {
    error: line("error"),
    warn: line("warn"),
    info: line("info"),
    debug: () => {},
    child: () => log,
  };
  let state: VrrpState = "INIT";
  const report = createReporter({
    node: "n1",
    log,
    metrics: {
      transition: (to) => void counted.push(to),
      holderSilent: () => void counted.push("silent"),
      addressConflict: () => void counted.push("conflict"),
    },
    events: { record: (event) => void events.push(event) },
    state: () => state,
    leaseUid: () => "u1",
  });
  type Role = Extract<Report, { kind: "transition" }>["to"];
  let from: Role = "BACKUP";
  const become = (to: Role, shown: VrrpState): void => {
    state = shown;
    report({ kind: "transition", from, to, reason: "because" });
    from = to;
  };
  return { said, errors, counted, events, report, become };
}

describe("a change of role", () => {
  test("is one MASTER and one leader, however often the Lease is lost and won in between", () => {
    const { become, counted, events } = setUp();
    become("PROVISIONAL", "MASTER");
    assert.deepEqual(events, [], "it has no Lease yet");
    become("MASTER", "MASTER");
    become("PROVISIONAL", "MASTER");
    become("MASTER", "MASTER");
    become("BACKUP", "BACKUP");
    assert.deepEqual(counted, ["MASTER", "BACKUP"]);
    assert.deepEqual(
      events.map(({ action }) => action),
      ["BecomeLeader", "StopLeading"],
    );
  });

  test("that never had the Lease tells nobody of a leader", () => {
    const { become, events } = setUp();
    become("PROVISIONAL", "MASTER");
    become("BACKUP", "BACKUP");
    assert.deepEqual(events, []);
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
      assert.deepEqual(counted, ["conflict"]);
      assert.deepEqual(
        events.map((event) => [event.type, event.reason, event.action]),
        [["Warning", "VIPConflict", action]],
      );
      assert.match(events[0]?.note ?? "", /02:00:00:00:00:99/);
    });
  }

  test("with another candidate is theirs to settle: a warning, no Event", () => {
    const { report, said, events } = setUp();
    report({ kind: "conflict", mac: "02:00:00:00:00:02", node: "n2", outcome: "yielded" });
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

test("a dead holder is told and counted", () => {
  const { report, said, counted } = setUp();
  report({ kind: "proof", holder: "n2" });
  assert.equal(said.length, 1);
  assert.deepEqual(counted, ["silent"]);
});
