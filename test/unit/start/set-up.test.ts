/** What is done about missing programs. apt-get is a script here: the real one has no place in a test. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PURPOSES, packagesOf } from "../../support/sandbox/tools.ts";
import type { Purpose, Tool } from "../../support/sandbox/tools.ts";
import { setUp } from "../../support/set-up/set-up.ts";
import type { Machine } from "../../support/set-up/set-up.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const ALL: readonly Purpose[] = Object.values(PURPOSES);

let directory = "";
let lines: string[] = [];
const path = (name: string): string => join(directory, name);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "leasehold-set-up-"));
  lines = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A program that notes how it was called, and does `body`. */
function script(name: string, body: string): string {
  mkdirSync(join(path(name), ".."), { recursive: true });
  writeFileSync(path(name), `#!/bin/sh\necho "\${0##*/} $*" >>${path("calls")}\n${body}\n`);
  chmodSync(path(name), 0o755);
  return path(name);
}

const calls = (): readonly string[] =>
  existsSync(path("calls")) ? readFileSync(path("calls"), "utf8").trim().split("\n") : [];

function machine(missing: readonly Tool[], facts: Partial<Machine> = {}): Machine {
  return {
    isRoot: true,
    aptGet: undefined,
    policyFile: path("policy-rc.d"),
    has: (tool) => !missing.includes(tool) || existsSync(path(tool)),
    say: (line) => void lines.push(line),
    ...facts,
  };
}

/** Says whether services may start while it runs, and brings `tools`. */
const apt = (...tools: readonly Tool[]): string =>
  script(
    "apt-get",
    `case "$*" in *install*) ${path("policy-rc.d")}; echo "policy: $?" >>${path("calls")}; cd ${directory} && touch ${tools.join(" ")} calls;; esac`,
  );

describe("set-up", () => {
  test("is silent and calls nothing where nothing is missing", async () => {
    const aptGet = apt();
    assert.deepEqual(await setUp(["demo", "test", "bench"], machine([], { aptGet })), {
      missing: [],
      ready: true,
    });
    assert.deepEqual([lines, calls()], [[], []]);
  });

  test("as root, with apt, installs what is missing, says so in one line, and lets no service start", async () => {
    const aptGet = apt("ip", "nft");
    assert.deepEqual(
      await setUp(["demo"], machine(["ip", "nft", "iptables-restore", "tcpdump"], { aptGet })),
      { missing: [], ready: true },
    );
    assert.deepEqual(lines, ["Installing iproute2, nftables with apt-get, for want of ip, nft."]);
    assert.deepEqual(calls(), [
      "apt-get -qq -o DPkg::Lock::Timeout=120 update",
      "apt-get -qq -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends iproute2 nftables",
      "policy: 101",
    ]);
    assert.ok(!existsSync(path("policy-rc.d")), "services may start again");
  });

  test("leaves somebody's own rule about services alone", async () => {
    script("policy-rc.d", "exit 104");
    const before = readFileSync(path("policy-rc.d"), "utf8");
    await setUp(["demo"], machine(["nft"], { aptGet: apt("nft") }));
    assert.ok(calls().includes("policy: 104"));
    assert.equal(readFileSync(path("policy-rc.d"), "utf8"), before);
  });

  test("replaces its own rule that a killed run left behind, which forbids nothing", async () => {
    const aptGet = script("apt-get", `cp ${path("policy-rc.d")} ${path("left")}; touch ${path("nft")}`);
    await setUp(["demo"], machine(["nft"], { aptGet }));
    const left = readFileSync(path("left"), "utf8");
    // The process is gone: this is above every process id that Linux gives out.
    writeFileSync(path("policy-rc.d"), left.replace(`kill -0 ${process.pid} `, "kill -0 2147483647 "), {
      mode: 0o755,
    });
    execFileSync(path("policy-rc.d"), ["haproxy", "start"]);
    rmSync(path("nft"));
    await setUp(["demo"], machine(["nft"], { aptGet: apt("nft") }));
    assert.ok(calls().includes("policy: 101"));
    assert.ok(!existsSync(path("policy-rc.d")));
  });

  for (const [who, facts] of [
    ["not as root", { isRoot: false, aptGet: "/usr/bin/apt-get" }],
    ["without apt", { isRoot: true, aptGet: undefined }],
  ] as const) {
    test(`${who} prints the exact command, and calls nothing`, async () => {
      assert.deepEqual(await setUp(["demo"], machine(["ip", "nft", "tcpdump"], facts)), {
        missing: ["ip", "nft"],
        ready: false,
      });
      assert.deepEqual(lines, [
        "Missing: ip (Debian package iproute2), nft (Debian package nftables). Install with, as root: " +
          "apt-get update && apt-get install --yes --no-install-recommends iproute2 nftables",
      ]);
    });

    test(`${who} the demo goes on without nft, in proxy mode`, async () => {
      assert.deepEqual(await setUp(["demo"], machine(["nft", "iptables-restore"], facts)), {
        missing: ["nft"],
        ready: true,
      });
      assert.deepEqual(lines, [
        "Missing: nft (Debian package nftables); without, the demo runs in proxy mode. Install with, as root: " +
          "apt-get update && apt-get install --yes --no-install-recommends nftables",
      ]);
    });
  }

  test("says what apt-get said when it fails, and what to enter", async () => {
    const aptGet = script(
      "apt-get",
      'case "$*" in *install*) echo "W: hm" >&2; echo "E: Unable to locate package nftables" >&2; exit 100;; esac',
    );
    assert.deepEqual(await setUp(["demo"], machine(["nft"], { aptGet })), { missing: ["nft"], ready: true });
    assert.equal(lines.length, 2);
    assert.match(
      lines[1] ?? "",
      /^apt-get failed: E: Unable to locate package nftables\. Missing: nft .* as root: apt-get update && .* nftables$/,
    );
  });

  test("does with what the machine's own lists have where they cannot be brought up to date", async () => {
    const aptGet = script(
      "apt-get",
      `case "$*" in *update*) echo "E: no network" >&2; exit 100;; *) touch ${path("nft")};; esac`,
    );
    assert.deepEqual(await setUp(["demo"], machine(["nft"], { aptGet })), { missing: [], ready: true });
    assert.equal(lines.length, 1);
  });

  test("says so where apt-get cannot be started or brings something else", async () => {
    await setUp(["demo"], machine(["nft"], { aptGet: path("none") }));
    assert.match(lines[1] ?? "", /ENOENT.*Missing: nft/);
    lines = [];
    await setUp(["demo"], machine(["nft"], { aptGet: apt("curl") }));
    assert.match(lines[1] ?? "", /^apt-get succeeded\. Missing: nft/);
  });
});

describe("the one list", () => {
  test("asks no iptables of the demo, and no nft", () => {
    assert.ok(!packagesOf([...PURPOSES.demo.needs, ...PURPOSES.demo.wants]).includes("iptables"));
    assert.ok(!PURPOSES.demo.needs.includes("nft"));
  });

  test("is what .ci/run goes by", () => {
    for (const name of [".ci/run", "scripts/programs.ts"]) cpSync(join(root, name), path(name));
    // Instead of a minute of npm and an hour of tests.
    script("bin/npm", "");
    script("node_modules/.bin/node", "");
    execFileSync(path(".ci/run"), { env: { PATH: `${path("bin")}:${process.env["PATH"]}` } });
    assert.deepEqual(calls(), [
      "npm ci",
      "node scripts/programs.ts test bench",
      "node test/support/control-plane/build.ts",
      "npm test",
    ]);

    const packages = packagesOf(ALL.flatMap(({ needs, wants }) => [...needs, ...wants]));
    const words = new Set(
      readFileSync(join(root, ".ci/run"), "utf8")
        .replaceAll(/^\s*#.*$/gm, "")
        .split(/[^\w.-]+/),
    );
    assert.deepEqual(
      packages.filter((name) => words.has(name)),
      [],
    );
  });

  test("is what `npm run programs` goes by", () => {
    for (const tool of [...PURPOSES.demo.needs, ...PURPOSES.demo.wants]) script(`bin/${tool}`, "");
    const run = (...args: readonly string[]): readonly unknown[] => {
      const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/programs.ts", ...args], {
        cwd: root,
        encoding: "utf8",
        env: { PATH: path("bin") },
      });
      return [status, stdout, stderr];
    };
    assert.deepEqual(run("demo"), [0, "", ""]);
    assert.deepEqual(run(), [2, "", "for what? one or more of demo, test, bench\n"]);
    assert.deepEqual(run("test", "nft"), [2, "", "unknown: nft; one or more of demo, test, bench\n"]);
  });
});
