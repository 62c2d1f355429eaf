/**
 * A recording: the flight recorder's decisions as one JSON document, which `/decisions` serves and the agent
 * writes to its data directory. People read the sentences in it, and `npm run replay` takes each decision
 * again. Pure.
 *
 * The state before a decision is written as the changes since the state before the previous one. It does not
 * depend on the machine, so a recording of another version can be read too.
 */
import { step } from "../election/machine.ts";
import type { ElectionEvent, ElectionSettings, ElectionState } from "../election/types.ts";
import { vrrpState } from "../election/eligibility.ts";
import { explain } from "./explain.ts";
import type { Explanation } from "./explain.ts";
import type { Decision } from "./recorder.ts";
import { changesOf, fromJson, isList, toJson, withChanges } from "./values.ts";
import type { Change, Json } from "./values.ts";

const VERSION = 1;

/** What a recording says about itself. */
export interface RecordingFacts {
  readonly node: string;
  /** The agent's version. */
  readonly agent: string;
  /** Why it was written: "asked", "SIGUSR1", or the move. */
  readonly cause: string;
  /** The time of writing: wall clock, and the monotonic milliseconds at that moment. */
  readonly wall: Date;
  readonly nowMs: number;
}

/** One decision as people read it. */
export interface ToldDecision extends Explanation {
  readonly step: number;
  /**
   * Wall-clock time, RFC 3339. It is worked out from the time of writing, so a jump of the clock shifts it.
   */
  readonly at: string;
  /** Milliseconds between the decision and the writing of the recording. */
  readonly agoMs: number;
  readonly from: string;
  readonly to: string;
  /** The VRRP state after it. */
  readonly state: string;
  readonly reason: string;
  /** How often the same was decided again, and how many milliseconds before the writing the last time was. */
  readonly repeats: number;
  readonly lastAgoMs: number;
}

/** A recording as {@link parseRecording} reads it. */
export interface Recording {
  readonly node: string;
  readonly agent: string;
  readonly cause: string;
  readonly writtenAt: string;
  readonly decisions: readonly ToldDecision[];
}

/** Returns the text of a recording. `settings` is undefined before the first step. */
export function formatRecording(
  facts: RecordingFacts,
  settings: ElectionSettings | undefined,
  decisions: readonly Decision[],
): string {
  return [...recordingParts(facts, settings, decisions)].join("");
}

/**
 * The same in parts, one for each decision, for a thread that has other work: a thousand decisions take more
 * than a tenth of a second.
 */
export function* recordingParts(
  { node, agent, cause, wall, nowMs }: RecordingFacts,
  settings: ElectionSettings | undefined,
  decisions: readonly Decision[],
): Generator<string, void> {
  const head = JSON.stringify({
    version: VERSION,
    node,
    agent,
    cause,
    writtenAt: wall.toISOString(),
    settings: toJson(settings ?? null),
  });
  yield `${head.slice(0, -1)},"decisions":[`;
  let previous: ElectionState | undefined;
  for (const decision of decisions) {
    const { step, atMs, before, event, effects, wakeAtMs, after, repeats, lastAtMs } = decision;
    const agoMs = nowMs - atMs;
    const line = JSON.stringify({
      step,
      at: new Date(wall.getTime() - agoMs).toISOString(),
      agoMs: Math.round(agoMs),
      from: before.role.kind,
      to: after.role.kind,
      state: after.state,
      reason: after.reason,
      ...(settings === undefined ? {} : explain(settings, decision)),
      repeats,
      lastAgoMs: Math.round(nowMs - lastAtMs),
      lastAtMs,
      machine: {
        atMs,
        event: toJson(event),
        ...(previous === undefined ? { before: toJson(before) } : { changes: changesOf(previous, before) }),
        role: toJson(after.role),
        effects: toJson(effects),
        wakeAtMs: toJson(wakeAtMs),
      },
    });
    yield `${previous === undefined ? "" : ","}\n${line}`;
    previous = before;
  }
  yield "\n]}\n";
}

/** A text is not a recording, or not one of this version. */
export class NoRecording extends Error {}

/**
 * Reads what people are shown of a recording.
 * @throws {NoRecording}
 */
export function parseRecording(text: string): Recording {
  const { head, decisions } = open(text);
  return {
    node: string(head, "node"),
    agent: string(head, "agent"),
    cause: string(head, "cause"),
    writtenAt: string(head, "writtenAt"),
    decisions: decisions.map((one) => ({
      step: number(one, "step"),
      at: string(one, "at"),
      agoMs: number(one, "agoMs"),
      from: string(one, "from"),
      to: string(one, "to"),
      state: string(one, "state"),
      reason: string(one, "reason"),
      repeats: number(one, "repeats"),
      // An older recording does not say.
      lastAgoMs: typeof one["lastAgoMs"] === "number" ? one["lastAgoMs"] : number(one, "agoMs"),
      told: string(one, "told"),
      evidence: strings(one, "evidence"),
      rule: ruleIn(one["rule"]),
      did: strings(one, "did"),
      refused: strings(one, "refused"),
      // An older recording does not say.
      todo: one["todo"] === undefined ? [] : strings(one, "todo"),
      // An older recording does not say.
      waitedMs: typeof one["waitedMs"] === "number" ? one["waitedMs"] : null,
    })),
  };
}

/** What taking a recording's decisions again has shown. */
export interface Replay {
  readonly decision: ToldDecision;
  /** What came out otherwise: the member's name, with both values as JSON. Empty when nothing did. */
  readonly differences: readonly {
    readonly what: string;
    readonly recorded: string;
    readonly replayed: string;
  }[];
}

/**
 * Takes every decision of the recording again with this version's machine.
 * @throws {NoRecording}
 */
export function replay(text: string): readonly Replay[] {
  const { head, decisions } = open(text);
  const told = parseRecording(text).decisions;
  const settings = guarded("its settings cannot be read", () => settingsIn(head["settings"] ?? null));
  let state: Json = null;
  let expected: { readonly step: number; readonly state: Json } | undefined;
  return decisions.map((one, at) => {
    const line = told[at];
    const machine = one["machine"];
    if (line === undefined || !isObject(machine)) throw new NoRecording("a decision lacks its machine");
    return guarded(`step ${line.step} cannot be taken again`, () => {
      state =
        "before" in machine ? (machine["before"] ?? null) : withChanges(state, changesIn(machine["changes"]));
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a wrong value makes `step` throw, or come out otherwise
      const before = fromJson(state) as ElectionState;
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same
      const event = fromJson(machine["event"] ?? null) as ElectionEvent;
      const next = step(settings, before, event, number(machine, "atMs"));
      const compared: [string, Json | undefined, Json][] = [
        ["role", machine["role"], toJson(next.state.role)],
        ["reason", line.reason, next.state.reason],
        ["state", line.state, vrrpState(next.state, next.state.role)],
        ["effects", machine["effects"], toJson(next.effects)],
        ["wakeAtMs", machine["wakeAtMs"], toJson(next.wakeAtMs)],
      ];
      // Where no step was dropped in between, this decision begins with the state that the last one left.
      if (expected?.step === line.step - 1) compared.push(["before", state, expected.state]);
      expected = { step: line.step, state: toJson(next.state) };
      return {
        decision: line,
        differences: compared.flatMap(([what, recorded, replayed]) => {
          const texts = [JSON.stringify(recorded ?? null), JSON.stringify(replayed)] as const;
          return texts[0] === texts[1] ? [] : [{ what, recorded: texts[0], replayed: texts[1] }];
        }),
      };
    });
  });
}

type JsonMembers = { readonly [key: string]: Json };

function isObject(value: Json | undefined): value is JsonMembers {
  return typeof value === "object" && value !== null && !isList(value);
}

function open(text: string): { readonly head: JsonMembers; readonly decisions: readonly JsonMembers[] } {
  let head: Json;
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- JSON.parse makes nothing else
    head = JSON.parse(text) as Json;
  } catch {
    throw new NoRecording("it is not JSON");
  }
  if (!isObject(head)) throw new NoRecording("it is not a JSON object");
  if (head["version"] !== VERSION)
    throw new NoRecording(
      `its version is ${JSON.stringify(head["version"])}, and this program reads ${VERSION}`,
    );
  const { decisions } = head;
  if (!isList(decisions)) throw new NoRecording("it has no list of decisions");
  return {
    head,
    decisions: decisions.map((one) => {
      if (!isObject(one)) throw new NoRecording("a decision is not an object");
      return one;
    }),
  };
}

function guarded<T>(failure: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof NoRecording) throw error;
    throw new NoRecording(`${failure}: ${error instanceof Error ? error.message : ""}`, {
      cause: error,
    });
  }
}

function settingsIn(json: Json): ElectionSettings {
  const value = fromJson(json);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a wrong value makes `step` throw, or come out otherwise
  return value as ElectionSettings;
}

function changesIn(json: Json | undefined): readonly Change[] {
  if (!isList(json)) throw new NoRecording("a decision has neither a state nor changes");
  return json.map((change): Change => {
    const [path, value] = isList(change) ? change : [];
    if (!isList(path) || value === undefined) throw new NoRecording("a change has no path and value");
    return [path.map(String), value];
  });
}

function string(from: JsonMembers, key: string): string {
  const value = from[key];
  if (typeof value !== "string") throw new NoRecording(`${key} is missing`);
  return value;
}

function number(from: JsonMembers, key: string): number {
  const value = from[key];
  if (typeof value !== "number") throw new NoRecording(`${key} is missing`);
  return value;
}

function strings(from: JsonMembers, key: string): readonly string[] {
  const value = from[key];
  if (!isList(value)) throw new NoRecording(`${key} is missing`);
  return value.map((line) => {
    if (typeof line !== "string") throw new NoRecording(`${key} has something other than text in it`);
    return line;
  });
}

function ruleIn(value: Json | undefined): Explanation["rule"] {
  if (value === null) return null;
  if (!isObject(value)) throw new NoRecording("rule is missing");
  return { when: string(value, "when"), file: string(value, "file") };
}
