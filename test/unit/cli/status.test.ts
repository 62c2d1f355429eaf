/**
 * What `leasehold status` and `leasehold why` show: word by word in golden/, and what must hold in any case.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseAgentFacts } from "../../../src/cli/agent-facts.ts";
import type { Answers } from "../../../src/cli/ask.ts";
import { clusterView } from "../../../src/cli/cluster-view.ts";
import { document } from "../../../src/cli/output.ts";
import { statusExit, statusText } from "../../../src/cli/render-status.ts";
import { why, whyText } from "../../../src/cli/why.ts";
import type { ElectionStatus } from "../../../src/election/status.ts";
import { exampleStatus } from "../ops/example.ts";
import { candidate, held } from "../election/harness.ts";
import { agentOf, answers, failed, leaseOf, ok, recordingOf } from "./answers.ts";
import { goldenCommands, NO_AGENT, NO_API } from "./golden.ts";

const viewOf = (change: Partial<Answers> = {}) => clusterView(answers(change));
const options = { node: undefined, all: false, last: 5 } as const;

describe("status and why", () => {
  for (const [path, text] of goldenCommands()) {
    test(`print what ${path} has`, () => {
      assert.equal(text, readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8"));
    });
  }
});

describe("the exit status of status", () => {
  const notBound = ok({ addresses: [{ address: "192.0.2.10", interface: null }] });
  for (const [what, expected, change] of [
    ["a holder", 0, {}],
    ["a holder, without the API", 0, { lease: NO_API }],
    ["a holder, without the agent", 0, { agent: NO_AGENT }],
    ["no holder", 3, { lease: ok(leaseOf("")) }],
    ["no Lease", 3, { lease: ok(null) }],
    ["a holder whose kernel has no VIP", 3, { kernel: notBound }],
    ["a Lease that has run out", 3, { at: new Date("2026-01-01T00:00:30Z") }],
    ["nothing", 1, { agent: NO_AGENT, lease: NO_API }],
  ] as const) {
    test(`with ${what} is ${expected}`, () => assert.equal(statusExit(viewOf(change)), expected));
  }
});

test("status tells of a stranger that claims the VIP, for two minutes", () => {
  const shown = (contender: ElectionStatus["contender"]): string =>
    statusText(viewOf({ agent: ok(agentOf({ election: { contender } })) }), false);
  const stranger = { mac: "02:00:00:00:00:99", node: null, agoMs: 4_000 };
  assert.match(
    shown(stranger),
    /Look at:\n.*The machine 02:00:00:00:00:99, which is no candidate, claimed the VIP 4 s ago: see LH_VIP_CONFLICT/s,
  );
  assert.doesNotMatch(shown({ ...stranger, agoMs: 150_000 }), /no candidate/);
  assert.doesNotMatch(shown({ ...stranger, node: "n2" }), /no candidate/);
});

describe("what gave no usable answer", () => {
  const missing = (change: Partial<Answers>): readonly string[] =>
    viewOf(change).notAsked.map((gap) => gap.missing);

  test("is named with what is missing without it, and how to ask it", () => {
    const peers = new Map([["n2", failed("the agent of n2 at 192.0.2.12:10085", "connect ECONNREFUSED")]]);
    assert.match(
      statusText(viewOf({ peers }), false),
      /\nNo usable answer came from these\. Each has .*:\n {2}\* the agent of n2 at 192\.0\.2\.12:10085: connect ECONNREFUSED\n {4}What is said above of n2 is from the Lease, and may be old\.\n {6}ssh n2 leasehold status\n$/,
    );
    assert.doesNotMatch(statusText(viewOf(), false), /No usable answer/);
  });

  test("is as much as the others have not told either", () => {
    const agent =
      /^Without it no other node's agent was asked\. What is said above of the nodes is from the Lease\./;
    assert.match(missing({ agent: NO_AGENT })[0] ?? "", agent);
    assert.match(
      missing({ agent: NO_AGENT, lease: NO_API })[0] ?? "",
      /asked\. Nothing is known of the nodes\./,
    );
    assert.deepEqual(missing({ agent: NO_AGENT, lease: NO_API })[1], "Nothing is known of the Lease.");
    assert.match(missing({ lease: NO_API })[0] ?? "", /is what this node's agent read last/);
    const none = failed("there", "there is none");
    assert.match(missing({ recording: none })[0] ?? "", /last changes of this node's role are not known/);
    assert.match(missing({ kernel: none })[0] ?? "", /whether this machine has the VIP bound/);
  });
});

test("status says that the disk of the recordings is full", () => {
  const disk = { setting: "LEASEHOLD_DATA_DIR", path: "/var/lib/leasehold", freeBytes: 0, freeInodes: 900 };
  assert.match(
    statusText(viewOf({ disks: [disk] }), false),
    /No recording can be written: the disk of \/var\/lib\/leasehold \(LEASEHOLD_DATA_DIR\) has 0 KiB left\. See "A full disk"/,
  );
  assert.doesNotMatch(
    statusText(viewOf({ disks: [{ ...disk, freeBytes: 4 * 2 ** 20 }] }), false),
    /recording/,
  );
});

test("status does not explain a BACKUP by the start of its agent, and says what the API refuses it", () => {
  const agent = agentOf({ election: { state: "BACKUP", confirmed: false, reason: "the agent has started" } });
  const whyOf = (refusal: string | null) => viewOf({ agent: ok({ ...agent, refusal }) }).nodes[0]?.why;
  assert.equal(whyOf(null), "");
  assert.equal(
    whyOf("The API refuses the agent's read of the Lease: 403"),
    "The API refuses the agent's read of the Lease: 403",
  );
});

test("status names the nodes whose certificate ends while admin.conf serves in its place", () => {
  const warning =
    "/etc/kubernetes/leasehold/kubeconfig: the client certificate ends at 2026-01-03T00:00:00.000Z; make a new one";
  const ending = (node: string) => {
    const agent = agentOf({ agent: { node } });
    return ok({ ...agent, ending: warning });
  };
  assert.match(
    statusText(viewOf({ agent: ending("n1"), peers: new Map([["n2", ending("n2")]]) }), false),
    /Look at:\n.*Credentials of n1, n2: \S+: the client certificate ends at 2026-01-03T00:00:00\.000Z; make a new one\.\n/s,
  );
  assert.doesNotMatch(statusText(viewOf(), false), /Credentials/);
});

describe("what came from outside", () => {
  test("of an agent of another version, or of another program, is no agent's status", () => {
    const good = JSON.stringify(exampleStatus());
    assert.ok(parseAgentFacts(good) !== undefined);
    for (const text of ["", "null", "[]", "{}", "<html>", good.replace('"nowMs":1000000', '"nowMs":"x"')])
      assert.equal(parseAgentFacts(text), undefined, text);
    fc.assert(
      fc.property(fc.nat({ max: good.length }), fc.string({ maxLength: 3 }), (at, junk) => {
        parseAgentFacts(good.slice(0, at) + junk + good.slice(at + junk.length));
      }),
    );
  });

  test("cannot steer the terminal", () => {
    const evil = "\u001b]0;owned\u0007";
    const change: Partial<Answers> = {
      agent: ok(agentOf({ election: { reason: evil, holder: evil }, agent: { noBackend: evil } })),
      lease: ok(leaseOf(evil, { "leasehold.dev/move-to": evil, "leasehold.dev/offer": evil })),
      recording: ok({
        ...recordingOf(),
        cause: evil,
        decisions: recordingOf().decisions.map((one) => ({
          ...one,
          told: evil,
          refused: [evil],
          reason: evil,
        })),
      }),
    };
    const view = viewOf(change);
    const { recording } = answers(change);
    assert.ok(recording.kind === "ok");
    const shown = statusText(view, true) + whyText(why(view, recording.value, { ...options, all: true }));
    assert.ok(shown.includes("owned"));
    // oxlint-disable-next-line no-control-regex -- they are what must not be there
    assert.doesNotMatch(shown, /[\u0000-\u0009\u000b-\u001f\u007f]/);
  });
});

describe("why", () => {
  const last = (change: Partial<Answers>, node?: string): string =>
    why(viewOf(change), recordingOf(), { ...options, node }).now.join(" ");

  test("says that a lower holder is displaced only with preemption", () => {
    const agent = agentOf();
    const election = agent.election;
    assert.ok(election !== null);
    const candidates = election.candidates.map((one) =>
      one.node === "n2" ? { ...one, effective: 200, fresh: true } : one,
    );
    const now = last({ agent: ok({ ...agent, election: { ...election, candidates } }), lease: NO_API }, "n2");
    assert.match(now, /n2 has the effective priority 200, and n1 100/);
    assert.match(now, /LEASEHOLD_NOPREEMPT=false.*leasehold move --to n2/);
  });

  test("says that a person has pinned the VIP, and that a wish waits for its node", () => {
    assert.match(last({ lease: ok(leaseOf("n1", { "leasehold.dev/move-to": "n1" })) }), /leasehold unpin/);
    const waits = last({ lease: ok(leaseOf("n1", { "leasehold.dev/move-to": "n2" })) }, "n2");
    assert.match(waits, /n1 has not handed over yet/);
  });

  test("says which VIPs a node has that is in FAULT vip-mismatch, and which the others have", () => {
    const agent = agentOf({ election: { state: "FAULT", eligible: false, faults: ["vip-mismatch"] } });
    const lease = held("n2", 1, [
      candidate("n1", { vips: ["192.0.2.10"] }),
      candidate("n2", { vips: ["192.0.2.20"] }),
      candidate("n3", { vips: ["192.0.2.20"] }),
    ]);
    assert.match(
      last({ agent: ok(agent), lease: ok(lease) }),
      /it is in FAULT vip-mismatch: n1 has 192\.0\.2\.10, 2001:db8::10, and n2 has 192\.0\.2\.20, n3 has 192\.0\.2\.20\. The rule: the VIPs that most nodes were given are the right ones .*vip-agreement\.ts\)\. Give every node the same LEASEHOLD_VIP\. .*LH_VIP_MISMATCH in docs\/operations\.md/,
    );
    const holder = { ...agent, election: { ...(agent.election ?? assert.fail()), state: "MASTER" } };
    assert.match(
      last({ agent: ok(holder), lease: ok(lease) }),
      /^n1 holds the VIP .* FAULT vip-mismatch: n1 has .* The rule: the VIPs that most nodes .* Give every node/,
    );
  });

  const STRANGER = { mac: "02:00:00:00:00:99", node: null, agoMs: 4_000 };
  const hears = (change: Partial<ElectionStatus>): Partial<Answers> => ({
    agent: ok(agentOf({ election: { contender: STRANGER, ...change } })),
  });
  const TOLD = /The machine 02:00:00:00:00:99, which is no candidate, claimed the VIP 4 s ago\. The rule: /;

  test("says which machine a node in FAULT vip-conflict gives way to, when it was heard, and what to do", () => {
    const fault = { state: "FAULT", eligible: false, faults: ["vip-conflict"], holder: "" } as const;
    const here = last({ ...hears(fault), lease: ok(leaseOf("")) });
    assert.match(
      here,
      /^n1 cannot hold the VIP: it is in FAULT vip-conflict: the machine 02:00:00:00:00:99, which is no candidate, had the VIP 4 s ago\. The rule: .*address-check\.ts\)\. Another machine uses the VIP\. Find it by its MAC address\. .*LH_VIP_CONFLICT in docs/,
    );
    assert.doesNotMatch(here, TOLD);
    assert.match(
      last(hears({ ...fault, contender: { ...STRANGER, node: "n2" } })),
      /vip-conflict: n2 \(02:00:00:00:00:99\) had the VIP 4 s ago\. The rule/,
    );
    assert.match(
      last({ ...hears(fault), lease: ok(leaseOf("")) }, "n2"),
      /02:00:00:00:00:99 has the VIP, which is no candidate.* LH_VIP_CONFLICT in docs/,
    );
  });

  test("says of a node which machine claims the VIP beside the holder, by which rule it stays, and what to do", () => {
    assert.match(
      last(hears({})),
      new RegExp(`^n1 holds the VIP .*${TOLD.source}.*contention\\.ts.*LH_VIP_CONFLICT`),
    );
    assert.match(
      last(hears({ confirmed: false })),
      new RegExp(`provisionally.*${TOLD.source}.*provisional\\.ts`),
    );
    const waits = { state: "BACKUP", confirmed: false, holder: "n2" } as const;
    assert.match(
      last({ ...hears(waits), lease: ok(leaseOf("n2")) }),
      new RegExp(`^n1 does not hold .*${TOLD.source}`),
    );
    for (const contender of [null, { ...STRANGER, node: "n2" }, { ...STRANGER, agoMs: 150_000 }])
      assert.doesNotMatch(last(hears({ contender })), TOLD);
    // It goes first there.
    assert.doesNotMatch(
      last({ ...hears({ ...waits, holder: "", taken: true }), lease: ok(leaseOf("")) }),
      /no candidate/,
    );
  });

  test("shows what the recorder has to say of a conflict, though no role changed", () => {
    const decisions = recordingOf().decisions.map((one) => ({
      ...one,
      from: "MASTER",
      to: "MASTER",
      refused: [],
      todo: ["Find it."],
      repeats: 3,
      lastAgoMs: 2_000,
    }));
    const text = whyText(why(viewOf(), { ...recordingOf(), decisions }, options));
    assert.match(text, / And 3 times more, the last time 2 s ago\.\n/);
    assert.match(text, /^ {2}to do {4}Find it\.$/m);
    const quiet = decisions.map((one) => ({ ...one, todo: [] }));
    assert.deepEqual(why(viewOf(), { ...recordingOf(), decisions: quiet }, options).decisions, []);
  });

  test("does not say of a silent node that it holds the VIP, while another one holds the Lease", () => {
    const lease = held("n1", 1, [
      candidate("n1", { state: "MASTER" }),
      candidate("n3", { state: "MASTER", eligible: true }),
    ]);
    const peers = new Map([["n3", failed("the agent of n3", "no answer in 1500 ms")]]);
    assert.match(
      last({ lease: ok(lease), peers }, "n3"),
      /^The agent of n3 is silent, .* n3 does not hold the VIP, because n1 holds the Lease\./,
    );
  });

  test("says of a holder without the API that it is no healthy one", () => {
    const peer = agentOf({ agent: { node: "n2" }, election: { confirmed: false } });
    const lease = ok(leaseOf("n2"));
    const self = agentOf({ election: { state: "BACKUP", confirmed: false, holder: "n2" } });
    assert.match(
      last({ agent: ok(self), peers: new Map([["n2", ok(peer)]]), lease }),
      /n2 has the VIP provisionally: it cannot renew the Lease/,
    );
  });

  test("of another node tells what this recorder has of that node, and not of one with a longer name", () => {
    const recording = recordingOf();
    const told = (node: string) => why(viewOf(), recording, { node, all: false, last: 99 }).decisions.length;
    assert.ok(told("n2") > 0);
    assert.equal(told("n"), 0);
    assert.equal(told("n22"), 0);
    assert.equal(why(viewOf(), recording, { node: "n22", all: true, last: 2 }).decisions.length, 2);
  });

  test("for programs is the same in JSON and YAML", () => {
    const value = why(viewOf(), recordingOf(), options);
    assert.deepEqual(JSON.parse(document(value, "json")), JSON.parse(JSON.stringify(value)));
    assert.match(document(value, "yaml"), /^node: n1\nnow:\n {2}- /);
  });
});
