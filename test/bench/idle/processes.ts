/** Processes by the kernel's account. */
import { readdirSync, readFileSync } from "node:fs";
import { cpuMs } from "../balancer/figures.ts";

export interface ProcessFigures {
  /** Its own, and that of children it has waited for. */
  readonly cpuMs: number;
  readonly memoryKib: number;
}

/** undefined when it has ended: its parent has its figures then. */
export function processOf(pid: number): ProcessFigures | undefined {
  try {
    const memoryKib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
    return { cpuMs: cpuMs(readFileSync(`/proc/${pid}/stat`, "utf8")), memoryKib };
  } catch {
    return undefined;
  }
}

/** A process and those that live on below it: masters have workers. What was only born to run a check is in its parent's figures when it has ended. */
export function family(pid: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), parentOf(readFileSync(`/proc/${name}/stat`, "utf8")));
    } catch {
      continue; // ended meanwhile
    }
  }
  const found = [pid];
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child);
  return found;
}

/** The name, in brackets, may hold anything. */
export function parentOf(stat: string): number {
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}
