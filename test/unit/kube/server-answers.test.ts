import assert from "node:assert/strict";
import { test } from "node:test";
import { createServerAnswers } from "../../../src/kube/server-answers.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const A = "192.0.2.11:6443";
const B = "192.0.2.12:6443";
const C = "192.0.2.13:6443";

test("the API servers that failed are named with how, those that answered well are not", () => {
  const clock = new FakeClock();
  const answers = createServerAnswers({ clock });
  answers.note({ server: A, verb: "PATCH", code: "silent", durationMs: 4000 });
  answers.note({ server: B, verb: "GET", code: 200, durationMs: 3 });
  answers.note({ server: C, verb: "GET", code: "refused", durationMs: 1 });
  assert.deepEqual(answers.failures([A, B, C]), {
    [A]: "did not answer within 4000 ms",
    [C]: "refused or reset the connection",
  });
  answers.note({ server: A, verb: "GET", code: 403, durationMs: 1 });
  answers.note({ server: C, verb: "PATCH", code: 409, durationMs: 1 });
  assert.deepEqual(answers.failures([A, B, C]), { [A]: "answered 403" });
  answers.note({ server: A, verb: "WATCH", code: "end", durationMs: 1 });
  clock.advance(16_000);
  assert.deepEqual(answers.failures([A, B, C]), {}, "what was so long ago is no evidence");
});
