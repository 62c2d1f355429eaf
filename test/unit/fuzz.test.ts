/** Some seconds of `npm run fuzz`, and that it finds what is there to find. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { fuzzOne, inputOf, report, tried } from "../support/fuzz/fuzz.ts";
import type { Target } from "../support/fuzz/fuzz.ts";
import { TARGETS } from "../support/fuzz/targets.ts";

/** Of each parser. */
const INPUTS = 400;
const seed = process.env["LEASEHOLD_FUZZ_SEED"] ?? randomBytes(4).toString("hex");

describe(`damaged inputs (seed ${seed})`, () => {
  for (const target of TARGETS)
    test(target.name, { timeout: 120_000 }, async () => {
      for (const input of target.inputs) assert.equal(await tried(target, input), undefined);
      for (let number = 0; number < INPUTS; number++) {
        const failure = await fuzzOne(target, seed, number);
        if (failure !== undefined) assert.fail(report(failure));
      }
    });
});

describe("the fuzzer", () => {
  const good = Buffer.from('{"list":[1,2,3],"name":"abc"}');

  test("makes the same input of the same seed, and others of another", () => {
    const [target] = TARGETS;
    assert.ok(target !== undefined);
    const inputs = (with_: string): readonly string[] =>
      Array.from({ length: 50 }, (_, number) => Buffer.from(inputOf(target, with_, number)).toString("hex"));
    assert.deepEqual(inputs("a"), inputs("a"));
    assert.notDeepEqual(inputs("a"), inputs("b"));
    assert.ok(new Set(inputs("a")).size > 40);
  });

  test("finds a parser that trusts a length, a type, a character or the depth, and makes the input small", async () => {
    const careless: readonly Target[] = [
      {
        name: "length",
        inputs: [Uint8Array.of(0, 4, 1, 2, 3, 4)],
        read(input) {
          const view = new DataView(input.buffer, input.byteOffset, input.length);
          if (input.length >= 2) for (let at = 0; at < view.getUint16(0); at++) view.getUint8(2 + at);
        },
      },
      {
        name: "type",
        inputs: [good],
        read(input) {
          let value: { readonly list?: { readonly length: number } | null };
          try {
            value = JSON.parse(Buffer.from(input).toString("utf8"));
          } catch {
            return;
          }
          assert.notEqual(value?.list, null);
        },
      },
      {
        name: "character",
        inputs: [good],
        read: (input) => assert.ok(!Buffer.from(input).toString("utf8").includes("\u202e")),
      },
      {
        name: "depth",
        inputs: [good],
        read(input) {
          const depth = (at: number): number => (input[at] === 0x5b ? 1 + depth(at + 1) : 0);
          assert.ok(depth(0) < 5_000);
        },
      },
    ];
    for (const target of careless) {
      let found: string | undefined;
      for (let number = 0; number < 5_000 && found === undefined; number++) {
        const failure = await fuzzOne(target, "careless", number);
        if (failure === undefined) continue;
        found = report(failure);
        assert.ok(target.name === "depth" || failure.input.length <= 20, `${failure.input.length} bytes`);
        assert.match(found, /npm run fuzz -- --seed careless --target ".*" --from \d+ --count 1/);
      }
      assert.ok(found !== undefined, target.name);
    }
  });
});
