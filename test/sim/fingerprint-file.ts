/**
 * Fingerprints of many runs as a text file that can be compared: one line a run, in the order of profiles and
 * seeds.
 */
import type { Fingerprint } from "./recorder.ts";

export interface Entry {
  readonly profile: string;
  readonly seed: number;
  readonly fingerprint: Fingerprint;
}

/** Bumped whenever what is recorded changes: files of different versions cannot be compared. */
const HEAD =
  "# leasehold simulation, fingerprints 1: profile, seed, SHA-256 of all records, and how many of each kind";
const LINE = /^(\S+) (\d+) ([0-9a-f]{64}) kernel=(\d+) frame=(\d+) api=(\d+)$/;

export function formatEntries(entries: readonly Entry[]): string {
  const sorted = entries.toSorted((a, b) =>
    a.profile === b.profile ? a.seed - b.seed : a.profile < b.profile ? -1 : 1,
  );
  return [HEAD, ...sorted.map(formatEntry), ""].join("\n");
}

function formatEntry({ profile, seed, fingerprint: { hash, counts } }: Entry): string {
  return `${profile} ${seed} ${hash} kernel=${counts.kernel} frame=${counts.frame} api=${counts.api}`;
}

/** @throws {RangeError} naming the first line that is none of {@link formatEntries} */
export function parseEntries(text: string): readonly Entry[] {
  const [head, ...lines] = text.trimEnd().split("\n");
  if (head !== HEAD) throw new RangeError(`its first line is not "${HEAD}"`);
  return lines.map((line, index) => {
    const [, profile, seed, hash, kernel, frame, api] = LINE.exec(line) ?? [];
    if (profile === undefined || hash === undefined)
      throw new RangeError(`line ${index + 2} is no fingerprint: ${line}`);
    return {
      profile,
      seed: Number(seed),
      fingerprint: { hash, counts: { kernel: Number(kernel), frame: Number(frame), api: Number(api) } },
    };
  });
}

/** One line for each run of `now` that is not as in `then`, or is not in it. */
export function differences(then: readonly Entry[], now: readonly Entry[]): readonly string[] {
  const known = new Map(then.map((entry) => [`${entry.profile} ${entry.seed}`, entry]));
  return now.flatMap((entry) => {
    const was = known.get(`${entry.profile} ${entry.seed}`);
    if (was === undefined) return [`${entry.profile} ${entry.seed}: not in the file`];
    if (was.fingerprint.hash === entry.fingerprint.hash) return [];
    return [`${entry.profile} ${entry.seed}: ${amounts(was.fingerprint)}, now ${amounts(entry.fingerprint)}`];
  });
}

function amounts({ hash, counts }: Fingerprint): string {
  return `${hash.slice(0, 12)} (${counts.kernel} kernel calls, ${counts.frame} frames, ${counts.api} API requests)`;
}
