/** A status of a healthy MASTER, how to change parts of it, and metrics that nothing has happened to. */
import type { BackendStatus, BalancerStatus } from "../../../src/backends/backend.ts";
import type { ElectionStatus } from "../../../src/election/status.ts";
import { createMetrics } from "../../../src/ops/metrics.ts";
import type { AgentMetrics } from "../../../src/ops/metrics.ts";
import type { AgentStatus } from "../../../src/ops/status.ts";
import type { VipStatus } from "../../../src/vip/status.ts";

export interface Changes {
  readonly election?: Partial<ElectionStatus> | null;
  readonly vip?: Partial<VipStatus> | null;
  readonly balancer?: Partial<BalancerStatus>;
  readonly agent?: Partial<AgentStatus>;
}

export const backend: BackendStatus = {
  id: "192.0.2.11:6443",
  host: "192.0.2.11",
  port: 6443,
  local: true,
  grade: "UP",
  serving: true,
  drained: false,
  silent: false,
  gone: 0,
  reason: "200",
  sinceMs: 900_000,
  checkMs: 3,
  active: 2,
  sessions: 7,
  connectErrors: 1,
  bytesIn: 100,
  bytesOut: 2_000,
};

const election: ElectionStatus = {
  state: "MASTER",
  confirmed: true,
  contender: null,
  reason: "claimed",
  sinceMs: 950_000,
  basePriority: 100,
  effectivePriority: 100,
  eligible: true,
  faults: [],
  taken: false,
  other: null,
  holder: "n1",
  leaseTransitions: 4,
  renewedAtMs: 999_500,
  lastReadAgeMs: 250,
  candidates: [
    {
      node: "n1",
      base: 100,
      effective: 100,
      eligible: true,
      state: "MASTER",
      faults: [],
      preempt: false,
      ip: "192.0.2.11",
      mac: "",
      fastPath: null,
      vips: null,
      instance: "a",
      version: "0.1.0",
      counter: 1,
      fresh: true,
    },
    {
      node: "n2",
      base: 90,
      effective: 90,
      eligible: true,
      state: "BACKUP",
      faults: [],
      preempt: false,
      ip: "192.0.2.12",
      mac: "",
      fastPath: null,
      vips: null,
      instance: "b",
      version: "0.1.0",
      counter: 1,
      fresh: false,
    },
  ],
};

const vip: VipStatus = {
  interface: "eth0",
  link: "up",
  addresses: [
    { address: "192.0.2.10", bound: true },
    { address: "2001:db8::10", bound: true },
  ],
  wanted: true,
  foreign: false,
  failure: null,
  validForMs: 3_500,
  announcements: 6,
  readded: 0,
};

const balancer: BalancerStatus = {
  listening: true,
  port: 8443,
  listenFailure: null,
  heartbeatAgeMs: 100,
  connections: 2,
  refused: 0,
  backends: [backend],
};

export function exampleStatus(changes: Changes = {}): AgentStatus {
  return {
    node: "n1",
    role: "control-plane",
    version: "0.1.0",
    uptimeMs: 60_000,
    nowMs: 1_000_000,
    waiting: null,
    election: changes.election === null ? null : { ...election, ...changes.election },
    vip: changes.vip === null ? null : { ...vip, ...changes.vip },
    wire: { proof: "none", by: "icmp", missed: 0, neighbours: true, flooded: false },
    balancer: { ...balancer, ...changes.balancer },
    noBackend: null,
    drained: [],
    fastPath: null,
    checks: [
      { name: "balancer", ok: true, weight: 0, contribution: 0, detail: "", sinceMs: 1 },
      { name: "apiserver", ok: null, weight: -50, contribution: 0, detail: "", sinceMs: 1 },
    ],
    apiServers: ["192.0.2.11:6443"],
    api: { lastRefusal: null },
    listeners: [
      { name: "health", address: "127.0.0.1:10084", listening: true, error: null },
      { name: "ops", address: "127.0.0.1:10081", listening: true, error: null },
    ],
    credentials: {
      source: "/etc/kubernetes/leasehold/kubeconfig",
      expiresAt: "2027-01-01T00:00:00Z",
      problem: null,
      warning: null,
      certificates: [
        {
          kubeconfig: "own",
          path: "/etc/kubernetes/leasehold/kubeconfig",
          expiresAt: "2027-01-01T00:00:00Z",
          endsSoon: false,
        },
        {
          kubeconfig: "admin",
          path: "/etc/kubernetes/admin.conf",
          expiresAt: "2026-06-01T00:00:00Z",
          endsSoon: true,
        },
      ],
    },
    ...changes.agent,
  };
}

export const exampleMetrics = (): AgentMetrics =>
  createMetrics({ version: "0.1.0", nodeVersion: "v24.0.0", leaseName: "leasehold" });

export const released: readonly { readonly address: string; readonly bound: boolean }[] = [
  { address: "192.0.2.10", bound: false },
  { address: "2001:db8::10", bound: false },
];
