/** When the holder takes a node that is gone for good out of the Lease. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DEPARTED_MS } from "../../../src/election/departed.ts";
import type { Candidate, LeaseRecord } from "../../../src/kube/record.ts";
import { CANDIDATE_PREFIX, OFFER } from "../../../src/kube/record.ts";
import { candidate, held, Subject } from "./harness.ts";

const SELF = candidate("n1", { mac: "02:00:00:00:00:01" });
const ALL = ["10.88.0.11", "10.88.0.12", "10.88.0.13"];
const WITHOUT_N3 = ["10.88.0.11", "10.88.0.12"];
const MINUTES = 60_000;
/** The poll of the EndpointSlice. */
const POLL_MS = 10_000;

interface Life {
  /** The API servers that the cluster names; undefined: it does not answer. */
  readonly servers?: (atMs: number) => readonly string[] | undefined;
  /** The candidates apart from n1, as they are in the Lease. */
  readonly others?: (atMs: number, round: number) => readonly Candidate[];
  readonly lease?: Partial<LeaseRecord>;
}

/**
 * A holder that renews every second, with an API that accepts everything. Answers what each renewal removed.
 */
class Holder {
  readonly subject: Subject;
  readonly removed: { readonly atMs: number; readonly nodes: readonly string[] }[] = [];
  #round = 1;
  #gone = new Set<string>();

  constructor(subject: Subject = new Subject()) {
    this.subject = subject;
    subject.nowMs = 1_000;
    subject.master([candidate("n2"), candidate("n3")]);
  }

  live(untilMs: number, life: Life = {}): this {
    const { subject } = this;
    const others = life.others ?? ((_at, round) => [candidate("n2", { counter: round }), candidate("n3")]);
    const servers = life.servers ?? (() => WITHOUT_N3);
    let polledMs = subject.nowMs;
    while (subject.nowMs < untilMs) {
      subject.to(subject.nowMs + 1_000);
      this.#round += 1;
      if (subject.nowMs >= polledMs + POLL_MS) {
        polledMs = subject.nowMs;
        const addresses = servers(subject.nowMs);
        if (addresses !== undefined) subject.event({ kind: "servers", addresses });
      }
      while (subject.sent("candidate").length > 0)
        subject.answer("candidate", { kind: "ok", record: this.#record(others, life) });
      const [renewal] = subject.sent("renew");
      if (renewal === undefined) continue;
      const nodes = (renewal.departed ?? []).map(({ node }) => node);
      if (nodes.length > 0) this.removed.push({ atMs: subject.nowMs, nodes });
      for (const node of nodes) this.#gone.add(node);
      subject.answer("renew", { kind: "ok", record: this.#record(others, life) });
    }
    return this;
  }

  #record(others: NonNullable<Life["others"]>, life: Life): LeaseRecord {
    const there = others(this.subject.nowMs, this.#round).filter(({ node }) => !this.#gone.has(node));
    return held("n1", this.#round, [{ ...SELF, counter: this.#round }, ...there], life.lease);
  }
}

describe("the holder takes a node out of the Lease", () => {
  test("an hour after both its API server and its agent were last seen, and once", () => {
    const holder = new Holder().live(5 * MINUTES, { servers: () => ALL });
    const beginMs = holder.subject.nowMs;
    holder.live(beginMs + DEPARTED_MS - MINUTES);
    assert.equal(holder.removed.length, 0);
    holder.live(beginMs + 2.5 * DEPARTED_MS);
    assert.deepEqual(
      holder.removed.map(({ nodes }) => nodes),
      [["n3"]],
    );
    const [removal] = holder.removed;
    const waitedMs = (removal?.atMs ?? 0) - beginMs;
    assert.ok(waitedMs >= DEPARTED_MS && waitedMs < DEPARTED_MS + MINUTES, String(waitedMs));
    const reports = holder.subject.log.flatMap((effect) =>
      effect.kind === "report" && effect.report.kind === "departed" ? [effect.report.nodes] : [],
    );
    assert.deepEqual(reports, [["n3"]]);
  });

  test("three at a time, as a roll-out leaves them", () => {
    const ghosts = [candidate("n3"), candidate("n4"), candidate("n5")];
    const holder = new Holder().live(2 * DEPARTED_MS, {
      others: (_at, round) => [candidate("n2", { counter: round }), ...ghosts],
    });
    assert.deepEqual(
      holder.removed.flatMap(({ nodes }) => nodes),
      ["n3", "n4", "n5"],
    );
  });

  test("that was replaced under another name and has the address of its successor", () => {
    const holder = new Holder().live(2 * DEPARTED_MS, {
      servers: () => ALL,
      others: (_at, round) => [
        candidate("n2", { counter: round }),
        candidate("n3"),
        candidate("n7", { ip: "10.88.0.13", counter: round }),
      ],
    });
    assert.deepEqual(
      holder.removed.map(({ nodes }) => nodes),
      [["n3"]],
    );
  });

  for (const [what, life] of [
    ["whose API server the cluster names", { servers: () => ALL }],
    [
      "whose API server the cluster names by its other address",
      {
        servers: () => [...WITHOUT_N3, "fd00::13"],
        others: (_at: number, round: number) => [
          candidate("n2", { counter: round }),
          candidate("n3", { fastPath: { version: 2, addresses: ["10.88.0.13", "fd00::13"] } }),
        ],
      },
    ],
    ["whose agent writes", { others: (_at: number, round: number) => [candidate("n3", { counter: round })] }],
    [
      "whose agent is restarted and counts from one again",
      {
        others: (atMs: number) => [candidate("n3", { instance: `i${Math.floor(atMs / (30 * MINUTES))}` })],
      },
    ],
    ["while the cluster names no API server at all", { servers: () => [] }],
    ["while the list is not about these nodes", { servers: () => ["203.0.113.5"] }],
    ["while this node's own API server is not in the list", { servers: () => ["10.88.0.12"] }],
    ["while the cluster does not answer", { servers: () => undefined }],
    [
      "while the cluster names its API server now and then",
      { servers: (atMs: number) => (atMs % (20 * MINUTES) < POLL_MS ? ALL : WITHOUT_N3) },
    ],
    [
      "while the answers come more than a minute apart",
      { servers: (atMs: number) => (atMs % (2 * MINUTES) < POLL_MS ? WITHOUT_N3 : undefined) },
    ],
    ["that it offers the Lease to", { lease: { annotations: { [OFFER]: "n3" } } }],
  ] as const) {
    test(`never: one ${what}`, () => {
      const holder = new Holder().live(2.5 * DEPARTED_MS, life);
      assert.equal(holder.removed.length, 0);
    });
  }

  test("never itself, even when its own annotation is as it was and its address is taken", () => {
    const holder = new Holder().live(2.5 * DEPARTED_MS, {
      servers: () => ["10.88.0.11"],
      others: (_at, round) => [candidate("n2", { ip: "10.88.0.11", counter: round })],
    });
    assert.equal(holder.removed.length, 0);
  });

  test("with plain renewals afterwards, when the API refuses the one that would remove it", () => {
    const holder = new Holder().live(DEPARTED_MS - 5 * MINUTES);
    const { subject } = holder;
    let refused = 0;
    let plain = 0;
    let polledMs = subject.nowMs;
    const endMs = subject.nowMs + 30 * MINUTES;
    for (let round = 5_000; subject.nowMs < endMs; round += 1) {
      subject.to(subject.nowMs + 500);
      if (subject.nowMs >= polledMs + POLL_MS) {
        polledMs = subject.nowMs;
        subject.event({ kind: "servers", addresses: WITHOUT_N3 });
      }
      const record = held("n1", round, [
        { ...SELF, counter: round },
        candidate("n2", { counter: round }),
        candidate("n3"),
      ]);
      while (subject.sent("candidate").length > 0) subject.answer("candidate", { kind: "ok", record });
      const [renewal] = subject.sent("renew");
      if (renewal?.departed === undefined) {
        if (renewal !== undefined) plain += 1;
        if (renewal !== undefined) subject.answer("renew", { kind: "ok", record });
        continue;
      }
      refused += 1;
      subject.answer("renew", { kind: "rejected", status: 403, message: "denied the request" });
    }
    assert.equal(refused, 1, "a renewal that removes is not tried again before an hour is over");
    assert.ok(plain > 1_000);
    assert.equal(subject.state.role.kind, "MASTER");
    assert.ok(subject.bound);
  });

  test("not while it is BACKUP: the holder alone writes", () => {
    const subject = new Subject();
    subject.nowMs = 1_000;
    subject.healthy();
    for (let round = 1; subject.nowMs < 2 * DEPARTED_MS; round += 1) {
      subject.nowMs += 1_000;
      subject.sees(
        held("n2", round, [
          { ...SELF, counter: round },
          candidate("n2", { counter: round }),
          candidate("n3"),
        ]),
      );
      if (round % 10 === 0) subject.event({ kind: "servers", addresses: WITHOUT_N3 });
      while (subject.sent("candidate").length > 0)
        subject.answer("candidate", { kind: "no-answer", ambiguous: true, message: "" });
    }
    assert.equal(subject.open.length, 0);
    // It has watched all the time: when it becomes holder, no hour begins.
    assert.ok(subject.state.servers.unnamedSinceMs.has("n3"));
    assert.ok(`${CANDIDATE_PREFIX}n3` in (subject.state.lease.view?.record?.annotations ?? {}));
  });
});
