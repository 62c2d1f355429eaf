/**
 * What every benchmark is made of, and its table: medians, ratios to the anchors within a round, goals. Pure.
 */

/** One measured number. */
export interface Sample {
  /** From 1. */
  readonly round: number;
  readonly subject: string;
  readonly metric: string;
  /** In the metric's unit. */
  readonly value: number;
}

/**
 * Of {@link Benchmark.ours}: of its median, or of its every round. A planned one is shown and never missed.
 */
export type Goal =
  | {
      readonly kind: "at-most";
      readonly value: number;
      /** And of every single round. */ readonly always?: number;
    }
  | { readonly kind: "every-round-at-most"; readonly value: number }
  | { readonly kind: "every-round-at-least"; readonly value: number }
  | { readonly kind: "planned"; readonly text: string };

/**
 * Of the median over the rounds of `of` divided by `over` in the same round: what was measured seconds apart.
 */
export interface RatioGoal {
  readonly metric: string;
  readonly of: string;
  readonly over: string;
  readonly kind: "at-least" | "at-most";
  readonly value: number;
  /** False: shown, and never missed. */
  readonly judged: boolean;
}

export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly decimals: number;
  readonly goal?: Goal;
  /** The one of {@link Benchmark.scenarios} that brings it. */
  readonly scenario?: string;
}

/** What of a benchmark is to be run. */
export interface Plan {
  readonly rounds: number;
  readonly subjects: readonly string[];
  readonly scenarios: readonly string[];
  /**
   * Those beside ours take part in the first round and in every so many-th after it: theirs may take minutes.
   */
  readonly besideEvery: number;
}

/** Whether a subject's turn comes in this round. */
export function takesPart(subject: string, ours: string, round: number, { besideEvery }: Plan): boolean {
  return subject === ours || (round - 1) % besideEvery === 0;
}

export interface Benchmark {
  readonly name: string;
  readonly summary: string;
  readonly defaultRounds: number;
  /** In the order of the columns. */
  readonly subjects: readonly string[];
  readonly ours: string;
  /** The subject that the ratio compares ours with. */
  readonly anchor: string;
  readonly metrics: readonly Metric[];
  /** What can be run alone, as each subject can then. Absent where a round is one whole. */
  readonly scenarios?: readonly string[];
  readonly ratioGoals?: readonly RatioGoal[];
  /**
   * Of the programs beside ours; part of the raw results. @throws Error, one sentence, when it is not
   * installed
   */
  readonly anchorVersion: () => string;
  /** Network namespaces; for the control plane also a build of the agent and real API servers: see run.ts. */
  readonly needs: "nothing" | "namespaces" | "control plane";
  readonly run: (plan: Plan, record: (sample: Sample) => void) => Promise<void>;
}

/** NaN of nothing. Infinite values (no answer ever) sort last, as they should. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function samplesOf(samples: readonly Sample[], metric: string, subject: string): readonly Sample[] {
  return samples.filter((sample) => sample.metric === metric && sample.subject === subject);
}

function valuesOf(samples: readonly Sample[], metric: string, subject: string): readonly number[] {
  return samplesOf(samples, metric, subject).map((sample) => sample.value);
}

/** NaN when no round has both. */
export function medianRatio(samples: readonly Sample[], metric: string, of: string, over: string): number {
  const below = new Map(samplesOf(samples, metric, over).map((sample) => [sample.round, sample.value]));
  return median(
    samplesOf(samples, metric, of).flatMap(({ round, value }) => {
      const other = below.get(round);
      return other === undefined ? [] : [value / other];
    }),
  );
}

/** A goal without a measurement is a missed one: comparisons with NaN are false. */
function met(goal: Goal, values: readonly number[]): boolean {
  switch (goal.kind) {
    case "at-most":
      return median(values) <= goal.value && values.every((value) => value <= (goal.always ?? Infinity));
    case "every-round-at-most":
      return values.length > 0 && values.every((value) => value <= goal.value);
    case "every-round-at-least":
      return values.length > 0 && values.every((value) => value >= goal.value);
    case "planned":
      return true;
  }
}

function verdict({ goal, unit }: Metric, values: readonly number[]): string {
  const outcome = (text: string): string =>
    `${text} ${unit}: ${goal !== undefined && met(goal, values) ? "met" : "MISSED"}`;
  switch (goal?.kind) {
    case undefined:
      return "";
    case "at-most":
      return outcome(
        goal.always === undefined ? `<= ${goal.value}` : `<= ${goal.value}, always <= ${goal.always}`,
      );
    case "every-round-at-most":
      return outcome(`always <= ${goal.value}`);
    case "every-round-at-least":
      return outcome(`always >= ${goal.value}`);
    case "planned":
      return `planned: ${goal.text}`;
  }
}

function ratioMet(samples: readonly Sample[], { metric, of, over, kind, value }: RatioGoal): boolean {
  const ratio = medianRatio(samples, metric, of, over);
  return kind === "at-least" ? ratio >= value : ratio <= value;
}

export function missedGoals(benchmark: Benchmark, samples: readonly Sample[]): readonly string[] {
  const values = benchmark.metrics.flatMap(({ name, goal }) =>
    goal === undefined || met(goal, valuesOf(samples, name, benchmark.ours)) ? [] : [name],
  );
  const ratios = (benchmark.ratioGoals ?? [])
    .filter((goal) => goal.judged && !ratioMet(samples, goal))
    .map(({ metric, of, over }) => `${metric}: ${of} / ${over}`);
  return [...values, ...ratios];
}

/**
 * One line per metric: median of each subject with its extremes (and its rounds, if others have more), the
 * paired ratio of ours to the anchor, the goal. Below it the goals of ratios.
 */
export function table(benchmark: Benchmark, samples: readonly Sample[]): string {
  const heads = [
    "median (min-max)",
    "unit",
    ...benchmark.subjects,
    `${benchmark.ours} / ${benchmark.anchor}`,
    "goal",
  ];
  const rows = benchmark.metrics.map((metric) => {
    const ratio = medianRatio(samples, metric.name, benchmark.ours, benchmark.anchor);
    const values = benchmark.subjects.map((subject) => valuesOf(samples, metric.name, subject));
    const most = Math.max(...values.map(({ length }) => length));
    const cells = values.map(
      (one) =>
        cell(one, metric.decimals) + (one.length === 0 || one.length === most ? "" : ` x${one.length}`),
    );
    return [
      metric.name,
      metric.unit,
      ...cells,
      Number.isFinite(ratio) ? ratio.toFixed(2) : "-",
      verdict(metric, valuesOf(samples, metric.name, benchmark.ours)),
    ];
  });
  return [aligned([heads, ...rows]), ...ratioTable(benchmark.ratioGoals ?? [], samples)].join("\n\n");
}

function ratioTable(goals: readonly RatioGoal[], samples: readonly Sample[]): readonly string[] {
  if (goals.length === 0) return [];
  const rows = goals.map((goal) => {
    const ratio = medianRatio(samples, goal.metric, goal.of, goal.over);
    const limit = `${goal.kind === "at-least" ? ">=" : "<="} ${goal.value}`;
    const outcome = ratioMet(samples, goal) ? "met" : goal.judged ? "MISSED" : "not met";
    return [
      `${goal.metric}: ${goal.of} / ${goal.over}`,
      Number.isNaN(ratio) ? "-" : ratio.toFixed(2),
      goal.judged ? limit : `(${limit})`,
      outcome,
    ];
  });
  return [aligned([["median of the rounds' ratios", "ratio", "goal", ""], ...rows])];
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function cell(values: readonly number[], decimals: number): string {
  if (values.length === 0) return "-";
  const text = (value: number): string => (Number.isFinite(value) ? value.toFixed(decimals) : "never");
  return `${text(median(values))} (${text(Math.min(...values))}-${text(Math.max(...values))})`;
}
