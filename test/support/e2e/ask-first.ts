/** The ways to `leasehold` that README and the runbook name, on a node of the tests. */
import assert from "node:assert/strict";
import { blockOf } from "../guide/guide.ts";
import { replaced } from "./kubeadm.ts";
import type { Machine } from "./node.ts";

/** The block of the runbook, which README has as well. */
function onBothPages(has: string): string {
  const { text } = blockOf("docs/operations.md", { heading: "Ask first", has });
  assert.equal(blockOf("README.md", { heading: "Commands", has }).text, text);
  return text;
}

/**
 * Puts the host's script and the plugin in place and returns what `leasehold status` shows by each way: the
 * script, the container runtime, and `kubectl exec` through the VIP.
 */
export async function askFirst(node: Machine): Promise<readonly string[]> {
  await node.type(onBothPages("manifest cli"));
  await node.type(
    replaced(onBothPages("manifest kubectl-plugin"), [
      { text: "ssh n1 ", by: "", because: "this node stands for the workstation" },
    ]),
  );
  const plugin =
    "export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$HOME/.local/bin:$PATH\nkubectl leasehold status";
  const inPod = blockOf("docs/operations.md", { heading: "Ask first", has: "crictl exec" }).text;
  return Promise.all(["leasehold status", inPod, plugin].map((text) => node.type(text)));
}
