/** Drives the pure machine by hand: facts in, effects out. */
import { initialState, step } from "../../../src/election/machine.ts";
import { isTransition } from "../../../src/election/transitions.ts";
import type {
  Effect,
  ElectionEvent,
  ElectionSettings,
  ElectionState,
  SelfFacts,
  StepTaken,
} from "../../../src/election/types.ts";
import { formatCandidate } from "../../../src/kube/record-codec.ts";
import { CANDIDATE_PREFIX, INSTANCE } from "../../../src/kube/record.ts";
import type { Candidate, LeaseRecord } from "../../../src/kube/record.ts";
import type { LeaseWrite, Survey, WriteOutcome } from "../../../src/kube/store.ts";
import type { Evidence } from "../../../src/sentinel/evidence.ts";

export const SETTINGS: ElectionSettings = {
  node: "n1",
  instance: "i1",
  ip: "10.88.0.11",
  vips: ["10.88.0.100"],
  version: "0.0.0",
  base: 100,
  leaseDurationMs: 10_000,
  renewDeadlineMs: 4_000,
  renewIntervalMs: 1_000,
  nopreempt: true,
  nopreemptStrict: false,
  preemptDelayMs: 0,
  onApiLoss: "auto",
  takeOver: false,
};

const HEALTHY: SelfFacts = {
  effective: 100,
  faults: [],
  ready: true,
  mac: "02:00:00:00:00:01",
  fastPath: null,
  foreign: false,
};

export function candidate(node: string, change: Partial<Candidate> = {}): Candidate {
  const number = Number(node.slice(1));
  return {
    node,
    base: 100,
    effective: 100,
    eligible: true,
    state: "BACKUP",
    faults: [],
    preempt: false,
    ip: `10.88.0.${10 + number}`,
    mac: "02:00:00:00:00:02",
    fastPath: null,
    vips: null,
    instance: `i${number}`,
    version: "0.0.0",
    counter: 1,
    ...change,
  };
}

export function record(
  change: Partial<LeaseRecord> = {},
  candidates: readonly Candidate[] = [],
): LeaseRecord {
  const notes = Object.fromEntries(
    candidates.map((c) => [`${CANDIDATE_PREFIX}${c.node}`, formatCandidate(c)]),
  );
  return {
    uid: "u1",
    resourceVersion: "1",
    holder: "",
    leaseDurationMs: 10_000,
    acquireTime: null,
    renewTime: null,
    leaseTransitions: null,
    ...change,
    annotations: { ...notes, ...change.annotations },
  };
}

/** A Lease held by `holder` (n1: the machine i1), renewed for the n-th time. */
export function held(
  holder: string,
  n: number,
  candidates: readonly Candidate[] = [],
  change: Partial<LeaseRecord> = {},
): LeaseRecord {
  return record(
    {
      resourceVersion: String(100 + n),
      holder,
      acquireTime: "2026-01-01T00:00:00.000000Z",
      renewTime: `2026-01-01T00:00:${String(n % 60).padStart(2, "0")}.000000Z`,
      leaseTransitions: 3,
      ...change,
      annotations: { [INSTANCE]: holder.replace("n", "i"), ...change.annotations },
    },
    candidates,
  );
}

type SentWrite = Extract<Effect, { kind: "write" }>;

/**
 * One node under test. Candidate writes are answered at once, as a healthy API does; the rest is up to the
 * test.
 */
export class Subject {
  readonly settings: ElectionSettings;
  state: ElectionState;
  nowMs = 0;
  bound = false;
  boundUntilMs = 0;
  wakeAtMs = 0;
  readonly log: Effect[] = [];
  /** Every step, for what looks at steps. */
  readonly taken: StepTaken[] = [];
  /** How many surveys were answered. */
  surveys = 0;
  /** What the wire answers to a probe, at once; null: nothing. */
  wire: { readonly owner: string | null; readonly prober: string | null } | null = {
    owner: null,
    prober: null,
  };
  readonly open: (SentWrite & { readonly sentAtMs: number })[] = [];

  constructor(change: Partial<ElectionSettings> = {}) {
    this.settings = { ...SETTINGS, ...change };
    this.state = initialState(this.settings, 0);
  }

  event(event: ElectionEvent): void {
    const before = this.state;
    const next = step(this.settings, before, event, this.nowMs);
    this.state = next.state;
    this.taken.push({ settings: this.settings, before, event, atMs: this.nowMs, next });
    this.wakeAtMs = next.wakeAtMs;
    for (const effect of next.effects) {
      this.log.push(effect);
      if (
        effect.kind === "report" &&
        effect.report.kind === "transition" &&
        !isTransition(effect.report.from, effect.report.to)
      ) {
        throw new Error(`${effect.report.from} to ${effect.report.to} is not in the table of transitions`);
      }
      if (effect.kind === "hold") {
        this.bound = true;
        this.boundUntilMs = effect.untilMs;
      }
      if (effect.kind === "limit") this.boundUntilMs = Math.min(this.boundUntilMs, effect.untilMs);
      if (effect.kind === "unbind") this.bound = false;
      if (effect.kind === "write") this.open.push({ ...effect, sentAtMs: this.nowMs });
    }
    if (this.wire !== null && next.effects.some((effect) => effect.kind === "probe"))
      this.hears({ kind: "probed", ...this.wire });
  }

  hears(evidence: Evidence): this {
    this.event({ kind: "evidence", evidence });
    return this;
  }

  /** Runs up to `atMs`, waking the machine whenever it asked to be. */
  to(atMs: number): this {
    for (let wakes = 0; this.wakeAtMs <= atMs; wakes += 1) {
      if (wakes > 1_000) throw new Error("the machine asks to be woken without end");
      this.nowMs = Math.max(this.nowMs, this.wakeAtMs);
      this.event({ kind: "wake" });
    }
    this.nowMs = atMs;
    this.event({ kind: "wake" });
    return this;
  }

  healthy(change: Partial<SelfFacts> = {}): this {
    this.event({ kind: "self", facts: { ...HEALTHY, effective: this.settings.base, ...change } });
    return this;
  }

  sees(seen: LeaseRecord | null): this {
    this.event({ kind: "read", sentAtMs: this.nowMs, outcome: { kind: "ok", record: seen } });
    return this;
  }

  /** How many effects of a kind there were. */
  asked(kind: Effect["kind"]): number {
    return this.log.filter((effect) => effect.kind === kind).length;
  }

  /** What a survey that was sent 50 ms ago found. */
  surveyed(survey: Survey): this {
    this.surveys += 1;
    this.event({ kind: "surveyed", sentAtMs: this.nowMs - 50, survey });
    return this;
  }

  watches(seen: LeaseRecord | null): this {
    this.event({ kind: "watched", record: seen });
    return this;
  }

  /** The unanswered writes of a kind. */
  sent<K extends LeaseWrite["kind"]>(
    kind: K,
  ): (Extract<LeaseWrite, { kind: K }> & { readonly sentAtMs: number })[] {
    const isOfKind = (write: LeaseWrite): write is Extract<LeaseWrite, { kind: K }> => write.kind === kind;
    return this.open.flatMap(({ write, sentAtMs }) => (isOfKind(write) ? [{ ...write, sentAtMs }] : []));
  }

  /** Answers the oldest open write of a kind. */
  answer(kind: LeaseWrite["kind"], outcome: WriteOutcome): this {
    const index = this.open.findIndex((effect) => effect.write.kind === kind);
    const [effect] = this.open.splice(index, 1);
    if (index < 0 || effect === undefined) throw new Error(`no ${kind} is waiting for an answer`);
    this.event({ kind: "written", id: effect.id, write: effect.write, sentAtMs: effect.sentAtMs, outcome });
    return this;
  }

  /** Becomes MASTER at the present time, with `others` as peers. */
  master(others: readonly Candidate[] = []): this {
    const self = candidate(this.settings.node, {
      instance: this.settings.instance,
      effective: this.settings.base,
    });
    this.healthy().sees(
      record({ resourceVersion: "50", annotations: { "leasehold.dev/released-by": "n9" } }, [
        self,
        ...others,
      ]),
    );
    for (let waits = 0; waits < 20 && this.sent("claim").length === 0; waits += 1) this.to(this.nowMs + 50);
    this.answer("claim", { kind: "ok", record: held(this.settings.node, 0, [self, ...others]) });
    return this;
  }
}
