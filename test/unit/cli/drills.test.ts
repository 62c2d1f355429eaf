import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Answers } from "../../../src/cli/ask.ts";
import { clusterView } from "../../../src/cli/cluster-view.ts";
import { drillText, judgeDrill } from "../../../src/cli/drills.ts";
import type { DrillVerdict } from "../../../src/cli/drills.ts";
import { seen } from "../../../src/cli/gaps.ts";
import type { Attempt } from "../../../src/cli/gaps.ts";
import { parseCandidate } from "../../../src/kube/record-codec.ts";
import { CANDIDATE_PREFIX } from "../../../src/kube/record.ts";
import type { LeaseRecord } from "../../../src/kube/record.ts";
import { candidate, held } from "../election/harness.ts";
import { backend } from "../ops/example.ts";
import type { Changes } from "../ops/example.ts";
import { agentOf, answers, failed, ok } from "./answers.ts";

const n1 = candidate("n1", { ip: "192.0.2.11", state: "MASTER" });
const n2 = candidate("n2", { ip: "192.0.2.12" });
const n3 = candidate("n3", { ip: "192.0.2.13", base: 110, effective: 110 });
const lease = held("n1", 1, [n1, n2, n3]);

/** What n1 says of the nodes: all are alive, apart from `silent`. */
function told(record: LeaseRecord, silent: readonly string[], changes: Changes = {}): Partial<Answers> {
  const candidates = Object.entries(record.annotations).flatMap(([key, value]) => {
    const one = parseCandidate(key.slice(CANDIDATE_PREFIX.length), value);
    return one === undefined ? [] : [{ ...one, fresh: !silent.includes(one.node) }];
  });
  return {
    agent: ok(agentOf({ ...changes, election: { candidates, ...changes.election } })),
    lease: ok(record),
  };
}

function verdict(change: Partial<Answers>, to?: string): DrillVerdict {
  const heard = answers(change);
  return judgeDrill(clusterView(heard), heard.lease.kind === "ok" ? heard.lease.value : null, to);
}

describe("a drill", () => {
  test("goes to the best other node, or to the one that is wanted", () => {
    assert.deepEqual(verdict(told(lease, [])), { kind: "go", from: "n1", to: "n3" });
    assert.deepEqual(verdict(told(lease, []), "n2"), { kind: "go", from: "n1", to: "n2" });
  });

  const broken = candidate("n2", { ip: "192.0.2.12", eligible: false, state: "FAULT", faults: ["balancer"] });
  const dead = { ...backend, id: "192.0.2.12:6443", grade: "DOWN", reason: "refused" } as const;
  for (const [what, change, to, pattern] of [
    [
      "the API does not answer",
      { ...told(lease, []), lease: failed("the API", "no answer") },
      undefined,
      /the API does not say/,
    ],
    [
      "no agent answers here",
      { lease: ok(lease), agent: failed("the agent", "refused") },
      undefined,
      /no agent answers on n1/,
    ],
    ["no node holds the VIP", told(held("", 1, [n1, n2, n3]), []), undefined, /no node holds the VIP/],
    [
      "other software has the VIP",
      told(held("", 1, [candidate("n1", { eligible: false, faults: ["vip"] }), n2, n3]), [], {
        election: {
          state: "BACKUP",
          confirmed: false,
          eligible: false,
          taken: true,
          other: { mac: "02:00:00:00:00:01", node: "n1" },
        },
      }),
      undefined,
      /^other software on n1 \(02:00:00:00:00:01\) has the VIP, and the agents stand by for it\.$/m,
    ],
    [
      "the holder is provisional",
      told(lease, [], { election: { confirmed: false } }),
      undefined,
      /n1 does not hold both/,
    ],
    [
      "a node is in FAULT",
      told(held("n1", 1, [n1, broken, n3]), []),
      undefined,
      /n2 could not take the VIP: it is in FAULT balancer/,
    ],
    ["an agent is silent", told(lease, ["n2"]), undefined, /the agent of n2 is silent/],
    [
      "an API server is DOWN",
      told(lease, [], { balancer: { backends: [backend, dead] } }),
      undefined,
      /192\.0\.2\.12:6443 DOWN \(refused\)/,
    ],
    [
      "a person has pinned the VIP",
      told(held("n1", 1, [n1, n2, n3], { annotations: { "leasehold.dev/move-to": "n1" } }), []),
      undefined,
      /unpin/,
    ],
    ["there is no other node", told(held("n1", 1, [n1]), []), undefined, /no other node/],
    ["the holder is wanted", told(lease, []), "n1", /n1 holds the VIP already/],
    ["an unknown node is wanted", told(lease, []), "n9", /"n9" is no candidate/],
  ] as const)
    test(`is refused when ${what}`, () => {
      const refused = verdict(change, to);
      assert.ok(refused.kind === "refused", JSON.stringify(refused));
      assert.match(refused.reasons.join("\n"), pattern);
    });

  test("does not say of a Lease that could not be read that it has no holder", () => {
    const refused = verdict({ lease: failed("the API", "no answer"), agent: failed("the agent", "refused") });
    assert.ok(refused.kind === "refused");
    assert.equal(refused.reasons.length, 2);
  });

  test("says every reason at once", () => {
    const refused = verdict(
      told(held("n1", 1, [n1, broken, n3]), ["n3"], { balancer: { backends: [dead] } }),
    );
    assert.ok(refused.kind === "refused");
    assert.equal(new Set(refused.reasons).size, refused.reasons.length);
    for (const pattern of [/n2/, /n3/, /DOWN/]) assert.match(refused.reasons.join("\n"), pattern);
  });
});

describe("what probes saw", () => {
  const good = (sentMs: number): Attempt => ({ sentMs, ms: 2, error: "" });
  const bad = (sentMs: number, error: string, ms = 50): Attempt => ({ sentMs, ms, error });

  test("is no gap while every attempt is answered at once", () =>
    assert.deepEqual(seen("it", [good(0), good(20)], 0, 40), {
      probe: "it",
      sent: 2,
      answered: 2,
      longestWaitMs: 2,
      gaps: [],
    }));

  test("is one gap for each run of failures and late answers, to the next good one", () => {
    const attempts = [
      good(100),
      bad(120, "ECONNRESET"),
      bad(140, "", 300),
      bad(160, "EHOSTUNREACH"),
      good(180),
      bad(200, "", 251),
      good(220),
      bad(240, "no answer in 60 ms", 60),
    ];
    const { gaps, answered, sent } = seen("it", attempts, 100, 300);
    assert.deepEqual([sent, answered], [8, 5]);
    assert.deepEqual(gaps, [
      { afterMs: 20, lastedMs: 60, attempts: 3, longestWaitMs: 300, errors: ["ECONNRESET", "EHOSTUNREACH"] },
      { afterMs: 100, lastedMs: 20, attempts: 1, longestWaitMs: 251, errors: [] },
      { afterMs: 140, lastedMs: 60, attempts: 1, longestWaitMs: 60, errors: ["no answer in 60 ms"] },
    ]);
    assert.equal(seen("it", [], 0, 10).longestWaitMs, 0);
  });

  test("is reported with every gap, and where it was seen from", () => {
    const one = seen("the address 192.0.2.10", [good(0), bad(20, "EHOSTUNREACH"), good(60)], 0, 100);
    const moves = [
      { from: "n1", to: "n2", tookMs: 120, seen: [one] },
      { from: "n2", to: "n1", tookMs: null, seen: [seen("the address 192.0.2.10", [good(200)], 200, 300)] },
    ];
    const text = drillText({ node: "n3", moves, cleaned: true });
    assert.match(text, /^n1 -> n2: n2 held the Lease 0\.12 s after the wish\.\nn2 -> n1: n1 did not hold/);
    assert.match(text, /^n1 -> n2 +the address 192\.0\.2\.10 +3 +2 +1 +0\.05 s$/m);
    assert.match(
      text,
      /Every gap:\n {2}n1 -> n2, the address 192\.0\.2\.10: 0\.04 s long, 0\.02 s after the wish: 1 attempt, EHOSTUNREACH/,
    );
    assert.match(text, /nothing pins the VIP/);
    assert.doesNotMatch(text, /third node/);
    assert.match(drillText({ node: "n2", moves, cleaned: false }), /A drill from a third node/);
  });
});
