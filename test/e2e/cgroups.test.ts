/** What a cluster leaves behind when its tests are killed: no cgroup. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sleep } from "../support/lab/clock.ts";

const SCRIPT = `
const { makeCgroups, startJanitor } = await import(${JSON.stringify(new URL("../support/e2e/cgroups.ts", import.meta.url).href)});
const { cgroup } = startJanitor();
console.log(makeCgroups(cgroup, "n1").join(" "));
setInterval(() => {}, 1000);
`;

test("the cgroups of a cluster are removed when the process that made them is killed", async () => {
  const maker = spawn(process.execPath, ["--input-type=module", "--eval", SCRIPT], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [printed]: unknown[] = await once(maker.stdout.setEncoding("utf8"), "data");
  const folders = String(printed).trim().split(" ");
  assert.ok(folders.length > 0 && folders.every((folder) => existsSync(folder)), String(printed));
  // What a kubelet makes in them.
  for (const folder of folders) mkdirSync(join(folder, "kubepods", "pod1"), { recursive: true });
  // A process that has not ended yet keeps its cgroup for a moment.
  const guest = spawn("sh", ["-c", `echo $$ >${folders.at(-1)}/kubepods/cgroup.procs && exec sleep 60`]);
  await sleep(200);
  maker.kill("SIGKILL");
  await once(maker, "exit");
  await sleep(500);
  assert.ok(existsSync(folders.at(-1) ?? ""));
  guest.kill("SIGKILL");
  for (let turn = 0; turn < 200 && folders.some((folder) => existsSync(join(folder, ".."))); turn++)
    await sleep(50);
  assert.deepEqual(
    folders.map((folder) => join(folder, "..")).filter((folder) => existsSync(folder)),
    [],
    globSync(`${folders[0]}/**`).join(" "),
  );
});
