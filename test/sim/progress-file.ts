/**
 * What a long search has done so far: one line a run, appended as it ends, so that a search that was killed
 * goes on where it was. A last line that was cut off is ignored, and its run is played again.
 */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PROFILES } from "./plan.ts";
import type { Profile } from "./plan.ts";

/**
 * The seeds that are searched: `seeds` of them from `from` on, each with one of the profiles in turn, or all
 * with `profile`.
 */
export interface Range {
  readonly from: number;
  readonly seeds: number;
  readonly profile: Profile | undefined;
}

export interface Finished {
  readonly seed: number;
  readonly profile: Profile;
  readonly simulatedMs: number;
  readonly cpuMs: number;
  /** Name of the invariant that it broke; undefined: none. */
  readonly broken: string | undefined;
}

const HEAD = /^# leasehold simulation, progress 1: from=(\d+) seeds=(\d+) profile=(\S+) code=(\S+)$/;
const LINE = /^(\S+) (\d+) (\d+) (\d+) (\S+)$/;
const HELD = "held";

export class ProgressFile {
  readonly #file: string;
  readonly range: Range;
  readonly finished: readonly Finished[];

  /**
   * Begins the file, or goes on with it.
   * @param range what is wanted; undefined: what the file says
   * @throws {RangeError} when the file is another one, of other seeds, or of other code
   */
  constructor(file: string, range: Range | undefined, fallback: Range, code = codeOf()) {
    this.#file = file;
    if (!existsSync(file)) {
      this.range = range ?? fallback;
      this.finished = [];
      writeFileSync(file, `${head(this.range, code)}\n`);
      return;
    }
    const text = readFileSync(file, "utf8");
    const [first = "", ...lines] = text.split("\n");
    const [, from, seeds, profile, was] = HEAD.exec(first) ?? [];
    if (from === undefined) throw new RangeError("it is no progress of a search");
    this.range = { from: Number(from), seeds: Number(seeds), profile: profileNamed(profile) };
    if (range !== undefined && head(range, "") !== head(this.range, ""))
      throw new RangeError(`it is of other seeds: ${first}`);
    if (was !== code) throw new RangeError("the code has changed since: begin a new file");
    // What follows the last newline was cut off.
    const whole = lines.slice(0, -1);
    if (lines.at(-1) !== "") writeFileSync(file, `${[first, ...whole].join("\n")}\n`);
    this.finished = whole.map(parseLine);
  }

  add({ profile, seed, simulatedMs, cpuMs, broken }: Finished): void {
    appendFileSync(
      this.#file,
      `${profile} ${seed} ${Math.round(simulatedMs)} ${Math.round(cpuMs)} ${broken ?? HELD}\n`,
    );
  }
}

function head({ from, seeds, profile }: Range, code: string): string {
  return `# leasehold simulation, progress 1: from=${from} seeds=${seeds} profile=${profile ?? "all"} code=${code}`;
}

function parseLine(line: string, index: number): Finished {
  const [, name, seed, simulatedMs, cpuMs, broken] = LINE.exec(line) ?? [];
  const profile = profileNamed(name);
  if (profile === undefined) throw new RangeError(`line ${index + 2} is no run: ${line}`);
  return {
    profile,
    seed: Number(seed),
    simulatedMs: Number(simulatedMs),
    cpuMs: Number(cpuMs),
    broken: broken === HELD ? undefined : broken,
  };
}

function profileNamed(name: string | undefined): Profile | undefined {
  return PROFILES.find((profile) => profile === name);
}

/**
 * Tells versions of the product and of the simulation apart: what one has shown says nothing about another.
 */
function codeOf(): string {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const hash = createHash("sha256");
  for (const file of globSync(["src/**/*.ts", "test/sim/**/*.ts", "test/support/embedded-api/*.ts"], {
    cwd: root,
  }).toSorted()) {
    hash.update(`${file}\n`).update(readFileSync(`${root}${file}`));
  }
  return hash.digest("hex").slice(0, 16);
}
