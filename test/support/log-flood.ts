/**
 * A process for test/unit/log-output.test.ts. It logs far more than a pipe holds, and tells its parent by the
 * IPC channel that its timers go on.
 */
import { systemClock } from "../../src/clock.ts";
import { bootTimeMs, sendNow, setNonBlocking } from "../../src/linux/libc.ts";
import { createLogOutput, openWithoutWaiting } from "../../src/log-output.ts";

const clock = systemClock(bootTimeMs);
const output = createLogOutput({
  clock,
  write: openWithoutWaiting(1, { sendNow, setNonBlocking }),
  notice: (dropped) => `dropped ${dropped}\n`,
});
let beats = 0;
let number = 0;
clock.every(20, () => {
  for (let lines = 0; lines < 100 && number < 4_000; lines++) output.line(`${number++} ${"x".repeat(500)}\n`);
  beats++;
  process.send?.({ beats, dropped: output.dropped(), done: number === 4_000 });
});
process.on("message", () => {
  output.line("after the flood\n");
  void output.close().then(() => process.exit(0));
});
