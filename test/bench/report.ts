/** What every benchmark is made of, and its table: medians, ratios to the anchors, goals. Pure. */

/** One measured number. */
export interface Sample {
  /** From 1. */
  readonly round: number;
  readonly subject: string;
  readonly metric: string;
  /** In the metric's unit. */
  readonly value: number;
}

/** Of the median of {@link Benchmark.ours}. A planned one is shown and never missed. */
export type Goal =
  | { readonly kind: "at-most"; readonly value: number }
  | { readonly kind: "planned"; readonly text: string };

export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly decimals: number;
  readonly goal?: Goal;
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
  /** Of the program beside ours; part of the raw results. @throws Error, one sentence, when it is not installed */
  readonly anchorVersion: () => string;
  /** Network namespaces, a build and a control plane: see run.ts. */
  readonly needsLab: boolean;
  readonly run: (rounds: number, record: (sample: Sample) => void) => Promise<void>;
}

/** NaN of nothing. Infinite values (no answer ever) sort last, as they should. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function valuesOf(samples: readonly Sample[], metric: Metric, subject: string): readonly number[] {
  return samples.filter((sample) => sample.metric === metric.name && sample.subject === subject).map((sample) => sample.value);
}

/** A goal without a measurement is a missed one: comparisons with NaN are false. */
function met(goal: Goal, value: number): boolean {
  switch (goal.kind) {
    case "at-most":
      return value <= goal.value;
    case "planned":
      return true;
  }
}

function verdict({ goal, unit }: Metric, value: number): string {
  switch (goal?.kind) {
    case undefined:
      return "";
    case "at-most":
      return `<= ${goal.value} ${unit}: ${met(goal, value) ? "met" : "MISSED"}`;
    case "planned":
      return `planned: ${goal.text}`;
  }
}

export function missedGoals(benchmark: Benchmark, samples: readonly Sample[]): readonly string[] {
  return benchmark.metrics.flatMap((metric) => {
    const { name, goal } = metric;
    return goal === undefined || met(goal, median(valuesOf(samples, metric, benchmark.ours))) ? [] : [name];
  });
}

/** One line per metric: median of each subject with its extremes, ours over the anchor, the goal. */
export function table(benchmark: Benchmark, samples: readonly Sample[]): string {
  const heads = ["median (min-max)", "unit", ...benchmark.subjects, `${benchmark.ours} / ${benchmark.anchor}`, "goal"];
  const rows = benchmark.metrics.map((metric) => {
    const ours = median(valuesOf(samples, metric, benchmark.ours));
    const ratio = ours / median(valuesOf(samples, metric, benchmark.anchor));
    const cells = benchmark.subjects.map((subject) => cell(valuesOf(samples, metric, subject), metric.decimals));
    return [metric.name, metric.unit, ...cells, Number.isFinite(ratio) ? ratio.toFixed(2) : "-", verdict(metric, ours)];
  });
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) => row.map((text, column) => text.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n");
}

function cell(values: readonly number[], decimals: number): string {
  if (values.length === 0) return "-";
  const text = (value: number): string => (Number.isFinite(value) ? value.toFixed(decimals) : "never");
  return `${text(median(values))} (${text(Math.min(...values))}-${text(Math.max(...values))})`;
}
