/** The flight recorder of real agents: what it shows, when it is written, and that it can be played again. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parseRecording, replay } from "../../src/recorder/recording.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

let cluster: EmbeddedCluster;
let holder: EmbeddedNode;

before(async () => {
  cluster = await createEmbeddedCluster();
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  holder = await cluster.holder(20_000);
});
after(async () => cluster[Symbol.asyncDispose]());

function files(node: EmbeddedNode): readonly string[] {
  try {
    return readdirSync(join(node.host.directory, "lib", "decisions"));
  } catch {
    return [];
  }
}

const written = (node: EmbeddedNode, cause: string): Promise<string> =>
  cluster.lab.until(
    () => {
      const file = files(node).find((name) => name.endsWith(`-${cause}.json`));
      return file === undefined
        ? undefined
        : readFileSync(join(node.host.directory, "lib", "decisions", file), "utf8");
    },
    20_000,
    `${node.name} writes a recording of ${cause}`,
  );

function assertReplays(text: string): void {
  const replayed = replay(text);
  assert.ok(replayed.length > 3);
  assert.deepEqual(
    replayed.flatMap(({ differences }) => differences),
    [],
  );
}

test("/decisions shows why the holder holds, and each decision comes out the same again", async () => {
  const { status, body } = await holder.get("/decisions");
  assert.equal(status, 200);
  const { node, decisions } = parseRecording(body);
  assert.equal(node, holder.name);
  const claimed = decisions.find(({ from, to }) => from !== "MASTER" && to === "MASTER");
  assert.equal(claimed?.rule?.file, "master.ts");
  assertReplays(body);
});

test("SIGUSR1 writes it, opens no port for a debugger, and the agent goes on", async () => {
  assert.deepEqual(files(holder), []);
  holder.agent?.kill("SIGUSR1");
  assertReplays(await written(holder, "SIGUSR1"));
  assert.doesNotMatch(await holder.host.run(["ss", "-Hltn"]), /:9229\b/);
  assert.equal((await cluster.holder(5_000)).name, holder.name);
});

test("a holder that is killed is a recording of the node that takes over", async () => {
  holder.agent?.kill("SIGKILL");
  await holder.agent?.exited;
  const others = cluster.nodes.filter((node) => node !== holder);
  const text = await Promise.race(
    others.map((node) => Promise.any([written(node, "holder-dead"), written(node, "lease-expired")])),
  );
  assertReplays(text);
  const { decisions } = parseRecording(text);
  const taken = decisions.find(({ to, from }) => from === "BACKUP" && to !== "BACKUP");
  assert.ok(taken?.evidence.some((line) => line.includes(`named ${holder.name}.`)));
  assert.ok(decisions.some(({ told }) => told.includes(`holder ${holder.name} did not answer for the VIP`)));
});
