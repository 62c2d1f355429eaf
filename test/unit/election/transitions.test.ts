/** The table of transitions: it is what the code does, and what the documentation draws. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import type { ElectionSettings } from "../../../src/election/types.ts";
import { TRANSITIONS } from "../../../src/election/transitions.ts";
import { candidate, held, Subject } from "./harness.ts";

const ELECTION = new URL("../../../src/election/", import.meta.url);
const DOCS = readFileSync(new URL("../../../docs/architecture.md", import.meta.url), "utf8");
const DRAWING = readFileSync(new URL("../../../docs/pictures/states.svg", import.meta.url), "utf8");
const HEADER = readFileSync(new URL("machine.ts", ELECTION), "utf8").split("*/")[0] ?? "";

const rows = TRANSITIONS.map(({ from, to, when, file }) => [from, to, when, file].join(" | "));
const pairs = [...new Set(TRANSITIONS.map(({ from, to }) => `${from} --> ${to}`))].toSorted();

const OFFER = { version: 1, addresses: ["10.88.0.11"] };
const n2 = candidate("n2");
const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });
const noApi = { kind: "no-answer", ambiguous: true, message: "no answer" } as const;

function backup(): Subject {
  const self = candidate("n1", { base: 120, effective: 120, fastPath: OFFER });
  return new Subject({ base: 120 }).healthy({ fastPath: OFFER }).sees(held("n2", 1, [self, n2, n3]));
}

function byProof(): Subject {
  const subject = backup().to(300);
  const { acquireTime, leaseTransitions } = held("n2", 1);
  return subject.hears({ kind: "silent", tenure: ["n2", acquireTime, leaseTransitions].join("/") });
}

function atBootstrap(): Subject {
  const subject = new Subject().healthy();
  subject.event({ kind: "evidence", evidence: { kind: "neighbours", heard: true } });
  subject.event({ kind: "read", sentAtMs: 0, outcome: { kind: "no-answer", message: "refused" } });
  return subject.to(100);
}

/** A holder that no API server lets renew. */
function withoutApi(
  states: readonly ("refusing" | "silent")[],
  change: Partial<ElectionSettings> = {},
): Subject {
  const subject = new Subject(change).master([n2]).hears({ kind: "neighbours", heard: true });
  for (let atMs = subject.nowMs + 250; atMs <= 8_000; atMs += 250) {
    subject.to(atMs);
    while (subject.sent("renew").length > 0) subject.answer("renew", noApi);
    const servers = states.map((state, index) => ({ server: `s${index}`, state }));
    if (subject.asked("survey") > subject.surveys) subject.surveyed({ servers, records: [] });
  }
  return subject;
}

function stopped(subject: Subject): Subject {
  subject.event({ kind: "stop" });
  return subject;
}

/** One run for each row of the table, by the words of its third column. */
const EXAMPLES: Readonly<Record<(typeof TRANSITIONS)[number]["when"], () => Subject>> = {
  "the API accepts its claim": () => new Subject().master(),
  "the holder is silent on the wire, and two holders do no harm": byProof,
  "no API server lets it read the Lease, and no machine has the VIP": atBootstrap,
  "it cannot write the Lease, and no machine renews it or has the VIP": () => {
    const subject = backup().hears({ kind: "neighbours", heard: true });
    for (let atMs = 500; atMs <= 12_000; atMs += 500) {
      subject
        .to(atMs)
        .event({ kind: "read", sentAtMs: atMs, outcome: { kind: "rejected", status: 403, message: "no" } });
    }
    return subject;
  },
  "it is stopping and has withdrawn its candidacy, or 1 s is over": () => stopped(backup()).to(1_000),
  "the API accepts its claim or renewal": () =>
    byProof().answer("claim", { kind: "ok", record: held("n1", 2, [n2]) }),
  "its reason has ended, its time is over, or it is stopping": () => stopped(byProof()),
  "it gives way to another machine that claims the VIP": () =>
    byProof().hears({ kind: "claimed", mac: n2.mac }),
  "the Lease names another machine": () => new Subject().master([n2]).watches(held("n2", 9, [n2])),
  "the renew deadline has passed": () => withoutApi(["silent", "silent"], { onApiLoss: "release" }),
  "other software has the VIP, which it gives back": () =>
    new Subject({ takeOver: true })
      .master([n2])
      .to(1_900)
      .hears({ kind: "claimed", mac: "02:00:00:00:00:99" }),
  "it cannot renew the Lease, and its link carries frames": () => withoutApi(["refusing", "refusing"]),
  "another candidate claims the VIP, and no server confirms this one": () => {
    const subject = new Subject().master([n2]).to(300).hears({ kind: "claimed", mac: n2.mac });
    return subject.to(3_700);
  },
  "it is stopping, and no candidate has taken its offer": () => stopped(new Subject().master()),
  "the API has answered the release, or 1 s is over": () =>
    stopped(new Subject().master()).answer("release", { kind: "ok", record: held("", 9) }),
};

describe("the table of transitions", () => {
  for (const { from, to, when } of TRANSITIONS) {
    test(`${from} becomes ${to}: ${when}`, () => {
      const { log } = EXAMPLES[when]();
      const made = log.flatMap((effect) =>
        effect.kind === "report" && effect.report.kind === "transition" ? [effect.report] : [],
      );
      assert.ok(
        made.some((report) => report.from === from && report.to === to),
        JSON.stringify(made),
      );
    });
  }

  test("names files that exist", () => {
    for (const { file } of TRANSITIONS) assert.ok(existsSync(new URL(file, ELECTION)), file);
  });

  test("is what docs/architecture.md draws and lists", () => {
    const arrows = [...DRAWING.matchAll(/<g data-from="(\w+)" data-to="(\w+)">/g)].map(
      ([, from, to]) => `${from} --> ${to}`,
    );
    assert.deepEqual(arrows.toSorted(), pairs);
    const numbered = [...DRAWING.matchAll(/>(\w+) → (\w+)<\/text>\n<text [^>]*>([^<]+)<\/text>/g)].map(
      ([, ...cells]) => cells.join(" | "),
    );
    assert.deepEqual(
      numbered,
      TRANSITIONS.map(({ from, to, when }) => [from, to, when].join(" | ")),
    );
    const listed = [...DOCS.matchAll(/^\| (\w+) \| (\w+) \| (.+) \| `(\w+(?:-\w+)*\.ts)` \|$/gm)].map(
      ([, ...cells]) => cells.join(" | "),
    );
    assert.deepEqual(listed, rows);
  });

  test("is what the header of machine.ts shows", () => {
    const shown = [...HEADER.matchAll(/^ \* {5}(\w+) +→ (\w+) +(.+) \((\S+\.ts)\)$/gm)].map(([, ...cells]) =>
      cells.join(" | "),
    );
    assert.deepEqual(shown, rows);
  });
});

/** These decide nothing: the vocabulary, and the frame around the rules. */
const FRAME = new Set([
  "types.ts",
  "states.ts",
  "status.ts",
  "transitions.ts",
  "step.ts",
  "elector.ts",
  "machine.ts",
]);

test("the index of rules in machine.ts names files that exist, and leaves out no file that decides", () => {
  const [, ofVrrp = "", added = ""] = HEADER.split(/Where .* rules (?:is|are).*:\n/);
  const lines = (index: string): readonly (readonly string[])[] =>
    [...index.matchAll(/^ \* {5}\S.+? {2,}(\S.+)$/gm)].map(([, files]) => (files ?? "").split(", "));
  assert.deepEqual([lines(ofVrrp).length, lines(added).length], [15, 13]);
  const named = new Set([...lines(ofVrrp), ...lines(added)].flat());
  for (const file of named) assert.ok(existsSync(new URL(file, ELECTION)), file);
  const deciding = readdirSync(ELECTION).filter((file) => !FRAME.has(file));
  assert.deepEqual(
    deciding.filter((file) => !named.has(file)),
    [],
  );
});
