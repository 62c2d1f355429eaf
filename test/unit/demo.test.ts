/** The pure parts of the demo: what keys mean, what is explained, and the recording. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { explain, explainFault } from "../../scripts/demo/explain.ts";
import type { Explained } from "../../scripts/demo/explain.ts";
import { keysIn } from "../../scripts/demo/keys.ts";
import type { Snapshot, NodeView } from "../../scripts/demo/observer.ts";
import { mark, recording } from "../../scripts/demo/recording.ts";
import type { Frame } from "../../scripts/demo/recording.ts";
import { frame, plainView } from "../../scripts/demo/view.ts";

describe("keys", () => {
  const words = (chunk: string): readonly string[] =>
    keysIn(chunk).map((key) => ("node" in key ? `${key.kind} ${key.node}` : key.kind));

  test("mean an agent, an API server, a cable or the power of a node", () => {
    assert.deepEqual(words("1"), ["agent n1"]);
    assert.deepEqual(words("5"), ["api n2"]);
    assert.deepEqual(words("9"), ["cable n3"]);
    assert.deepEqual(words("b"), ["power n2"]);
    assert.deepEqual(words("W"), ["watch"]);
    for (const quit of ["q", "Q", "\u0003", "\u0004"]) assert.deepEqual(words(quit), ["quit"]);
  });

  test("that come in one chunk are each heard", () => {
    assert.deepEqual(words("\u0003\u0003"), ["quit", "quit"]);
    assert.deepEqual(words("qq"), ["quit", "quit"]);
    assert.deepEqual(words("142"), ["agent n1", "api n1", "agent n2"]);
    assert.deepEqual(words("7q"), ["cable n1", "quit"]);
  });

  test("without a meaning do nothing: arrows, function keys, letters", () => {
    for (const chunk of [
      "\u001b[A",
      "\u001b[1;5C",
      "\u001bOP",
      "\u001b[15~",
      "\u001b",
      "0",
      "x",
      "\r",
      "\u00e9",
    ])
      assert.deepEqual(words(chunk), [], JSON.stringify(chunk));
    assert.deepEqual(words("\u001b[A1\u001b[B"), ["agent n1"]);
  });
});

describe("explanations", () => {
  const node = (name: Explained["name"], state: string, more: Partial<Explained> = {}): Explained => ({
    name,
    state,
    faults: [],
    hasPower: true,
    ...more,
  });

  test("two MASTERs are a planned move, and a node without power is none", () => {
    const [text = "", ...more] = explain([node("n1", "MASTER"), node("n2", "MASTER"), node("n3", "BACKUP")]);
    assert.match(text, /^n1 and n2 are both MASTER for a moment: a planned move\./);
    assert.deepEqual(more, []);
    assert.deepEqual(explain([node("n1", "MASTER", { hasPower: false }), node("n2", "MASTER")]), []);
    assert.deepEqual(explain([node("n1", "MASTER"), node("n2", "BACKUP")]), []);
  });

  test("FAULT after a flap is flap damping", () => {
    assert.match(explainFault(node("n1", "FAULT", { faults: ["unstable"] })), /flapped.*10 s.*flap damping/);
    assert.match(explainFault(node("n1", "FAULT", { faults: ["interface", "other"] })), /cable.*and other$/);
  });
});

function snapshot(changes: Partial<Snapshot> = {}): Snapshot {
  const n1: NodeView = {
    name: "n1",
    priority: 120,
    state: "MASTER",
    effectivePriority: 70,
    faults: [],
    hasPower: true,
    hasVip: true,
    apiServes: true,
    fastPath: "fast path: the kernel balances",
    backends: [{ id: "10.77.0.11:6443", grade: "UP" }],
  };
  const n2: NodeView = { ...n1, name: "n2", state: "FAULT", faults: ["unstable"], hasVip: false };
  const n3: NodeView = { ...n1, name: "n3", hasPower: false, hasVip: false, apiServes: false };
  return {
    startedMs: 0,
    nowMs: 10_000,
    vip: "10.77.0.100",
    endpoint: "10.77.0.100:6443",
    nodes: [n1, n2, n3],
    attempts: [{ sentMs: 9_000, ms: 1, ok: true, error: "" }],
    watches: [
      { server: "n1", state: "alive" },
      { server: "n1", state: "ended" },
      { server: "n2", state: "silent" },
    ],
    notes: [],
    events: [{ atMs: 1_000, text: "n1: has the VIP" }],
    ...changes,
  };
}

describe("the screen", () => {
  const plain = (changes?: Partial<Snapshot>): string => frame(snapshot(changes), "", (_, text) => text);

  test("shows the watches by their servers, a node without power, and why a node is in FAULT", () => {
    const text = plain();
    assert.match(text, /watches by server {3}n1 \u25cfx {3}n2 \u25cb /);
    assert.match(text, /^n1 {4}120 -> 70 +MASTER +VIP {3}serves$/m);
    assert.match(text, /^n2 .* FAULT .*serves {2}its link has flapped/m);
    assert.match(text, /^n3 .* no power .* stopped$/m);
    assert.match(text, /clients -> 10\.77\.0\.100:6443 .*longest gap: 0 ms/);
  });

  test("counts nothing before the clients' first answer", () => {
    assert.match(plain({ endpoint: undefined, attempts: [], watches: [] }), /^clients: not started yet$/m);
    const early = plain({ attempts: [], watches: [] });
    assert.match(early, /longest gap: -$/m);
    let lines = "";
    const out = { write: (text: string) => ((lines += text), true) };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the view only writes
    plainView(out as NodeJS.WritableStream).show(snapshot({ attempts: [], watches: [] }));
    assert.doesNotMatch(early + lines, /Infinity|NaN/);
  });
});

describe("a recording", () => {
  const frames: readonly Frame[] = [
    { atMs: 0, text: `${mark("bold", "a <b> & c")}\nsame\n` },
    { atMs: 1_000, text: `${mark(["bold", "green"], "second")}\nsame\nlate` },
    { atMs: 2_000, text: `third\nsame\nlate` },
  ];
  const svg = recording(frames, 1_500, { title: "T", description: "D" });

  test("has each line once, and shows it in its time", () => {
    assert.equal(svg.match(/>same</g)?.length, 1);
    assert.equal(svg.match(/>late</g)?.length, 1);
    assert.match(svg, />same<\/text>/, "what never changes is not animated");
    assert.match(
      svg,
      /visibility="visible"><tspan class="b g">second<\/tspan><animate [^>]*dur="7\.0s"[^>]*values="hidden;visible;hidden" keyTimes="0;0\.1429;0\.2857"/,
    );
    assert.match(svg, /visibility="hidden">third<animate [^>]*values="hidden;visible" keyTimes="0;0\.2857"/);
    assert.match(
      svg,
      /visibility="hidden"><tspan class="b">a &lt;b&gt; &amp; c<\/tspan><animate [^>]*values="visible;hidden" keyTimes="0;0\.1429"/,
    );
  });

  test("joins neighbours of one colour", () => {
    const row = `${mark("green", "x")}${mark("green", "x")}${mark("red", "y")} z`;
    const only = recording([{ atMs: 0, text: row }], 0, { title: "T", description: "D" });
    assert.match(only, /><tspan class="g">xx<\/tspan><tspan class="r">y<\/tspan> z<\/text>/);
  });

  test("loads nothing, and is the same picture in both themes", () => {
    const rest = svg.replace("http://www.w3.org/2000/svg", "");
    assert.doesNotMatch(rest, /https?:|href|<image|@import|<script|<foreignObject/);
    assert.match(svg, /prefers-color-scheme:dark/);
  });
});

describe("the recording in the repository", () => {
  const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
  const svg = read("docs/pictures/demo.svg");

  test("is of the story as it is told now, and all of it was seen", () => {
    for (const text of [
      "n1, the holder, loses power",
      "no power",
      "n1 preempts n2: its priority is higher, and LEASEHOLD_NOPREEMPT is false",
      "both MASTER for a moment: a planned move",
      "n1's API server dies",
      "clients -&gt; 10.77.0.100:6443",
      "watches by server",
      "fast path: the kernel balances",
    ])
      assert.ok(svg.includes(text), text);
    assert.equal(new Set(svg.match(/ {2}seen: [^<]*/g)).size, 5);
    assert.doesNotMatch(svg, /NOT SEEN|Infinity|NaN/);
  });

  test("shows the headline: clients wait a fraction of a second when the holder's node loses power", () => {
    const gap = /loses power: clients wait for a moment.*\(longest gap (\d+) ms\)/.exec(svg)?.[1];
    assert.ok(Number(gap) < 500, `${gap} ms`);
  });

  test("has nothing of the machine in it", () => {
    assert.doesNotMatch(svg, /\/(?:home|root|tmp|run|work|usr)\b|hostname/);
    assert.ok(svg.length < 120_000, `${svg.length} bytes`);
  });

  test("is shown in README, with a text in its stead", () => {
    assert.match(read("README.md"), /!\[[^\]]{40,}\]\(docs\/pictures\/demo\.svg\)/);
  });
});
