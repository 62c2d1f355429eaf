/**
 * `npm run demo`: three virtual control-plane nodes and their clients on this machine, and what the clients
 * see while the holder's node loses power, comes back, and an API server dies. Ends by itself within a
 * minute; exit code 0 when all of it was seen, 69 where it cannot run. Without nft the proxy balances.
 * `--keys`: by hand. `--record FILE.svg`: writes what was on the screen as an animated picture.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { EX_UNAVAILABLE } from "../src/needed-node.js";
import { describeAttempts } from "../test/support/lab/probe.ts";
import { enterSandbox, insideSandbox } from "../test/support/sandbox/sandbox.ts";
import { SANDBOX_TOOLS } from "../test/support/sandbox/tools.ts";
import { setUp } from "../test/support/set-up/set-up.ts";
import { DemoCluster } from "./demo/cluster.ts";
import { KEYS_HELP, playByHand, release } from "./demo/keys.ts";
import { Observer } from "./demo/observer.ts";
import type { Snapshot } from "./demo/observer.ts";
import { mark, recording } from "./demo/recording.ts";
import type { Frame } from "./demo/recording.ts";
import { Story } from "./demo/story.ts";
import type { Claim } from "./demo/story.ts";
import { frame, liveView, plainView } from "./demo/view.ts";
import type { View } from "./demo/view.ts";

/** One picture a second is enough to see what happens, and keeps the file small. */
const FILM_MS = 1_000;

const KNOWN = "--keys, --record FILE.svg";
const words = process.argv.slice(2);
const keys = words.includes("--keys");
const recordAt = words.indexOf("--record");
const recordFile = recordAt < 0 ? undefined : words[recordAt + 1];
const unknown = words.filter(
  (word, index) => word !== "--keys" && (recordAt < 0 || (index !== recordAt && index !== recordAt + 1)),
);
if (unknown.length > 0) fail(2, `unknown argument ${unknown.join(" ")}; known: ${KNOWN}`);
if (recordAt >= 0 && !/^[^-].*\.svg$/.test(recordFile ?? ""))
  fail(2, "--record needs a file, such as demo.svg");
if (recordAt >= 0 && keys) fail(2, "--record takes the demo that runs by itself; leave --keys out");
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
        keys
          ? KEYS_HELP
          : "runs by itself, less than a minute; Ctrl-C ends it; by hand: npm run demo -- --keys",
      )
    : plainView(process.stdout);
  const frames: Frame[] = [];
  const observer = new Observer(cluster, (snapshot) => {
    view.show(snapshot);
    if (recordFile !== undefined) film(frames, snapshot);
  });
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
  const last = observer.snapshot();
  const { attempts } = last;
  film(frames, last, true);
  await cluster.clients?.stop();
  if (attempts.length > 0) process.stdout.write(`\nThe clients: ${describeAttempts(attempts)}\n`);
  const missed = story.claims.filter((claim) => !claim.seen);
  for (const claim of story.claims) process.stdout.write(`${describe(claim)}\n`);
  if (missed.length > 0) process.stdout.write(`\n${cluster.lab.tails(15)}\n`);
  const { processes, namespaces } = await cluster.stop();
  process.stdout.write(`Ended ${processes} processes, removed ${namespaces} network namespaces.\n`);
  if (keys) release(process.stdin);
  if (recordFile !== undefined) {
    writeFileSync(resolve(recordFile), svg(frames, last));
    process.stdout.write(`Wrote ${recordFile}.\n`);
  }
  return missed.length === 0 ? 0 : 1;
}

function film(frames: Frame[], snapshot: Snapshot, isLast = false): void {
  const atMs = frames.length === 0 ? 0 : snapshot.nowMs - snapshot.startedMs;
  if (frames.length > 0 && !isLast && atMs - (frames.at(-1)?.atMs ?? 0) < FILM_MS) return;
  frames.push({ atMs, text: frame(snapshot, "npm run demo", mark) });
}

function svg(frames: readonly Frame[], { events, startedMs }: Snapshot): string {
  // Three seconds after the power loss its whole effect is on the screen.
  const lostMs = events.find(({ text }) => text.includes("loses power"))?.atMs ?? startedMs;
  return recording(frames, lostMs - startedMs + 3_000, {
    title: "A recording of npm run demo",
    description:
      "Three control-plane nodes and their clients. The holder n1 loses power: new connections wait for a moment, " +
      "n2 has the VIP, and the watches of the other API servers live on. n1 comes back and preempts n2, which no " +
      "client notices. n1's API server dies and comes back.",
  });
}

function describe({ seen, text, detail }: Claim): string {
  return `${seen ? "seen    " : "NOT SEEN"}  ${text}${detail === "" ? "" : `\n          ${detail}`}`;
}
