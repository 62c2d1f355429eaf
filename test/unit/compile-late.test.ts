import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { thresholdFlag, USUAL } from "../../src/compile-late.ts";

const SOURCE = fileURLToPath(new URL("../../src/compile-late.ts", import.meta.url));

test("the usual thresholds are those that this V8 has by itself", () => {
  const options = execFileSync(process.execPath, ["--v8-options"], { encoding: "utf8" });
  for (const compiler of ["maglev", "turbofan"] as const) {
    const flag = thresholdFlag(compiler);
    assert.ok(options.includes(`default: ${flag}=${USUAL[compiler]}\n`), flag);
  }
});

test("V8 optimizes a busy function when it compiles as usual, and not before", () => {
  // %GetOptimizationStatus has bit 4 (16) or 5 (32) while a function is optimized, by V8's runtime-test.cc.
  const program = `
    import { compileAsUsual, compileLate } from ${JSON.stringify(SOURCE)};
    compileLate();
    const busy = (value) => value + 1;
    const work = (calls) => { let sum = 0; for (let i = 0; i < calls; i++) sum = busy(sum); return sum; };
    const optimized = () => (%GetOptimizationStatus(busy) & (16 | 32)) !== 0;
    const rounds = [];
    for (let turn = 0; turn < 20; turn++) { work(10_000); await new Promise((done) => setTimeout(done, 1)); }
    rounds.push(optimized());
    compileAsUsual();
    for (let turn = 0; turn < 500 && !optimized(); turn++) {
      work(10_000);
      await new Promise((done) => setTimeout(done, 1));
    }
    rounds.push(optimized());
    console.log(JSON.stringify(rounds));`;
  const flags = ["--allow-natives-syntax", "--max-inlined-bytecode-size=0", "--no-use-osr"];
  const told = execFileSync(process.execPath, [...flags, "--input-type=module", "-e", program], {
    encoding: "utf8",
  });
  assert.deepEqual(JSON.parse(told), [false, true]);
});
