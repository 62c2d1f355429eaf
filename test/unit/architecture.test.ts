/** The drawing of the floors in docs/architecture.md is what lint enforces, for every pair of folders. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const OXLINT = join(ROOT, "node_modules/oxlint/bin/oxlint");

/** Folder by floor, and the files of floor 0, as drawn. */
function drawn(): { readonly floors: ReadonlyMap<string, number>; readonly ground: readonly string[] } {
  const page = readFileSync(join(ROOT, "docs/architecture.md"), "utf8");
  const drawing = /## Modules[\s\S]*?```\n([\s\S]*?)```/.exec(page)?.[1] ?? assert.fail("no drawing");
  const floors = new Map<string, number>();
  let ground: readonly string[] = [];
  for (const line of drawing.trimEnd().split("\n")) {
    const [floor, ...names] = line.trim().split(/\s+/);
    for (const name of names) if (name.endsWith("/")) floors.set(name.slice(0, -1), Number(floor));
    if (floor === "0") ground = names;
  }
  return { floors, ground };
}

/** What lint refuses of these files, as `file: rule`, with the project's own configuration. */
function refused(files: Readonly<Record<string, string>>): readonly string[] {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-floors-"));
  try {
    cpSync(join(ROOT, ".oxlintrc.json"), join(directory, ".oxlintrc.json"));
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(join(directory, dirname(file)), { recursive: true });
      writeFileSync(join(directory, file), text);
    }
    const { stdout, stderr } = spawnSync(process.execPath, [OXLINT, "--format=unix", "src"], {
      cwd: directory,
      encoding: "utf8",
    });
    assert.match(stdout, /^$|problem/, `${stdout}${stderr}`);
    return [...stdout.matchAll(/^(.+?):\d+:\d+:.*?(no-restricted-imports|no-cycle)/gm)]
      .map(([, file, rule]) => `${file}: ${rule}`)
      .toSorted();
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const { floors, ground } = drawn();
const folders = [...floors.keys()];

describe("the floors", () => {
  test("have a place for every folder and file of src/, and no folder has folders in it", () => {
    const paths = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => path.split("/"));
    const names = (depth: number): readonly string[] =>
      [...new Set(paths.filter(({ length }) => length === depth).map(([name = ""]) => name))].toSorted();
    assert.deepEqual(names(1), [...ground, "main.ts"].toSorted());
    assert.deepEqual(names(2), folders.toSorted());
    assert.deepEqual(names(3), []);
  });

  test("an import of a type goes down, never up and never to the side", () => {
    const files: Record<string, string> = {};
    const wrong: string[] = [];
    for (const from of folders) {
      files[`src/${from}/own.ts`] = "export type Own = 1;\n";
      for (const to of folders) {
        if (from === to) continue;
        const file = `src/${from}/imports-${to}.ts`;
        files[file] = `import type { Own } from "../${to}/own.ts";\nexport const own: Own = 1;\n`;
        if ((floors.get(to) ?? 0) >= (floors.get(from) ?? 0)) wrong.push(`${file}: no-restricted-imports`);
      }
    }
    assert.deepEqual(refused(files), wrong.toSorted());
  });

  test("however it is imported", () => {
    const files = {
      "src/ops/status.ts": "export type Status = 1;\nexport const status = 1;\n",
      "src/election/value.ts": 'import { status } from "../ops/status.ts";\nexport const one = status;\n',
      "src/election/inline.ts":
        'import { type Status } from "../ops/status.ts";\nexport const one: Status = 1;\n',
      "src/election/again.ts": 'export type { Status } from "../ops/status.ts";\n',
      "src/election/all.ts": 'export * from "../ops/status.ts";\n',
      "src/election/later.ts": 'export const later = await import("../ops/status.ts");\n',
      "src/election/roundabout.ts": 'export * from "./../ops/status.ts";\n',
      "src/election/deep/file.ts": 'export * from "../../ops/status.ts";\n',
      "src/clock.ts": 'export type { Status } from "./ops/status.ts";\n',
      "src/main.ts": 'export type { Status } from "./ops/status.ts";\n',
    };
    const wrong = Object.keys(files).filter(
      (file) => file.startsWith("src/election/") || file === "src/clock.ts",
    );
    assert.deepEqual(refused(files), wrong.map((file) => `${file}: no-restricted-imports`).toSorted());
  });

  test("a folder without a floor imports no other", () => {
    const files = {
      "src/linux/own.ts": "export type Own = 1;\n",
      "src/attic/file.ts": 'export type { Own } from "../linux/own.ts";\n',
    };
    assert.deepEqual(refused(files), ["src/attic/file.ts: no-restricted-imports"]);
  });
});

test("two files of one folder do not import each other, types included", () => {
  const files = {
    "src/kube/api.ts":
      'import { ask } from "./survey.ts";\nexport interface Report { readonly ok: boolean }\nexport const asked = ask;\n',
    "src/kube/survey.ts":
      'import type { Report } from "./api.ts";\nexport const ask = (report: Report): boolean => report.ok;\n',
  };
  assert.deepEqual(refused(files), ["src/kube/api.ts: no-cycle", "src/kube/survey.ts: no-cycle"]);
});
