import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LineSplitter } from "../../../src/kube/line-splitter.ts";

describe("lines of a stream", () => {
  test("come out the same however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "binary" }).map((line) => line.replaceAll(/\s/g, "_"))),
        fc.array(fc.nat(20)),
        (lines, cuts) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
          const splitter = new LineSplitter(100_000);
          const out: string[] = [];
          let at = 0;
          for (const cut of [...cuts, bytes.length]) {
            out.push(...(splitter.push(bytes.subarray(at, at + cut)) ?? assert.fail()));
            at += cut;
          }
          assert.deepEqual(
            out,
            lines.map((line) => Buffer.from(line).toString().trim()).filter((line) => line !== ""),
          );
        },
      ),
    );
  });

  test("one that is too long is refused, also in parts", () => {
    const splitter = new LineSplitter(10);
    assert.deepEqual(splitter.push(Buffer.from("0123456789\n01234")), ["0123456789"]);
    assert.equal(splitter.push(Buffer.from("567890")), undefined);
  });
});
