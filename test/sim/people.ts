/** What people do to the Lease, by kubectl, meaning well or not. */
import { CANDIDATE_PREFIX, MOVE_TO, OFFER } from "../../src/kube/record.ts";
import { LEASE_PATH } from "./lease-table.ts";
import type { Person } from "./plan.ts";
import type { World } from "./world.ts";

export function disturb(world: World, does: Person): void {
  const merge = (body: unknown): void => {
    world.plane.person({
      method: "PATCH",
      path: LEASE_PATH,
      contentType: "application/merge-patch+json",
      body,
    });
  };
  const wall = new Date(Date.UTC(2026, 0, 1) + world.scheduler.nowMs).toISOString().replace("Z", "000Z");
  world.disturbedUntilMs = Math.max(world.disturbedUntilMs, world.scheduler.nowMs);
  switch (does.kind) {
    case "delete":
      world.plane.delete();
      return;
    case "empty":
      return merge({ spec: { holderIdentity: "" } });
    case "holder":
      world.forcedAtMs = world.scheduler.nowMs;
      return merge({ spec: { holderIdentity: does.holder, renewTime: wall } });
    case "future":
      return merge({ spec: { renewTime: "2096-01-01T00:00:00.000000Z" } });
    case "duration":
      world.disturbedUntilMs = world.scheduler.nowMs + does.seconds * 1_000;
      return merge({ spec: { leaseDurationSeconds: does.seconds } });
    case "transitions":
      return merge({ spec: { leaseTransitions: null } });
    case "move-to":
      world.movedAtMs = world.scheduler.nowMs;
      return merge({ metadata: { annotations: { [MOVE_TO]: does.to } } });
    case "wipe":
      return merge({ metadata: { annotations: null } });
    case "garbage":
      return merge({ metadata: { annotations: { [`${CANDIDATE_PREFIX}n${does.node + 1}`]: "{not json" } } });
    case "offer":
      world.forcedAtMs = world.scheduler.nowMs;
      return merge({ metadata: { annotations: { [OFFER]: does.to } } });
    case "restore":
      restore(world);
      return;
  }
}

/** The first such wish takes the backup, the next one brings it back. */
function restore(world: World): void {
  if (!world.plane.restore()) world.plane.table.backUp();
  else world.forcedAtMs = world.scheduler.nowMs;
}
