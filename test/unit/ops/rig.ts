/** A real ops server that a test asks over HTTP, with a clock that the test moves. */
import type { TestContext } from "node:test";
import { silentLogger } from "../../../src/log.ts";
import { createOps } from "../../../src/ops/server.ts";
import type { Ops, OpsDeps } from "../../../src/ops/server.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { exampleMetrics, exampleStatus } from "./example.ts";

export interface OpsRig {
  readonly ops: Ops;
  readonly clock: FakeClock;
  /** Asks the ops port for a path. */
  readonly get: (path: string, init?: RequestInit) => Promise<Response>;
}

export function makeOps(options: Partial<OpsDeps> = {}): Ops {
  return createOps({
    host: "127.0.0.1",
    port: 0,
    healthPort: 0,
    status: () => exampleStatus(),
    charted: () => exampleStatus(),
    decisions: () => Promise.resolve("{}"),
    metrics: exampleMetrics(),
    page: { node: "n1", settings: [], moves: () => [], picture: () => Promise.resolve({}) },
    log: silentLogger,
    clock: new FakeClock(),
    ...options,
  });
}

/** Starts a server, which ends with the test. */
export async function startedOps(
  t: TestContext,
  options: Partial<Omit<OpsDeps, "clock">> = {},
): Promise<OpsRig> {
  const clock = new FakeClock();
  const ops = makeOps({ ...options, clock });
  await ops.start();
  stopAfter(t, clock, ops);
  return {
    ops,
    clock,
    get: (path, init) => fetch(`http://127.0.0.1:${ops.port()}${path}`, { redirect: "manual", ...init }),
  };
}

/** Stops it after the test, and lets the time pass that answers under way get. */
export function stopAfter(t: TestContext, clock: FakeClock, one: { stop(): Promise<void> }): void {
  t.after(async () => {
    const stopped = one.stop();
    clock.advance(1_000);
    await stopped;
  });
}
