/** A Lease store over a scripted transport, and Leases as the API server sends them. */
import assert from "node:assert/strict";
import { createApiClient } from "../../../src/kube/api.ts";
import { createLeaseStore } from "../../../src/kube/lease-store.ts";
import type { Candidate, LeaseRecord } from "../../../src/kube/record.ts";
import type { LeaseWrite, WriteOutcome } from "../../../src/kube/store.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { pass, ScriptedTransport, settle } from "./scripted-transport.ts";

export const A = "192.0.2.1:6443";
export const COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
export const PATH = `${COLLECTION}/leasehold`;
export const NOW = "2026-01-01T00:00:00.000000Z";
export const EARLIER = "2025-12-31T23:59:59.000000Z";
export const NOT_FOUND = { kind: "Status", reason: "NotFound", code: 404 };
export const INVALID = {
  kind: "Status",
  reason: "Invalid",
  code: 422,
  message: "the server rejected our request",
};

interface Spec {
  readonly [member: string]: string | number;
}

/** A Lease as the API server sends it. */
export function lease(spec: Spec, annotations?: Record<string, string>, resourceVersion = "7") {
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: {
      name: "leasehold",
      namespace: "kube-system",
      uid: "u1",
      resourceVersion,
      ...(annotations === undefined ? {} : { annotations }),
    },
    spec,
  };
}

export function record(
  spec: Spec,
  annotations: Record<string, string> = {},
  resourceVersion = "7",
): LeaseRecord {
  const text = (value: string | number | undefined): string | null =>
    typeof value === "string" ? value : null;
  return {
    uid: "u1",
    resourceVersion,
    holder: text(spec["holderIdentity"]) ?? "",
    leaseDurationMs: Number(spec["leaseDurationSeconds"] ?? 0) * 1000,
    acquireTime: text(spec["acquireTime"]),
    renewTime: text(spec["renewTime"]),
    leaseTransitions: typeof spec["leaseTransitions"] === "number" ? spec["leaseTransitions"] : null,
    annotations,
  };
}

export const held = (holder: string, more: Spec = {}): Spec => ({
  holderIdentity: holder,
  leaseDurationSeconds: 10,
  acquireTime: EARLIER,
  renewTime: EARLIER,
  leaseTransitions: 4,
  ...more,
});
export const NOTE = { "leasehold.dev/candidate.n1": "{}" };

export function setUp(servers: readonly string[] = [A]) {
  const clock = new FakeClock();
  const transport = new ScriptedTransport(clock, servers);
  const api = createApiClient({ transport, clock, log: silentLogger });
  const deps = { api, clock, log: silentLogger, namespace: "kube-system", name: "leasehold" };
  const store = createLeaseStore({ ...deps, node: "n1", leaseDurationMs: 10_000 });
  const write = async (request: LeaseWrite, timeoutMs = 4000, passMs = 0): Promise<WriteOutcome> => {
    const outcome = store.write(request, timeoutMs);
    if (passMs > 0) await pass(clock, passMs);
    const pending = Symbol("pending");
    await settle();
    const result = await Promise.race([outcome, settle().then(() => pending)]);
    assert.notEqual(result, pending, "the write is still under way");
    return outcome;
  };
  return { clock, transport, store, write };
}

export function candidate(): Candidate {
  const node = {
    node: "n1",
    base: 100,
    effective: 50,
    eligible: true,
    state: "BACKUP",
    faults: [],
    preempt: false,
  } as const;
  return {
    ...node,
    ip: "192.0.2.1",
    mac: "02:00:00:00:00:01",
    fastPath: null,
    vips: null,
    instance: "abc",
    version: "0.1.0",
    counter: 3,
  };
}
