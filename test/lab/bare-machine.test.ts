/** What a machine may lack, or be: no nft, a chroot whose root is no mount point. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { attempt, run } from "../support/lab/command.ts";
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
    assert.equal(
      await run(["unshare", "--mount", "sh", "-c", hidden, "-", process.execPath, file], {
        cwd: ROOT,
        env: { LAB_SANDBOX: "1" },
      }),
      `holders: [ 'n1' ] cwd: ${ROOT.replace(/\/$/, "")}\n`,
    );
  });

  /**
   * A directory with this machine's files in it, on a mount that is `propagation` and does not begin there.
   */
  async function chroot(
    propagation: "private" | "shared",
  ): Promise<{ code: number | null; stdout: string; stderr: string; left: string }> {
    const top = mkdtempSync("/run/lab/chroot-");
    const root = join(top, "root");
    const file = scriptFile(top);
    for (const name of ["usr", "etc", "proc", "sys", "dev", "run", "mnt", "tmp"])
      mkdirSync(join(root, name), { recursive: true });
    for (const name of ["bin", "sbin", "lib", "lib64"])
      symlinkSync(readlinkSync(`/${name}`), join(root, name));
    const script = [
      `mount --bind ${top} ${top} && mount --make-${propagation} ${top}`,
      ...["usr", "etc", "proc", "sys", "dev"].map((name) => `mount --rbind /${name} ${root}/${name}`),
      `mkdir -p ${root}${ROOT} && mount --rbind ${ROOT} ${root}${ROOT} && cp ${file} ${root}/script.ts`,
      `env -u LAB_SANDBOX chroot ${root} sh -c 'cd ${ROOT} && exec ${process.execPath} /script.ts'`,
      `code=$?; grep -E " ${root}/(mnt|run)" /proc/self/mountinfo >${top}/left; exit $code`,
    ];
    const ended = await attempt(["unshare", "--mount", "sh", "-c", script.join("\n")], { timeoutMs: 30_000 });
    return { ...ended, left: await run(["cat", join(top, "left")]) };
  }

  test("can be had in a chroot whose root is no mount point", async () => {
    const { code, stdout, stderr, left } = await chroot("private");
    assert.deepEqual(
      [code, stdout, left],
      [0, `holders: [ 'n1' ] cwd: ${ROOT.replace(/\/$/, "")}\n`, ""],
      stderr,
    );
  });

  test("leaves no mount behind where such a chroot's mounts are shared, and says what to do", async () => {
    const { code, stdout, stderr, left } = await chroot("shared");
    assert.deepEqual([code, stdout, left], [69, "", ""]);
    assert.match(
      stderr,
      /^This chroot's root is no mount point.*mount --bind DIR DIR && mount --make-private DIR\n$/,
    );
  });
});
