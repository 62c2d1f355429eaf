/**
 * Opens a new connection every `intervalMs` and writes one line for each attempt that ended:
 * `<sent> <duration> <ok|error code>`, times in CLOCK_MONOTONIC milliseconds.
 */
import { readFileSync } from "node:fs";
import { monotonicMs } from "../clock.ts";
import { attemptOnce } from "../one-attempt.ts";
import type { ProbeOptions } from "../probe.ts";

const options: ProbeOptions = JSON.parse(process.argv[2] ?? "{}");
const intervalMs = options.intervalMs ?? 5;
const { tls } = options;
const target = {
  host: options.host,
  port: options.port,
  timeoutMs: options.timeoutMs ?? 3000,
  path: options.path,
  status: options.status ?? 200,
  tls:
    tls === undefined
      ? undefined
      : {
          ca: tls.caFile === undefined ? undefined : readFileSync(tls.caFile),
          servername: tls.servername ?? "kubernetes",
        },
};

function probe(): void {
  const sentMs = monotonicMs();
  attemptOnce(target, (outcome) =>
    process.stdout.write(`${sentMs.toFixed(3)} ${(monotonicMs() - sentMs).toFixed(3)} ${outcome}\n`),
  );
}

// Timers have whole milliseconds and come late under load: aim at the grid, skip what was missed.
const startMs = monotonicMs();
let due = 0;
function next(): void {
  probe();
  due = Math.max(due + 1, Math.ceil((monotonicMs() - startMs) / intervalMs));
  setTimeout(next, Math.max(0, startMs + due * intervalMs - monotonicMs()));
}
next();
