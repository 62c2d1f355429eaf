import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createNft } from "../../../src/balancer/fastpath/nft.ts";
import type { Table } from "../../../src/balancer/fastpath/tables.ts";
import { removal, transaction } from "../../../src/balancer/fastpath/transaction.ts";
import { LeaseholdError } from "../../../src/errors.ts";

const TABLE: Table = { family: "ip", sets: [], counters: [], chains: [{ name: "pre", rules: ["accept"] }] };

/** A program of that name in front of all others, which notes each call; `body` decides how it ends. "$input" is what it was given. */
function program(t: TestContext, body: string): { readonly calls: () => readonly string[] } {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-nft-"));
  const path = process.env["PATH"];
  const notes = join(directory, "calls");
  writeFileSync(notes, "");
  writeFileSync(join(directory, "nft"), `#!/bin/sh\ninput=$(cat)\nprintf '%s\\n%s\\n=\\n' "$*" "$input" >>'${notes}'\n${body}\n`);
  chmodSync(join(directory, "nft"), 0o755);
  process.env["PATH"] = `${directory}:${path}`;
  t.after(() => {
    process.env["PATH"] = path;
    rmSync(directory, { recursive: true });
  });
  return { calls: () => readFileSync(notes, "utf8").split("\n=\n").slice(0, -1).map((call) => `${call}\n`) };
}

describe("the nft program", { concurrency: 1 }, () => {
  test("is asked what chains there are, and given one transaction", async (t) => {
    const { calls } = program(t, `case "$*" in *list*) echo '{"nftables":[{"chain":{"family":"ip","table":"leasehold","name":"old"}},{"chain":{"family":"ip","table":"kube-proxy","name":"x"}}]}' ;; esac`);
    await createNft().load([TABLE], []);
    assert.deepEqual(calls(), ["-j list chains\n\n", `-f -\n${transaction([TABLE], [{ family: "ip", name: "old" }], [])}`]);
  });

  test("is given the same from nothing when it refuses: sets of another shape are in the way", async (t) => {
    const { calls } = program(t, `case "$input" in "add table netdev leasehold
delete table netdev leasehold
add table ip leasehold
delete"*|"") exit 0 ;; *) exit 1 ;; esac`);
    await createNft().load([TABLE], []);
    assert.equal(calls().length, 3);
    assert.equal(calls().at(-1), `-f -\n${removal()}${transaction([TABLE], [], [])}`);
  });

  test("says in its own first line why it refuses", async (t) => {
    program(t, "echo 'Error: no such thing' >&2; echo ^^^ >&2; exit 1");
    await assert.rejects(createNft().load([TABLE], []), (error) => error instanceof LeaseholdError && error.code === "LH_NFT" && error.message.endsWith("exit 1: Error: no such thing"));
  });

  test("is called once at a time, and goes on after a failure", async (t) => {
    // Two at once would find the other's directory.
    const { calls } = program(t, `mkdir "$0.busy" || { echo two at once >&2; exit 3; }; sleep 0.05; rmdir "$0.busy"; case "$input" in *bad*) exit 1 ;; esac`);
    const nft = createNft();
    const refresh = (element: string): Promise<void> => nft.refresh([{ family: "ip", set: "own", elements: [element] }]);
    const ends = await Promise.allSettled([refresh("a"), refresh("bad"), refresh("c")]);
    assert.deepEqual(ends.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
    assert.equal(calls().length, 3);
  });

  test("is not called to refresh nothing", async (t) => {
    const { calls } = program(t, "");
    await createNft().refresh([{ family: "ip", set: "own", elements: [] }]);
    assert.deepEqual(calls(), []);
  });

  test("that is missing is LH_NFT too", async (t) => {
    const path = process.env["PATH"];
    process.env["PATH"] = "/nonexistent";
    t.after(() => (process.env["PATH"] = path));
    await assert.rejects(createNft().remove(), (error) => error instanceof LeaseholdError && error.code === "LH_NFT" && /cannot be started/.test(error.message));
  });

  test("tells counters and flows of our tables; a set that is not there has none", async (t) => {
    program(t, `case "$*" in
*counters*) echo '{"nftables":[{"counter":{"family":"ip","table":"leasehold","name":"unknown","packets":3,"bytes":180}},{"counter":{"family":"ip","table":"other","name":"unknown","packets":5,"bytes":1}},{"counter":{"family":"inet","table":"leasehold","name":"x","packets":5,"bytes":1}}]}' ;;
*flows4*) echo '{"nftables":[{"set":{"name":"flows4","elem":[{"elem":{"val":{"concat":["02:00:00:00:00:09","10.88.0.9",40000,"10.88.0.100",6443]},"expires":9}},{"elem":{"val":"odd"}}]}}]}' ;;
*heard4*) echo '{"nftables":[{"set":{"name":"heard4","elem":[{"elem":{"val":"02:00:00:00:00:02","expires":9}}]}}]}' ;;
*) exit 1 ;; esac`);
    const nft = createNft();
    assert.deepEqual(await nft.counters(), [{ family: "ip", name: "unknown", packets: 3, bytes: 180 }]);
    assert.deepEqual(await nft.flows(4), [{ mac: "02:00:00:00:00:09", client: "10.88.0.9", clientPort: 40000, vip: "10.88.0.100", vipPort: 6443 }]);
    assert.deepEqual(await nft.heard(4), ["02:00:00:00:00:02"]);
    assert.deepEqual([await nft.flows(6), await nft.heard(6)], [[], []]);
  });

  test("is known by its process id for a while: its own changes are no reason to put anything back", async (t) => {
    const { calls } = program(t, 'echo $$ >>"$0.pids"');
    const nft = createNft();
    assert.equal(nft.isOwn(undefined), false);
    await nft.remove();
    const [directory = ""] = (process.env["PATH"] ?? "").split(":");
    const pid = Number(readFileSync(join(directory, "nft.pids"), "utf8"));
    assert.deepEqual([nft.isOwn(pid), nft.isOwn(pid + 100_000), calls().length], [true, false, 1]);
  });
});

test("without a descriptor left a call fails and nothing else does", async () => {
  const script = fileURLToPath(new URL("../../support/fastpath/no-descriptors.ts", import.meta.url));
  const { stdout } = await promisify(execFile)("sh", ["-c", `ulimit -n 128; exec "$0" "$1"`, process.execPath, script]);
  assert.equal(stdout, "LH_NFT alive");
});
