/** A node that cannot get the Lease written: when does it serve, and what ends it? */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ElectionSettings, SelfFacts } from "../../../src/election/types.ts";
import { INSTANCE } from "../../../src/kube/record.ts";
import { candidate, held, record, Subject } from "./harness.ts";

const n1 = candidate("n1", { mac: "02:00:00:00:00:01" });
const n2 = candidate("n2", { mac: "02:00:00:00:00:02" });
const n3 = candidate("n3", { mac: "02:00:00:00:00:03", effective: 50 });
const all = [n1, n2, n3];
const refused = { kind: "rejected", status: 403, message: "denied" } as const;

interface Change {
  readonly settings?: Partial<ElectionSettings>;
  readonly facts?: Partial<SelfFacts>;
  readonly met?: boolean;
}

/** A BACKUP of n2 that has read the Lease once, at 0. */
function backup(change: Change = {}): Subject {
  const subject = new Subject(change.settings ?? {}).healthy(change.facts ?? {});
  if (change.met !== false) subject.hears({ kind: "neighbours", heard: true });
  return subject.sees(held("n2", 1, all));
}

/** Until `untilMs` every read is answered with `read`, and no write is carried out. */
function cannotWrite(subject: Subject, untilMs: number, read: "refused" | "read" = "refused"): Subject {
  for (let atMs = subject.nowMs + 250; atMs <= untilMs; atMs += 250) {
    subject.to(atMs);
    for (const kind of ["claim", "candidate", "renew"] as const)
      while (subject.sent(kind).length > 0) subject.answer(kind, refused);
    const outcome =
      read === "read" ? ({ kind: "ok", record: subject.state.lease.view?.record ?? null } as const) : refused;
    if (subject.state.lease.read.inFlight) subject.event({ kind: "read", sentAtMs: atMs, outcome });
  }
  return subject;
}

describe("a BACKUP that cannot write the Lease", () => {
  for (const read of ["refused", "read"] as const) {
    test(`serves when the Lease has not been renewed for its duration and the wire is free (${read})`, () => {
      const subject = cannotWrite(backup(), 9_750, read);
      assert.equal(subject.bound, false);
      cannotWrite(subject, 12_000, read);
      assert.deepEqual([subject.bound, subject.state.role.kind], [true, "PROVISIONAL"]);
      assert.ok(subject.state.reason.includes("403 on the Lease"), subject.state.reason);
      assert.equal(cannotWrite(subject, 120_000, read).bound, true, "for as long as it takes");
      assert.ok(subject.boundUntilMs <= 123_000);
    });
  }

  test("knows that a second after a claim that is not answered, long before it times out", () => {
    const subject = new Subject().healthy().hears({ kind: "neighbours", heard: true });
    subject.sees(held("n1", 1, all));
    assert.equal(subject.sent("claim").length, 1, "the Lease names this node");
    assert.equal(subject.to(999).bound, false);
    assert.equal(subject.to(1_000).bound, true);
    assert.ok(subject.state.reason.includes("no API server answers"), subject.state.reason);
    subject.answer("claim", { kind: "ok", record: held("n1", 2, all) });
    assert.equal(subject.state.role.kind, "MASTER", "the answer counts all the same");
  });

  test("does not, while any machine answers for the VIP, and for the duration of a Lease after that", () => {
    const subject = backup();
    subject.wire = { owner: n2.mac, prober: null };
    assert.equal(cannotWrite(subject, 40_000).bound, false);
    subject.wire = { owner: null, prober: null };
    assert.equal(cannotWrite(subject, 47_750).bound, false);
    assert.equal(cannotWrite(subject, 53_000).bound, true);
  });

  test("does not, while the holder renews the Lease", () => {
    const subject = backup();
    for (let n = 2; n <= 30; n += 1) {
      cannotWrite(subject, n * 1_000, "read").sees(held("n2", n, all));
    }
    assert.equal(subject.bound, false);
  });

  test("does not, on a wire that carries nothing", () => {
    const silent = backup();
    silent.wire = null;
    assert.equal(cannotWrite(silent, 60_000).bound, false);
    assert.equal(cannotWrite(backup({ met: false }), 29_750).bound, false, "nobody was ever heard");
    assert.equal(cannotWrite(backup({ facts: { faults: ["interface"] } }), 60_000).bound, false);
  });

  test("does not, with a fault of its own; those that everybody has without an API make it wait 2 s", () => {
    assert.equal(cannotWrite(backup({ facts: { faults: ["exec"] } }), 60_000).bound, false);
    const light = backup({ facts: { faults: ["balancer"] } });
    assert.equal(cannotWrite(light, 11_750).bound, false);
    assert.equal(cannotWrite(light, 14_500).bound, true);
  });

  test("does not, where `release` is wished", () => {
    assert.equal(cannotWrite(backup({ settings: { onApiLoss: "release" } }), 60_000).bound, false);
  });

  test("gives way to another machine that asks, if its MAC is lower", () => {
    const subject = backup();
    subject.wire = { owner: null, prober: "02:00:00:00:00:00" };
    // It would have taken the VIP when the Lease had run out.
    assert.equal(cannotWrite(subject, 19_500).bound, false);
    assert.equal(cannotWrite(subject, 26_000).bound, true, "that one only goes on asking");
  });

  test("does not wait for the Lease where the holder is dead on the wire", () => {
    const subject = cannotWrite(backup(), 3_000);
    const { acquireTime, leaseTransitions } = held("n2", 1);
    subject.hears({ kind: "silent", tenure: ["n2", acquireTime, leaseTransitions].join("/") });
    assert.equal(cannotWrite(subject, 4_000).bound, true);
  });

  test("an agent that starts anew takes up at once what its predecessor had bound, if the Lease names it", () => {
    const subject = new Subject();
    subject.event({ kind: "start", resume: null, found: { keptMs: 2_000 } });
    subject.healthy().sees(held("n1", 1, all));
    assert.equal(cannotWrite(subject, 2_000, "read").bound, true);
    assert.equal(subject.asked("probe"), 0);
    assert.equal(cannotWrite(subject, 30_000, "read").bound, true);
  });
});

describe("a node that serves though it cannot write the Lease", () => {
  const serving = (change: Change = {}): Subject => cannotWrite(backup(change), 13_000, "read");

  test("is MASTER with the first write that is carried out", () => {
    const subject = serving().to(14_000);
    subject.answer("claim", { kind: "ok", record: held("n1", 2, all, { leaseTransitions: 4 }) });
    assert.equal(subject.state.role.kind, "MASTER");
    const before = subject.asked("defend");
    subject.to(14_200).hears({ kind: "claimed", mac: "02:00:00:00:00:99" });
    assert.equal(
      subject.asked("defend") - before,
      1,
      "a claim is answered at once, though it has just announced the VIP",
    );
  });

  test("stops when the holder renews the Lease after all, or another claims it", () => {
    assert.equal(serving().watches(held("n2", 2, all)).bound, false);
    assert.equal(serving().watches(held("n3", 2, all, { leaseTransitions: 4 })).bound, false);
  });

  test("stops when it hears a claim, though the claimant has a lower priority: the API refuses this node only", () => {
    assert.equal(serving().hears({ kind: "claimed", mac: n3.mac }).bound, false);
  });

  const noneIsWritten = {
    servers: [
      { server: "a", state: "alive" },
      { server: "b", state: "alive" },
    ],
    records: [],
  } as const;
  const whereNobodyCanWrite = (): Subject => {
    const subject = serving();
    while (subject.state.lease.refusal !== null) {
      subject.to(subject.nowMs + 500);
      while (subject.sent("claim").length > 0)
        subject.answer("claim", { kind: "no-answer", ambiguous: true, message: "etcd is gone" });
    }
    subject.surveyed(noneIsWritten);
    return subject;
  };

  test("stays before a worse candidate where no node can write", () => {
    const subject = whereNobodyCanWrite();
    assert.equal(subject.hears({ kind: "claimed", mac: n3.mac }).bound, true);
    const before = subject.asked("unbind");
    cannotWrite(subject, subject.nowMs + 20_000, "read");
    assert.equal(subject.asked("unbind") - before, 0, "that claim is settled, whatever is known later");
  });

  test("gives way to it where the API has just refused this node, though the last answer was a server's own failure", () => {
    const subject = serving().to(14_000);
    for (const kind of ["claim", "candidate"] as const)
      while (subject.sent(kind).length > 0)
        subject.answer(kind, { kind: "rejected", status: 500, message: "the server is unwell" });
    subject.surveyed(noneIsWritten);
    assert.equal(subject.hears({ kind: "claimed", mac: n3.mac }).bound, false);
  });

  test("answers the claims of such a candidate once a second, and not each of them", () => {
    const subject = whereNobodyCanWrite();
    const before = subject.asked("defend");
    for (let claims = 0; claims < 10; claims += 1)
      subject
        .to(subject.nowMs + 300)
        .surveyed(noneIsWritten)
        .hears({ kind: "claimed", mac: n3.mac });
    assert.equal(subject.bound, true);
    assert.equal(subject.asked("defend") - before, 3);
  });

  test("announces the VIP every 1.5 s, so that one on the other side of a cut hears of it when it heals", () => {
    const subject = serving();
    const before = subject.asked("defend");
    assert.ok(cannotWrite(subject, 23_000, "read").asked("defend") - before >= 6);
  });

  const policy = (n: number) =>
    held("policy", n, all, { annotations: { [INSTANCE]: "i1" }, rewritten: true });

  test("goes on where a webhook has put another name into its claim, and stops for a machine that renews", () => {
    const subject = serving();
    for (let n = 2; n <= 40; n += 1) {
      subject.to(subject.nowMs + 500).watches(policy(n));
      while (subject.sent("claim").length > 0)
        subject.answer("claim", { kind: "rejected", status: 200, message: "changed" });
    }
    assert.deepEqual([subject.bound, subject.state.role.kind], [true, "PROVISIONAL"]);
    assert.equal(subject.asked("unbind"), 0);
    assert.match(subject.state.lease.unwritten?.why ?? "", /an admission webhook or policy does that/);
    assert.equal(subject.watches(held("n3", 41, all, { leaseTransitions: 4 })).bound, false);
  });

  test("stops with its link, and when it is asked to stop", () => {
    assert.equal(serving().healthy({ faults: ["interface"] }).bound, false);
    const stopped = serving();
    stopped.event({ kind: "stop" });
    assert.equal(stopped.bound, false);
  });
});

test("a holder that the API refuses from one moment on is never without the VIP", () => {
  const subject = new Subject().master([n2, n3]).hears({ kind: "neighbours", heard: true });
  for (let atMs = 250; atMs <= 120_000; atMs += 250) {
    cannotWrite(subject, atMs, "read");
    assert.equal(subject.bound, true, `at ${atMs} ms`);
  }
  assert.equal(subject.log.filter(({ kind }) => kind === "unbind").length, 0);
});

test("a Lease that was never held is served as well where it cannot be written", () => {
  const subject = new Subject()
    .healthy()
    .hears({ kind: "neighbours", heard: true })
    .sees(record({}, [n1]));
  assert.equal(cannotWrite(subject, 15_000, "read").bound, true);
});
