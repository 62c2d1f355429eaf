/**
 * What must hold at every step of every run. Each is a named function: it gets the world once and gives the
 * checks to make after each step, at each write of the Lease, and at the end.
 */
import type { Invariant } from "./invariants/common.ts";
import * as fence from "./invariants/fence.ts";
import * as lease from "./invariants/lease.ts";
import * as service from "./invariants/service.ts";
import * as wire from "./invariants/wire.ts";

export const INVARIANTS: Readonly<Record<string, Invariant>> = { ...lease, ...fence, ...service, ...wire };
