/**
 * Gives damaged inputs to the parsers of outside bytes. A parser may refuse an input in the way that it
 * documents. It must not throw anything else, take long, or answer with what it promises not to.
 */
import { Random } from "../../sim/random.ts";
import { mutate } from "./mutate.ts";

/** One parser, or some that read the same bytes. */
export interface Target {
  readonly name: string;
  /** Good inputs, which are damaged. */
  readonly inputs: readonly Uint8Array[];
  /** Reads the bytes. @throws what is wrong with the parser */
  readonly read: (bytes: Uint8Array) => void | Promise<void>;
}

export interface Failure {
  readonly target: string;
  readonly seed: string;
  readonly number: number;
  readonly error: unknown;
  /** The input, made as small as it could be. */
  readonly input: Uint8Array;
}

/** Most milliseconds of processor time for one input. None of them is larger than 256 KiB. */
const MOST_CPU_MS = 2_000;
const MOST_SHRINKS = 400;

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

/** Returns the input of that number. The same seed gives the same one. */
export function inputOf(target: Target, seed: string, number: number): Uint8Array {
  return mutate(target.inputs, new Random(`${seed}/${target.name}/${number}`));
}

/** Reads one input. Returns what went wrong; undefined when nothing did. */
export async function tried(
  target: Target,
  input: Uint8Array,
): Promise<{ readonly error: unknown } | undefined> {
  const before = cpuMs();
  try {
    await target.read(Uint8Array.from(input));
  } catch (error) {
    return { error };
  }
  const took = cpuMs() - before;
  return took > MOST_CPU_MS ? { error: new Error(`reading took ${Math.round(took)} ms`) } : undefined;
}

/** Reads the input of that number. Returns the failure; undefined when there is none. */
export async function fuzzOne(target: Target, seed: string, number: number): Promise<Failure | undefined> {
  const input = inputOf(target, seed, number);
  const failed = await tried(target, input);
  if (failed === undefined) return undefined;
  const small = await shrunk(target, input, failed.error);
  return { target: target.name, seed, number, error: failed.error, input: small };
}

/** Cuts pieces out of the input while the same thing goes wrong. */
async function shrunk(target: Target, input: Uint8Array, error: unknown): Promise<Uint8Array> {
  let small = input;
  let tries = 0;
  for (
    let size = Math.ceil(small.length / 2);
    size >= 1 && tries < MOST_SHRINKS;
    size = Math.floor(size / 2)
  ) {
    for (let at = 0; at + size <= small.length && tries < MOST_SHRINKS;) {
      const less = Buffer.concat([small.subarray(0, at), small.subarray(at + size)]);
      tries++;
      const still = await tried(target, less);
      if (still !== undefined && wordsOf(still.error) === wordsOf(error)) small = less;
      else at += size;
    }
  }
  return small;
}

const wordsOf = (error: unknown): string =>
  error instanceof Error
    ? `${error.name} ${error.message.replaceAll(/\d+/g, "#").slice(0, 60)}`
    : String(error);

/** Says in some lines what went wrong and how to see it again. */
export function report({ target, seed, number, error, input }: Failure): string {
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return [
    `${target}: input ${number} of seed ${seed}`,
    what,
    `the smallest input (${input.length} bytes), in base64:`,
    Buffer.from(input).toString("base64").slice(0, 4_000),
    `again: npm run fuzz -- --seed ${seed} --target ${JSON.stringify(target)} --from ${number} --count 1`,
  ].join("\n");
}
