/**
 * A process for test/lab/orphans.test.ts, which starts it as PID 1. It runs a check that leaves a daemon
 * behind, again and again, and prints how many zombies there are, before they are reaped and after.
 */
import { readFileSync, readdirSync } from "node:fs";
import { systemClock } from "../../src/clock.ts";
import { bootTimeMs } from "../../src/linux/libc.ts";
import { reapOrphans } from "../../src/linux/orphans.ts";
import { runProgram } from "../../src/linux/program.ts";

const RUNS = 10;
const clock = systemClock(bootTimeMs);
const { signal } = new AbortController();
const env = { PATH: "/usr/bin:/bin" };

async function check(status: number): Promise<number> {
  const script = `setsid sleep 0.1 > /dev/null 2>&1 & sleep 0.05 & exit ${status}`;
  const end = await runProgram({ path: "/bin/sh", args: ["-c", script], env, signal, clock });
  return end.kind === "exit" ? end.status : -1;
}

function zombies(): number {
  return readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && /^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${name}/stat`, "utf8"));
    } catch {
      return false;
    }
  }).length;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

for (let run = 0; run < RUNS; run++) await check(0);
await sleep(500);
const before = zombies();
const reaper = reapOrphans({ clock, lookMs: 50 });
// Node's own children must keep their exit status while the reaper looks.
const statuses: number[] = [];
for (let run = 0; run < RUNS; run++) statuses.push(await check(run));
await sleep(1_000);
reaper.close();
process.stdout.write(`${JSON.stringify({ pid: process.pid, before, after: zombies(), statuses })}\n`);
