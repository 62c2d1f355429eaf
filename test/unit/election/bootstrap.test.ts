/** Before there is an API server, a kubeconfig or its RBAC: who takes the VIP, and what becomes of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { INSTANCE } from "../../../src/kube/record.ts";
import { candidate, held, record, Subject } from "./harness.ts";

const failures = {
  "no server": { kind: "no-answer", message: "connection refused" },
  "401": { kind: "rejected", status: 401, message: "Unauthorized" },
  "403": { kind: "rejected", status: 403, message: "forbidden" },
} as const;
type Failure = (typeof failures)[keyof typeof failures];

class Node extends Subject {
  /** The read under way, or the next one, fails. */
  fails(failure: Failure = failures["no server"]): this {
    this.event({ kind: "read", sentAtMs: this.nowMs, outcome: failure });
    return this;
  }

  /** Fails at every read until then. */
  failing(untilMs: number, failure: Failure = failures["403"]): this {
    for (let atMs = this.nowMs + 250; atMs <= untilMs; atMs += 250) {
      this.to(atMs);
      if (this.state.lease.read.inFlight) this.fails(failure);
    }
    return this;
  }
}

/** Booted, its link up, somebody heard on it. */
function booted(): Node {
  const node = new Node();
  node.event({ kind: "start", resume: null, found: null });
  node.healthy({ ready: false, faults: ["balancer"] }).hears({ kind: "neighbours", heard: true });
  return node;
}

const probes = (node: Subject): number => node.log.filter(({ kind }) => kind === "probe").length;

describe("a node that no API server lets read the Lease", () => {
  for (const [name, failure] of Object.entries(failures)) {
    test(`takes the VIP that nobody answers for (${name})`, () => {
      const node = booted().fails(failure);
      assert.equal(node.bound, true);
      assert.deepEqual(
        node.log.filter(({ kind }) => kind === "probe"),
        [{ kind: "probe", spread: true, claims: true, questions: 3 }],
      );
      assert.equal(node.failing(60_000, failure).bound, true, "for as long as it takes");
    });
  }

  test("takes nothing before it has tried to read, nor before the wire has answered", () => {
    const node = booted();
    assert.equal(node.to(3_000).bound, false);
    node.wire = null;
    assert.equal(node.fails().failing(20_000).bound, false);
    assert.equal(probes(node), 1);
    assert.equal(node.hears({ kind: "probed", owner: null, prober: null }).bound, true);
  });

  test("stays BACKUP while somebody answers, and asks again", () => {
    const node = booted();
    node.wire = { owner: "02:00:00:00:00:09", prober: null };
    assert.equal(node.fails().failing(20_000).bound, false);
    assert.ok(probes(node) > 5);
    node.wire = { owner: null, prober: null };
    assert.equal(node.failing(24_000).bound, true);
  });

  test("gives way to another one that asks at the same moment, if that one's MAC is lower: one of them must go on", () => {
    for (const [prober, bound] of [
      ["02:00:00:00:00:00", false],
      ["02:00:00:00:00:09", true],
    ] as const) {
      const node = booted();
      node.wire = { owner: null, prober };
      assert.equal(node.fails().failing(1_500).bound, bound, prober);
    }
  });

  test("waits 10 s for one that only goes on asking, says so, and then takes the VIP", () => {
    const node = booted();
    node.wire = { owner: null, prober: "02:00:00:00:00:00" };
    const told = (): readonly string[] =>
      node.log.flatMap((effect) =>
        effect.kind === "report" && effect.report.kind === "prober"
          ? [`${effect.report.mac} ${effect.report.outcome}`]
          : [],
      );
    assert.equal(node.fails().failing(9_500).bound, false);
    assert.deepEqual(told(), ["02:00:00:00:00:00 waits"]);
    // It may be another one each time.
    node.wire = { owner: null, prober: "00:16:3e:00:00:01" };
    assert.equal(node.failing(13_000).bound, true);
    assert.deepEqual(
      told().map((text) => text.split(" ")[1]),
      ["waits", "ignored"],
    );
  });

  test("waits again for one that asks after a time in which no machine asked", () => {
    const node = booted();
    node.wire = { owner: null, prober: "02:00:00:00:00:00" };
    node.fails().failing(6_000);
    node.wire = { owner: "02:00:00:00:00:09", prober: null };
    node.failing(15_000);
    node.wire = { owner: null, prober: "02:00:00:00:00:00" };
    assert.equal(node.failing(22_000).bound, false);
    assert.equal(node.failing(29_000).bound, true);
  });

  test("trusts the silence of a link where nobody was ever heard only after 30 s", () => {
    const node = new Node();
    node.event({ kind: "start", resume: null, found: null });
    node.healthy({ ready: false }).fails();
    assert.equal(node.failing(29_750).bound, false);
    assert.equal(node.failing(30_500).bound, true);
  });

  test("asks on such a link as well: another node that hears the question learns that frames get through", () => {
    const node = new Node();
    node.event({ kind: "start", resume: null, found: null });
    node.healthy({ ready: false }).fails();
    assert.equal(probes(node), 1);
    assert.equal(node.failing(3_000).bound, false);
    assert.equal(node.hears({ kind: "neighbours", heard: true }).bound, true);
  });

  for (const fault of ["interface", "exec", "vip"]) {
    test(`takes nothing in FAULT: ${fault}`, () => {
      const node = booted();
      node.healthy({ faults: [fault] });
      assert.equal(node.fails().failing(5_000).bound, false);
    });
  }

  test("keeps what the process before it had bound, without asking", () => {
    const node = new Node();
    node.event({ kind: "start", resume: null, found: { keptMs: 2_000 } });
    node.healthy({ ready: false }).fails();
    assert.equal(node.bound, true);
    assert.equal(probes(node), 0);
  });

  test("keeps it also where the API servers are silent, and the read has not failed yet", () => {
    const node = new Node();
    node.event({ kind: "start", resume: null, found: { keptMs: 2_000 } });
    node.healthy({ ready: false });
    assert.deepEqual(
      [node.to(1_699).state.role.kind, node.to(1_700).state.role.kind],
      ["BACKUP", "PROVISIONAL"],
    );
    assert.equal(
      node.log.some(({ kind }) => kind === "unbind"),
      false,
    );
  });

  test("keeps it before the kernel may remove it, which may be soon", () => {
    for (const [keptMs, atMs] of [
      [1_000, 700],
      [0, 200],
    ] as const) {
      const node = new Node();
      node.event({ kind: "start", resume: null, found: { keptMs } });
      node.healthy({ ready: false });
      assert.deepEqual([node.to(atMs - 1).bound, node.to(atMs).bound], [false, true], `${keptMs} ms`);
    }
    const late = new Node();
    late.event({ kind: "start", resume: null, found: { keptMs: -1_000 } });
    assert.equal(late.healthy({ ready: false }).to(2_900).bound, false, "it may be gone by now");
  });

  test("but not when the kernel has removed it: it asks the wire first", () => {
    const node = new Node();
    node.wire = null;
    node.event({ kind: "start", resume: null, found: { keptMs: 1_000 } });
    node.healthy({ ready: false }).hears({ kind: "neighbours", heard: true });
    node.event({ kind: "left-over-gone" });
    assert.equal(node.to(2_000).fails().bound, false);
    assert.equal(probes(node), 1);
    assert.equal(node.hears({ kind: "probed", owner: null, prober: null }).bound, true);
  });

  test("but not what the kernel has taken away meanwhile", () => {
    const node = new Node();
    node.wire = null;
    node.event({ kind: "start", resume: null, found: { keptMs: 2_000 } });
    node.healthy({ ready: false });
    // It stood still.
    node.nowMs = 4_000;
    node.hears({ kind: "neighbours", heard: true }).fails();
    assert.equal(node.bound, false);
    assert.equal(probes(node), 1);
  });

  test("takes the VIP as well where there is no Lease and it may not make one", () => {
    const node = booted();
    node.healthy().sees(null);
    for (let atMs = 500; atMs <= 15_000 && node.sent("claim").length === 0; atMs += 500) node.to(atMs);
    assert.equal(node.bound, false);
    node.answer("claim", { kind: "rejected", status: 403, message: "forbidden" });
    assert.equal(node.bound, true);
  });

  test("a node that has seen the Lease does not bootstrap when the API goes away", () => {
    const node = booted();
    node.sees(held("n2", 1, [candidate("n2")]));
    assert.equal(node.failing(9_000).bound, false);
  });
});

describe("a VIP taken at bootstrap", () => {
  const holding = (): Node => booted().fails(failures["403"]).failing(3_000);

  test("is confirmed as soon as the Lease can be written", () => {
    const node = holding().sees(record({}, []));
    assert.equal(node.sent("claim").length, 1, "it has the VIP: there is nobody to wait for");
    node.answer("claim", { kind: "ok", record: held("n1", 1) });
    assert.equal(node.state.role.kind, "MASTER");
    assert.equal(node.bound, true);
  });

  test("stays when the Lease can be read and not written yet", () => {
    const node = holding().sees(null);
    node.answer("claim", { kind: "rejected", status: 403, message: "forbidden" });
    assert.equal(node.to(node.nowMs + 400).sent("claim").length, 0);
    assert.equal(node.to(node.nowMs + 100).sent("claim").length, 1);
    assert.equal(node.bound, true);
  });

  test("goes when another one renews the Lease", () => {
    const node = holding().sees(held("n2", 1, [candidate("n2")]));
    assert.equal(node.to(node.nowMs + 1_000).watches(held("n2", 2, [candidate("n2")])).bound, false);
    assert.equal(
      holding()
        .sees(held("n2", 1, [candidate("n2")]))
        .hears({ kind: "claimed", mac: "02:00:00:00:00:02" }).bound,
      false,
    );
  });

  test("goes when another machine of its name renews the Lease, and stays while that one does not", () => {
    const others = { annotations: { [INSTANCE]: "i9" } };
    const node = holding().sees(held("n1", 1, [], others));
    assert.equal(node.to(node.nowMs + 1_000).watches(held("n1", 1, [], others)).bound, true);
    assert.equal(node.to(node.nowMs + 1_000).watches(held("n1", 2, [], others)).bound, false);
  });

  test("stays while the Lease names a holder of before the power failure, and claims when it has run out", () => {
    const node = holding();
    const old = held("n2", 1, [candidate("n2")]);
    node.sees(old);
    for (let atMs = 4_000; atMs < 13_000; atMs += 1_000) node.to(atMs).sees(old);
    assert.equal(node.bound, true);
    assert.equal(node.sent("claim").length, 0);
    node.to(13_000);
    assert.equal(node.sent("claim").length, 1);
    node.answer("claim", {
      kind: "conflict",
      record: held("n2", 9, [candidate("n2")], { acquireTime: "2026-02-01T00:00:00.000000Z" }),
    });
    assert.equal(node.bound, false, "it has come back");
  });

  test("goes to whoever else is heard to have it, and is taken again when that one is gone", () => {
    const node = holding();
    node.wire = { owner: "02:00:00:00:00:09", prober: null };
    node.hears({ kind: "claimed", mac: "02:00:00:00:00:09" });
    assert.equal(node.bound, false);
    // What it had heard before it took the VIP says nothing of now.
    assert.equal(node.failing(9_000).bound, false);
    node.wire = { owner: null, prober: null };
    assert.equal(node.failing(13_000).bound, true);
  });

  test("is announced again and again, for one that has it as well and could not hear it", () => {
    const node = holding();
    const before = node.log.filter(({ kind }) => kind === "defend").length;
    node.failing(node.nowMs + 10_000);
    assert.ok(node.log.filter(({ kind }) => kind === "defend").length - before >= 6);
  });

  test("is announced at once when the Lease is first seen to name another node, and when a link is back", () => {
    const node = holding().to(3_400);
    const said = (): number => node.asked("defend");
    const before = said();
    node.sees(held("n2", 1, [candidate("n2")]));
    assert.equal(said() - before, 1);
    node.hears({ kind: "neighbours", heard: false });
    assert.equal(said() - before, 1);
    node.hears({ kind: "neighbours", heard: true });
    assert.equal(said() - before, 2);
  });

  test("goes with the link", () => {
    assert.equal(holding().healthy({ faults: ["interface"] }).bound, false);
  });

  test("goes by the kernel 3 s after the process stands still", () => {
    const node = holding();
    assert.ok(node.boundUntilMs <= node.nowMs + 3_000);
    node.wire = null;
    node.nowMs += 10_000;
    node.event({ kind: "wake" });
    assert.equal(node.bound, false);
  });
});

describe("a first claim", () => {
  test("asks the wire, and is not made where a stranger has the VIP", () => {
    const node = new Node().healthy();
    node.wire = { owner: "02:00:00:00:00:99", prober: null };
    node.sees(record({}, [candidate("n1")]));
    assert.equal(node.to(30_000).sent("claim").length, 0);
    const conflicts = node.log.flatMap((effect) =>
      effect.kind === "report" && effect.report.kind === "conflict" ? [effect.report] : [],
    );
    assert.deepEqual(conflicts, [
      { kind: "conflict", mac: "02:00:00:00:00:99", node: null, outcome: "refused" },
    ]);
    node.answer("candidate", { kind: "ok", record: record({ resourceVersion: "2" }, [candidate("n1")]) });
    assert.deepEqual(node.sent("candidate").at(-1)?.candidate.faults, ["vip-conflict"]);
    node.wire = { owner: null, prober: null };
    node.to(33_000);
    while (node.sent("candidate").length > 0)
      node.answer("candidate", {
        kind: "ok",
        record: record({ resourceVersion: String(10 + node.nowMs) }, [candidate("n1")]),
      });
    assert.equal(node.to(36_000).sent("claim").length, 1);
  });

  test("is made in the very step in which the wire says that the stranger is gone", () => {
    const node = new Node().healthy();
    node.wire = { owner: "02:00:00:00:00:99", prober: null };
    node.sees(null).to(20_000);
    assert.equal(node.sent("claim").length, 0);
    node.wire = null;
    const asked = probes(node);
    while (probes(node) === asked && node.nowMs < 30_000) node.to(node.nowMs + 50);
    node.hears({ kind: "probed", owner: null, prober: null });
    assert.deepEqual(
      node.sent("claim").map(({ replaces }) => replaces),
      [null],
    );
  });

  test("waits for a candidate that has it provisionally", () => {
    const node = new Node().healthy();
    const n2 = candidate("n2", { mac: "02:00:00:00:00:02" });
    node.wire = { owner: n2.mac, prober: null };
    node.sees(record({}, [candidate("n1"), n2]));
    assert.equal(node.to(20_000).sent("claim").length, 0);
    assert.equal(
      node.log.some((effect) => effect.kind === "report" && effect.report.kind === "conflict"),
      false,
    );
  });

  test("is not made where another program has it on a candidate's machine, which says so", () => {
    const node = new Node().healthy();
    const n2 = candidate("n2", {
      mac: "02:00:00:00:00:22",
      eligible: false,
      state: "FAULT",
      faults: ["vip"],
    });
    node.wire = { owner: n2.mac, prober: null };
    node.sees(record({}, [candidate("n1"), n2]));
    assert.equal(node.to(20_000).sent("claim").length, 0);
    const conflicts = node.log.flatMap((effect) =>
      effect.kind === "report" && effect.report.kind === "conflict" ? [effect.report] : [],
    );
    assert.deepEqual(conflicts, [{ kind: "conflict", mac: n2.mac, node: "n2", outcome: "refused" }]);
    node.answer("candidate", { kind: "ok", record: record({ resourceVersion: "2" }, [candidate("n1"), n2]) });
    assert.deepEqual(node.sent("candidate").at(-1)?.candidate.faults, ["vip-conflict"]);
  });

  test("is made where others ask as well: the Lease decides", () => {
    const node = new Node().healthy();
    node.wire = { owner: null, prober: "02:00:00:00:00:02" };
    node.sees(record({}, [candidate("n1")]));
    assert.equal(node.to(1_000).sent("claim").length, 1);
  });

  test("is made in the end on a link that cannot be asked", () => {
    const node = new Node().healthy();
    node.wire = null;
    node.sees(record({}, [candidate("n1")]));
    assert.equal(node.to(4_900).sent("claim").length, 0);
    assert.equal(node.to(5_100).sent("claim").length, 1);
  });

  test("asks nobody where there was a holder before", () => {
    const node = new Node().healthy().sees(held("n2", 1, [candidate("n1"), candidate("n2")]));
    assert.equal(node.to(10_000).sent("claim").length, 1);
    assert.equal(probes(node), 0);
  });
});
