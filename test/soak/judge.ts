/**
 * Judges what a soak has seen against the bounds of `bounds.ts`. Pure: it knows times and names, no cluster.
 * All times are milliseconds of one clock.
 */
import { BOUNDS, boundOfAll, concernedApis } from "./bounds.ts";
import type { Bound, Circumstances, FaultKind } from "./bounds.ts";

/** One question to the wire for a VIP, and the nodes that answered it. */
export interface Turn {
  readonly sentMs: number;
  readonly vip: string;
  readonly nodes: readonly string[];
}

/** One GET /readyz: over the VIP `name`, or at the API server of the node `name`. */
export interface Answer {
  readonly sentMs: number;
  readonly name: string;
  /** `ok` or an error code. */
  readonly outcome: string;
}

export interface PlayedFault extends Circumstances {
  readonly node: string;
  /** The second node, for kinds that have one. */
  readonly other: string | undefined;
  readonly startMs: number;
}

/** What became of the watches and connections that were open through an episode. */
export interface WatchOutcome {
  readonly open: number;
  /** Ended, by anybody. */
  readonly lost: number;
  /** Still open, and without an event that was made meanwhile. */
  readonly deaf: number;
}

export interface PlayedEpisode {
  /** As planned, for people. */
  readonly title: string;
  readonly startMs: number;
  /** When the cluster was well again. */
  readonly endMs: number;
  /** In the order in which they began. */
  readonly faults: readonly PlayedFault[];
  readonly watches: WatchOutcome | undefined;
  /** Why the cluster is not well again; undefined when it is. */
  readonly problem: string | undefined;
}

export interface MemorySample {
  readonly node: string;
  readonly pid: number;
  readonly atMs: number;
  readonly kib: number;
}

export interface Evidence {
  readonly fromMs: number;
  readonly toMs: number;
  /** In order of time. */
  readonly turns: readonly Turn[];
  readonly ready: readonly Answer[];
  readonly direct: readonly Answer[];
  readonly episodes: readonly PlayedEpisode[];
  readonly memory: readonly MemorySample[];
}

export type Rule = "answers" | "serves" | "two";

/**
 * A time in which something was not as it should be. It breaks a rule when it counts for more than its bound.
 */
export interface Spell {
  readonly rule: Rule;
  readonly vip: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** What is left of it without the prober's own stalls, and for `serves` without API servers' absence. */
  readonly countedMs: number;
  readonly boundMs: number;
  /** The fault that began last before it; undefined for one out of the calm. */
  readonly fault: PlayedFault | undefined;
  /** The nodes that answered in it. */
  readonly nodes: readonly string[];
}

export interface Violation {
  readonly what: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** The episode's title; "" outside of any. */
  readonly episode: string;
}

export interface Sum {
  readonly kind: FaultKind | "none";
  /** How often it was played; of these, on a node with the VIP; of these, when no candidate had proof. */
  readonly played: number;
  readonly withVip: number;
  readonly withoutProof: number;
  readonly answersMs: number;
  readonly servesMs: number;
  readonly twoMs: number;
  /** Connections and watches that ended in episodes that began with it. */
  readonly lost: number;
}

export interface Growth {
  readonly node: string;
  readonly midKib: number;
  readonly endKib: number;
}

export interface Verdict {
  /** Why the machine was too busy for this soak to say anything, one sentence each; empty when it was not. */
  readonly busy: readonly string[];
  readonly violations: readonly Violation[];
  readonly spells: readonly Spell[];
  readonly sums: readonly Sum[];
  readonly growth: readonly Growth[];
  /** How long the prober was not run, of the whole time; the longest stall. */
  readonly stalledMs: number;
  readonly longestStallMs: number;
  /** How much of that was taken off spells. */
  readonly forgivenMs: number;
}

export const TURN_MS = 50;
/** A turn that comes later than this was not run in time: the processors had other work. */
const STALL_MS = 2 * TURN_MS;
/** At most so much of a spell is forgiven because of stalls. */
const FORGIVEN_MS = 1_000;
/** A soak in which more than these parts of the time were forgiven, or stalled, says nothing. */
const MOST_FORGIVEN = 0.02;
const MOST_STALLED = 0.1;
/** What happens this long before a fault is noted may be its work: the note is taken after it began. */
const SLACK_MS = 100;
/** etcd may elect a leader meanwhile, which takes seconds. */
const STARVED_MS = 8_000;
/** V8's heap finds its size in the first minutes, so a shorter soak says nothing of memory. */
export const MEMORY_FROM_MS = 10 * 60_000;
const MOST_GROWTH = 0.1;

export function judge(evidence: Evidence): Verdict {
  const stalls = stallsOf(evidence.turns);
  const spells = [
    ...byName(evidence.turns, ({ vip }) => vip).flatMap(([vip, turns]) => [
      ...answersSpells(vip, turns),
      ...twoSpells(vip, turns),
    ]),
    ...byName(evidence.ready, ({ name }) => name).flatMap(([vip, answers]) =>
      servesSpells(vip, answers, servingTimes(evidence.direct)),
    ),
  ]
    .map((found) => judged(found, stalls, evidence.episodes))
    .sort((one, other) => one.spell.fromMs - other.spell.fromMs);
  const lengthMs = evidence.toMs - evidence.fromMs;
  const stalledMs = stalls.reduce((sum, { ms }) => sum + ms, 0);
  const forgivenMs = spells.reduce((sum, { forgivenMs }) => sum + forgivenMs, 0);
  const growth = growthOf(evidence);
  const atTheEnd = { fromMs: evidence.toMs, toMs: evidence.toMs, episode: "" };
  const percent = (part: number): string => `${(part * 100).toFixed(1)} %`;
  const violations: Violation[] = [
    ...spells.flatMap(({ spell, episode }) =>
      spell.countedMs > spell.boundMs
        ? [
            {
              what: describeSpell(spell),
              fromMs: spell.fromMs,
              toMs: spell.toMs,
              episode: episode?.title ?? "",
            },
          ]
        : [],
    ),
    ...evidence.episodes.flatMap((episode) => episodeViolations(episode, evidence.direct)),
    ...(lengthMs < MEMORY_FROM_MS ? [] : growth).flatMap(({ node, midKib, endKib }) =>
      endKib > midKib * (1 + MOST_GROWTH)
        ? [
            {
              ...atTheEnd,
              what: `the agent of ${node} grew from ${midKib} to ${endKib} KiB in the second half`,
            },
          ]
        : [],
    ),
  ];
  const busy = [
    ...(forgivenMs > lengthMs * MOST_FORGIVEN
      ? [`the prober's stalls excuse ${percent(forgivenMs / lengthMs)} of the time`]
      : []),
    ...(stalledMs > lengthMs * MOST_STALLED
      ? [`the prober was not run for ${percent(stalledMs / lengthMs)} of the time`]
      : []),
    ...evidence.episodes.flatMap((episode) => starved(episode, evidence.direct)),
  ];
  return {
    busy,
    violations: violations.sort((one, other) => one.fromMs - other.fromMs),
    spells: spells.map(({ spell }) => spell),
    sums: sumsOf(
      spells.map(({ spell }) => spell),
      evidence.episodes,
    ),
    growth,
    stalledMs,
    longestStallMs: Math.max(0, ...stalls.map(({ ms }) => ms)),
    forgivenMs,
  };
}

interface Found {
  readonly rule: Rule;
  readonly vip: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** The part that counts, before stalls are taken off; for `serves` it may be shorter than the whole. */
  readonly countedFromMs: number;
  readonly countedToMs: number;
  readonly nodes: readonly string[];
}

/** Runs of `bad` items. Each ends with the next item that is not, or with the last item. */
function runs<T extends { readonly sentMs: number }>(
  items: readonly T[],
  bad: (item: T) => boolean,
): readonly { readonly fromMs: number; readonly toMs: number; readonly items: readonly T[] }[] {
  const found: { fromMs: number; toMs: number; items: T[] }[] = [];
  let open: { fromMs: number; toMs: number; items: T[] } | undefined;
  for (const item of items) {
    if (open !== undefined) open.toMs = item.sentMs;
    if (!bad(item)) open = undefined;
    else if (open === undefined)
      found.push((open = { fromMs: item.sentMs, toMs: item.sentMs, items: [item] }));
    else open.items.push(item);
  }
  return found;
}

const plain = (rule: Rule, vip: string, fromMs: number, toMs: number, nodes: readonly string[]): Found => ({
  rule,
  vip,
  fromMs,
  toMs,
  countedFromMs: fromMs,
  countedToMs: toMs,
  nodes,
});

function answersSpells(vip: string, turns: readonly Turn[]): readonly Found[] {
  return runs(turns, ({ nodes }) => nodes.length === 0).map(({ fromMs, toMs }) =>
    plain("answers", vip, fromMs, toMs, []),
  );
}

function twoSpells(vip: string, turns: readonly Turn[]): readonly Found[] {
  return runs(turns, ({ nodes }) => nodes.length > 1).map(({ fromMs, toMs, items }) =>
    plain("two", vip, fromMs, toMs, [...new Set(items.flatMap(({ nodes }) => nodes))].sort()),
  );
}

interface Time {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * The times in which some API server served, as the questions to each itself tell: a server serves from one
 * answered question to the next one, if that is answered as well.
 */
function servingTimes(direct: readonly Answer[]): readonly Time[] {
  const times = byName(direct, ({ name }) => name)
    .flatMap(([, answers]) =>
      answers.slice(1).flatMap((answer, index): readonly Time[] => {
        const before = answers[index];
        return before?.outcome === "ok" && answer.outcome === "ok"
          ? [{ fromMs: before.sentMs, toMs: answer.sentMs }]
          : [];
      }),
    )
    .sort((one, other) => one.fromMs - other.fromMs);
  const union: { fromMs: number; toMs: number }[] = [];
  for (const time of times) {
    const last = union.at(-1);
    if (last !== undefined && time.fromMs <= last.toMs) last.toMs = Math.max(last.toMs, time.toMs);
    else union.push({ ...time });
  }
  return union;
}

/** Of each spell only the longest piece counts in which some API server served without a pause. */
function servesSpells(vip: string, answers: readonly Answer[], serving: readonly Time[]): readonly Found[] {
  return runs(answers, ({ outcome }) => outcome !== "ok").map(({ fromMs, toMs }) => {
    const pieces = serving.flatMap((time): readonly Time[] => {
      const piece = { fromMs: Math.max(fromMs, time.fromMs), toMs: Math.min(toMs, time.toMs) };
      return piece.fromMs < piece.toMs ? [piece] : [];
    });
    const longest = pieces.reduce<Time>(
      (one, other) => (other.toMs - other.fromMs > one.toMs - one.fromMs ? other : one),
      { fromMs, toMs: fromMs },
    );
    return {
      ...plain("serves", vip, fromMs, toMs, []),
      countedFromMs: longest.fromMs,
      countedToMs: longest.toMs,
    };
  });
}

interface Stall {
  readonly fromMs: number;
  readonly toMs: number;
  /** How late the turn at `toMs` was. */
  readonly ms: number;
}

function stallsOf(turns: readonly Turn[]): readonly Stall[] {
  const times = [...new Set(turns.map(({ sentMs }) => sentMs))].sort((one, other) => one - other);
  return times.slice(1).flatMap((toMs, index): readonly Stall[] => {
    const fromMs = times[index] ?? toMs;
    return toMs - fromMs > STALL_MS ? [{ fromMs, toMs, ms: toMs - fromMs - TURN_MS }] : [];
  });
}

function judged(
  { countedFromMs, countedToMs, ...found }: Found,
  stalls: readonly Stall[],
  episodes: readonly PlayedEpisode[],
): { readonly spell: Spell; readonly forgivenMs: number; readonly episode: PlayedEpisode | undefined } {
  const wholeMs = countedToMs - countedFromMs;
  const stalledMs = stalls.reduce((sum, { fromMs, toMs, ms }) => {
    const within = Math.min(toMs, countedToMs) - Math.max(fromMs, countedFromMs);
    return sum + Math.max(0, Math.min(ms, within));
  }, 0);
  const episode = episodes.find(
    ({ startMs, endMs }) => startMs - SLACK_MS <= found.toMs && endMs >= found.fromMs,
  );
  const begun = episode?.faults.filter(({ startMs }) => startMs - SLACK_MS <= found.toMs) ?? [];
  const bound: Bound = boundOfAll(begun);
  const boundMs = { answers: bound.answersMs, serves: bound.servesMs, two: bound.twoMs }[found.rule];
  // What the bound allows needs no excuse.
  const forgivenMs = Math.min(stalledMs, FORGIVEN_MS, Math.max(0, wholeMs - boundMs));
  return {
    spell: {
      ...found,
      countedMs: wholeMs - forgivenMs,
      boundMs,
      fault: begun.findLast(({ startMs }) => startMs - SLACK_MS <= found.fromMs) ?? begun[0],
    },
    forgivenMs,
    episode,
  };
}

/**
 * The API servers of an episode that no fault concerned, and that did not answer for long all the same: there
 * were no processors for them.
 */
function starved(
  { title, startMs, endMs, faults }: PlayedEpisode,
  direct: readonly Answer[],
): readonly string[] {
  if (faults.some(({ kind }) => concernedApis(kind) === "all")) return [];
  const concerned = faults.flatMap(({ kind, node, other }) =>
    concernedApis(kind) === "none" ? [] : [node, other],
  );
  const within = direct.filter(
    ({ sentMs, name }) => sentMs >= startMs && sentMs <= endMs && !concerned.includes(name),
  );
  return byName(within, ({ name }) => name).flatMap(([name, answers]) =>
    runs(answers, ({ outcome }) => outcome !== "ok")
      .filter(({ fromMs, toMs }) => toMs - fromMs > STARVED_MS)
      .map(
        ({ fromMs, toMs }) =>
          `the API server of ${name}, which no fault concerned, did not answer for ${((toMs - fromMs) / 1_000).toFixed(1)} s (${title})`,
      ),
  );
}

/** Connections live where no fault is to end them, and where no API server failed that they might lead to. */
function episodeViolations(
  { title, startMs, endMs, faults, watches, problem }: PlayedEpisode,
  direct: readonly Answer[],
): readonly Violation[] {
  const place = { fromMs: startMs, toMs: endMs, episode: title };
  const live =
    faults.every(({ kind }) => BOUNDS[kind].watchesLive) &&
    !direct.some(({ sentMs, outcome }) => sentMs >= startMs && sentMs <= endMs && outcome !== "ok");
  const { open, lost, deaf } = watches ?? { open: 0, lost: 0, deaf: 0 };
  return [
    ...(problem === undefined ? [] : [{ ...place, what: `the cluster is not well again: ${problem}` }]),
    ...(live && lost > 0 ? [{ ...place, what: `${lost} of ${open} connections ended` }] : []),
    ...(live && deaf > 0 ? [{ ...place, what: `${deaf} watches missed an event` }] : []),
  ];
}

function sumsOf(spells: readonly Spell[], episodes: readonly PlayedEpisode[]): readonly Sum[] {
  const kinds = new Set<FaultKind | "none">(episodes.flatMap(({ faults }) => faults.map(({ kind }) => kind)));
  if (spells.some(({ fault }) => fault === undefined)) kinds.add("none");
  return [...kinds].sort().map((kind) => {
    const played = episodes.flatMap(({ faults }) => faults).filter((fault) => fault.kind === kind);
    const total = (rule: Rule): number =>
      spells
        .filter((spell) => spell.rule === rule && (spell.fault?.kind ?? "none") === kind)
        .reduce((sum, { countedMs }) => sum + countedMs, 0);
    return {
      kind,
      played: played.length,
      withVip: played.filter(({ hadVip }) => hadVip).length,
      withoutProof: played.filter(({ hadVip, proof }) => hadVip && !proof).length,
      answersMs: total("answers"),
      servesMs: total("serves"),
      twoMs: total("two"),
      lost: episodes
        .filter(({ faults }) => faults[0]?.kind === kind)
        .reduce((sum, { watches }) => sum + (watches?.lost ?? 0), 0),
    };
  });
}

/** Of agents that nothing restarted: the middle and the last fifth of the time, each by its median. */
function growthOf({ memory, fromMs, toMs }: Evidence): readonly Growth[] {
  const fifth = (toMs - fromMs) / 5;
  return byName(memory, ({ node }) => node).flatMap(([node, samples]): readonly Growth[] => {
    if (new Set(samples.map(({ pid }) => pid)).size !== 1) return [];
    const median = (from: number, to: number): number => {
      const sizes = samples
        .filter(({ atMs }) => atMs >= from && atMs <= to)
        .map(({ kib }) => kib)
        .sort((one, other) => one - other);
      return sizes[Math.floor(sizes.length / 2)] ?? Number.NaN;
    };
    const midMs = (fromMs + toMs) / 2;
    return [
      { node, midKib: median(midMs - fifth / 2, midMs + fifth / 2), endKib: median(toMs - fifth, toMs) },
    ];
  });
}

/** In order of time within each name. */
function byName<T extends { readonly sentMs: number } | { readonly atMs: number }>(
  items: readonly T[],
  name: (item: T) => string,
): readonly (readonly [string, readonly T[]])[] {
  const at = (item: T): number => ("sentMs" in item ? item.sentMs : item.atMs);
  return [...Map.groupBy(items, name)].map(
    ([key, all]) => [key, all.toSorted((one, other) => at(one) - at(other))] as const,
  );
}

const MEANING: Readonly<Record<Rule, string>> = {
  answers: "no machine answered for",
  serves: "/readyz was not served over",
  two: "two nodes answered for",
};

/** `no machine answered for 10.77.0.100 for 1.32 s, allowed is 1 s`. */
export function describeSpell({ rule, vip, countedMs, boundMs, nodes, fault }: Spell): string {
  const who = nodes.length === 0 ? "" : ` (${nodes.join(", ")})`;
  const after = fault === undefined ? "" : ` after ${fault.kind} ${fault.node}`;
  return `${MEANING[rule]} ${vip}${who} for ${(countedMs / 1_000).toFixed(2)} s${after}, allowed is ${boundMs / 1_000} s`;
}
