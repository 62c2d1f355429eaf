import assert from "node:assert/strict";
import { test } from "node:test";
import { observe } from "../../../src/election/lease-view.ts";
import { formatCandidate } from "../../../src/kube/record-codec.ts";
import { CANDIDATE_PREFIX } from "../../../src/kube/record.ts";
import type { Candidate, LeaseRecord } from "../../../src/kube/record.ts";

const N2: Candidate = {
  node: "n2",
  base: 100,
  effective: 100,
  eligible: true,
  state: "BACKUP",
  faults: [],
  preempt: true,
  ip: "192.0.2.12",
  mac: "02:00:00:00:00:02",
  fastPath: null,
  vips: null,
  instance: "machine-2",
  version: "1.0.0",
  counter: 1,
};

function lease(resourceVersion: string, candidate = N2, renewTime = "1"): LeaseRecord {
  return {
    uid: "uid",
    resourceVersion,
    holder: "n1",
    leaseDurationMs: 10_000,
    acquireTime: "0",
    renewTime,
    leaseTransitions: 1,
    annotations: { [`${CANDIDATE_PREFIX}n2`]: formatCandidate(candidate) },
  };
}

test("records are ordered by their version, however many digits it has", () => {
  // 2^53 and 2^53 + 1 are the same as doubles, and etcd's revisions have 64 bits.
  const versions = [
    "x",
    "9",
    "10",
    "999999999999999",
    "1000000000000000",
    "9007199254740992",
    "9007199254740993",
    "18446744073709551615",
  ];
  for (const [index, older] of versions.entries()) {
    for (const newer of versions.slice(index + 1)) {
      const view = observe(null, lease(older), { kind: "watch" }, 0);
      assert.equal(observe(view, lease(newer), { kind: "watch" }, 1).record?.resourceVersion, newer);
      const later = observe(null, lease(newer), { kind: "watch" }, 0);
      assert.equal(observe(later, lease(older), { kind: "watch" }, 1), later, `${older} is not news`);
    }
  }
});

test("a renewal leaves the candidates as they are, and a changed annotation does not", () => {
  const first = observe(null, lease("1"), { kind: "watch" }, 0);
  const renewed = observe(first, lease("2", N2, "2"), { kind: "watch" }, 1_000);
  assert.equal(renewed.candidates, first.candidates);
  assert.equal(renewed.changedAtMs, 1_000);
  assert.equal(renewed.candidacyAtMs, 0);

  const ill = observe(renewed, lease("3", { ...N2, eligible: false, counter: 2 }), { kind: "watch" }, 2_000);
  assert.equal(ill.candidates.get("n2")?.candidate.eligible, false);
  assert.equal(ill.candidates.get("n2")?.aliveAtMs, 2_000);
  assert.equal(ill.candidacyAtMs, 2_000);

  const gone = observe(ill, { ...lease("4"), annotations: {} }, { kind: "watch" }, 3_000);
  assert.equal(gone.candidates.size, 0);
  assert.equal(gone.candidacyAtMs, 3_000);
});
