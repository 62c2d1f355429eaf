import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judgeDrain, judgeUndrain } from "../../../src/cli/drains.ts";
import type { KnownServer } from "../../../src/cli/drains.ts";
import type { LeaseRecord } from "../../../src/kube/record.ts";
import { candidate, held } from "../election/harness.ts";

const n1 = candidate("n1", { ip: "192.0.2.11", state: "MASTER" });
const n2 = candidate("n2", {
  ip: "192.0.2.12",
  fastPath: { version: 1, addresses: ["192.0.2.12", "2001:db8::12"] },
});
const n3 = candidate("n3", { ip: "192.0.2.13" });
const VIPS = ["192.0.2.10"];

const lease = (...drained: readonly string[]): LeaseRecord =>
  held("n1", 1, [n1, n2, n3], {
    annotations: Object.fromEntries(drained.map((server, at) => [`leasehold.dev/drain.x${at}`, server])),
  });
const fit = (server: string): KnownServer => ({ server, fit: true, why: "" });
const unfit = (server: string): KnownServer => ({ server, fit: false, why: "DOWN (refused)" });
const [A, B, C] = ["192.0.2.11:6443", "192.0.2.12:6443", "192.0.2.13:6443"] as const;
const ALL = [fit(A), fit(B), fit(C)];

describe("the API server that a person means", () => {
  for (const word of [
    "n2",
    " N2 ",
    "192.0.2.12",
    "192.0.2.12:6443",
    "https://192.0.2.12:6443",
    "https://192.0.2.12:6443/",
  ])
    test(`may be written ${JSON.stringify(word)}`, () =>
      assert.deepEqual(judgeDrain(lease(), word, ALL, VIPS), {
        kind: "drain",
        server: B,
        name: "n2",
        note: "",
      }));

  for (const word of ["2001:db8::12", "[2001:DB8::12]", "[2001:db8::12]:6443", "n2"])
    test(`of IPv6 may be written ${word}`, () => {
      const verdict = judgeDrain(lease(), word, [fit(A), fit("[2001:db8::12]:6443")], VIPS);
      assert.ok(
        verdict.kind === "drain" && verdict.server === "[2001:db8::12]:6443",
        JSON.stringify(verdict),
      );
    });

  for (const [word, pattern] of [
    ["n4", /"n4" is no API server: the API servers are 192\.0\.2\.11:6443 \(n1\), .*did you mean n1\?/],
    ["192.0.2.12:6444", /"192\.0\.2\.12:6444" is no API server.*did you mean 192\.0\.2\.12:6443/],
    ["192.0.2.10", /192\.0\.2\.10 is the VIP, and no API server/],
    ["192.0.2.10:6443", /is the VIP/],
    ["n2\u001b[2J", /"n2\\u001b\[2J" is no API server/],
    ["", /"" is no API server/],
  ] as const)
    test(`is refused as ${JSON.stringify(word)}, with what there is`, () => {
      for (const judge of [judgeDrain, judgeUndrain]) {
        const verdict = judge(lease(), word, ALL, VIPS);
        assert.ok(verdict.kind === "refused", JSON.stringify(verdict));
        assert.match(verdict.message, pattern);
      }
    });
});

describe("a drain", () => {
  for (const [what, record, servers, pattern] of [
    ["there is no other one", lease(), [fit(B)], /last API server.*There is no other one/],
    [
      "the others are DOWN",
      lease(),
      [unfit(A), fit(B), unfit(C)],
      /192\.0\.2\.11:6443 takes none: DOWN \(refused\)/,
    ],
    [
      "the others are drained",
      lease(A, C),
      ALL,
      /192\.0\.2\.11:6443 is drained; 192\.0\.2\.13:6443 is drained/,
    ],
    [
      "of the others one is drained and one is DOWN",
      lease(A),
      [fit(A), fit(B), unfit(C)],
      /13:6443 takes none.*11:6443 is drained/,
    ],
  ] as const)
    test(`is refused when ${what}`, () => {
      const verdict = judgeDrain(record, "n2", servers, VIPS);
      assert.ok(verdict.kind === "refused", JSON.stringify(verdict));
      assert.match(verdict.message, pattern);
    });

  test("of a server that is DOWN already is stored, and said", () => {
    const verdict = judgeDrain(lease(), "n2", [fit(A), unfit(B)], VIPS);
    assert.ok(verdict.kind === "drain");
    assert.match(verdict.note, /takes no connections now/);
  });

  test("of a drained server is done already", () =>
    assert.equal(judgeDrain(lease(B), "n2", ALL, VIPS).kind, "nothing"));
});

describe("the end of a drain", () => {
  test("removes every annotation that names the server", () => {
    const verdict = judgeUndrain(lease(A, B, B), "n2", ALL, VIPS);
    assert.deepEqual(verdict, {
      kind: "undrain",
      server: B,
      name: "n2",
      keys: ["leasehold.dev/drain.192.0.2.12-6443", "leasehold.dev/drain.x1", "leasehold.dev/drain.x2"],
    });
  });

  test("is possible for a server that the cluster has no more, and that no agent can name", () => {
    for (const servers of [[fit(A)], []]) {
      const verdict = judgeUndrain(lease("192.0.2.99:6443"), "192.0.2.99", servers, VIPS);
      assert.equal(verdict.kind, "undrain");
    }
  });

  test("is nothing where there is none", () =>
    assert.equal(judgeUndrain(lease(A), "n2", ALL, VIPS).kind, "nothing"));
});
