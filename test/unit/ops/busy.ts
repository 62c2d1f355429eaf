/** An agent to which everything has happened once, for tests of what /metrics has. */
import type { FastPathStatus } from "../../../src/fastpath/status.ts";
import type { AgentMetrics } from "../../../src/ops/metrics.ts";
import type { AgentStatus } from "../../../src/ops/status.ts";
import { exampleMetrics, exampleStatus } from "./example.ts";

export const fastPath: FastPathStatus = {
  mode: "fast-path",
  reason: "",
  ports: [6443],
  leftOut: [],
  secondChances: 3,
  unknown: 4,
  settling: 5,
  kicked: 6,
  destroyed: 7,
  restored: 8,
  nodes: [
    {
      node: "n1",
      addresses: ["192.0.2.11"],
      mac: "",
      slots: 600,
      walkable: true,
      unheard: false,
      packets: 10,
      bytes: 1_000,
    },
    {
      node: "n2",
      addresses: ["192.0.2.12"],
      mac: "",
      slots: 0,
      walkable: false,
      unheard: true,
      packets: 20,
      bytes: 2_000,
    },
  ],
  own: [{ backend: "192.0.2.11:6443", connections: 9 }],
};

/** Metrics of an agent to which everything has happened once. */
export function busy(): AgentMetrics {
  const metrics = exampleMetrics();
  metrics.transition("MASTER", "this node holds the Lease");
  metrics.leaseWrite("renew", "ok", 6);
  metrics.leaseWrite("renew", "no-answer", 4_000);
  metrics.leaseWrite("claim", "conflict", 6);
  metrics.apiRequest("192.0.2.11:6443", "PATCH", 200, 5);
  metrics.backendCheck("192.0.2.11:6443", "tls: certificate has expired", 5);
  metrics.announcementFailed();
  metrics.addressConflict("02:00:00:00:00:02", "n2");
  metrics.holderSilent();
  metrics.failoverGap(180);
  return metrics;
}

/** Its status: on the fast path, with a fault. */
export const busyStatus = (): AgentStatus =>
  exampleStatus({ election: { faults: ["balancer"] }, agent: { fastPath } });
