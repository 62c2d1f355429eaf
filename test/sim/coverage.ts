/**
 * What of the election's vocabulary a run has reached: every change of role with its reason, and every
 * effect. What no seed ever reaches is a fault that the plans lack, or code that nothing needs.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { ElectorDeps } from "../../src/election/elector.ts";
import { TRANSITIONS } from "../../src/election/transitions.ts";
import type { Effect, Report } from "../../src/election/types.ts";
import type { LeaseWrite } from "../../src/kube/store.ts";

/** What a run reached, and how often. */
export type Counts = Readonly<Record<string, number>>;

const WRITES: Readonly<Record<LeaseWrite["kind"], readonly string[]>> = {
  claim: ["claim of what nobody offered", "claim of what was offered", "claim where there is no Lease"],
  renew: ["renew", "renew, urgent"],
  release: ["release"],
  offer: ["offer", "offer withdrawn"],
  candidate: ["candidate"],
};

const REPORTS: Readonly<Record<Report["kind"], readonly string[]>> = {
  transition: ["transition"],
  handover: [
    "handover: stop",
    "handover: fault",
    "handover: move-to",
    "handover: preempt",
    "handover over, untaken",
  ],
  namesake: ["namesake"],
  "vip-mismatch": ["vip-mismatch"],
  recreate: ["recreate"],
  proof: ["proof"],
  departed: ["departed"],
  taken: ["taken"],
  prober: ["prober: waits", "prober: ignored"],
  "other-owner": ["other-owner: taken", "other-owner: free"],
  conflict: ["conflict: refused", "conflict: defended", "conflict: yielded"],
};

/** Every effect, with what tells its kinds apart. */
const EFFECTS: Readonly<Record<Effect["kind"], readonly string[]>> = {
  read: ["read"],
  write: Object.values(WRITES).flatMap((names) => names.map((name) => `write: ${name}`)),
  survey: ["survey"],
  probe: ["probe", "probe after a random time"],
  hold: ["hold"],
  limit: ["limit"],
  unbind: ["unbind"],
  announce: ["announce"],
  defend: ["defend"],
  remember: ["remember"],
  forget: ["forget"],
  report: Object.values(REPORTS).flatMap((names) => names.map((name) => `report: ${name}`)),
  watch: ["watch"],
  stopped: ["stopped"],
};

const CHANGE = "role: ";
const REASON = "reason: ";
const EFFECT = "effect: ";

type When = (typeof TRANSITIONS)[number]["when"];

/**
 * Where two rows of the table of transitions have the same roles, the reason tells them apart. A change whose
 * reason is none of these belongs to the row that is not here.
 */
const REASONS_OF_ROWS: Readonly<Partial<Record<When, RegExp>>> = {
  "the holder is silent on the wire, and two holders do no harm": / does not answer on the wire, /,
  "no API server lets it read the Lease, and no machine has the VIP": /^provisional: no API server lets /,
  "it cannot write the Lease, and no machine renews it or has the VIP":
    /^provisional: this node cannot write /,
  "it gives way to another machine that claims the VIP": / claims the VIP as well$/,
  "the renew deadline has passed": / before the renew deadline/,
  "other software has the VIP, which it gives back": / and this node gives it back /,
  "another candidate claims the VIP, and no server confirms this one": /^provisional: another candidate /,
};

/** The row of the table of transitions, as the table of what was reached has it. */
function nameOfChange(from: string, to: string, reason: string): string {
  const rows = TRANSITIONS.filter((row) => row.from === from && row.to === to);
  const row =
    rows.find(({ when }) => REASONS_OF_ROWS[when]?.test(reason) === true) ??
    rows.find(({ when }) => rows.length === 1 || REASONS_OF_ROWS[when] === undefined);
  return row === undefined ? `${CHANGE}${from} to ${to}` : nameOfRow(row);
}

function nameOfRow({ from, to, when }: (typeof TRANSITIONS)[number]): string {
  return `${CHANGE}${from} to ${to}: ${when}`;
}

export class Coverage {
  readonly #counts: Record<string, number> = {};

  get counts(): Counts {
    return this.#counts;
  }

  #note(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  #effect(what: string): void {
    this.#note(`${EFFECT}${what}`);
  }

  /** The elector's hands, watched. Every effect of the machine ends in one of them. */
  watch(deps: ElectorDeps): ElectorDeps {
    const { vip, store, sentinel, memory } = deps;
    return {
      ...deps,
      vip: {
        hold: (untilMs) => {
          this.#effect("hold");
          vip.hold(untilMs);
        },
        limit: (untilMs) => {
          this.#effect("limit");
          vip.limit(untilMs);
        },
        release: () => {
          this.#effect("unbind");
          vip.release();
        },
        announce: () => {
          this.#effect("announce");
          vip.announce();
        },
        defend: () => {
          this.#effect("defend");
          vip.defend();
        },
      },
      store: {
        read: (timeoutMs) => {
          this.#effect("read");
          return store.read(timeoutMs);
        },
        survey: (timeoutMs) => {
          this.#effect("survey");
          return store.survey(timeoutMs);
        },
        write: (write, timeoutMs, urgent) => {
          this.#effect(`write: ${nameOfWrite(write, urgent === true)}`);
          return store.write(write, timeoutMs, urgent);
        },
        watch: (onRecord) => store.watch(onRecord),
      },
      sentinel: {
        ...sentinel,
        watch: (target) => {
          this.#effect("watch");
          sentinel.watch(target);
        },
        probe: (spread, claims, questions) => {
          this.#effect(spread ? "probe after a random time" : "probe");
          sentinel.probe(spread, claims, questions);
        },
      },
      memory: {
        remember: (renewedAtMs) => {
          this.#effect("remember");
          memory.remember(renewedAtMs);
        },
        forget: () => {
          this.#effect("forget");
          memory.forget();
        },
      },
      onReport: (report) => {
        this.#effect(`report: ${nameOfReport(report)}`);
        if (report.kind === "transition") {
          this.#note(nameOfChange(report.from, report.to, report.reason));
          this.#note(`${REASON}${report.reason}`);
        }
        deps.onReport(report);
      },
    };
  }

  /** The agent has exited by itself. */
  stopped(): void {
    this.#effect("stopped");
  }
}

function nameOfWrite(write: LeaseWrite, urgent: boolean): string {
  switch (write.kind) {
    case "claim":
      if (write.replaces === null) return "claim where there is no Lease";
      return write.offered ? "claim of what was offered" : "claim of what nobody offered";
    case "renew":
      return urgent ? "renew, urgent" : "renew";
    case "offer":
      return write.to === null ? "offer withdrawn" : "offer";
    case "release":
    case "candidate":
      return write.kind;
  }
}

function nameOfReport(report: Report): string {
  switch (report.kind) {
    case "handover":
      return report.to === null ? "handover over, untaken" : `handover: ${report.reason}`;
    case "conflict":
    case "prober":
      return `${report.kind}: ${report.outcome}`;
    case "other-owner":
      return `other-owner: ${report.mac === null ? "free" : "taken"}`;
    case "transition":
    case "namesake":
    case "vip-mismatch":
    case "recreate":
    case "proof":
    case "departed":
    case "taken":
      return report.kind;
  }
}

/**
 * A row of the table: how often it was reached, and in how many runs. `isKnown`: the product's own vocabulary
 * has it.
 */
export interface Row {
  readonly what: string;
  readonly times: number;
  readonly runs: number;
  readonly isKnown: boolean;
}

/** Adds up runs. */
export class CoverageTable {
  readonly #reasons: readonly Reason[];
  readonly #rows = new Map<string, { times: number; runs: number; isKnown: boolean }>();

  /** @param reasons those that the product may give for a change of role; see {@link reasonsOf} */
  constructor(reasons: readonly Reason[]) {
    this.#reasons = reasons;
    for (const row of TRANSITIONS) this.#row(nameOfRow(row), true);
    for (const { text } of reasons) this.#row(`${REASON}${text}`, true);
    for (const names of Object.values(EFFECTS)) for (const name of names) this.#row(`${EFFECT}${name}`, true);
  }

  add(counts: Counts): void {
    const named = new Map<string, number>();
    for (const [what, times] of Object.entries(counts)) {
      const name = what.startsWith(REASON) ? `${REASON}${this.#reasonOf(what.slice(REASON.length))}` : what;
      named.set(name, (named.get(name) ?? 0) + times);
    }
    for (const [name, times] of named) {
      const row = this.#row(name, false);
      row.times += times;
      row.runs += 1;
    }
  }

  rows(): readonly Row[] {
    return [...this.#rows].map(([what, row]) => ({ what, ...row }));
  }

  #row(what: string, isKnown: boolean): { times: number; runs: number; isKnown: boolean } {
    const row = this.#rows.get(what) ?? { times: 0, runs: 0, isKnown };
    this.#rows.set(what, row);
    return row;
  }

  #reasonOf(text: string): string {
    return this.#reasons.find(({ pattern }) => pattern.test(text))?.text ?? text;
  }
}

/** A reason as the source has it, `<...>` where it names somebody. */
export interface Reason {
  readonly text: string;
  readonly pattern: RegExp;
}

const ELECTION = new URL("../../src/election/", import.meta.url);
/** A sentence in quotes or backticks. */
const SENTENCE = /"([A-Za-z][^"]* [^"]*)"|`((?:\$\{(?:[^{}"]|"[^"]*")*\}|[A-Za-z])[^`]* [^`]*)`/g;
/** One word that is a reason of its own, where a role is entered. */
const WORD = /(?:become|letGo)\(.*"([a-z]+)"\);/g;

const SOMEBODY = "<...>";
/** A name, what an API server has answered, or nothing. */
const ANYTHING = ".*?";
/** Parts of reasons, and sentences that are no reasons for a change of role. */
const PARTS: ReadonlySet<string> = new Set([
  "another node",
  "the holder",
  "no API server answers",
  "on this machine",
  "the agent has started",
  "other software <...> has the VIP, and this node waits until it lets go (LEASEHOLD_TAKE_OVER)",
]);
/** They say when a role changes, or what people read in the status, and give no reasons. */
const NO_REASONS: ReadonlySet<string> = new Set(["transitions.ts", "states.ts", "elector.ts"]);

/**
 * Every reason that the source of the election can give: its sentences, those of the log apart. Read from the
 * source, so that an edited text is known at once.
 */
export function reasonsOfSource(): readonly Reason[] {
  const files = readdirSync(ELECTION).filter((name) => name.endsWith(".ts") && !NO_REASONS.has(name));
  return reasonsOf(files.map((name) => readFileSync(new URL(name, ELECTION), "utf8")).join("\n"));
}

export function reasonsOf(source: string): readonly Reason[] {
  const lines = source
    .split("\n")
    .filter((line) => !/^\s*(\/\*|\*|\/\/)|\blog\.|\bthrow\b|^import/.test(line));
  const texts = lines.flatMap((line) => {
    const sentences = [...line.matchAll(SENTENCE)].flatMap(
      ([, quoted, template]) => quoted ?? template ?? [],
    );
    const words = [...line.matchAll(WORD)].flatMap(([, word]) => word ?? []);
    return [...sentences, ...words];
  });
  const shapes = new Set(texts.map((text) => text.replaceAll(/\$\{(?:[^{}"]|"[^"]*")*\}/g, SOMEBODY)));
  const isReason = (text: string): boolean =>
    !PARTS.has(text) && /[a-z]/.test(text.replaceAll(SOMEBODY, "")) && !text.includes("${");
  const reasons = [...shapes].filter(isReason).map((text) => ({
    text,
    pattern: new RegExp(
      `^${text
        .split(SOMEBODY)
        .map((part) => escaped(part))
        .join(ANYTHING)}$`,
    ),
  }));
  // "n1 holds the Lease" must not hide "another machine named n1 holds the Lease".
  return reasons.toSorted((a, b) => b.text.length - a.text.length);
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}

/** For docs/verification.md. */
export function formatCoverage(rows: readonly Row[], runs: number): string {
  const width = Math.max(...rows.map(({ what }) => what.length));
  const line = ({ what, times, runs: reached }: Row): string =>
    `| ${what.padEnd(width)} | ${String(times).padStart(9)} | ${String(reached).padStart(7)} |`;
  const never = rows.filter(({ times }) => times === 0).map(({ what }) => what);
  const unknown = rows.filter(({ isKnown }) => !isKnown).map(({ what }) => what);
  return [
    `| ${"reached".padEnd(width)} | ${"times".padStart(9)} | ${"in runs".padStart(7)} |`,
    `|${"-".repeat(width + 2)}|${"-".repeat(10)}:|${"-".repeat(8)}:|`,
    ...rows.map(line),
    "",
    `Never reached in ${runs} runs: ${never.join("; ") || "nothing"}.`,
    ...(unknown.length === 0
      ? []
      : [`Reached, and not in the table of test/sim/coverage.ts: ${unknown.join("; ")}.`]),
  ].join("\n");
}
