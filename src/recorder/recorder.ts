/**
 * The flight recorder keeps the election's last decisions in memory. Pure: it is given each step and looks at
 * nothing else. A step is kept with the whole state before it, which costs a reference, because states are
 * never changed. So each decision can be taken again on its own, even where the steps between two of them are
 * not kept.
 *
 * The machine takes some ten steps a second, and most of them decide nothing. Such a step is dropped. A step
 * that decides what an earlier one decided, with no change in between, is counted at the earlier one: a
 * holder that renews for a week has one entry for that.
 */
import { eligible, faultsOf, vrrpState } from "../election/eligibility.ts";
import type {
  Effect,
  ElectionEvent,
  ElectionSettings,
  ElectionState,
  Role,
  StepTaken,
} from "../election/types.ts";
import { MOVE_TO, OFFER } from "../kube/record.ts";
import type { LeaseRecord, VrrpState } from "../kube/record.ts";

/** Most decisions that are kept. */
export const MOST_DECISIONS = 1_000;
/**
 * Most memory for what the decisions keep alive, in characters of the Lease's annotations. The API lets the
 * annotations of one object have 256 KiB, and any client that may write the Lease can use them.
 */
const MOST_CHARACTERS = 4 * 1024 * 1024;
/** What an entry costs in any case, in the same measure. */
const ENTRY_CHARACTERS = 1_024;

/** One decision of the election machine. */
export interface Decision {
  /** The number of the step since the agent started, from 1. */
  readonly step: number;
  readonly atMs: number;
  readonly before: ElectionState;
  readonly event: ElectionEvent;
  readonly effects: readonly Effect[];
  readonly wakeAtMs: number;
  /** The role, the reason and what people see of this node after it. */
  readonly after: AfterDecision;
  /** How often the machine has decided the same since, and when last. */
  readonly repeats: number;
  readonly lastAtMs: number;
}

export interface AfterDecision {
  readonly role: Role;
  readonly reason: string;
  readonly state: VrrpState;
}

export interface Recorder {
  /** Takes note of a step. */
  note(taken: StepTaken): void;
  /** The decisions that are kept, the oldest first. */
  decisions(): readonly Decision[];
  /** The settings of the steps; undefined before the first one. */
  settings(): ElectionSettings | undefined;
}

interface Entry {
  decision: Decision;
  readonly characters: number;
}

export function createRecorder(most = MOST_DECISIONS, mostCharacters = MOST_CHARACTERS): Recorder {
  let entries: Entry[] = [];
  let characters = 0;
  let steps = 0;
  /** The entries since the last change, by what they decided. */
  const repeated = new Map<string, Entry>();
  let lastRecord: LeaseRecord | null = null;
  let settings: ElectionSettings | undefined;

  function add(decision: Decision): Entry {
    const record = decision.before.lease.view?.record ?? null;
    const entry = {
      decision,
      characters: ENTRY_CHARACTERS + (record === lastRecord ? 0 : lengthOf(record)) + lengthOfEvent(decision),
    };
    lastRecord = record;
    entries.push(entry);
    characters += entry.characters;
    if (entries.length > most || characters > mostCharacters) shorten();
    return entry;
  }

  /** Drops the oldest tenth, so that the array is not moved for each new entry. */
  function shorten(): void {
    let drop = 0;
    const limit = most - Math.floor(most / 10);
    while (drop < entries.length - 1 && (entries.length - drop > limit || characters > mostCharacters)) {
      characters -= entries[drop]?.characters ?? 0;
      drop += 1;
    }
    entries = entries.slice(drop);
  }

  return {
    note(taken) {
      steps += 1;
      settings = taken.settings;
      const kind = kindOf(taken);
      if (kind === "idle") return;
      const { before, event, atMs, next } = taken;
      const decision: Decision = {
        step: steps,
        atMs,
        before,
        event,
        effects: next.effects,
        wakeAtMs: next.wakeAtMs,
        after: {
          role: next.state.role,
          reason: next.state.reason,
          state: vrrpState(next.state, next.state.role),
        },
        repeats: 0,
        lastAtMs: atMs,
      };
      if (kind === "change") {
        repeated.clear();
        add(decision);
        return;
      }
      const known = repeated.get(kind.same);
      if (known === undefined) repeated.set(kind.same, add(decision));
      else known.decision = { ...known.decision, repeats: known.decision.repeats + 1, lastAtMs: atMs };
    },
    decisions: () => entries.slice(-most).map(({ decision }) => decision),
    settings: () => settings,
  };
}

/**
 * Effects of a step that is a change in any case. Every other effect may be repeated for a long time: a node
 * that serves without the Lease announces the VIP again and again.
 */
const CHANGES: ReadonlySet<Effect["kind"]> = new Set(["limit", "unbind", "stopped"]);

function isChange(effect: Effect): boolean {
  if (effect.kind === "write") return effect.write.kind === "offer" || effect.write.kind === "release";
  if (effect.kind !== "report") return CHANGES.has(effect.kind);
  // Against a machine that goes on claiming the VIP, the holder defends it every 10 s for as long as that runs.
  return effect.report.kind !== "conflict" || effect.report.outcome !== "defended";
}

/**
 * `idle`: the step decided nothing, and nothing that people see has changed. `same`: two steps with the same
 * text decided the same.
 */
function kindOf({ before, event, next }: StepTaken): "idle" | "change" | { readonly same: string } {
  const { state, effects } = next;
  if (seenBy(before) !== seenBy(state)) return "change";
  if (event.kind === "start" || event.kind === "stop") return "change";
  if (effects.some(isChange)) return "change";
  const trouble = troubleOf(event);
  if (effects.length === 0 && trouble === "") return "idle";
  const wanted = effects.map((effect) => {
    if (effect.kind === "write") return `${effect.kind} ${effect.write.kind}`;
    return effect.kind === "report" ? Object.values(effect.report).join() : effect.kind;
  });
  return { same: [event.kind, trouble, ...wanted].join(" ") };
}

/** What people see of the election, as a text that changes with it. */
function seenBy(state: ElectionState): string {
  const { role, reason } = state;
  const record = state.lease.view?.record ?? null;
  return [
    role.kind,
    reason,
    vrrpState(state, role),
    eligible(state, role),
    faultsOf(state, role).join(),
    state.self.tracking.effective,
    record === null ? "none" : record.holder,
    record?.leaseTransitions,
    record?.annotations[MOVE_TO],
    record?.annotations[OFFER],
  ].join("|");
}

/** Bad news of an event, as a text that is the same for the same news; "" for none. */
function troubleOf(event: ElectionEvent): string {
  switch (event.kind) {
    case "read":
      return event.outcome.kind === "ok" ? "" : statusOf(event.outcome);
    case "written":
      return event.outcome.kind === "ok" ? "" : `${event.write.kind} ${statusOf(event.outcome)}`;
    case "surveyed":
      return event.survey.servers.map(({ server, state }) => `${server} ${state}`).join();
    case "evidence":
      return Object.values(event.evidence).join();
    case "start":
    case "watched":
    case "self":
    case "servers":
    case "left-over-gone":
    case "wake":
    case "stop":
      return "";
  }
}

function statusOf(outcome: { readonly kind: string; readonly status?: number }): string {
  return outcome.status === undefined ? outcome.kind : `${outcome.kind} ${outcome.status}`;
}

function lengthOf(record: LeaseRecord | null): number {
  let length = 0;
  for (const [key, value] of Object.entries(record?.annotations ?? {})) length += key.length + value.length;
  return length;
}

function lengthOfEvent({ event }: Decision): number {
  switch (event.kind) {
    case "watched":
      return lengthOf(event.record);
    case "read":
    case "written":
      return "record" in event.outcome ? lengthOf(event.outcome.record) : 0;
    case "surveyed":
      return event.survey.records.reduce((total, record) => total + lengthOf(record), 0);
    case "start":
    case "evidence":
    case "self":
    case "servers":
    case "left-over-gone":
    case "wake":
    case "stop":
      return 0;
  }
}
