/** A soak is worth what its judge finds: each rule is broken here once, and once not quite. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "../../soak/judge.ts";
import type { Answer, Evidence, MemorySample, PlayedEpisode, PlayedFault, Turn } from "../../soak/judge.ts";
import { summary, violationsReport } from "../../soak/report.ts";

const VIP = "10.77.0.100";
const LENGTH_MS = 60_000;

/** A turn every 50 ms, all answered by n1, but for those that `change` says otherwise of. */
function turns(
  change: (atMs: number) => readonly string[] | "not run" | undefined = () => undefined,
): Turn[] {
  const all: Turn[] = [];
  for (let sentMs = 0; sentMs <= LENGTH_MS; sentMs += 50) {
    const nodes = change(sentMs) ?? ["n1"];
    if (nodes !== "not run") all.push({ sentMs, vip: VIP, nodes });
  }
  return all;
}

function answers(name: string, everyMs: number, outcome: (atMs: number) => string = () => "ok"): Answer[] {
  const all: Answer[] = [];
  for (let sentMs = 0; sentMs <= LENGTH_MS; sentMs += everyMs)
    all.push({ sentMs, name, outcome: outcome(sentMs) });
  return all;
}

const from = (startMs: number, lengthMs: number, atMs: number): boolean =>
  atMs >= startMs && atMs < startMs + lengthMs;

function evidence(parts: Partial<Evidence> = {}): Evidence {
  return {
    fromMs: 0,
    toMs: LENGTH_MS,
    turns: turns(),
    ready: answers(VIP, 400),
    direct: ["n1", "n2", "n3"].flatMap((name) => answers(name, 1_000)),
    episodes: [],
    memory: [],
    ...parts,
  };
}

function episode(fault: Partial<PlayedFault> = {}, rest: Partial<PlayedEpisode> = {}): PlayedEpisode {
  return {
    title: "an episode",
    startMs: 10_000,
    endMs: 30_000,
    faults: [
      {
        kind: "node-lost",
        node: "n1",
        other: undefined,
        hadVip: true,
        proof: true,
        startMs: 10_000,
        ...fault,
      },
    ],
    watches: { open: 9, lost: 0, deaf: 0 },
    problem: undefined,
    ...rest,
  };
}

const busy = (parts: Partial<Evidence>): readonly string[] => judge(evidence(parts)).busy;

const broken = (parts: Partial<Evidence>): readonly string[] =>
  judge(evidence(parts)).violations.map(({ what }) => what);

const silent = (startMs: number, lengthMs: number): Turn[] =>
  turns((atMs) => (from(startMs, lengthMs, atMs) ? [] : undefined));

test("a calm soak breaks nothing, and has no spells", () => {
  const verdict = judge(evidence());
  assert.deepEqual(verdict.violations, []);
  assert.deepEqual(verdict.spells, []);
  assert.deepEqual(verdict.sums, []);
});

describe("nobody answers", () => {
  test("out of the calm, for longer than the turns that are allowed", () => {
    assert.deepEqual(broken({ turns: silent(10_000, 500) }), []);
    assert.deepEqual(broken({ turns: silent(10_000, 550) }), [
      `no machine answered for ${VIP} for 0.55 s, allowed is 0.5 s`,
    ]);
  });

  test("after the loss of the holder, with proof, without, and of another node", () => {
    const lost = (fault: Partial<PlayedFault>, ms: number) =>
      broken({ turns: silent(10_050, ms), episodes: [episode(fault)] });
    assert.deepEqual(lost({}, 1_000), []);
    assert.deepEqual(lost({}, 1_050), [
      `no machine answered for ${VIP} for 1.05 s after node-lost n1, allowed is 1 s`,
    ]);
    assert.deepEqual(lost({ proof: false }, 15_000), []);
    assert.equal(lost({ proof: false }, 15_050).length, 1);
    assert.deepEqual(lost({ hadVip: false }, 500), []);
    assert.equal(lost({ hadVip: false }, 550).length, 1);
  });

  test("after the fault has ended, while the cluster is not well again, the fault's bound holds", () => {
    assert.deepEqual(broken({ turns: silent(29_000, 900), episodes: [episode()] }), []);
    assert.equal(broken({ turns: silent(31_000, 900), episodes: [episode()] }).length, 1);
  });

  test("of two faults that overlap, the looser bound holds from when it begins", () => {
    const quiet = {
      kind: "api-killed",
      node: "n2",
      other: undefined,
      hadVip: false,
      proof: true,
      startMs: 10_000,
    } as const;
    const late = {
      kind: "node-lost",
      node: "n1",
      other: undefined,
      hadVip: true,
      proof: true,
      startMs: 15_000,
    } as const;
    const both = episode({}, { faults: [quiet, late] });
    assert.equal(broken({ turns: silent(12_000, 900), episodes: [both] }).length, 1);
    assert.deepEqual(broken({ turns: silent(15_050, 900), episodes: [both] }), []);
  });

  test("to the very end of the soak", () => {
    assert.equal(broken({ turns: silent(50_000, 100_000) }).length, 1);
  });

  test("several gaps are judged one by one, and summed", () => {
    const all = turns((atMs) => (from(11_000, 400, atMs) || from(13_000, 300, atMs) ? [] : undefined));
    const verdict = judge(evidence({ turns: all, episodes: [episode()] }));
    assert.deepEqual(verdict.violations, []);
    assert.deepEqual(
      verdict.sums.map(({ kind, played, answersMs }) => [kind, played, answersMs]),
      [["node-lost", 1, 700]],
    );
  });
});

describe("a prober that is not run", () => {
  /** Silent from 10 s on; no turn for `stallMs` of it. */
  const stalled = (silentMs: number, stallMs: number): Turn[] =>
    turns((atMs) =>
      from(10_050, stallMs, atMs) ? "not run" : from(10_000, silentMs, atMs) ? [] : undefined,
    );

  test("excuses what it did not see", () => {
    assert.equal(broken({ turns: stalled(800, 0) }).length, 1);
    assert.deepEqual(broken({ turns: stalled(800, 400) }), []);
  });

  test("excuses a second of a spell at most", () => {
    assert.deepEqual(broken({ turns: stalled(1_400, 1_200) }), []);
    assert.ok(broken({ turns: stalled(2_500, 2_300) }).some((what) => what.includes("no machine answered")));
  });

  test("excuses nothing that happens at another time", () => {
    const all = turns((atMs) =>
      from(20_000, 800, atMs) ? "not run" : from(10_000, 800, atMs) ? [] : undefined,
    );
    assert.equal(broken({ turns: all }).length, 1);
  });

  test("makes the soak worthless when it happens all the time", () => {
    const all = turns((atMs) => (atMs % 1_000 < 400 ? "not run" : undefined));
    assert.match(busy({ turns: all }).join(), /the prober was not run for/);
    assert.deepEqual(busy({}), []);
  });

  test("is no answer: a stall alone is no gap", () => {
    const verdict = judge(
      evidence({ turns: turns((atMs) => (from(10_000, 900, atMs) ? "not run" : undefined)) }),
    );
    assert.deepEqual(verdict.violations, []);
    assert.equal(verdict.longestStallMs, 900);
  });
});

describe("two nodes answer", () => {
  const both = (startMs: number, lengthMs: number): Turn[] =>
    turns((atMs) => (from(startMs, lengthMs, atMs) ? ["n1", "n2"] : undefined));

  test("for longer than a second", () => {
    assert.deepEqual(broken({ turns: both(10_000, 1_000) }), []);
    assert.deepEqual(broken({ turns: both(10_000, 1_050) }), [
      `two nodes answered for ${VIP} (n1, n2) for 1.05 s, allowed is 1 s`,
    ]);
  });

  test("where the table has an exception", () => {
    assert.deepEqual(broken({ turns: both(12_000, 4_200), episodes: [episode()] }), []);
    assert.equal(broken({ turns: both(12_000, 4_250), episodes: [episode()] }).length, 1);
    assert.equal(
      broken({ turns: both(12_000, 4_200), episodes: [episode({ kind: "link-down" })] }).length,
      1,
    );
  });
});

describe("/readyz is not served", () => {
  const unserved = (startMs: number, lengthMs: number): Answer[] =>
    answers(VIP, 400, (atMs) => (from(startMs, lengthMs, atMs) ? "ETIMEDOUT" : "ok"));

  test("while API servers serve", () => {
    assert.deepEqual(broken({ ready: unserved(10_000, 2_000) }), []);
    assert.equal(broken({ ready: unserved(10_000, 2_800) }).length, 1);
    const episodes = [episode({ kind: "api-hung" })];
    assert.deepEqual(broken({ ready: unserved(12_000, 6_000), episodes }), []);
    assert.equal(broken({ ready: unserved(12_000, 6_800), episodes }).length, 1);
  });

  test("while none serves, that does not count; afterwards it does", () => {
    const direct = ["n1", "n2", "n3"].flatMap((name) =>
      answers(name, 1_000, (atMs) => (from(10_000, 10_000, atMs) ? "ECONNREFUSED" : "ok")),
    );
    assert.deepEqual(broken({ direct, ready: unserved(10_000, 11_600) }), []);
    assert.equal(broken({ direct, ready: unserved(10_000, 12_800) }).length, 1);
    const one = [...direct, ...answers("n4", 1_000)];
    assert.equal(
      broken({ direct: one, ready: unserved(10_000, 11_600) }).length,
      1,
      "n4 served all the time",
    );
  });

  test("answers may come in another order than they were sent", () => {
    assert.equal(broken({ ready: unserved(10_000, 2_800).toReversed() }).length, 1);
  });
});

describe("an episode", () => {
  test("after which the cluster is not well", () => {
    assert.deepEqual(broken({ episodes: [episode({}, { problem: "n2 is BACKUP" })] }), [
      "the cluster is not well again: n2 is BACKUP",
    ]);
  });

  test("whose faults leave connections alone, and some end or miss an event", () => {
    const ended = (kind: PlayedFault["kind"], lost: number, deaf: number) =>
      broken({ episodes: [episode({ kind }, { watches: { open: 9, lost, deaf } })] });
    assert.deepEqual(ended("vip-moved", 1, 0), ["1 of 9 connections ended"]);
    assert.deepEqual(ended("agent-killed", 0, 2), ["2 watches missed an event"]);
    assert.deepEqual(ended("node-lost", 3, 1), []);
    const failing = answers("n3", 1_000, (atMs) => (atMs === 20_000 ? "ETIMEDOUT" : "ok"));
    const one = episode({ kind: "vip-moved" }, { watches: { open: 9, lost: 1, deaf: 0 } });
    assert.deepEqual(broken({ episodes: [one], direct: failing }), []);
  });
});

describe("an API server that does not answer", () => {
  const silentApi = (name: string, ms: number): Answer[] =>
    ["n1", "n2", "n3"].flatMap((each) =>
      answers(each, 1_000, (atMs) => (each === name && from(12_000, ms, atMs) ? "ETIMEDOUT" : "ok")),
    );

  test("shows a machine that is too busy, where no fault concerns it", () => {
    const episodes = [episode({ kind: "agent-killed" })];
    assert.deepEqual(busy({ episodes, direct: silentApi("n1", 8_000) }), []);
    assert.match(busy({ episodes, direct: silentApi("n1", 9_000) }).join(), /n1, which no fault concerned/);
  });

  test("shows nothing where a fault does", () => {
    assert.deepEqual(busy({ episodes: [episode()], direct: silentApi("n1", 15_000) }), []);
    assert.equal(busy({ episodes: [episode()], direct: silentApi("n2", 15_000) }).length, 1);
    const lost = [episode({ kind: "quorum-lost", other: "n2" })];
    assert.deepEqual(busy({ episodes: lost, direct: silentApi("n3", 15_000) }), []);
    const cut = [episode({ kind: "link-cut", other: "n2" })];
    assert.deepEqual(busy({ episodes: cut, direct: silentApi("n2", 15_000) }), []);
  });
});

describe("memory", () => {
  const TEN_MINUTES = 600_000;
  const grows = (midKib: number, endKib: number, change: Partial<MemorySample> = {}): Partial<Evidence> => ({
    toMs: TEN_MINUTES,
    memory: Array.from({ length: 121 }, (_, index) => ({
      node: "n1",
      pid: 7,
      atMs: index * 5_000,
      kib: index > 90 ? endKib : midKib,
      ...(index === 120 ? change : {}),
    })),
  });

  test("of an agent that nothing restarted may grow by a tenth in the second half", () => {
    assert.deepEqual(broken(grows(100_000, 110_000)), []);
    assert.deepEqual(broken(grows(100_000, 110_001)), [
      "the agent of n1 grew from 100000 to 110001 KiB in the second half",
    ]);
  });

  test("of one that was restarted is not judged, and a single large sample is not, and not a short soak", () => {
    assert.deepEqual(broken(grows(100_000, 200_000, { pid: 8 })), []);
    assert.deepEqual(broken(grows(100_000, 100_000, { kib: 900_000 })), []);
    assert.deepEqual(broken({ ...grows(100_000, 200_000), toMs: TEN_MINUTES - 1 }), []);
  });
});

test("the report names the fault, the seed's episode, and what happened around", () => {
  const seen = evidence({ turns: silent(10_050, 3_000), episodes: [episode()] });
  const verdict = judge(seen);
  const text = violationsReport(seen, verdict, [
    { atMs: 9_000, text: "n2: State changed" },
    { atMs: 40_000, text: "long after" },
  ]);
  assert.match(
    text,
    /BROKEN at 10\.05 s: no machine answered .* for 3\.00 s after node-lost n1, allowed is 1 s/,
  );
  assert.match(text, /in the episode: an episode/);
  assert.match(text, / 9\.00 {2}n2: State changed/);
  assert.match(text, /10\.00 {2}== node-lost n1, which has the VIP/);
  assert.doesNotMatch(text, /long after/);
  assert.match(summary(seen, verdict), /node-lost +1 +1 +0 +3\.00 +0\.00 +0\.00 +0/);
});
