/** What a machine may lack: nft. */
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { run } from "../support/lab/command.ts";
import { ROOT } from "../support/runner/layers.ts";
import { findProgram } from "../support/sandbox/tools.ts";

const support = (path: string): string => JSON.stringify(new URL(`../support/${path}`, import.meta.url).href);

/** Two machines, of which one gets an address: what the demo needs of a lab. */
const SCRIPT = `
import { enterSandbox } from ${support("sandbox/sandbox.ts")};
import { SANDBOX_TOOLS } from ${support("sandbox/tools.ts")};
import { createLab } from ${support("lab/lab.ts")};
await enterSandbox(SANDBOX_TOOLS);
await using lab = await createLab();
const [n1] = await Promise.all([lab.node("n1"), lab.node("n2")]);
const ownership = await lab.ownership();
await n1.run(["ip", "addr", "add", lab.vip4 + "/32", "dev", "eth0"]);
console.log("holders:", await ownership.holders(lab.vip4), "cwd:", process.cwd());
await lab.stop();
process.exit(0);
`;

/** In the sandbox's own /run, which ends with it. */
function scriptFile(directory: string): string {
  const file = join(directory, "script.ts");
  writeFileSync(file, SCRIPT);
  return file;
}

describe("a lab", () => {
  test("without faults needs no nft", async () => {
    const file = scriptFile(mkdtempSync("/run/lab/bare-"));
    // Nothing that could be run is where nft is.
    const hidden = `mount --bind /dev/null ${findProgram("nft") ?? assert.fail("nft is not installed")} && ! nft --version 2>/dev/null && exec "$@"`;
    assert.equal(await run(["unshare", "--mount", "sh", "-c", hidden, "-", process.execPath, file], { cwd: ROOT, env: { LAB_SANDBOX: "1" } }), `holders: [ 'n1' ] cwd: ${ROOT.replace(/\/$/, "")}\n`);
  });
});
