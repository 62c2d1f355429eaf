import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { IMAGE_NODE_FLAGS } from "../../support/lab/image-start.ts";
import { VERSION } from "../../../src/version.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (name: string): string => readFileSync(join(root, name), "utf8");
const run = promisify(execFile);

interface Instruction {
  readonly stage: string;
  readonly word: string;
  readonly args: string;
}

function dockerfile(): readonly Instruction[] {
  let stage = "";
  return read("Dockerfile")
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [word = "", ...rest] = line.trim().split(/\s+/);
      const args = rest.join(" ");
      if (word === "FROM") stage = / AS (\S+)$/.exec(args)?.[1] ?? "final";
      return { stage, word, args };
    });
}

describe("the documentation", () => {
  test("says what the table of settings says", async () => {
    const { stdout } = await run(process.execPath, ["scripts/docs.ts", "--check"], { cwd: root }).catch(
      (error: { stdout: string }) => error,
    );
    assert.equal(stdout, "");
  });

  test("points only at files that exist", () => {
    for (const page of globSync(["*.md", "docs/**/*.md"], { cwd: root })) {
      for (const [, target = ""] of read(page).matchAll(/\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)/g)) {
        assert.ok(target === "" || existsSync(join(root, page, "..", target)), `${page}: ${target}`);
      }
    }
  });

  test("accounts for every dependency", () => {
    const manifest: { readonly dependencies: object; readonly devDependencies: object } = JSON.parse(
      read("package.json"),
    );
    const page = read("docs/dependencies.md");
    for (const name of [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)])
      assert.ok(page.includes(name), name);
  });
});

describe("the image", () => {
  const steps = dockerfile();

  test("copies what exists, and what its own stages made", () => {
    const ignored = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const stages = new Set(steps.filter(({ word }) => word === "FROM").map(({ stage }) => stage));
    for (const { args } of steps.filter(({ word }) => word === "COPY")) {
      const from = /^--from=(\S+) /.exec(args)?.[1];
      if (from !== undefined) {
        assert.ok(stages.has(from), from);
        continue;
      }
      for (const source of args.split(" ").slice(0, -1)) {
        assert.ok(existsSync(join(root, source)), source);
        assert.ok(ignored.includes(source), `.dockerignore keeps ${source} out`);
      }
    }
  });

  test("is built on the Node that the tests run on, by version", () => {
    const manifest: { readonly devDependencies: Readonly<Record<string, string>> } = JSON.parse(
      read("package.json"),
    );
    const base = steps.find(({ word, args }) => word === "ARG" && args.startsWith("NODE_IMAGE="))?.args ?? "";
    assert.match(
      base,
      new RegExp(`^NODE_IMAGE=node:${manifest.devDependencies["node"]?.replaceAll(".", "\\.")}-`),
    );
    for (const { args } of steps.filter(({ word }) => word === "FROM"))
      assert.ok(args.includes("${NODE_IMAGE}") || args === "scratch", args);
  });

  test("starts the bundle itself, has nft, and is of this version", () => {
    const final = steps.filter(({ stage }) => stage === "final");
    const entry: unknown = JSON.parse(final.find(({ word }) => word === "ENTRYPOINT")?.args ?? "");
    // Its first line has Node's flags: for the agent, for `leasehold COMMAND` in the image, and for the lab.
    assert.deepEqual(entry, ["/app/dist/leasehold.js"]);
    assert.match(read("src/leasehold.js"), /^#!\/usr\/bin\/env -S node --max-semi-space-size=1\n/);
    assert.deepEqual(IMAGE_NODE_FLAGS, ["--max-semi-space-size=1"]);
    const system = steps
      .filter(({ stage, word }) => stage === "system" && word === "RUN")
      .map(({ args }) => args)
      .join("\n");
    assert.ok(system.includes("install -y --no-install-recommends nftables"));
    assert.ok(system.includes("ln -s /app/dist/leasehold.js /usr/local/bin/leasehold"));
    assert.ok(final.some(({ word, args }) => word === "COPY" && args === "--from=system / /"));
    assert.ok(final.some(({ word, args }) => word === "ARG" && args === `VERSION=${VERSION}`));
  });

  test("has koffi's native part for both platforms in the lock file", () => {
    const lock: { readonly packages: Readonly<Record<string, { readonly dev?: boolean }>> } = JSON.parse(
      read("package-lock.json"),
    );
    for (const cpu of ["x64", "arm64"]) {
      const entry = lock.packages[`node_modules/@koromix/koffi-linux-${cpu}`];
      assert.ok(entry !== undefined && entry.dev !== true, cpu);
    }
  });

  test("would work: the bundle runs beside koffi alone", async (t) => {
    const app = mkdtempSync(join(tmpdir(), "leasehold-image-"));
    t.after(() => rmSync(app, { recursive: true }));
    await run(process.execPath, ["scripts/build.ts", join(app, "dist")], { cwd: root });
    for (const part of ["koffi", "@koromix"])
      cpSync(join(root, "node_modules", part), join(app, "node_modules", part), { recursive: true });
    cpSync(join(root, "package.json"), join(app, "package.json"));
    const agent = (env: Readonly<Record<string, string>>, ...args: readonly string[]) =>
      run(process.execPath, [join(app, "dist", "leasehold.js"), ...args], { cwd: app, env, timeout: 30_000 });

    const { stdout } = await agent({}, "version", "-o", "json");
    assert.equal(JSON.parse(stdout).version, VERSION);
    assert.ok(existsSync(join(app, "dist", "proxy-worker.js")));
    // By the link that the image has, as a program of its own: with the Node of the PATH, and its
    // dependencies found from where it lies.
    symlinkSync(join(app, "dist", "leasehold.js"), join(app, "leasehold"));
    const linked = await run(join(app, "leasehold"), ["manifest", "pod", "--vip", "192.0.2.10"], {
      cwd: "/",
      env: { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` },
      timeout: 30_000,
    });
    assert.equal(linked.stdout, read("manifests/leasehold.yaml"));
    await assert.rejects(
      agent({ LEASEHOLD_VPI: "192.0.2.10" }, "run"),
      (error: { readonly code?: unknown; readonly stderr?: unknown }) => {
        assert.equal(error.code, 2);
        assert.match(
          String(error.stderr),
          /LEASEHOLD_VPI="192\.0\.2\.10" is not a setting; did you mean LEASEHOLD_VIP\?[^]*LEASEHOLD_VIP is not set/,
        );
        return true;
      },
    );
  });
});
