/** What the pool and the Lease say of nodes that are well, and what the kernel says of a client. */
import type { Flow } from "../../../src/fastpath/flows.ts";
import type { PlanBackend, PlanPeer } from "../../../src/fastpath/plan.ts";
import { FAST_PATH_VERSION } from "../../../src/fastpath/ruleset.ts";
import { addressIn, macOf, VIP4 } from "../../support/fastpath/plans.ts";

export function backend(n: number, changes: Partial<PlanBackend> = {}): PlanBackend {
  return {
    host: addressIn(n, 4).text,
    port: 6443,
    grade: "UP",
    serving: true,
    drained: false,
    silent: false,
    ...changes,
  };
}

export const dead = { grade: "DOWN", serving: false, silent: true } as const;

export function peer(n: number, changes: Partial<PlanPeer> = {}): PlanPeer {
  return {
    node: `n${n}`,
    fastPath: { version: FAST_PATH_VERSION, addresses: [addressIn(n, 4).text] },
    mac: macOf(n),
    fresh: true,
    served: true,
    said: "a/1",
    ...changes,
  };
}

/** The connection of a client elsewhere by the VIP. */
export const flow = (clientPort: number, changes: Partial<Flow> = {}): Flow => ({
  mac: "02:00:00:00:00:09",
  client: "10.88.0.9",
  clientPort,
  vip: VIP4.text,
  vipPort: 6443,
  ...changes,
});
