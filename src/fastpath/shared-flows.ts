/**
 * The client connections that come by the VIP, as the holder's agent tells them to the other agents (ADR 0020).
 * Only the holder's kernel sees a client that connects and then only listens. When that machine is lost
 * together with its API server, the next holder could not ask such a client whether its connection lives.
 */
import type { Clock, Timer } from "../clock.ts";
import { isMacText } from "../linux/mac.ts";
import type { Logger } from "../log.ts";
import { familiesOf, isMachineAddress, parseIp } from "../net.ts";
import type { Family, IpAddress } from "../net.ts";
import { isRecord } from "../remembered-file.ts";
import { inTurns, joinFlows, keyLength, packFlows, parseFlow } from "./flows.ts";
import type { Flow, FlowList, PackedFlows } from "./flows.ts";

export interface SharedFlowsDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly vips: readonly IpAddress[];
  readonly ports: readonly number[];
  /** Lists the connections that came by the VIPs of a family here, as this kernel knows them. */
  readonly flows: (family: Family) => Promise<FlowList>;
  /** The node that has the VIP by the Lease; null: nobody, or nobody knows. */
  readonly holder: () => string | null;
  /**
   * Begins to listen to that node's agent. Answers undefined while its agent is not known, and for this node.
   * @param onText is called with each message, of at most {@link MOST_MESSAGE_BYTES}
   * @param onEnd is called once, unless `close` was called before
   */
  readonly listen: (
    node: string,
    onText: (text: string) => void,
    onEnd: () => void,
  ) => { close(): void } | undefined;
  /** Lets other work of this thread go first. */
  readonly pause: () => Promise<void>;
}

export interface SharedFlows {
  /** Tells one peer's agent the connections, now and when they have changed, until `ended` aborts. */
  tell(send: (text: string) => void, ended: AbortSignal): void;
  /** Listens to the agent of the node that has the VIP now. */
  look(): void;
  /** Answers what the holders of the last two minutes have told. */
  heard(): FlowList;
  stop(): void;
}

/** Milliseconds between two readings of the kernel's sets, at least. */
const READ_MS = 1_000;
/**
 * Connections that are read in a millisecond, as a mean. After a flood there may be 131,072, which take this
 * thread some 0.3 s.
 */
const FLOWS_PER_MS = 10;
/** Bytes that each stream is sent in a millisecond, as a mean. */
const BYTES_PER_MS = 500;
/**
 * Most connections that are told. A message of that many has 0.5 MB if all of them are IPv6, and a peer's stream
 * ends when 1 MiB waits for it.
 */
export const MOST_FLOWS = 8_000;
export const MOST_MESSAGE_BYTES = 1_024 * 1_024;
/**
 * Milliseconds for which the word of a holder counts after it has said it. By then a client that lives has
 * spoken to the next holder: kube-apiserver's TCP keepalive makes each one speak every 15 s.
 */
const HEARD_MS = 120_000;
/** Most holders whose word is kept, whatever names the Lease has had. */
const MOST_HOLDERS = 3;
/** Connections of a message that are read between two pauses. They take some 2 ms. */
const BATCH = 256;
/**
 * Milliseconds until an agent is asked again that told nothing: one of an older version does not know the
 * question, and a TLS handshake takes some milliseconds on both sides.
 */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;

interface Heard {
  readonly flows: FlowList;
  readonly untilMs: number;
}

export function createSharedFlows(deps: SharedFlowsDeps): SharedFlows {
  const teller = createTeller(deps);
  const hearer = createHearer(deps);
  return {
    tell: (send, ended) => teller.tell(send, ended),
    look: () => hearer.look(),
    heard: () => hearer.heard(),
    stop() {
      teller.stop();
      hearer.stop();
    },
  };
}

/** The holder's side. */
function createTeller({
  clock,
  log,
  vips,
  flows,
  pause,
}: SharedFlowsDeps): Pick<SharedFlows, "tell" | "stop"> {
  const families = familiesOf(vips);
  const listeners = new Set<(text: string) => void>();
  let last: string | undefined;
  let reading: Timer | "running" | undefined;
  let nextReadMs = Number.NEGATIVE_INFINITY;
  let stopped = false;

  /** Reads the sets while anybody listens, and tells what has changed. */
  async function read(): Promise<void> {
    reading = "running";
    let waitMs = READ_MS;
    try {
      const list = joinFlows(await Promise.all(families.map(flows)));
      const text = await messageOf(list, pause);
      waitMs = Math.max(waitMs, list.length / FLOWS_PER_MS);
      if (text !== last) {
        waitMs = Math.max(waitMs, text.length / BYTES_PER_MS);
        for (const send of listeners) send(text);
      }
      last = text;
    } catch (error) {
      // What was told before still holds.
      log.debug({ err: error }, "The connections by the VIP could not be read for the other agents");
    }
    reading = undefined;
    nextReadMs = clock.now() + waitMs;
    readLater();
  }

  /** Reads when that is due and somebody listens. Who comes and goes does not make it due sooner. */
  function readLater(): void {
    if (stopped || reading !== undefined) return;
    if (listeners.size === 0) last = undefined;
    else reading = clock.after(Math.max(0, nextReadMs - clock.now()), () => void read());
  }

  return {
    tell(send, ended) {
      if (stopped || ended.aborted) return;
      listeners.add(send);
      ended.addEventListener("abort", () => listeners.delete(send), { once: true });
      if (last !== undefined) send(last);
      readLater();
    },
    stop() {
      stopped = true;
      if (typeof reading === "object") reading.cancel();
    },
  };
}

/** The others' side. */
function createHearer(deps: SharedFlowsDeps): Pick<SharedFlows, "look" | "heard" | "stop"> {
  const { clock, log } = deps;
  const vips = new Set(deps.vips.map((vip) => vip.text));
  const heard = new Map<string, Heard>();
  /** `told`: it has told something in this stream. */
  let source: { readonly node: string; readonly stream: { close(): void }; told: boolean } | undefined;
  let wanted: string | null = null;
  let retryMs = FIRST_RETRY_MS;
  let retryAtMs = Number.NEGATIVE_INFINITY;
  let stopped = false;

  function isPlausible(flow: Flow): boolean {
    const client = parseIp(flow.client);
    return (
      vips.has(flow.vip) &&
      deps.ports.includes(flow.vipPort) &&
      flow.clientPort > 0 &&
      !vips.has(flow.client) &&
      isMacText(flow.mac) &&
      client !== undefined &&
      isMachineAddress(client)
    );
  }

  async function take(node: string, text: string): Promise<void> {
    const flows = await parseMessage(text, isPlausible, deps.pause);
    if (flows === undefined) {
      log.debug({ node }, "The agent of the holder told connections that cannot be read");
      return;
    }
    remember(node, flows);
    retryMs = FIRST_RETRY_MS;
    if (source?.node === node) source.told = true;
  }

  function remember(node: string, flows: FlowList): void {
    heard.delete(node);
    heard.set(node, { flows, untilMs: clock.now() + HEARD_MS });
    const [oldest] = heard.keys();
    if (heard.size > MOST_HOLDERS && oldest !== undefined) heard.delete(oldest);
  }

  /** While a stream goes on, no message means that nothing has changed. */
  function refresh(): void {
    const word = source?.told === true ? heard.get(source.node) : undefined;
    if (source !== undefined && word !== undefined) remember(source.node, word.flows);
    for (const [node, { untilMs }] of heard) if (untilMs <= clock.now()) heard.delete(node);
  }

  function leave(): void {
    source?.stream.close();
    source = undefined;
  }

  return {
    look() {
      if (stopped) return;
      refresh();
      const holder = deps.holder();
      // While nobody is known to hold, the last holder may still do so.
      if (holder === null || holder === source?.node) return;
      leave();
      if (holder !== wanted) {
        wanted = holder;
        retryMs = FIRST_RETRY_MS;
        retryAtMs = clock.now();
      }
      if (clock.now() < retryAtMs) return;
      const stream = deps.listen(
        holder,
        (text) => void take(holder, text),
        () => {
          if (source?.stream === stream) source = undefined;
          retryAtMs = clock.now() + retryMs;
          retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2);
        },
      );
      if (stream !== undefined) source = { node: holder, stream, told: false };
    },
    heard: () => joinFlows([...heard.values()].map(({ flows }) => flows)),
    stop() {
      stopped = true;
      leave();
    },
  };
}

/**
 * Writes connections as one line of text: for each family the kernel's keys in ascending order, base64. The
 * same connections have the same text. Where there are too many, each client has its turn, so that forged ones
 * do not displace the others.
 */
export async function messageOf(flows: FlowList, pause: () => Promise<void>): Promise<string> {
  const indexes =
    flows.length <= MOST_FLOWS
      ? Array.from({ length: flows.length }, (_, index) => index)
      : (await inTurns(flows, pause)).slice(0, MOST_FLOWS);
  const keys = new Set(indexes.map((index) => flows.keyAt?.(index) ?? ""));
  const sorted = [...keys].toSorted();
  const of = (family: Family): string =>
    Buffer.from(sorted.filter((key) => key.length === keyLength(family)).join(""), "latin1").toString(
      "base64",
    );
  return `${JSON.stringify({ 4: of(4), 6: of(6) })}\n`;
}

/** Reads a message. Leaves out what `isPlausible` rejects. Answers undefined for what is no message. */
export async function parseMessage(
  text: string,
  isPlausible: (flow: Flow) => boolean,
  pause: () => Promise<void>,
): Promise<FlowList | undefined> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(parsed)) return undefined;
  const lists: PackedFlows[] = [];
  let count = 0;
  for (const family of [4, 6] as const) {
    const packed = parsed[family];
    if (typeof packed !== "string") return undefined;
    const bytes = Buffer.from(packed, "base64");
    const size = keyLength(family);
    const list = packFlows(family);
    for (let at = 0; at + size <= bytes.length && count < MOST_FLOWS; at += size) {
      count += 1;
      if (count % BATCH === 0) await pause();
      const key = bytes.subarray(at, at + size);
      const flow = parseFlow(family, key);
      if (flow !== undefined && isPlausible(flow)) list.add(key);
    }
    lists.push(list);
  }
  return joinFlows(lists);
}
