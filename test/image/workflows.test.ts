/** GitHub's workflows, as actionlint reads them: nothing here can run them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { LAYERS, ROOT } from "../support/runner/layers.ts";
import { findProgram } from "../support/sandbox/tools.ts";

const MODULE = fileURLToPath(new URL("../support/actionlint/", import.meta.url));
const skip = findProgram("go") === undefined ? "there is no Go, which actionlint is built with" : false;
const timeout = LAYERS.find(({ name }) => name === "image")?.testTimeoutMs ?? 0;
const workflows = globSync(join(ROOT, ".github/workflows/*.yml"));

/** @returns what it finds, one a line, and its exit code: 0 for nothing, 1 for something */
function actionlint(files: readonly string[]): { readonly status: number | null; readonly found: string } {
  // Shellcheck and pyflakes are used where they are there, and would make the answer differ between machines.
  const argv = ["tool", "actionlint", "-no-color", "-oneline", "-shellcheck=", "-pyflakes=", ...files];
  return go(argv);
}

function go(argv: readonly string[]): { readonly status: number | null; readonly found: string } {
  const { status, stdout, stderr } = spawnSync("go", ["-C", MODULE, ...argv], { encoding: "utf8", timeout });
  return { status, found: stdout + stderr };
}

describe("the workflows", { skip }, () => {
  // On a machine without Go's module cache `go tool` says what it downloads, which is nothing that actionlint found.
  before(
    () => {
      const { status, found } = go(["mod", "download"]);
      assert.equal(status, 0, found);
    },
    { timeout },
  );

  test("are right, by actionlint", { timeout }, () => {
    assert.ok(workflows.length >= 2);
    assert.deepEqual(actionlint(workflows), { status: 0, found: "" });
  });

  test("would be found out: a wrong one fails", { timeout }, (t) => {
    const directory = mkdtempSync(join(tmpdir(), "leasehold-workflows-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const wrong = readFileSync(join(ROOT, ".github/workflows/release.yml"), "utf8").replace(
      "steps.push.outputs.digest",
      "steps.psuh.outputs.digest",
    );
    writeFileSync(join(directory, "release.yml"), wrong);
    const { status, found } = actionlint([join(directory, "release.yml")]);
    assert.equal(status, 1);
    assert.match(found, /property "psuh" is not defined/);
  });
});
