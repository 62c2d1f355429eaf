/** What a process loads: an agent runs for months, and keeps in memory whatever is in its bundle. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** KiB. It grows with what the agent does, and not with the commands. */
const MOST_OF_AGENT = 1_020;

describe("the bundle", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "leasehold-bundle-"));
    const built = spawnSync(process.execPath, ["scripts/build.ts", directory], {
      cwd: ROOT,
      encoding: "utf8",
    });
    assert.equal(built.stderr, "");
    symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
  });
  after(() => rmSync(directory, { recursive: true }));

  const text = (name: string): string => readFileSync(join(directory, name), "utf8");

  /** The sources of a bundle, as its map names them, from the repository's root. */
  function sourcesOf(name: string): readonly string[] {
    const { sources }: { readonly sources: readonly string[] } = JSON.parse(text(`${name}.js.map`));
    return sources.map((source) =>
      source.replace(/^(?:\.\.\/)+/, "").replace(/^.*?\/(?=src\/|node_modules\/)/, ""),
    );
  }

  test("of the agent has no command, no manifest and nothing of the page's picture", () => {
    const sources = sourcesOf("agent");
    assert.ok(sources.includes("src/agent/agent.ts"), sources.join("\n"));
    assert.deepEqual(sources.filter((source) => /^src\/(?:cli|manifests)\//.test(source)).toSorted(), [
      "src/cli/agent-process.ts",
      "src/cli/run.ts",
    ]);
    assert.ok(!text("agent.js").includes("<!doctype html"), "the page");
  });

  test("of the agent has these packages, and no HTTP client beside Node's own", () => {
    const packages = sourcesOf("agent").flatMap(
      (source) => /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1] ?? [],
    );
    assert.deepEqual([...new Set(packages)].toSorted(), [
      "@kubernetes/client-node",
      "@pinojs/redact",
      "atomic-sleep",
      "js-yaml",
      "on-exit-leak-free",
      "pino",
      "pino-std-serializers",
      "prom-client",
      "quick-format-unescaped",
      "safe-stable-stringify",
      "sonic-boom",
      "thread-stream",
    ]);
  });

  test("of the agent is no larger than it has to be", () => {
    const kib = statSync(join(directory, "agent.js")).size / 1024;
    assert.ok(kib <= MOST_OF_AGENT, `${kib.toFixed(0)} KiB`);
  });

  test("of the agent and of the proxy's thread do not make Node load its own undici", () => {
    const told = join(directory, "told.cjs");
    writeFileSync(
      told,
      'process.on("exit", () => console.log(process.moduleLoadList.filter((name) => /http|undici/.test(name)).join()));\n',
    );
    for (const [bundle, ...args] of [["leasehold", "run"], ["proxy-worker"]] as const) {
      const script = join(directory, `${bundle}.js`);
      // Without settings and without its main thread both end at once, when everything is loaded.
      const { stdout } = spawnSync(process.execPath, ["--require", told, script, ...args], {
        encoding: "utf8",
        env: {},
      });
      if (bundle === "leasehold") assert.match(stdout, /NativeModule _?http/);
      assert.doesNotMatch(stdout, /undici/, bundle);
    }
  });

  test("runs wherever its folder lies", () => {
    const { stdout } = spawnSync(process.execPath, [join(directory, "leasehold.js"), "version"], {
      encoding: "utf8",
    });
    assert.match(stdout, /^leasehold \d/);
  });

  test("of the first file that every process loads has next to nothing", () => {
    assert.deepEqual(sourcesOf("main").toSorted(), ["src/cli/agent-words.ts", "src/main.ts"]);
  });

  test("of the commands has all of them, and not the agent", () => {
    const sources = sourcesOf("commands");
    for (const part of ["cli/import.ts", "cli/inspect.ts", "cli/man.ts", "manifests/dashboard.ts"])
      assert.ok(sources.includes(`src/${part}`), part);
    assert.ok(!sources.includes("src/agent/agent.ts"), sources.join("\n"));
  });

  test("has every file that one of its parts loads later", () => {
    for (const name of ["leasehold", "main", "agent", "commands", "page-picture"]) {
      const later = [...text(`${name}.js`).matchAll(/(?:import\(|new URL\()"(\.\/[\w-]+\.\w+)"/g)];
      for (const [, file = ""] of later) assert.ok(existsSync(join(directory, file)), `${name}: ${file}`);
    }
    for (const file of ["page.html", "page.css", "page.js"])
      assert.equal(text(file), readFileSync(join(ROOT, "src/ops", file), "utf8"));
  });
});
