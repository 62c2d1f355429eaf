/** The README's quick start, step by step, on machines of the tests. */
import assert from "node:assert/strict";
import { hostPort } from "../../../src/net.ts";
import { blockOf, commandsOf } from "../guide/guide.ts";
import type { Machines } from "./cluster.ts";
import { CGROUP_V1, printedBy, replaced, withAdditions } from "./kubeadm.ts";
import type { Replacement } from "./kubeadm.ts";
import type { Machine } from "./node.ts";

/** kubeadm waits for a control plane that starts, on a machine with two cores. */
export const KUBEADM_LIMIT_MS = 300_000;
/** How long a thing may take that takes a second on an idle machine. */
export const PATIENCE_MS = 180_000;

function step(number: number, has = ""): string {
  return blockOf("README.md", { heading: "Quick start: three kubeadm nodes", step: number, has }).text;
}

/** Step 1, the second part: brings the image to each of `nodes`. */
export async function bringImage(machines: Machines, nodes: readonly Machine[]): Promise<void> {
  await Promise.all(
    nodes.map(({ name }) =>
      machines.typeOutside(
        replaced(step(1, "ssh n1"), [{ text: "ssh n1", by: `ssh ${name}`, because: "each node" }]),
      ),
    ),
  );
}

/** Step 2: puts the static pod in place. */
export async function placeManifest(node: Machine, others: readonly Replacement[] = []): Promise<void> {
  await node.type(replaced(step(2), others));
}

/**
 * Step 3: makes the cluster. Returns what stands for the words of `kubeadm join` in the guides.
 * @param otherConfiguration the command of a guide that writes kubeadm.yaml in place of the README's
 */
export async function init(
  first: Machine,
  version: string,
  others: readonly Replacement[] = [],
  otherConfiguration?: string,
): Promise<readonly Replacement[]> {
  const [write = "", ...rest] = commandsOf(step(3));
  assert.match(write, /^cat > kubeadm\.yaml/);
  await first.type(otherConfiguration ?? replaced(write, others));
  first.write("kubeadm.yaml", withAdditions(first.read("kubeadm.yaml"), version));
  const printed = await first.type(replaced(rest.join("\n"), [CGROUP_V1]), { timeoutMs: KUBEADM_LIMIT_MS });
  return printedBy(printed);
}

/** Step 4: joins another control-plane node. */
export async function join(
  node: Machine,
  words: readonly Replacement[],
  others: readonly Replacement[] = [],
): Promise<void> {
  await node.type(replaced(step(4), [CGROUP_V1, ...words, ...others]), { timeoutMs: KUBEADM_LIMIT_MS });
}

/** Step 5: gives the node's agent its own user. Resolves when the agent uses it. */
export async function ownCredentials(machines: Machines, node: Machine): Promise<void> {
  await node.type(step(5));
  await machines.lab.until(
    async () => (await node.status()).credentials.source === "/etc/kubernetes/leasehold/kubeconfig",
    PATIENCE_MS,
    `${node.name} uses its own user`,
  );
}

/** Step 6: what the node shows. */
export function look(node: Machine): Promise<string> {
  return node.type(`export KUBECONFIG=/etc/kubernetes/admin.conf\n${step(6)}`);
}

/** Steps 1 to 5 on all of `nodes`, the first of which makes the cluster. */
export async function makeCluster(
  machines: Machines,
  nodes: readonly Machine[],
): Promise<readonly Replacement[]> {
  const [first, ...others] = nodes;
  assert.ok(first !== undefined);
  await bringImage(machines, nodes);
  await Promise.all(nodes.map((node) => placeManifest(node)));
  const words = await init(first, machines.prepared.programs.version);
  for (const node of others) await join(node, words);
  await Promise.all(nodes.map((node) => ownCredentials(machines, node)));
  await settled(machines, nodes);
  return words;
}

/** Resolves when every agent is ready, on the fast path, and finds the API server of each node UP. */
export async function settled(machines: Machines, nodes: readonly Machine[]): Promise<void> {
  await Promise.all(
    nodes.map((node) =>
      machines.lab.until(
        async () => {
          if (!(await node.isReady())) return false;
          const { fastPath, balancer } = await node.status();
          const up = balancer.backends.filter(({ grade }) => grade === "UP").map(({ id }) => id);
          return (
            fastPath.mode === "fast-path" &&
            up.length === nodes.length &&
            nodes.every(({ address }) => up.includes(hostPort(address, 6443)))
          );
        },
        PATIENCE_MS,
        `${node.name} is a whole member`,
      ),
    ),
  );
}
