/**
 * An agent as another release may bring it: the bundle with another version of the fast path, which is
 * another hash as well.
 */
import assert from "node:assert/strict";
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BUNDLE } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";

/** As they stand in the bundle; scripts/build.ts does not shorten names. */
const CHANGES = [
  ["var FAST_PATH_VERSION = 2;", "var FAST_PATH_VERSION = 1001;"],
  ['var SEED = "0x4c484f4c";', 'var SEED = "0x12345678";'],
] as const;

/** The path of its entry, in the lab's directory. */
export function bundleOfAnotherVersion(cluster: Cluster): string {
  const directory = join(cluster.lab.directory, "other-version");
  cpSync(dirname(BUNDLE), directory, { recursive: true });
  const agent = join(directory, "agent.js");
  let text = readFileSync(agent, "utf8");
  for (const [from, to] of CHANGES) {
    assert.equal(text.split(from).length, 2, `the bundle has no single ${from}`);
    text = text.replace(from, to);
  }
  writeFileSync(agent, text);
  symlinkSync(fileURLToPath(new URL("../../node_modules", import.meta.url)), join(directory, "node_modules"));
  return join(directory, "leasehold.js");
}
