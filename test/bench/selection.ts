/**
 * Parts of a benchmark: a whole round beside slow programs takes minutes, and one question rarely needs all
 * of it. Pure.
 */
import type { Benchmark } from "./report.ts";

export interface Selection {
  /** Comma-separated names of subjects; undefined: all. */
  readonly subjects: string | undefined;
  /** Comma-separated names of scenarios; undefined: all. */
  readonly only: string | undefined;
}

/**
 * The benchmark with nothing in its table and its goals but what was asked for; or what is wrong with that,
 * in a sentence.
 */
export function select(benchmark: Benchmark, { subjects, only }: Selection): Benchmark | string {
  if (subjects === undefined && only === undefined) return benchmark;
  const { scenarios } = benchmark;
  if (scenarios === undefined) return `a round of ${benchmark.name} is one whole: no --subjects, no --only`;
  const chosen = pick(benchmark.subjects, subjects, "subject");
  const played = pick(scenarios, only, "scenario");
  if (typeof chosen === "string") return chosen;
  if (typeof played === "string") return played;
  const metrics = benchmark.metrics.filter(
    ({ scenario }) => scenario === undefined || played.includes(scenario),
  );
  // Goals are ours: where we do not take part nothing is missed.
  const judged = chosen.includes(benchmark.ours)
    ? metrics
    : metrics.map(({ name, unit, decimals }) => ({ name, unit, decimals }));
  const ratioGoals = (benchmark.ratioGoals ?? []).filter(
    ({ metric, of, over }) =>
      metrics.some(({ name }) => name === metric) && chosen.includes(of) && chosen.includes(over),
  );
  return { ...benchmark, subjects: chosen, scenarios: played, metrics: judged, ratioGoals };
}

/** In the benchmark's order, whatever the order of the names. */
function pick(all: readonly string[], names: string | undefined, kind: string): readonly string[] | string {
  if (names === undefined) return all;
  const asked = names.split(",").map((name) => name.trim());
  const unknown = asked.find((name) => !all.includes(name));
  return unknown === undefined
    ? all.filter((name) => asked.includes(name))
    : `no ${kind} "${unknown}"; there are: ${all.join(", ")}`;
}
