import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  boolean,
  commandLine,
  duration,
  formatDuration,
  httpUrl,
  interfaceName,
} from "../../../src/config/parsers.ts";
import { suggest } from "../../../src/config/suggest.ts";

describe("durations", () => {
  const parser = duration("0s", "1h");
  for (const [text, ms] of [
    ["1s", 1_000],
    ["250ms", 250],
    ["1m30s", 90_000],
    ["1.5s", 1_500],
    ["0", 0],
    ["1h", 3_600_000],
    ["1s500ms", 1_500],
  ] as const) {
    test(`${text} is ${ms} ms`, () => assert.deepEqual(parser.parse(text), { kind: "ok", value: ms }));
  }
  for (const text of ["1", "s", "-1s", "1 s", "1d", "1e3s", "1s ", "2h", `${"1".repeat(40)}s`]) {
    test(`${JSON.stringify(text)} is refused`, () => assert.equal(parser.parse(text).kind, "wrong"));
  }
  test("print in a form that reads back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3_600_000 }), (ms) => {
        assert.deepEqual(parser.parse(formatDuration(ms)), { kind: "ok", value: ms });
      }),
    );
  });
});

test("booleans are spelled as people spell them, and nothing else", () => {
  assert.deepEqual(
    ["true", "No", "ON", "0"].map((text) => boolean.parse(text)),
    [true, false, true, false].map((value) => ({ kind: "ok", value })),
  );
  assert.equal(boolean.parse("maybe").kind, "wrong");
});

test("interface names follow the kernel's rule", () => {
  for (const name of ["eth0", "bond0.100", "enp1s0f0np0", "an-alternative-name", "eth0@if6"])
    assert.equal(interfaceName.parse(name).kind, "ok", name);
  for (const name of [".", "..", "a/b", "eth0:1", "a b", "eth0@", "@if6", "a@b@c", "x".repeat(128)])
    assert.equal(interfaceName.parse(name).kind, "wrong");
  assert.deepEqual(interfaceName.parse("lo"), {
    kind: "wrong",
    because: "is the loopback interface, which no other machine can reach",
  });
});

test("a URL is http or https and carries no password", () => {
  assert.equal(httpUrl.parse("https://127.0.0.1:10259/healthz").kind, "ok");
  for (const url of ["ftp://h/", "127.0.0.1", "http://u:p@h/"])
    assert.equal(httpUrl.parse(url).kind, "wrong");
});

test("a command is not blank and has no end", () =>
  assert.equal(commandLine.parse("a".repeat(4097)).kind, "wrong"));

describe("a suggestion", () => {
  test("is the nearest word, swapped letters counting once", () => {
    assert.equal(suggest("NOPREEPMT", ["PRIORITY", "NOPREEMPT", "NOPREEMPT_STRICT"]), "NOPREEMPT");
    assert.equal(suggest("vip", ["VIP"]), "VIP");
  });
  test("is none when nothing is near", () => {
    assert.equal(suggest("BANANA", ["PRIORITY", "VIP"]), undefined);
    assert.equal(suggest("A".repeat(1_000), ["A".repeat(999)]), undefined);
  });
});
