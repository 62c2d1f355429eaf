/** The demo by hand: a key starts and stops an agent, an API server, a cable, a machine. */
import { NODE_NAMES } from "./cluster.ts";
import type { DemoCluster, NodeName } from "./cluster.ts";
import type { Observer } from "./observer.ts";

export const KEYS_HELP =
  "1 2 3: kill or start an agent   4 5 6: stop or start an API server   7 8 9: pull or plug a cable\n" +
  "a b c: cut or give a node's power   w: open the watches again   q or Ctrl-C: end";

/** What a key does. */
export type Key =
  | { readonly kind: "agent" | "api" | "cable" | "power"; readonly node: NodeName }
  | { readonly kind: "watch" }
  | { readonly kind: "quit" };

const ROWS = [
  ["agent", "123"],
  ["api", "456"],
  ["cable", "789"],
  ["power", "abc"],
] as const;

/** Ctrl-C arrives as a character in raw mode, and Ctrl-D as well. */
const QUIT = "q\x03\x04";

/** An arrow or a function key: ESC, `[` or `O`, parameters, and a final character (ECMA-48 section 5.4). */
// oxlint-disable-next-line no-control-regex -- escape sequences begin with a control character
const SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?/gs;

/**
 * Reads what a terminal sends at once: one key, or several that were pressed fast. Keys without a meaning are
 * left out. Pure.
 */
export function keysIn(chunk: string): readonly Key[] {
  return chunk
    .replaceAll(SEQUENCE, "")
    .split("")
    .flatMap((char): Key[] => {
      if (QUIT.includes(char.toLowerCase())) return [{ kind: "quit" }];
      if (char.toLowerCase() === "w") return [{ kind: "watch" }];
      return ROWS.flatMap(([kind, row]) => {
        const node = NODE_NAMES[row.indexOf(char.toLowerCase())];
        return node === undefined ? [] : [{ kind, node }];
      });
    });
}

/**
 * Resolves when the person has had enough, whatever the keys before that still do. The terminal stays in raw
 * mode, so that a second Ctrl-C does not end the clean-up half-way: {@link release} ends that.
 */
export async function playByHand(
  cluster: DemoCluster,
  observer: Observer,
  input: NodeJS.ReadStream,
): Promise<void> {
  input.setRawMode(true);
  input.setEncoding("utf8").resume();
  const enough = Promise.withResolvers<void>();
  const unplugged = new Set<NodeName>();
  let work: Promise<void> = begin(cluster, observer);
  input.on("data", (chunk: string) => {
    for (const key of keysIn(chunk)) {
      if (key.kind === "quit") enough.resolve();
      else
        work = work
          .then(() => press(key, cluster, observer, unplugged))
          .catch((error: unknown) => observer.say(`that did not work: ${String(error)}`));
    }
  });
  await enough.promise;
}

/** Gives the terminal back. */
export function release(input: NodeJS.ReadStream): void {
  input.setRawMode(false);
  input.pause();
}

async function begin(cluster: DemoCluster, observer: Observer): Promise<void> {
  try {
    observer.say("three agents start; n1 has the highest priority");
    await Promise.all(cluster.nodes.map((node) => node.startAgent()));
    await cluster.startClients(30_000);
    observer.say("the clients start");
  } catch (error) {
    observer.say(`that did not work: ${String(error)}`);
  }
}

async function press(
  key: Exclude<Key, { readonly kind: "quit" }>,
  cluster: DemoCluster,
  observer: Observer,
  unplugged: Set<NodeName>,
): Promise<void> {
  if (key.kind === "watch") {
    observer.say("the clients open their watches again");
    await cluster.clients?.watchAgain();
    return;
  }
  const node = cluster.node(key.node);
  if (key.kind === "power") {
    unplugged.delete(key.node);
    observer.say(`${node.name}: ${node.hasPower ? "loses power" : "has power again"}`);
    await (node.hasPower ? node.losePower() : node.regainPower());
  } else if (!node.hasPower) {
    observer.say(`${node.name} has no power`);
  } else if (key.kind === "agent") {
    observer.say(`${node.name}: agent ${node.agentRuns ? "killed" : "started"}`);
    await (node.agentRuns ? node.killAgent() : node.startAgent());
  } else if (key.kind === "api") {
    observer.say(`${node.name}: API server ${node.apiServes ? "stopped" : "started"}`);
    await (node.apiServes ? node.stopApi() : node.startApi());
  } else if (unplugged.delete(key.node)) {
    observer.say(`${node.name}: cable plugged in`);
    await node.host.link.up();
  } else {
    unplugged.add(key.node);
    observer.say(`${node.name}: cable pulled`);
    await node.host.link.down();
  }
}
