/**
 * Reaps the orphans of a container in which the agent is PID 1. A process whose parent has ended becomes a
 * child of PID 1. If it ends, it stays as a zombie until PID 1 takes note, and a container has a limited
 * number of processes (pids.max). Node takes note of its own children only.
 */
import { readFileSync, readdirSync } from "node:fs";
import type { Clock } from "../clock.ts";
import { reapChild } from "./libc.ts";

/** Milliseconds between two looks. */
const LOOK_MS = 5_000;
/** Most zombies that are reaped in one look. */
const MOST_REAPED = 1_000;

export interface OrphansDeps {
  readonly clock: Pick<Clock, "every">;
  /** Default 5 s. */
  readonly lookMs?: number;
}

/**
 * Looks for zombies until closed. Only one that was there at the previous look too is reaped, and that after
 * the event loop has polled: Node takes note of its own children there, and must be left to do so.
 */
export function reapOrphans({ clock, lookMs = LOOK_MS }: OrphansDeps): { close(): void } {
  let before: ReadonlySet<number> = new Set();
  const timer = clock.every(lookMs, () => {
    const now = zombies();
    const due = now.filter((pid) => before.has(pid));
    before = new Set(now);
    // After a process stood still two looks may come in one turn of the loop, without a poll between them.
    if (due.length > 0)
      setImmediate(() => {
        for (const pid of due) if (isZombie(String(pid))) reapChild(pid);
      });
  });
  return { close: () => timer.cancel() };
}

/** Children of this process that have ended. A kernel without CONFIG_PROC_CHILDREN does not tell. */
function zombies(): readonly number[] {
  try {
    return readdirSync("/proc/self/task")
      .flatMap((thread) => quietly(`/proc/self/task/${thread}/children`).split(" "))
      .filter((pid) => /^\d+$/.test(pid) && isZombie(pid))
      .slice(0, MOST_REAPED)
      .map(Number);
  } catch {
    return [];
  }
}

/** proc(5): the state follows the name, which is in parentheses and may have any character in it. */
function isZombie(pid: string): boolean {
  const stat = quietly(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
}

function quietly(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    // The thread or the process has ended meanwhile.
    return "";
  }
}
