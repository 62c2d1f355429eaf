/** Three minutes of what `npm run soak` plays for an hour, always with the same faults. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { soak } from "../soak/soak.ts";
import { WallClock, clockLibrary } from "../soak/wall-clock.ts";
import { sleep } from "../support/lab/clock.ts";
import { createLab } from "../support/lab/lab.ts";

const SEED = 3035;

test("three minutes of random faults break no bound", { timeout: 600_000 }, async (context) => {
  const lines: string[] = [];
  const outcome = await soak({ seed: SEED, minutes: 3, say: (line) => lines.push(line) });
  for (const line of lines.join("\n").split("\n")) context.diagnostic(line);
  assert.equal(outcome, "held", lines.join("\n"));
});

const HOUR_MS = 3_600_000;
const TELLS_TIME = `
  import { performance } from "node:perf_hooks";
  setInterval(() => console.log(Date.now(), performance.now()), 50);
`;

test("a stepped wall clock jumps in a process that runs, and its monotonic clock does not", async () => {
  const library = clockLibrary();
  assert.ok(library !== undefined, "libfaketime is missing: apt-get install faketime");
  await using lab = await createLab();
  const host = await lab.client("clock");
  const clock = new WallClock(host, library);
  const argv = [process.execPath, "--input-type=module", "--eval", TELLS_TIME];
  const teller = await host.spawn(argv, { name: "teller", env: clock.environment() });
  const last = async (): Promise<readonly [number, number]> => {
    const before = teller.log().length;
    await lab.until(() => teller.log().length > before + 60, 10_000, "it tells the time");
    const [wall = "", monotonic = ""] = teller.lastLines(1)[0]?.split(" ") ?? [];
    return [Number(wall), Number(monotonic)];
  };
  const [, startMs] = await last();
  for (const hours of [5, -30, 0]) {
    clock.stepTo(hours);
    await sleep(100);
    const [wallMs] = await last();
    assert.ok(
      Math.abs(wallMs - Date.now() - hours * HOUR_MS) < 10_000,
      `${hours} h: ${wallMs - Date.now()} ms`,
    );
  }
  const [, endMs] = await last();
  assert.ok(endMs > startMs && endMs - startMs < HOUR_MS, `monotonic: ${endMs - startMs} ms`);
});
