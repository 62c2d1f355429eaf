/**
 * When V8 compiles a function to optimized machine code. An agent without clients has nothing that is worth
 * it: what it runs takes microseconds, and the compilers cost it 20 wake-ups a second of V8's own threads
 * after a start, and 8 MB of resident memory for their code. A proxy that carries clients is worth it.
 */
import { setFlagsFromString } from "node:v8";

/** Calls of a function before it is compiled, by V8's flag for each of its optimizing compilers. */
type Thresholds = Readonly<Record<"maglev" | "turbofan", number>>;

/** The flag of a compiler. A flag that V8 does not know is ignored. */
export const thresholdFlag = (compiler: keyof Thresholds): string => `--invocation-count-for-${compiler}`;

/** V8's own. */
export const USUAL: Thresholds = { maglev: 400, turbofan: 3_000 };
/** An idle agent calls its busiest functions 200 times a second. Under a flood of frames they still get there. */
const LATE: Thresholds = { maglev: 1_000_000, turbofan: 3_000_000 };

function set(thresholds: Thresholds): void {
  for (const compiler of ["maglev", "turbofan"] as const)
    setFlagsFromString(`${thresholdFlag(compiler)}=${thresholds[compiler]}`);
}

/** Lets V8 compile hardly anything from now on, in every thread of this process. */
export function compileLate(): void {
  set(LATE);
}

/** Lets V8 compile as it does by itself. */
export function compileAsUsual(): void {
  set(USUAL);
}
