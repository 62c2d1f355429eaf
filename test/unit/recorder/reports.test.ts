/** What the recorder says of another machine with the VIP, and of a node with another VIP. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, test } from "node:test";
import { termOf } from "../../../src/election/identity.ts";
import { ERRORS } from "../../../src/errors.ts";
import type { ToldDecision } from "../../../src/recorder/recording.ts";
import { RULES, ruleOfReport, todo } from "../../../src/recorder/reports.ts";
import { recorded } from "../cli/answers.ts";
import { candidate, held, record, Subject } from "../election/harness.ts";

const STRANGER = "02:00:00:00:00:99";
const OFFER = { version: 1, addresses: ["10.88.0.11"] };
const n1 = candidate("n1");
const n2 = candidate("n2", { mac: "02:00:00:00:00:22" });
const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });

/** The decision of which the recorder says this under "did". */
function told(subject: Subject, said: string): ToldDecision {
  const { decisions } = recorded(subject, subject.nowMs);
  return (
    decisions.find(({ did }) => did.includes(said)) ??
    assert.fail(`${said}: ${JSON.stringify(decisions.flatMap(({ did }) => did))}`)
  );
}

/** A node that finds the VIP in use before the first claim. */
function refused(owner: string, others: readonly (typeof n2)[] = []): Subject {
  const subject = new Subject().healthy();
  subject.wire = { owner, prober: null };
  return subject.sees(record({}, [n1, ...others])).to(1_000);
}

describe("the recorder says of an address conflict", () => {
  test("before the first claim which machine has the VIP, that it goes first, and how to find it", () => {
    const decision = told(
      refused(STRANGER),
      `It did not claim the VIP, because the machine ${STRANGER} (no candidate) has it.`,
    );
    assert.deepEqual([decision.from, decision.to, decision.state], ["BACKUP", "BACKUP", "FAULT"]);
    assert.deepEqual(decision.rule, RULES.refused);
    assert.deepEqual(decision.todo, [`${ERRORS.LH_VIP_CONFLICT} See LH_VIP_CONFLICT in docs/operations.md.`]);
  });

  test("on a candidate's machine which node that is, and to stop the other program there", () => {
    const other = { ...n2, eligible: false, state: "FAULT", faults: ["vip"] } as const;
    const subject = refused(n2.mac, [other]);
    const decision = told(
      subject,
      `It did not claim the VIP, because the machine ${n2.mac} (n2) has it by another program than the agent.`,
    );
    assert.match(decision.todo.join(), /^Stop the other program on n2 .* See LH_VIP_FOREIGN in docs/);
    const { decisions } = recorded(subject.to(4_000), 4_000);
    assert.ok(
      decisions.some(({ evidence }) =>
        evidence.includes(`The machine ${n2.mac} (n2) had the VIP, and not by an agent.`),
      ),
    );
  });

  test("of a holder that it keeps the VIP, and announces it again", () => {
    const subject = new Subject().master([n2]).to(1_000).hears({ kind: "claimed", mac: STRANGER });
    const decision = told(subject, `It kept the VIP against the machine ${STRANGER} (no candidate).`);
    assert.equal(decision.told, `The machine ${STRANGER} (no candidate) claimed the VIP on the wire.`);
    assert.ok(decision.did.includes("It announced the VIP again."));
    assert.deepEqual(decision.rule, RULES.defended);
    assert.match(decision.todo.join(), /LH_VIP_CONFLICT/);
  });

  test("with a candidate that the Lease decides, and where to look if that one goes on", () => {
    const subject = new Subject().master([n2]).to(2_000);
    subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    subject.to(2_100).hears({ kind: "claimed", mac: n2.mac });
    const decision = told(subject.to(2_700), `It kept the VIP against the machine ${n2.mac} (n2).`);
    assert.deepEqual(decision.rule, RULES.confirmed);
    assert.match(decision.todo.join(), /`leasehold doctor` on n2/);
  });

  test("of a provisional node by which rule it gives way, and what to do where it gave way to no node", () => {
    const self = { ...n1, base: 120, effective: 120, fastPath: OFFER };
    const byProof = (): Subject =>
      new Subject({ base: 120 })
        .healthy({ fastPath: OFFER })
        .sees(held("n2", 1, [self, n2, n3]))
        .hears({ kind: "silent", tenure: termOf(held("n2", 1)) })
        .to(200);
    for (const [mac, whose, isNode] of [
      [STRANGER, "no candidate", false],
      [n2.mac, "n2", true],
    ] as const) {
      const subject = byProof().hears({ kind: "claimed", mac });
      const decision = told(subject, `It let the VIP go to the machine ${mac} (${whose}).`);
      assert.equal(decision.rule?.when, "it gives way to another machine that claims the VIP");
      assert.equal(decision.todo.length, isNode ? 0 : 1);
    }
  });

  test("of a holder that has lost the API that its last renewal covers it", () => {
    const report = { kind: "conflict", mac: STRANGER, node: null, outcome: "defended" } as const;
    assert.equal(ruleOfReport(report, "PROVISIONAL"), RULES.covered);
    assert.equal(ruleOfReport(report, "MASTER"), RULES.defended);
  });
});

test("the recorder says of a vip-mismatch which node has which VIPs, which are right, and what to do", () => {
  const [own, other] = [["10.88.0.101"], ["10.88.0.100", "fd00::100"]];
  const subject = new Subject({ vips: own }).healthy().sees(
    held("n2", 1, [
      { ...n1, vips: own },
      { ...n2, vips: other },
      { ...n3, vips: other },
    ]),
  );
  const decision = told(
    subject,
    "It was given the VIP 10.88.0.101, and n2, n3 were given 10.88.0.100, fd00::100.",
  );
  assert.deepEqual(decision.rule, RULES.mismatch);
  assert.match(decision.todo.join(), /same LEASEHOLD_VIP.* See LH_VIP_MISMATCH in docs\/operations\.md/);
});

test("a rule about a report is in a file of the election, and other reports have none and ask for nothing", () => {
  for (const { file } of Object.values(RULES))
    assert.ok(existsSync(new URL(`../../../src/election/${file}`, import.meta.url)), file);
  const report = { kind: "proof", holder: "n2" } as const;
  assert.deepEqual([ruleOfReport(report, "BACKUP"), todo(report)], [null, []]);
});
