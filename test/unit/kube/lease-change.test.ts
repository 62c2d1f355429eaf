import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { edited, isApplied, jsonPatch, leaseChange, testsPass } from "../../../src/kube/lease-change.ts";
import type { ChangingWrite, PatchOperation } from "../../../src/kube/lease-change.ts";
import { isObject, parseLease } from "../../../src/kube/record-codec.ts";
import { OFFER, RELEASED_BY } from "../../../src/kube/record.ts";
import { lease } from "./lease-fixture.ts";

/** RFC 6902's test, add and remove on objects; false when the patch fails. */
function applyPatch(document: unknown, operations: readonly PatchOperation[]): unknown {
  const root: unknown = structuredClone(document);
  for (const { op, path, value } of operations) {
    const keys = path
      .slice(1)
      .split("/")
      .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = keys.pop() ?? "";
    const parent = keys.reduce<unknown>((at, key) => (isObject(at) ? at[key] : undefined), root);
    if (!isRecord(parent)) return false;
    if (op === "test") {
      try {
        assert.deepEqual(parent[last] ?? null, value);
      } catch {
        return false;
      }
    } else if (op === "add") parent[last] = value;
    else if (last in parent) delete parent[last];
    else return false;
  }
  return root;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return isObject(value);
}

const time = fc.constantFrom("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:01.000000Z");
const spec = fc.record(
  {
    holderIdentity: fc.constantFrom("", "n1", "n2"),
    leaseDurationSeconds: fc.constantFrom(1, 10),
    acquireTime: time,
    renewTime: time,
    leaseTransitions: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  },
  { requiredKeys: ["holderIdentity", "acquireTime"] },
);
const annotations = fc.option(
  fc.record(
    { [OFFER]: fc.constantFrom("n1", "n2"), [RELEASED_BY]: fc.constant("n2"), other: fc.string() },
    { requiredKeys: ["other"] },
  ),
  { nil: undefined },
);
const context = { node: "n1", leaseDurationSeconds: 10, now: "2026-02-02T00:00:00.000001Z" };
const kind = fc.constantFrom("claim", "offer", "withdraw", "renew", "release");

function writeOf(which: string, from: NonNullable<ReturnType<typeof parseLease>>): ChangingWrite {
  if (which === "claim") return { kind: "claim", replaces: from, offered: false, instance: "i1" };
  if (which === "offer") return { kind: "offer", held: from, to: "n3" };
  if (which === "withdraw") return { kind: "offer", held: from, to: null };
  return which === "renew" ? { kind: "renew", held: from } : { kind: "release", held: from };
}

describe("a change of the Lease", () => {
  test("is the same as a patch and as an update, and recognizes itself", () => {
    fc.assert(
      fc.property(spec, annotations, kind, (spec, annotations, which) => {
        const before = lease(spec, annotations);
        const from = parseLease(before) ?? assert.fail();
        const change = leaseChange(writeOf(which, from), context);
        const patched = applyPatch(before, jsonPatch(change));
        assert.notEqual(patched, false, "the patch applies to the record it was made from");
        const after = parseLease(patched) ?? assert.fail();
        assert.deepEqual(parseLease(edited(change, before)), after);
        assert.ok(isApplied(change, after));
        assert.ok(testsPass(change, from));
        const offerUnchanged =
          change.spec["renewTime"] === undefined &&
          (from.annotations[OFFER] ?? null) === change.annotations[OFFER];
        assert.equal(
          isApplied(change, from),
          offerUnchanged,
          "the record before is not taken for the one after",
        );
      }),
    );
  });

  test("its tests and its verdict on a read agree on any other record", () => {
    fc.assert(
      fc.property(spec, spec, annotations, kind, (spec, otherSpec, annotations, which) => {
        const from = parseLease(lease(spec, annotations)) ?? assert.fail();
        const change = leaseChange(writeOf(which, from), context);
        const other = lease(otherSpec, annotations);
        const passes = applyPatch(other, jsonPatch(change)) !== false;
        assert.equal(testsPass(change, parseLease(other) ?? assert.fail()), passes);
      }),
    );
  });

  test("candidates' annotations that come meanwhile do not make a patch fail where the Lease has any", () => {
    fc.assert(
      fc.property(
        spec,
        annotations,
        fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.string()),
        kind,
        (spec, annotations, added, which) => {
          fc.pre(annotations !== undefined);
          const from = parseLease(lease(spec, annotations)) ?? assert.fail();
          const later = lease(spec, { ...added, [OFFER]: "n9" });
          assert.notEqual(applyPatch(later, jsonPatch(leaseChange(writeOf(which, from), context))), false);
        },
      ),
    );
  });

  test("leaseTransitions stays an int32", () => {
    const from =
      parseLease(lease({ holderIdentity: "n2", acquireTime: "x", leaseTransitions: 2 ** 31 - 1 })) ??
      assert.fail();
    assert.equal(
      leaseChange({ kind: "claim", replaces: from, offered: false, instance: "i1" }, context).spec[
        "leaseTransitions"
      ],
      1,
    );
  });
});
