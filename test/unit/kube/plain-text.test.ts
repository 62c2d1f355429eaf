import assert from "node:assert/strict";
import { test } from "node:test";
import { plainText } from "../../../src/kube/plain-text.ts";

test("a server's text as it may stand in a log: one line, bounded, nothing that a terminal obeys", () => {
  assert.equal(
    plainText('leases "leasehold" is forbidden: ä \u{1f600}'),
    'leases "leasehold" is forbidden: ä \u{1f600}',
  );
  assert.equal(plainText("a\nb\u001b[31m\u202e\ud800"), "a\\u{a}b\\u{1b}[31m\\u{202e}\\u{d800}");
  assert.equal(plainText("x".repeat(300)).length, 300);
  for (const long of ["x".repeat(301), "\n".repeat(300), "y".repeat(1_000_000)]) {
    assert.equal(plainText(long).length, 300);
    assert.ok(plainText(long).endsWith("..."));
  }
});
