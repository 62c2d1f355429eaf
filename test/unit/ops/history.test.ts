import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createHistory, sampleOf } from "../../../src/ops/history.ts";
import { parseMoves, parsePageFacts } from "../../../src/ops/page-facts.ts";
import { exampleStatus } from "./example.ts";

const AT = 1_767_225_600_000;

describe("a sample", () => {
  test("has every node's state, and of each API server the check and the connections", () => {
    const status = exampleStatus();
    const sample = sampleOf(status, AT) ?? assert.fail("no sample");
    assert.equal(sample.holder, "n1");
    assert.deepEqual(sample.states[0], ["n1", "MASTER"]);
    assert.deepEqual(sample.servers[0], { server: "192.0.2.11:6443", grade: "UP", checkMs: 3, active: 2 });
  });

  test("tells a provisional master from one that holds the Lease, and a silent agent from a living one", () => {
    const status = exampleStatus();
    const candidates = (status.election?.candidates ?? []).map((one) => ({ ...one, fresh: false }));
    const sample = sampleOf(
      exampleStatus({ election: { state: "PROVISIONAL", confirmed: false, candidates } }),
      AT,
    );
    assert.deepEqual(sample?.states[0], ["n1", "PROVISIONAL"]);
    for (const [node, state] of sample?.states.slice(1) ?? []) assert.equal(state, "", node);
  });

  test("of a worker has API servers and no states", () => {
    const sample = sampleOf(exampleStatus({ election: null, vip: null }), AT);
    assert.deepEqual([sample?.holder, sample?.states, sample?.servers.length !== 0], [null, [], true]);
  });

  test("of what is no status is none, whatever it is", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        assert.equal(sampleOf(value, AT), undefined);
      }),
      { numRuns: 300 },
    );
  });
});

test("the history is the last hour, the oldest first", () => {
  const history = createHistory(3);
  const sample = sampleOf(exampleStatus(), AT) ?? assert.fail("no sample");
  for (let at = 1; at <= 5; at++) history.note({ ...sample, at });
  history.note(undefined);
  assert.deepEqual(
    history.samples().map(({ at }) => at),
    [3, 4, 5],
  );
});

describe("what a peer sends for the page", () => {
  const sample = sampleOf(exampleStatus(), AT);
  const setting = {
    section: "Lease",
    name: "LEASEHOLD_VIP",
    value: "192.0.2.10",
    isSet: true,
    doc: "The VIP.",
  };
  const move = { at: "2026-01-01T00:00:00.000Z", from: "BACKUP", to: "MASTER", reason: "claimed" };

  test("is read back as it was sent", () => {
    const facts = { samples: [sample], settings: [setting] };
    assert.deepEqual(parsePageFacts(JSON.stringify(facts)), facts);
    assert.deepEqual(parseMoves(JSON.stringify({ moves: [move] })), [move]);
  });

  test("is bounded, and has nothing that moves other text", () => {
    const evil = "\u202eevil\u0000<script>";
    const facts = parsePageFacts(
      JSON.stringify({
        samples: Array.from({ length: 5_000 }, () => sample),
        settings: Array.from({ length: 5_000 }, () => ({ ...setting, value: evil + "x".repeat(10_000) })),
      }),
    );
    assert.deepEqual([facts?.samples.length, facts?.settings.length], [360, 200]);
    const value = facts?.settings[0]?.value ?? "";
    assert.ok(value.startsWith("\\u{202e}evil\\u{0}<script>xx"), value);
    assert.ok(value.length <= 300);
    const moves = parseMoves(
      JSON.stringify({ moves: Array.from({ length: 500 }, () => ({ ...move, reason: evil })) }),
    );
    assert.equal(moves?.length, 20);
    assert.equal(moves?.[0]?.reason, "\\u{202e}evil\\u{0}<script>");
    // A time that is none would be sorted nowhere.
    assert.deepEqual(parseMoves(JSON.stringify({ moves: [{ ...move, at: "now" }] })), []);
  });

  test("is none when any of it does not fit, and no text makes it throw", () => {
    for (const wrong of [{ value: 1 }, { isSet: "yes" }, { name: null }])
      assert.equal(
        parsePageFacts(JSON.stringify({ samples: [], settings: [{ ...setting, ...wrong }] })),
        undefined,
      );
    assert.equal(
      parsePageFacts(JSON.stringify({ samples: [{ ...sample, at: "1" }], settings: [] })),
      undefined,
    );
    assert.equal(parseMoves(JSON.stringify({ moves: [{ ...move, reason: {} }] })), undefined);
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (body) => {
        parsePageFacts(body);
        parseMoves(body);
      }),
    );
  });
});
