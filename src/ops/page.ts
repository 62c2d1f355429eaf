/**
 * The page: three files, and the events that fill them. While somebody looks at a node's page, this agent
 * asks itself and its peers every two seconds, and sends one picture to everybody who looks. Nothing happens
 * while nobody does.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import { hostPort } from "../net.ts";
import type { Answer, Stream } from "./listener.ts";
import { sampleOf } from "./history.ts";
import type { Sample } from "./history.ts";
import { MOST_MOVES, parseMoves, parsePageFacts } from "./page-facts.ts";
import type { Move, PageFacts } from "./page-facts.ts";
import type { PeerAnswer } from "../peers/ask-peer.ts";
import { pageFile } from "./page-files.ts";
import type { PeerDesk, PeerPath } from "./peers.ts";
import { readable } from "./strict.ts";

/** What a picture is made of. */
export interface PictureInput {
  readonly at: Date;
  /** The node whose page it is. */
  readonly node: string;
  /** `/status` of every known node, by node. They are not checked. */
  readonly statuses: ReadonlyMap<string, PeerAnswer>;
  /** Where each was asked, by node. */
  readonly places: ReadonlyMap<string, string>;
}

export interface PageDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** This node. */
  readonly node: string;
  /** What this agent tells on a path of its peers' port, as text. */
  readonly own: (path: PeerPath) => Promise<string>;
  readonly desk: () => PeerDesk | undefined;
  /** Makes the table of the cluster, as JSON, from what the nodes say. */
  readonly picture: (input: PictureInput) => Promise<object>;
}

export interface Page {
  /** Finds what a path of a page leads to: "/" and its siblings. `node` is this one or a known peer. */
  find(node: string, path: string): Answer | Stream | undefined;
  /** Ends what goes on. */
  stop(): void;
}

/** Milliseconds between two pictures. */
const PICTURE_MS = 2_000;
/** Most people who look at one time. */
const MOST_STREAMS = 32;

/** Nothing but the page's own files, and no other page around it. */
const SAFE = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

type Send = (chunk: string) => void;

/** Those who look at one node's page. */
interface Audience {
  readonly sends: Set<Send>;
  timer: Timer | undefined;
}

export function createPage(deps: PageDeps): Page {
  const { clock, log, desk } = deps;
  const audiences = new Map<string, Audience>();
  let stopped = false;

  async function tell(node: string, path: PeerPath): Promise<PeerAnswer> {
    if (node === deps.node) return { kind: "ok", text: await deps.own(path) };
    return (await desk()?.ask(node, path)) ?? { kind: "failed", why: "this node does not know it any more" };
  }

  async function tellAll(path: PeerPath): Promise<ReadonlyMap<string, PeerAnswer>> {
    const nodes = [deps.node, ...(desk()?.all() ?? []).map((peer) => peer.node)];
    return new Map(await Promise.all(nodes.map(async (node) => [node, await tell(node, path)] as const)));
  }

  async function picture(node: string): Promise<object> {
    const at = clock.wall();
    const [statuses, moves] = await Promise.all([tellAll("/status"), tellAll("/moves")]);
    const places = new Map((desk()?.all() ?? []).map((peer) => [peer.node, hostPort(peer.ip, peer.port)]));
    const own = statuses.get(node);
    return {
      home: deps.node,
      ...(await deps.picture({ at, node, statuses, places })),
      moves: movesOf(moves, at),
      sample: own?.kind === "ok" ? (sampleIn(own.text, at) ?? null) : null,
    };
  }

  async function facts(node: string): Promise<PageFacts> {
    const told = await tell(node, "/page");
    return (told.kind === "ok" ? parsePageFacts(told.text) : undefined) ?? { samples: [], settings: [] };
  }

  /** Sends a picture now and again, while anybody looks. */
  async function show(node: string, audience: Audience): Promise<void> {
    try {
      const event = message("picture", await picture(node));
      for (const send of audience.sends) send(event);
    } catch (error) {
      // The page must never be what ends an agent.
      log.error({ err: error, of: node }, "The page's picture could not be made");
    }
    if (audience.sends.size > 0 && !stopped)
      audience.timer = clock.after(PICTURE_MS, () => void show(node, audience));
    else if (audiences.get(node) === audience) audiences.delete(node);
  }

  function events(node: string): Answer | Stream {
    const people = [...audiences.values()].reduce((total, { sends }) => total + sends.size, 0);
    if (people >= MOST_STREAMS)
      return { status: 503, type: "text/plain; charset=utf-8", body: "503 too many people look\n" };
    return {
      type: "text/event-stream",
      headers: SAFE,
      begin: (send, ended) => void begin(node, send, ended),
    };
  }

  async function begin(node: string, send: Send, ended: AbortSignal): Promise<void> {
    send("retry: 3000\n\n");
    // Settings and history come first, and with them what the charts begin with.
    const first = await facts(node).catch((error: unknown) => {
      log.error({ err: error, of: node }, "The page's history could not be made");
      return { samples: [], settings: [] };
    });
    if (ended.aborted || stopped) return;
    send(message("start", first));
    const known = audiences.get(node);
    const audience = known ?? { sends: new Set(), timer: undefined };
    audience.sends.add(send);
    ended.addEventListener("abort", () => audience.sends.delete(send), { once: true });
    audiences.set(node, audience);
    if (known === undefined) await show(node, audience);
  }

  return {
    find(node, path) {
      if (path === "/events") return events(node);
      const file = pageFile(path);
      return file && { status: 200, type: file.type, body: file.text, headers: SAFE };
    },
    stop() {
      stopped = true;
      for (const { timer } of audiences.values()) timer?.cancel();
      audiences.clear();
    },
  };
}

/** JSON has no line break, so an event is one line of data. */
const message = (event: string, data: object): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

function sampleIn(body: string, at: Date): Sample | undefined {
  const status = readable((): unknown => JSON.parse(body));
  return sampleOf(status, at.getTime());
}

/** The last changes of role in the cluster, as each node's own recorder has them. */
function movesOf(
  answers: ReadonlyMap<string, PeerAnswer>,
  at: Date,
): readonly (Move & { readonly node: string; readonly agoMs: number })[] {
  return [...answers]
    .flatMap(([node, told]) =>
      ((told.kind === "ok" ? parseMoves(told.text) : undefined) ?? []).map((move) => ({ node, ...move })),
    )
    .map((move) => ({ ...move, agoMs: at.getTime() - Date.parse(move.at) }))
    .toSorted((a, b) => a.agoMs - b.agoMs)
    .slice(0, MOST_MOVES);
}
