/** How many file descriptors this process may have open (RLIMIT_NOFILE, getrlimit(2)), as /proc tells it. */
import { readFileSync } from "node:fs";

/**
 * Returns the soft limit, which Node has raised to the hard one at its start. Infinity: there is no limit.
 * undefined: /proc does not say.
 */
export function mostOpenFiles(): number | undefined {
  try {
    return openFilesIn(readFileSync("/proc/self/limits", "utf8"));
  } catch {
    return undefined;
  }
}

/** Reads the soft limit in the text of /proc/PID/limits. */
export function openFilesIn(limits: string): number | undefined {
  const [, soft] = /^Max open files +(unlimited|\d+) /m.exec(limits) ?? [];
  if (soft === undefined) return undefined;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}
