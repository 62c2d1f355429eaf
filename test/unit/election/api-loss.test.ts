/**
 * A holder that can renew at no API server: it stays where nobody could claim, and goes where it may be cut
 * off.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { nobodyCanClaim } from "../../../src/election/api-loss.ts";
import type { ElectionSettings } from "../../../src/election/types.ts";
import type { Candidate } from "../../../src/kube/record.ts";
import { candidate, held, Subject } from "./harness.ts";

type State = "refusing" | "silent" | "alive";
const peers = [candidate("n2"), candidate("n3")];
const failed = { kind: "no-answer", ambiguous: true, message: "no answer" } as const;

interface Change {
  readonly settings?: Partial<ElectionSettings>;
  readonly refusal?: number;
  readonly untilMs?: number;
  readonly peers?: readonly Candidate[];
  /** Somebody was heard on the link. */
  readonly met?: boolean;
}

/** A holder whose renewals all fail from now on, and whose surveys find `states`. */
function lose(states: readonly State[], change: Change = {}): Subject {
  const subject = new Subject(change.settings ?? {}).master(change.peers ?? peers);
  if (change.met !== false) subject.hears({ kind: "neighbours", heard: true });
  const servers = states.map((state, index) => ({ server: `s${index}`, state }));
  for (let atMs = subject.nowMs + 250; atMs <= (change.untilMs ?? 12_000); atMs += 250) {
    subject.to(atMs);
    while (subject.sent("renew").length > 0) {
      subject.answer(
        "renew",
        change.refusal === undefined ? failed : { kind: "rejected", status: change.refusal, message: "no" },
      );
    }
    if (subject.state.lease.survey.inFlight)
      subject.event({ kind: "surveyed", sentAtMs: atMs - 50, survey: { servers, records: [] } });
  }
  return subject;
}

const worse = candidate("n3", { effective: 50, mac: "02:00:00:00:00:03" });
const claimedByWorse = { kind: "claimed", mac: worse.mac } as const;

describe("at the renew deadline the holder stays, and gives way to a worse candidate's claim", () => {
  for (const [name, states, refusal, stays] of [
    ["all refuse: a control plane that is stopped", ["refusing", "refusing", "refusing"], undefined, true],
    ["all are there and cannot write: etcd has no quorum", ["alive", "alive", "alive"], undefined, true],
    ["a majority cannot write, one is silent", ["alive", "alive", "silent"], undefined, true],
    ["only the own one is there: cut off from the others", ["alive", "silent", "silent"], undefined, false],
    ["half of two: neither half has a quorum", ["alive", "silent"], undefined, true],
    ["one of four", ["alive", "silent", "silent", "silent"], undefined, false],
    ["all are silent", ["silent", "silent", "silent"], undefined, false],
    ["some refuse, one is silent", ["refusing", "refusing", "silent"], undefined, false],
    ["a majority answers, with a word: others may write", ["alive", "alive", "silent"], 403, false],
    ["all answer, and say that we may not: others may", ["alive", "alive", "alive"], 403, false],
    ["the same, and one refuses", ["alive", "refusing", "alive"], 401, false],
    ["a word was said, and then all refuse", ["refusing", "refusing", "refusing"], 403, true],
    ["all say that we ask too much: others may not", ["alive", "alive", "alive"], 429, false],
    ["an admission webhook denies our writes", ["alive", "alive", "alive"], 422, false],
    ["a 500 is no word", ["alive", "alive", "silent"], 500, true],
    ["no server is known", [], undefined, false],
  ] as const) {
    test(`${name}: ${stays ? "no, nobody can claim" : "yes, it may hold the Lease"}`, () => {
      const subject = lose(states, { peers: [worse], ...(refusal === undefined ? {} : { refusal }) });
      assert.deepEqual(
        [subject.bound, subject.state.role.kind],
        [true, "PROVISIONAL"],
        "while it hears no claim",
      );
      if (refusal !== undefined)
        assert.ok(subject.state.reason.includes(`${refusal} on the Lease`), subject.state.reason);
      subject.hears(claimedByWorse);
      assert.equal(subject.bound, stays);
      assert.equal(subject.state.self.damping, null, "to be replaced is no trouble");
    });
  }

  test("on a link where nobody was ever heard it goes: it could not hear its successor either", () => {
    assert.equal(lose(["refusing"], { met: false }).bound, false);
  });

  test("`release` always lets go, and says so", () => {
    const subject = lose(["refusing", "refusing"], { settings: { onApiLoss: "release" } });
    assert.equal(subject.bound, false);
    const reasons = subject.log.flatMap((effect) =>
      effect.kind === "report" && effect.report.kind === "transition" ? [effect.report.reason] : [],
    );
    assert.ok(
      reasons.some((reason) => reason.includes("LEASEHOLD_ON_API_LOSS=release")),
      reasons.join(),
    );
  });

  test("`hold` gives way to the holder that the Lease names, and to no worse candidate", () => {
    const held = lose(["silent", "silent"], { settings: { onApiLoss: "hold" }, peers: [worse] });
    assert.equal(held.hears(claimedByWorse).bound, true);
  });

  test("confirmed again, it does not hand over because its balancer finds the API servers a little later than the others'", () => {
    const subject = lose(["refusing", "refusing", "refusing"]).healthy({ faults: ["balancer"] });
    const confirm = (n: number): void => {
      subject.to(subject.nowMs + 500);
      if (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", n, peers) });
    };
    for (let n = 1; n <= 9; n += 1) confirm(n);
    assert.equal(subject.state.role.kind, "MASTER");
    assert.deepEqual([subject.bound, subject.sent("offer").length], [true, 0]);
    for (let n = 10; n <= 14; n += 1) confirm(n);
    assert.ok(subject.sent("offer").length > 0, "it is not late any more, it is faulty");
  });

  test("a stranger is defended against up to the deadline, and given way to from then on", () => {
    const claimed = { kind: "claimed", mac: "02:00:00:00:00:99" } as const;
    const early = lose(["alive", "alive", "alive"], { untilMs: 3_750 });
    const { role } = early.state;
    assert.ok(role.kind === "PROVISIONAL" && role.why.kind === "api-loss");
    const { validUntilMs } = role.why;
    assert.ok(validUntilMs > early.nowMs);
    early.hears(claimed);
    const seen = (): readonly string[] =>
      early.log.flatMap((effect) =>
        effect.kind === "report" && effect.report.kind === "conflict" ? [effect.report.outcome] : [],
      );
    assert.deepEqual([early.to(validUntilMs - 1).bound, seen()], [true, ["defended"]]);
    assert.deepEqual([early.to(validUntilMs).bound, seen()], [false, ["defended", "yielded"]]);
    assert.equal(lose(["alive", "alive", "alive"], { untilMs: 5_000 }).hears(claimed).bound, false);
  });

  test("a fault that everybody has without API servers is no reason for an offer that nobody can write", () => {
    const subject = new Subject().master(peers).to(2_500);
    subject.healthy({ faults: ["balancer"] });
    assert.equal(subject.sent("offer").length, 0);
  });

  test("nothing is asked while renewals succeed", () => {
    const subject = new Subject().master(peers);
    for (let n = 1; n <= 10; n += 1) {
      subject.to(n * 1_000);
      if (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", n, peers) });
    }
    assert.equal(
      subject.log.some((effect) => effect.kind === "survey"),
      false,
    );
  });
});

describe("holding", () => {
  const holding = (): Subject => lose(["alive", "alive", "alive"], { untilMs: 8_000 });

  test("a cached read that names another holder ends it", () => {
    const subject = holding();
    const other = held("n2", 50, peers, { leaseTransitions: 9 });
    subject.event({
      kind: "surveyed",
      sentAtMs: subject.nowMs,
      survey: { servers: [{ server: "a", state: "alive" }], records: [other] },
    });
    assert.equal(subject.bound, false);
  });

  test("a 403 of an API that has just come back does not", () => {
    const subject = holding();
    for (let n = 0; n < 3; n += 1) {
      subject.to(subject.nowMs + 500);
      if (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "rejected", status: 403, message: "forbidden" });
      if (subject.state.lease.survey.inFlight)
        subject.event({
          kind: "surveyed",
          sentAtMs: subject.nowMs - 10,
          survey: { servers: [{ server: "a", state: "alive" }], records: [] },
        });
    }
    assert.equal(subject.state.lease.refusal?.status, 403);
    assert.equal(subject.bound, true);
  });

  /** Surveys that find `state` at the only server, until `atMs`. */
  function finds(subject: Subject, state: State, untilMs: number): Subject {
    while (subject.nowMs < untilMs) {
      subject.to(subject.nowMs + 250);
      while (subject.sent("renew").length > 0) subject.answer("renew", failed);
      if (subject.state.lease.survey.inFlight)
        subject.event({
          kind: "surveyed",
          sentAtMs: subject.nowMs - 50,
          survey: { servers: [{ server: "s0", state }], records: [] },
        });
    }
    return subject;
  }

  const met = (): Subject => new Subject().master([worse]).hears({ kind: "neighbours", heard: true });

  test("API servers that refused, and are silent while they start, can write for nobody; those that stay silent may", () => {
    const subject = finds(met(), "refusing", 10_000);
    assert.equal(finds(subject, "silent", 15_500).hears(claimedByWorse).bound, true);
    assert.equal(finds(subject, "silent", 18_500).hears(claimedByWorse).bound, false);
  });

  test("one that is silent at once is not starting", () => {
    const subject = finds(met(), "alive", 10_000);
    assert.equal(finds(subject, "silent", 12_500).hears(claimedByWorse).bound, false);
  });

  test("evidence older than 2 s says nothing", () => {
    const subject = lose(["alive", "alive", "alive"], { untilMs: 8_000, peers: [worse] });
    const atMs = subject.state.lease.survey.found?.sentAtMs ?? 0;
    assert.equal(subject.to(atMs + 1_999).hears(claimedByWorse).bound, true);
    assert.equal(subject.to(atMs + 2_000).hears(claimedByWorse).bound, false);
  });

  test("an old cached read does not", () => {
    const subject = holding();
    const old = held("n2", 0, peers, { resourceVersion: "2" });
    subject.event({
      kind: "surveyed",
      sentAtMs: subject.nowMs,
      survey: { servers: [{ server: "a", state: "alive" }], records: [old] },
    });
    assert.equal(subject.bound, true);
  });

  test("the first renewal that succeeds makes it confirmed again", () => {
    const subject = holding().to(8_600);
    assert.equal(subject.sent("renew").length, 1);
    subject.answer("renew", { kind: "ok", record: held("n1", 40, peers) });
    assert.equal(subject.state.role.kind, "MASTER");
    assert.equal(subject.bound, true);
  });

  test("a dead link ends it, and so does SIGTERM", () => {
    assert.equal(holding().healthy({ faults: ["interface"] }).bound, false);
    const stopped = holding();
    stopped.event({ kind: "stop" });
    assert.equal(stopped.bound, false);
  });

  test("an offer that may have been taken is not held on to", () => {
    const subject = new Subject({ nopreempt: false }).master([
      candidate("n2", { effective: 200, preempt: true }),
    ]);
    assert.equal(subject.sent("offer").length, 1);
    const survey = { servers: [{ server: "a", state: "alive" }], records: [] } as const;
    subject.event({ kind: "surveyed", sentAtMs: subject.nowMs, survey });
    assert.equal(subject.to(subject.nowMs + 4_500).bound, false);
  });
});

describe("the others, after a time in which nobody could read", () => {
  test("give the holder the first word", () => {
    const n1 = candidate("n1");
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, candidate("n2")]));
    for (let atMs = 500; atMs <= 20_000; atMs += 500) {
      subject
        .to(atMs)
        .event({ kind: "read", sentAtMs: atMs, outcome: { kind: "no-answer", message: "refused" } });
    }
    assert.equal(
      subject.sent("claim").length,
      0,
      "a claim would wait in a server for etcd, and might come first",
    );
    subject.to(20_400).sees(held("n2", 1, [n1, candidate("n2")]));
    assert.equal(subject.to(21_500).sent("claim").length, 0);
    assert.equal(subject.to(21_900).sent("claim").length, 1);
  });
});

test("evidence counts for nothing without a survey", () => {
  assert.equal(nobodyCanClaim(new Subject().master(peers).state, 0), false);
});
