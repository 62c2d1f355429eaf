/** Runs `leasehold COMMAND` on a virtual node, as the pod's container would. */
import { BUNDLE } from "./cluster.ts";
import type { EmbeddedNode } from "./embedded-cluster.ts";

/** A drill takes some 10 s, and a command that waits up to 30 s. */
const LIMIT_MS = 60_000;

/** Returns the command's output of both kinds with its exit status. Objects among the words are more environment. */
export async function leasehold(
  node: EmbeddedNode,
  ...rest: readonly (string | Readonly<Record<string, string>>)[]
): Promise<{ readonly status: number; readonly out: string }> {
  const words = rest.filter((word) => typeof word === "string");
  const more = rest.filter((word) => typeof word !== "string");
  // Of two values of one variable env takes the last one.
  const env = [node.commandEnvironment(), ...more].flatMap((variables) =>
    Object.entries(variables).map(([name, value]) => `${name}=${value}`),
  );
  const script = '"$@" 2>&1; echo "exit $?"';
  const out = await node.host.run(
    ["env", ...env, "sh", "-c", script, "sh", process.execPath, BUNDLE, ...words],
    { timeoutMs: LIMIT_MS },
  );
  const [, text = "", status = ""] = /^(.*)exit (\d+)\n?$/s.exec(out) ?? [];
  return { status: Number(status), out: text };
}
