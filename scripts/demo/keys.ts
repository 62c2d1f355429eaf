/** The demo by hand: a key starts and stops an agent, an API server, a cable. */
import { NODE_NAMES } from "./cluster.ts";
import type { DemoCluster, DemoNode } from "./cluster.ts";
import type { Observer } from "./observer.ts";

export const KEYS_HELP =
  "1 2 3: kill or start an agent   4 5 6: stop or start an API server   7 8 9: pull or plug a cable   q: end";

const INTERRUPT = "\x03"; // Ctrl-C arrives as a character in raw mode

/** Resolves when the person has had enough. */
export async function playByHand(
  cluster: DemoCluster,
  observer: Observer,
  input: NodeJS.ReadStream,
): Promise<void> {
  observer.say("three agents start; n1 has the highest priority");
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  const unplugged = new Set<DemoNode>();
  input.setRawMode(true);
  input.setEncoding("utf8").resume();
  try {
    for await (const key of input) {
      if (key === "q" || key === INTERRUPT) return;
      const index = "123456789".indexOf(String(key));
      const name = NODE_NAMES[index % NODE_NAMES.length];
      if (index < 0 || name === undefined) continue;
      await press(cluster.node(name), Math.floor(index / NODE_NAMES.length), observer, unplugged);
    }
  } finally {
    input.setRawMode(false);
    input.pause();
  }
}

async function press(
  node: DemoNode,
  row: number,
  observer: Observer,
  unplugged: Set<DemoNode>,
): Promise<void> {
  if (row === 0) {
    observer.say(`${node.name}: agent ${node.agentRuns ? "killed" : "started"}`);
    await (node.agentRuns ? node.killAgent() : node.startAgent());
  } else if (row === 1) {
    observer.say(`${node.name}: API server ${node.apiServes ? "stopped" : "started"}`);
    await (node.apiServes ? node.stopApi() : node.startApi());
  } else if (unplugged.delete(node)) {
    observer.say(`${node.name}: cable plugged in`);
    await node.host.link.up();
  } else {
    unplugged.add(node);
    observer.say(`${node.name}: cable pulled`);
    await node.host.link.down();
  }
}
