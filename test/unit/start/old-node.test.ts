/** What a person with an old Node, or without the npm packages, is told. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { NEEDED_NODE, nodeObstacle } from "../../../src/needed-node.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
/** Whatever an old Node gets to read before it is told that it is one. */
const FOR_OLD_NODES = ["src/needed-node.js", "src/leasehold.js", "scripts/start.js"];
/** Node with the version number of another. */
const POSE = [
  "--import",
  'data:text/javascript,Object.defineProperty(process.versions, "node", { value: "20.19.2" })',
];

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function node(args: readonly string[], cwd = root): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd,
    encoding: "utf8",
    timeout: 30_000,
  });
  return { code: status, stdout, stderr };
}

test("Node 24 and later will do, and what comes before will not", () => {
  for (const version of ["24.0.0", "24.21.0", "25.1.0", "100.0.0"])
    assert.equal(nodeObstacle(version), undefined);
  for (const version of ["12.22.12", "20.19.2", "22.18.0", "23.11.0"]) {
    assert.equal(nodeObstacle(version), `Node 24 or later is needed, this is Node ${version}`);
  }
});

test("the Node that `npm ci` brings will do", () => {
  const manifest: { readonly devDependencies: Readonly<Record<string, string>> } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  assert.equal(nodeObstacle(manifest.devDependencies["node"] ?? ""), undefined);
});

test("`npm ci` says nothing of an old Node, and still says what is wrong and what it did", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-npm-"));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const file of ["package.json", "package-lock.json", ".npmrc"])
    cpSync(join(root, file), join(directory, file));
  // Without what an `npm test` around this one was told.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_config_/i.test(name)));
  const NODE_OPTIONS =
    "--import data:text/javascript,Object.defineProperty(process,'version',{value:'v20.19.2'})";
  const npm = (...args: readonly string[]): Ended => {
    const options = {
      cwd: directory,
      encoding: "utf8",
      timeout: 30_000,
      env: { ...env, NODE_OPTIONS },
    } as const;
    const { status, stdout, stderr } = spawnSync("npm", ["ci", "--dry-run", "--offline", ...args], options);
    return { code: status, stdout, stderr };
  };
  const quiet = npm();
  assert.deepEqual([quiet.code, quiet.stderr], [0, ""]);
  assert.match(quiet.stdout, /^added \d+ packages/m);
  const loud = npm("--loglevel=warn");
  assert.match(loud.stderr, /EBADENGINE.*undici/s);
  assert.doesNotMatch(loud.stderr, /leasehold@/);
  rmSync(join(directory, "package-lock.json"));
  const wrong = npm();
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /npm error .*package-lock\.json/);
});

for (const file of FOR_OLD_NODES) {
  test(`${file} has no word that Node 12 does not know`, () => {
    const source = readFileSync(join(root, file), "utf8");
    assert.equal(
      transformSync(source, { target: "node12.22", format: "esm" }).code,
      transformSync(source, { target: "esnext", format: "esm" }).code,
    );
  });
}

test("every npm script begins with what an old Node can read", () => {
  const manifest: { readonly scripts: Readonly<Record<string, string>> } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  for (const [name, command] of Object.entries(manifest.scripts))
    assert.match(command, /^node scripts\/start\.js( |$)/, name);
});

describe("the bundle", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "leasehold-bundle-"));
    symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
    cpSync(join(root, "package.json"), join(directory, "package.json"));
    assert.deepEqual(node(["scripts/build.ts", join(directory, "dist")]).stderr, "");
  });
  after(() => rmSync(directory, { recursive: true }));

  test("says which Node it needs", () => {
    assert.deepEqual(node([...POSE, "dist/leasehold.js", "run"], directory), {
      code: 69,
      stdout: "",
      stderr: `leasehold: Node ${NEEDED_NODE} or later is needed, this is Node 20.19.2.\n`,
    });
  });

  test("has an entry that Node 12 can read", () => {
    const entry = readFileSync(join(directory, "dist", "leasehold.js"), "utf8");
    assert.equal(
      transformSync(entry, { target: "node12.22" }).code,
      transformSync(entry, { target: "esnext" }).code,
    );
  });

  test("passes on the arguments and the exit code", () => {
    assert.match(node(["dist/leasehold.js", "version"], directory).stdout, /^leasehold \d/);
    assert.equal(node(["dist/leasehold.js", "rnu"], directory).code, 2);
  });
});

describe("the programs of the repository", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "leasehold-start-"));
    for (const file of [...FOR_OLD_NODES, "package.json"]) cpSync(join(root, file), join(directory, file));
    writeFileSync(
      join(directory, "program.ts"),
      "const given: string = process.argv.slice(1).join(' ');\nconsole.log(given, process.versions.node);\nprocess.exitCode = 7;\n",
    );
    writeFileSync(join(directory, "stuck.ts"), "await new Promise(() => {});\n");
    writeFileSync(join(directory, "broken.ts"), "throw new Error('as it may be');\n");
  });
  after(() => rmSync(directory, { recursive: true }));
  const start = (...args: readonly string[]): Ended => node(["scripts/start.js", ...args], directory);
  const startOld = (...args: readonly string[]): Ended =>
    node([...POSE, "scripts/start.js", ...args], directory);
  const program = (): string => join(directory, "program.ts");

  test("before `npm ci` they say what to do", () => {
    const old = {
      code: 69,
      stdout: "",
      stderr: "Node 24 or later is needed, this is Node 20.19.2: run `npm ci` first, which brings it.\n",
    };
    assert.deepEqual(startOld("program.ts"), old);
    assert.deepEqual(startOld(), old);
    assert.deepEqual(start("program.ts"), {
      code: 69,
      stdout: "",
      stderr: "The npm packages are not installed: run `npm ci` first, which brings them.\n",
    });
  });

  test("after it an old Node leaves them to the one that it brought", () => {
    mkdirSync(join(directory, "node_modules", ".bin"), { recursive: true });
    writeFileSync(join(directory, "node_modules", ".package-lock.json"), "{}");
    assert.equal(startOld("program.ts").code, 69, "npm packages without a Node");
    symlinkSync(process.execPath, join(directory, "node_modules", ".bin", "node"));
    assert.deepEqual(startOld("program.ts", "a", "b"), {
      code: 7,
      stdout: `${program()} a b ${process.versions.node}\n`,
      stderr: "",
    });
    assert.deepEqual(startOld(), { code: 0, stdout: "", stderr: "" });
  });

  test("after it a new Node runs them itself, and ends as they do", () => {
    assert.deepEqual(start("program.ts", "a", "b"), {
      code: 7,
      stdout: `${program()} a b ${process.versions.node}\n`,
      stderr: "",
    });
    assert.equal(start("stuck.ts").code, 13);
    const broken = start("broken.ts");
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /as it may be/);
  });
});
