/**
 * `npm run demo`: three virtual control-plane nodes and a client on this machine, and what the client sees
 * while the holder is killed and an API server stops. Ends by itself after about a minute; exit code 0 when
 * all of it was seen, 69 where it cannot run. Without nft the proxy balances. `npm run demo -- --keys`: by
 * hand.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { EX_UNAVAILABLE } from "../src/needed-node.js";
import { describeAttempts } from "../test/support/lab/probe.ts";
import { enterSandbox, insideSandbox } from "../test/support/sandbox/sandbox.ts";
import { SANDBOX_TOOLS } from "../test/support/sandbox/tools.ts";
import { setUp } from "../test/support/set-up/set-up.ts";
import { DemoCluster } from "./demo/cluster.ts";
import { KEYS_HELP, playByHand } from "./demo/keys.ts";
import { Observer } from "./demo/observer.ts";
import { Story } from "./demo/story.ts";
import type { Claim } from "./demo/story.ts";
import { liveView, plainView } from "./demo/view.ts";
import type { View } from "./demo/view.ts";

const unknown = process.argv.slice(2).filter((word) => word !== "--keys");
const keys = process.argv.includes("--keys");
if (unknown.length > 0) fail(2, `unknown argument ${unknown.join(" ")}; known: --keys`);
if (keys && !(process.stdin.isTTY && process.stdout.isTTY)) fail(2, "--keys needs a terminal");
if (!insideSandbox()) {
  if (!(await setUp(["demo"])).ready) process.exit(EX_UNAVAILABLE);
  build();
}
await enterSandbox(SANDBOX_TOOLS);
process.exit(await demo());

function fail(code: number, text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(code);
}

/** A second and less; what is in dist/ may be older than the sources, or not be there. */
function build(): void {
  const script = fileURLToPath(new URL("build.ts", import.meta.url));
  const result = spawnSync(process.execPath, [script], { encoding: "utf8" });
  if (result.status !== 0) fail(1, `the build failed:\n${result.stderr}`);
}

async function demo(): Promise<number> {
  await using cluster = await DemoCluster.start();
  const view: View = process.stdout.isTTY
    ? liveView(
        process.stdout,
        keys ? KEYS_HELP : "runs by itself, about a minute; Ctrl-C ends it; by hand: npm run demo -- --keys",
      )
    : plainView(process.stdout);
  const observer = new Observer(cluster, (snapshot) => view.show(snapshot));
  const story = new Story(cluster, observer);
  const watching = observer.run();
  try {
    await (keys ? playByHand(cluster, observer, process.stdin) : story.tell());
  } finally {
    observer.end();
    await watching;
    view.show(observer.snapshot());
    view.close();
  }
  const attempts = await cluster.probe.stop();
  process.stdout.write(`\nThe client: ${describeAttempts(attempts)}\n`);
  const missed = story.claims.filter((claim) => !claim.seen);
  for (const claim of story.claims) process.stdout.write(`${describe(claim)}\n`);
  if (missed.length > 0) process.stdout.write(`\n${cluster.lab.tails(15)}\n`);
  const { processes, namespaces } = await cluster.stop();
  process.stdout.write(`Ended ${processes} processes, removed ${namespaces} network namespaces.\n`);
  return missed.length === 0 ? 0 : 1;
}

function describe({ seen, text, detail }: Claim): string {
  return `${seen ? "seen    " : "NOT SEEN"}  ${text}${detail === "" ? "" : `\n          ${detail}`}`;
}
