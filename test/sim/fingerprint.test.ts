import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { differences, formatEntries, parseEntries } from "./fingerprint-file.ts";
import type { Entry } from "./fingerprint-file.ts";
import { makePlan } from "./plan.ts";
import { loadProduction } from "./production.ts";
import { Recorder, Tap } from "./recorder.ts";
import { fingerprintOf } from "./simulation.ts";

const PLAN = makePlan("fingerprint", "people");
const SOURCE = new URL("../../src/", import.meta.url).href;

/** Literals of three words or more. Between two literals of a line there is no letter next to both quotes. */
const SENTENCE =
  /(?<="[A-Za-z][^"`\n]* [^"`\n]* [^"`\n]*[a-z])"|(?<=`[A-Za-z][^`\n]* [^`\n]* [^`\n]*[a-z])`/g;
const isComment = (line: string): boolean => /^\s*(\/\*|\*|\/\/)/.test(line);

/**
 * The product with every sentence of the election and the VIP said otherwise, or renewing a millisecond
 * earlier.
 */
const CHANGES = {
  "?said-otherwise": (source: string) =>
    source
      .split("\n")
      .map((line) => (isComment(line) ? line : line.replace(SENTENCE, ", so to speak$&")))
      .join("\n"),
  "?renews-earlier": (source: string) =>
    source.replace("sentAtMs + settings.renewIntervalMs", "sentAtMs + settings.renewIntervalMs - 1"),
} as const;
const changed = { "?said-otherwise": 0, "?renews-earlier": 0 };

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const mark = /\?said-otherwise|\?renews-earlier/.exec(context.parentURL ?? "")?.[0];
    const wanted =
      mark !== undefined &&
      /\/(election|sentinel|vip)\/[^/?]+$/.test(resolved.url) &&
      resolved.url.startsWith(SOURCE);
    return wanted ? { ...resolved, url: `${resolved.url}${mark}` } : resolved;
  },
  load(url, context, next) {
    const loaded = next(url, context);
    const mark = /\?said-otherwise|\?renews-earlier/.exec(url)?.[0];
    if (
      (mark !== "?said-otherwise" && mark !== "?renews-earlier") ||
      loaded.source === undefined ||
      loaded.source === null
    )
      return loaded;
    const before =
      typeof loaded.source === "string" ? loaded.source : new TextDecoder().decode(loaded.source);
    const source = CHANGES[mark](before);
    if (source !== before) changed[mark] += 1;
    return { ...loaded, source };
  },
});

describe("the fingerprint of a run", () => {
  test("is the same each time, whatever the product says in words", async () => {
    const plain = await fingerprintOf(PLAN, await loadProduction());
    assert.ok(
      plain.counts.kernel > 100 && plain.counts.frame > 100 && plain.counts.api > 100,
      JSON.stringify(plain.counts),
    );
    assert.deepEqual(await fingerprintOf(PLAN, await loadProduction()), plain);
    assert.deepEqual(await fingerprintOf(PLAN, await loadProduction("?said-otherwise")), plain);
    assert.ok(changed["?said-otherwise"] > 5, `${changed["?said-otherwise"]} modules were changed`);
  });

  test("is another one when a renewal is sent a millisecond earlier", async () => {
    const plain = await fingerprintOf(PLAN, await loadProduction());
    const earlier = await fingerprintOf(PLAN, await loadProduction("?renews-earlier"));
    assert.equal(changed["?renews-earlier"], 1);
    assert.notEqual(earlier.hash, plain.hash);
  });

  for (const [what, a, b, same] of [
    ["the order of an object's members", { spec: { a: 1, b: 2 } }, { spec: { b: 2, a: 1 } }, true],
    ["the order of members in an annotation", { note: '{"a":1,"b":2}' }, { note: '{"b":2,"a":1}' }, true],
    ["a sentence", { note: "nobody answers" }, { note: "no answer yet" }, true],
    ["the order of a list", [{ op: "test" }, { op: "add" }], [{ op: "add" }, { op: "test" }], false],
    ["a value", { spec: { a: 1 } }, { spec: { a: 2 } }, false],
    ["a value in an annotation", { note: '{"a":1}' }, { note: '{"a":2}' }, false],
    ["a word", { note: "n1" }, { note: "n2" }, false],
    ["whether a member is there", { a: null }, {}, false],
  ] as const) {
    test(`of two requests ${same ? "does not show" : "shows"} ${what}`, () => {
      const [first, second] = [a, b].map((body) => {
        const recorder = new Recorder();
        const inner = {
          servers: () => [],
          send: () => new Promise<never>(() => {}),
          watch: () => ({ close: () => {} }),
        };
        void new Tap(recorder, "n1", () => 0)
          .transport(inner)
          .send("10.0.0.11:6443", { method: "PATCH", path: "/", body }, 1_000);
        return recorder.fingerprint();
      });
      assert.equal(first?.hash === second?.hash, same);
      assert.equal(first?.counts.api, 1);
    });
  }
});

describe("a file of fingerprints", () => {
  const entry = (profile: string, seed: number, digit: string): Entry => ({
    profile,
    seed,
    fingerprint: { hash: digit.repeat(64), counts: { kernel: 1, frame: 2, api: 3 } },
  });

  test("is read back as it was written, in the order of profiles and seeds", () => {
    const entries = [entry("people", 10, "a"), entry("people", 9, "b"), entry("chaos", 7, "c")];
    assert.deepEqual(
      parseEntries(formatEntries(entries)).map(({ profile, seed }) => `${profile} ${seed}`),
      ["chaos 7", "people 9", "people 10"],
    );
    assert.deepEqual(
      parseEntries(formatEntries(entries)).toSorted((a, b) => b.seed - a.seed),
      entries,
    );
  });

  test("that is another file, or was cut off, is refused", () => {
    assert.throws(() => parseEntries("hello\n"), /first line/);
    const text = formatEntries([entry("chaos", 7, "c")]);
    assert.throws(() => parseEntries(text.slice(0, -5)), /line 2 is no fingerprint/);
  });

  test("tells which seeds are not as they were", () => {
    const then = [entry("chaos", 7, "a"), entry("chaos", 14, "b")];
    const found = differences(then, [
      entry("chaos", 7, "a"),
      entry("chaos", 14, "c"),
      entry("chaos", 21, "d"),
    ]);
    assert.deepEqual(
      found.map((line) => line.split(":")[0]),
      ["chaos 14", "chaos 21"],
    );
  });
});

describe("npm run sim -- --hash and --same-as", () => {
  const folder = mkdtempSync(join(tmpdir(), "leasehold-fingerprints-"));
  after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "then");
  const sim = (...args: string[]): { readonly status: number | null; readonly stdout: string } =>
    spawnSync(process.execPath, [fileURLToPath(new URL("../../scripts/sim.ts", import.meta.url)), ...args], {
      cwd: folder,
      encoding: "utf8",
      timeout: 60_000,
    });

  test("compare two processes, whatever the number of threads", () => {
    assert.equal(sim("--hash", file, "--seeds", "2", "--from", "2", "--jobs", "2").status, 0);
    assert.equal(parseEntries(readFileSync(file, "utf8")).length, 2);
    const again = sim("--same-as", file, "--jobs", "1");
    assert.equal(again.status, 0, again.stdout);
    assert.match(again.stdout, /2 runs, 0 of them not as in/);
  });

  test("print a seed that differs, and exit with 1", () => {
    const entries = parseEntries(readFileSync(file, "utf8")).map((entry) =>
      entry.seed === 3 ? { ...entry, fingerprint: { ...entry.fingerprint, hash: "0".repeat(64) } } : entry,
    );
    writeFileSync(file, formatEntries(entries));
    const result = sim("--same-as", file, "--seeds", "2", "--from", "2");
    assert.equal(result.status, 1);
    assert.match(result.stdout, /^people 3: 000000000000 /m);
    assert.doesNotMatch(result.stdout, /^api 2/m);
  });

  test("refuse a file that is none", () => {
    assert.equal(sim("--same-as", join(folder, "absent")).status, 2);
  });
});
