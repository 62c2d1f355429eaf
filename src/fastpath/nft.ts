/**
 * Rules into the kernel by the `nft` program, one call a change, one transaction a call; figures out of it by
 * netlink, of our own tables alone (ADR 0009). One after the other. Nothing here knows what the rules are
 * for.
 */
import { spawn } from "node:child_process";
import { LeaseholdError } from "../errors.ts";
import { formatMac } from "../linux/mac.ts";
import type { Nftables, SetKeys, TableId } from "../linux/nftables.ts";
import { ipFromBytes, parseIp } from "../net.ts";
import type { Family } from "../net.ts";
import { flowSet, heardSet } from "./tables.ts";
import type { Table } from "./tables.ts";
import { FAMILIES, removal, TABLE_NAME, transaction } from "./transaction.ts";
import type { PresentChain, SetElements, TableFamily } from "./transaction.ts";

/** A client's connection as the holder's ingress saw its first packet. */
export interface Flow {
  /** Who brought it: the client, or the router before it. The way back. */
  readonly mac: string;
  readonly client: string;
  readonly clientPort: number;
  readonly vip: string;
  readonly vipPort: number;
}

export interface Counter {
  readonly family: TableFamily;
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
}

/**
 * nft gave no verdict on the rules: it could not be started, was ended at its time limit, or could not read
 * what it needs. No word on the rules.
 */
export class NoVerdict extends LeaseholdError {
  constructor(message: string, options?: ErrorOptions) {
    super("LH_NFT", message, options);
    this.name = "NoVerdict";
  }
}

export interface Nft {
  /**
   * Replaces what is there; what was is untouched when this fails. Sets keep what they hold, unless they are
   * of another shape.
   * @throws {NoVerdict} nothing was refused; {LeaseholdError} LH_NFT: the kernel or the program refuses these
   * rules
   */
  load(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void>;
  /**
   * Starts the time-outs of set elements again: addresses or ports. @throws {LeaseholdError} LH_NATIVE; ENOENT
   * where the set is missing
   */
  refresh(elements: readonly SetElements[]): Promise<void>;
  /** Removes everything of ours. @throws {LeaseholdError} LH_NFT */
  remove(): Promise<void>;
  /** There are tables of ours, whatever put them there. @throws {LeaseholdError} LH_NATIVE */
  present(): Promise<boolean>;
  /**
   * False: the kernel has said that our tables, or the rules in them, are not those that `load` left. True:
   * it has said that they are, or there is nothing to compare with. @throws {LeaseholdError} LH_NATIVE: it
   * said nothing
   */
  isIntact(): Promise<boolean>;
  /** @throws {LeaseholdError} LH_NATIVE */
  counters(): Promise<readonly Counter[]>;
  /** An absent set holds nothing. @throws {LeaseholdError} LH_NATIVE */
  flows(family: Family): Promise<readonly Flow[]>;
  /**
   * MAC addresses of the peers whose probe has come lately; undefined where there is no such set. @throws
   * {LeaseholdError} LH_NATIVE
   */
  heard(family: Family): Promise<readonly string[] | undefined>;
  /**
   * True when a change of the ruleset is our own doing, by the netlink port that it came from (see
   * nftables-monitor.ts).
   */
  isOwn(port: number | undefined): boolean;
}

const PROGRAM = "nft";
/** 30 ms is usual; a machine that is short of everything may take long, and nothing waits for it but the next change. */
const TIMEOUT_MS = 10_000;
/** A notification may come after the program has ended. */
const PORTS_KEPT = 32;
/**
 * What nft 1.0.6 says when it could not read what the kernel has (EINTR, ENOBUFS, EPERM), and when it is out
 * of memory: it has not got to the rules.
 */
const NOT_READ =
  /cache initialization failed|Memory allocation failure|Cannot allocate memory|No buffer space available|Interrupted system call/;

export function createNft(kernel: Nftables): Nft {
  /** Of netlink sockets that our changes came from. nft's is its process id. */
  const ports: number[] = [];
  /** What the kernel had after the last load; undefined: it could not be asked. */
  let left: string | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  /** After whatever is under way, whether or not that succeeds. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = queue.then(work, work);
    queue = result.catch(() => {});
    return result;
  }

  function remember(port: number): void {
    ports.push(port);
    if (ports.length > PORTS_KEPT) ports.shift();
  }

  function run(input: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn(PROGRAM, ["-f", "-"], { stdio: ["pipe", "ignore", "pipe"], timeout: TIMEOUT_MS, killSignal: "SIGKILL" });
      // First of all: where there is no descriptor left (EMFILE) the child has no pipes either, and an error that nobody hears ends the agent.
      child.on("error", (error) => reject(new NoVerdict(`${PROGRAM} cannot be started: ${error.message}`, { cause: error })));
      if (child.pid === undefined) return;
      remember(child.pid);
      const errors: Buffer[] = [];
      child.stderr.on("data", (chunk: Buffer) => {
        if (errors.length < 16) errors.push(chunk);
      });
      child.on("close", (code, signal) => {
        if (code === 0) return resolve();
        const said = Buffer.concat(errors).toString();
        const message = `${PROGRAM} -f -: ${signal ?? `exit ${code}`}: ${firstLine(said)}`;
        reject(signal !== null || NOT_READ.test(said) ? new NoVerdict(message) : new LeaseholdError("LH_NFT", message));
      });
      // It may end before it has read everything; its exit status says why.
      child.stdin.on("error", () => {});
      child.stdin.end(input);
    });
  }

  /** Chains of ours that have rules. One without may be left behind, and does nothing. */
  async function presentChains(): Promise<readonly PresentChain[]> {
    const present: PresentChain[] = [];
    for (const family of FAMILIES) {
      const rules = await kernel.rules(tableOf(family));
      for (const name of new Set(rules.map(({ chain }) => chain))) present.push({ family, name });
    }
    return present;
  }

  /**
   * Tells one load from every other, and from what somebody else makes of it: a rule or table that is made
   * again has another handle.
   */
  async function fingerprint(): Promise<string> {
    const parts: string[] = [];
    for (const family of FAMILIES) {
      const table = tableOf(family);
      const state = await kernel.table(table);
      const rules = state === undefined ? [] : await kernel.rules(table);
      parts.push(`${family} ${state?.handle} ${state?.flags} ${rules.map((rule) => `${rule.chain}/${rule.handle}`).join(" ")}`);
    }
    return parts.join("\n");
  }

  async function load(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void> {
    // Asked each time: a remembered list would be wrong exactly when somebody else has been at the ruleset.
    const script = transaction(tables, await presentChains().catch(() => []), refresh);
    try {
      await run(script);
    } catch (error) {
      if (error instanceof NoVerdict) throw error;
      // Sets of another version or shape are in the way: start from nothing, still in one transaction. What
      // the sets held is lost then, and an error in the rules themselves is told by this call.
      await run(removal() + transaction(tables, [], refresh));
    }
    left = await fingerprint().catch(() => undefined);
  }

  return {
    load: (tables, refresh) => inTurn(() => load(tables, refresh)),
    refresh: (refreshed) =>
      inTurn(async () => {
        const elements = refreshed.map(setKeys).filter(({ keys }) => keys.length > 0);
        if (elements.length > 0) await kernel.renew(elements, remember);
      }),
    remove: () => inTurn(() => run(removal())),
    present: () =>
      inTurn(async () => {
        for (const family of FAMILIES) if ((await kernel.table(tableOf(family))) !== undefined) return true;
        return false;
      }),
    isIntact: () => inTurn(async () => left === undefined || (await fingerprint()) === left),
    counters: () =>
      inTurn(async () => {
        const counters: Counter[] = [];
        for (const family of FAMILIES) {
          for (const counter of await kernel.counters(tableOf(family))) counters.push({ family, ...counter });
        }
        return counters;
      }),
    flows: (family) =>
      inTurn(async () => {
        const flows = await kernel.elements(tableOf("netdev"), flowSet(family), (key) => parseFlow(family, key));
        return flows ?? [];
      }),
    heard: (family) => inTurn(() => kernel.elements(tableOf("netdev"), heardSet(family), parseHeard)),
    isOwn: (port) => port !== undefined && ports.includes(port),
  };
}

function tableOf(family: TableFamily): TableId {
  return { family, name: TABLE_NAME };
}

function setKeys({ family, set, elements }: SetElements): SetKeys {
  const keys = elements.map((element) => parseIp(element)?.bytes ?? Uint8Array.of(Number(element) >>> 8, Number(element) & 0xff));
  return { table: tableOf(family), set, keys };
}

const MAC_LENGTH = 6;

/**
 * A key of the flows' set: MAC address, client, its port, VIP, its port. Each part begins at a multiple of
 * four bytes, as in the kernel's registers. undefined when it has another length.
 */
export function parseFlow(family: Family, key: Uint8Array): Flow | undefined {
  const size = family === 4 ? 4 : 16;
  const client = 8;
  const clientPort = client + size;
  const vip = clientPort + 4;
  const vipPort = vip + size;
  if (key.length !== vipPort + 4) return undefined;
  const address = (offset: number): string => ipFromBytes(key.subarray(offset, offset + size)).text;
  const port = (offset: number): number => ((key[offset] ?? 0) << 8) | (key[offset + 1] ?? 0);
  return {
    mac: formatMac(key.subarray(0, MAC_LENGTH)),
    client: address(client),
    clientPort: port(clientPort),
    vip: address(vip),
    vipPort: port(vipPort),
  };
}

function parseHeard(key: Uint8Array): string | undefined {
  return key.length === MAC_LENGTH ? formatMac(key) : undefined;
}

function firstLine(text: string): string {
  const [line = ""] = text.trim().split("\n");
  return line.slice(0, 300);
}
