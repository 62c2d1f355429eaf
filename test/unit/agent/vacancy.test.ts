import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { holderAnswers, reportVacancy, whatIsMissing } from "../../../src/agent/vacancy.ts";
import type { VacancyFacts } from "../../../src/agent/vacancy.ts";
import { silentLogger } from "../../../src/log.ts";
import type { LogFields, Logger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { exampleStatus } from "../ops/example.ts";

const { election } = exampleStatus();
assert.ok(election !== null);
const [self] = election.candidates;
assert.ok(self !== undefined);
const base: VacancyFacts = {
  node: "n1",
  election: { ...election, eligible: false, faults: [], candidates: [] },
  checks: [{ name: "balancer", detail: "port 8443 is taken" }],
  apiServers: {},
};

describe("what is missing for a node to hold the VIP", () => {
  test("are this node's faults with what its checks found", () => {
    const facts = { ...base, election: { ...base.election, faults: ["balancer", "vip-conflict"] } };
    assert.deepEqual(whatIsMissing(facts), [
      "n1 (this node) is in FAULT: balancer (port 8443 is taken), vip-conflict",
    ]);
  });

  test("is what the API says, where this node is fit", () => {
    const reason =
      "this node cannot read the Lease: 403 on the Lease for user leasehold: apply manifests/rbac.yaml";
    const facts = { ...base, election: { ...base.election, eligible: true, reason } };
    assert.deepEqual(whatIsMissing(facts), [`n1 (this node) is eligible: ${reason}`]);
  });

  test("names the other nodes and the API servers that failed", () => {
    const candidates = [
      { ...self, node: "n1" },
      { ...self, node: "n2", faults: ["interface"], eligible: false, fresh: true },
      { ...self, node: "n3", fresh: false },
    ];
    const apiServers = { "192.0.2.12:6443": "refused or reset the connection" };
    const facts = { ...base, apiServers, election: { ...base.election, candidates } };
    assert.deepEqual(whatIsMissing(facts).slice(1), [
      "n2 is in FAULT: interface",
      "the agent of n3 is silent",
      "API server 192.0.2.12:6443 refused or reset the connection",
    ]);
  });
});

test("a holder whose kernel answers has the VIP, whatever the Lease says", () => {
  assert.equal(holderAnswers({ proof: "ready", missed: 0 }), true);
  assert.equal(holderAnswers({ proof: "ready", missed: 2 }), false);
  assert.equal(holderAnswers({ proof: "none", missed: 0 }), false);
  assert.equal(holderAnswers({ proof: "silent", missed: 0 }), false);
});

test("the log says after 15 s, and then every 30 s, that no node holds the VIP, and when that is over", () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const seen: LogFields[] = [];
  const log: Logger = {
    ...silentLogger,
    warn(fields, message) {
      lines.push(`warn ${message}`);
      seen.push(fields);
    },
    info: (_fields, message) => void lines.push(`info ${message}`),
  };
  let sinceMs: number | null = clock.now();
  const report = reportVacancy({ clock, log, sinceMs: () => sinceMs, missing: () => ["n1 lacks a link"] });
  clock.advance(14_000);
  assert.deepEqual(lines, []);
  clock.advance(61_000);
  const warning = "warn No node holds the VIP";
  assert.deepEqual(lines, [warning, warning, warning]);
  assert.deepEqual(seen[0], { vacantMs: 15_000, missing: ["n1 lacks a link"] });
  sinceMs = null;
  clock.advance(60_000);
  assert.deepEqual(lines.slice(3), ["info A machine has the VIP again"]);
  report.close();
  assert.equal(clock.pendingTimers, 0);
});
