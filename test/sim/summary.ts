/** What a search over many seeds comes to, in words and figures. Pure. */
import type { Profile } from "./plan.ts";
import type { Finished } from "./progress-file.ts";

/** Seeds named for one invariant. */
const MOST_SEEDS = 20;

/**
 * Invariants by name, each with how many runs broke it and which; then those that held; then what the runs
 * cost, by profile.
 */
export function summary(finished: readonly Finished[], invariants: readonly string[]): readonly string[] {
  const broken = new Map<string, Finished[]>();
  for (const run of finished)
    if (run.broken !== undefined) (broken.get(run.broken) ?? start(broken, run.broken)).push(run);
  const held = invariants.filter((name) => !broken.has(name));
  return [
    ...[...broken]
      .toSorted(([, a], [, b]) => b.length - a.length)
      .map(([name, runs]) => `  ${name}: broken in ${runs.length} runs: ${seedsOf(runs)}`),
    `  ${held.length} of ${invariants.length} invariants held in all runs${broken.size === 0 || held.length === 0 ? "" : `: ${held.join(", ")}`}`,
    ...costs(finished),
  ];
}

function start(broken: Map<string, Finished[]>, name: string): Finished[] {
  const runs: Finished[] = [];
  broken.set(name, runs);
  return runs;
}

function seedsOf(runs: readonly Finished[]): string {
  const sorted = runs.toSorted((a, b) => a.seed - b.seed);
  const named = sorted.slice(0, MOST_SEEDS).map(({ profile, seed }) => `${profile} ${seed}`);
  return `${named.join(", ")}${runs.length > MOST_SEEDS ? ` and ${runs.length - MOST_SEEDS} more` : ""}`;
}

function costs(finished: readonly Finished[]): readonly string[] {
  const profiles = [...new Set(finished.map(({ profile }) => profile))].toSorted();
  const line = (profile: Profile): string => {
    const runs = finished.filter((run) => run.profile === profile);
    const seconds = runs.map(({ cpuMs }) => cpuMs / 1_000).toSorted((a, b) => a - b);
    const median = seconds[Math.floor(seconds.length / 2)] ?? 0;
    return `  ${profile}: ${runs.length} runs, ${hours(runs)} simulated hours, CPU seconds a run: median ${median.toFixed(2)}, mean ${mean(seconds).toFixed(2)}`;
  };
  return profiles.map(line);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/**
 * How fast a search is, and how long it will take.
 * @param played runs since it began or went on
 * @param left runs that are still to be played
 */
export function pace(played: number, left: number, elapsedMs: number): string {
  const perSecond = played / Math.max(1, elapsedMs / 1_000);
  if (played === 0) return "none finished yet";
  return `${perSecond.toFixed(2)} runs a second, about ${Math.ceil(left / perSecond / 60)} minutes left`;
}

export function hours(runs: readonly Pick<Finished, "simulatedMs">[]): string {
  return (runs.reduce((sum, { simulatedMs }) => sum + simulatedMs, 0) / 3_600_000).toFixed(1);
}
