import assert from "node:assert/strict";
import { test } from "node:test";
import { reportApiServers } from "../../../src/agent/api-server-events.ts";
import type { BackendStatus, Grade } from "../../../src/backends/backend.ts";
import { exampleStatus } from "../ops/example.ts";

const [example] = exampleStatus().balancer.backends;
assert.ok(example !== undefined);

test("the node with the VIP records an API server's death and return, on the Lease and on its Node", () => {
  const told: string[] = [];
  let grade: Grade = "UNKNOWN";
  let hasVip = true;
  const backend = (): BackendStatus => ({
    ...example,
    id: "192.0.2.12:6443",
    host: "192.0.2.12",
    grade,
    reason: "refused",
  });
  const compare = reportApiServers({
    node: "n1",
    events: {
      record: ({ type, reason, note }, regarding) =>
        void told.push(`${regarding.kind === "Node" ? regarding.name : "Lease"} ${type} ${reason}: ${note}`),
    },
    backends: () => [backend()],
    hasVip: () => hasVip,
    leaseUid: () => "u1",
    nodeAt: (host) => (host === "192.0.2.12" ? "n2" : undefined),
  });
  const becomes = (next: Grade): void => {
    grade = next;
    compare();
  };
  becomes("UNKNOWN");
  becomes("UP");
  assert.deepEqual(told, [], "the first check is no news");
  for (const next of ["DRAIN", "DOWN", "DOWN", "UP"] as const) becomes(next);
  const down = "API server 192.0.2.12:6443 is DOWN for n1, which has the VIP: refused";
  const up = "API server 192.0.2.12:6443 is UP for n1, which has the VIP";
  assert.deepEqual(told, [
    `Lease Warning APIServerDown: ${down}`,
    `n2 Warning APIServerDown: ${down}`,
    `Lease Normal APIServerUp: ${up}`,
    `n2 Normal APIServerUp: ${up}`,
  ]);
  hasVip = false;
  becomes("DOWN");
  assert.equal(told.length, 4, "the other agents leave it to that one");
});
