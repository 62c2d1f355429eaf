/** The README's uninstallation. */
import assert from "node:assert/strict";
import { blockOf, commandsOf } from "../guide/guide.ts";
import type { Machines } from "./cluster.ts";
import type { Machine } from "./node.ts";
import { PATIENCE_MS } from "./quick-start.ts";

const block = (has: string): string => blockOf("README.md", { heading: "Uninstall", has }).text;

/** Removes Leasehold from one control-plane node. */
export async function uninstall(machines: Machines, node: Machine): Promise<void> {
  const [remove = "", wait = "", clean = "", ...more] = commandsOf(block("leasehold cleanup"));
  assert.match(wait, /^crictl ps .*# again, until it shows none$/);
  assert.deepEqual(more, []);
  await node.type(remove);
  await machines.lab.until(
    // Its head line is left.
    async () => (await node.type(wait)).trim().split("\n").length === 1,
    PATIENCE_MS,
    `the pod of ${node.name} is gone`,
  );
  await node.type(clean);
  assert.doesNotMatch(await node.type("nft list tables"), /leasehold/);
}

/** Removes the Lease and the permissions, and returns what kubectl has printed. */
export function removePermissions(node: Machine): Promise<string> {
  return node.type(block("delete -k"));
}
