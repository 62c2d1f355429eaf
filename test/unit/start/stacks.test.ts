import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { build } from "esbuild";
import { readableStacks } from "../../../scripts/stacks/readable-stacks.ts";

async function bundleWithMap() {
  const { outputFiles } = await build({
    stdin: {
      contents:
        "// a comment that the bundle does not have\n\nexport function fails() {\n  throw new Error('x');\n}\n",
      sourcefile: "src/election/fails.ts",
      loader: "ts",
    },
    outfile: "dist/agent.js",
    bundle: true,
    write: false,
    format: "esm",
    sourcemap: "external",
  });
  const [map, code] = ["agent.js.map", "agent.js"].map(
    (name) => outputFiles.find(({ path }) => path.endsWith(`/${name}`))?.text ?? "",
  );
  const line = (code ?? "").split("\n").findIndex((text) => text.includes("throw")) + 1;
  return { payload: JSON.parse(map ?? ""), line };
}

suite("stacks of a bundle", () => {
  test("name the source, in text and inside JSON", async () => {
    const { payload, line } = await bundleWithMap();
    const log = `{"stack":"Error: x\\n    at fails (file:///app/dist/agent.js:${line}:9)"} ./dist/agent.js:${line}:9`;
    const asked: string[] = [];
    const readable = readableStacks(log, (bundle) => {
      asked.push(bundle);
      return payload;
    });
    assert.equal(
      readable,
      '{"stack":"Error: x\\n    at fails (src/election/fails.ts:4:9)"} src/election/fails.ts:4:9',
    );
    assert.deepEqual(asked, ["agent.js"]);
  });

  test("stay as they are without a map, in other files, and in text that is no place", async () => {
    const { payload } = await bundleWithMap();
    for (const text of ["at x (/app/dist/agent.js:3:1)", "no place", ""])
      assert.equal(
        readableStacks(text, () => undefined),
        text,
      );
    for (const text of ["at y (node:net:12:3)", "agent.json:1:2"])
      assert.equal(
        readableStacks(text, () => payload),
        text,
      );
  });
});
