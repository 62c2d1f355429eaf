import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import type { Planned } from "./scheduler.ts";

test("events run by time, then as they were planned, and cancelled ones never", async () => {
  const random = new Random("scheduler");
  const scheduler = new Scheduler();
  const planned: Planned[] = [];
  const ran: Planned[] = [];
  // Few different times, so that many are the same. Most are cancelled, as time-outs are.
  const plan = (): void => {
    const one = scheduler.after(random.integer(0, 40), () => {
      ran.push(one);
      if (planned.length < 3_000) for (let i = 0; i < 12; i += 1) plan();
    });
    planned.push(one);
    if (random.chance(0.8)) random.pick(planned).cancelled = true;
  };
  for (let i = 0; i < 50; i += 1) plan();
  const cancelledBefore = new Set(planned.filter(({ cancelled }) => cancelled));
  await scheduler.runUntil(1_000, () => true);

  assert.ok(planned.length >= 3_000);
  assert.ok(ran.every((one) => !cancelledBefore.has(one)));
  const inOrder = ran.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order);
  assert.deepEqual(ran, inOrder);
  // One may be cancelled after it has run.
  const missed = planned.filter((one) => !one.cancelled && !ran.includes(one));
  assert.deepEqual(missed, []);
});
