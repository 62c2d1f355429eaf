/**
 * Writes rules into the kernel and reads figures from it. The `nft` program writes, with one call and one
 * transaction for each change. Netlink reads, and reads Leasehold's own tables alone (ADR 0009). All work
 * runs one after the other, but for the list of the remembered clients: it may take a second, and no change of
 * the rules waits for it. Nothing here knows what the rules are for.
 */
import { spawn } from "node:child_process";
import { LeaseholdError } from "../errors.ts";
import { formatMac } from "../linux/mac.ts";
import type { Nftables, SetKeys, TableId } from "../linux/nftables.ts";
import { parseIp } from "../net.ts";
import type { Family } from "../net.ts";
import { joinFlows, packFlows } from "./flows.ts";
import type { FlowList } from "./flows.ts";
import { flowSet, heardSet, recentSet } from "./tables.ts";
import type { Table } from "./tables.ts";
import { FAMILIES, removal, TABLE_NAME, transaction } from "./transaction.ts";
import type { PresentChain, SetElements, TableFamily } from "./transaction.ts";

/** A counter of the rules. */
export interface Counter {
  readonly family: TableFamily;
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
}

/**
 * The error of an nft that gave no verdict on the rules. It could not be started, was ended at its time
 * limit, or could not read what it needs.
 */
export class NoVerdict extends LeaseholdError {
  constructor(message: string, options?: ErrorOptions) {
    super("LH_NFT", message, options);
    this.name = "NoVerdict";
  }
}

/** Leasehold's tables in the kernel. */
export interface Nft {
  /**
   * Replaces the rules. If it fails, the old rules are untouched. Sets keep what they hold, unless they have
   * another shape.
   * @throws {NoVerdict} nothing was refused
   * @throws {LeaseholdError} LH_NFT: the kernel or the program refuses these rules
   */
  load(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void>;
  /**
   * Starts the time-outs of set elements again, which are addresses or ports.
   * @throws {LeaseholdError} LH_NATIVE; ENOENT where the set is missing
   */
  refresh(elements: readonly SetElements[]): Promise<void>;
  /** Removes all of Leasehold's tables. @throws {LeaseholdError} LH_NFT */
  remove(): Promise<void>;
  /**
   * Says whether there are tables of Leasehold, whichever process put them there. @throws {LeaseholdError}
   * LH_NATIVE
   */
  present(): Promise<boolean>;
  /**
   * Says whether the tables, with their rules, are those that `load` left. It is true as well when there is
   * nothing to compare with.
   * @throws {LeaseholdError} LH_NATIVE: the kernel gave no answer
   */
  isIntact(): Promise<boolean>;
  /** Reads all counters. @throws {LeaseholdError} LH_NATIVE */
  counters(): Promise<readonly Counter[]>;
  /**
   * Reads the remembered clients: those that are remembered for an hour, then the recent ones. One that comes
   * from the one set into the other may be in the list twice. A set that is missing holds none. Changes of the
   * rules do not wait for this. @throws {LeaseholdError} LH_NATIVE
   */
  flows(family: Family): Promise<FlowList>;
  /**
   * Reads the MAC addresses of the peers whose probe has come lately. Answers undefined where the set is
   * missing.
   * @throws {LeaseholdError} LH_NATIVE
   */
  heard(family: Family): Promise<readonly string[] | undefined>;
  /**
   * True when a change of the ruleset came from this agent. The netlink port tells it, see
   * `nftables-monitor.ts`.
   */
  isOwn(port: number | undefined): boolean;
}

const PROGRAM = "nft";
/**
 * The time limit of nft in milliseconds. It usually takes 30. A machine that is short of everything may take
 * long, and only the next change waits for it.
 */
const NFT_TIMEOUT_MS = 10_000;
/** The number of netlink ports that are remembered. A notification may come after the program has ended. */
const PORTS_KEPT = 32;
/**
 * What nft 1.0.6 prints when it could not read what the kernel has (EINTR, ENOBUFS, EPERM), or is out of
 * memory. It has not got to the rules then.
 */
const NOT_READ =
  /cache initialization failed|Memory allocation failure|Cannot allocate memory|No buffer space available|Interrupted system call/;

export function createNft(kernel: Nftables): Nft {
  /** The netlink ports that this agent's changes came from. That of nft is its process id. */
  const ports: number[] = [];
  /**
   * The fingerprint of what the kernel had after the last load; undefined if the kernel could not be asked.
   */
  let left: string | undefined;
  const inTurn = createQueue();
  /** Two lists at once would take twice the memory, and neither would be there sooner. */
  const inTurnOfLists = createQueue();

  function remember(port: number): void {
    ports.push(port);
    if (ports.length > PORTS_KEPT) ports.shift();
  }

  function run(input: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn(PROGRAM, ["-f", "-"], {
        stdio: ["pipe", "ignore", "pipe"],
        timeout: NFT_TIMEOUT_MS,
        killSignal: "SIGKILL",
      });
      // This comes first. Without a free descriptor (EMFILE) the child has no pipes either, and an error
      // without a listener ends the agent.
      child.on("error", (error) =>
        reject(new NoVerdict(`${PROGRAM} cannot be started: ${error.message}`, { cause: error })),
      );
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
        reject(
          signal !== null || NOT_READ.test(said)
            ? new NoVerdict(message)
            : new LeaseholdError("LH_NFT", message),
        );
      });
      // The program may end before it has read everything. Its exit status says why.
      child.stdin.on("error", () => {});
      child.stdin.end(input);
    });
  }

  /**
   * Answers Leasehold's chains that have rules. A chain without rules may be left behind, and does nothing.
   */
  async function presentChains(): Promise<readonly PresentChain[]> {
    const present: PresentChain[] = [];
    for (const family of FAMILIES) {
      const rules = await kernel.rules(tableOf(family));
      for (const name of new Set(rules.map(({ chain }) => chain))) present.push({ family, name });
    }
    return present;
  }

  /**
   * Answers a text that differs for each load, and after each change by another program: a rule or table that
   * is created again has another handle.
   */
  async function fingerprint(): Promise<string> {
    const parts: string[] = [];
    for (const family of FAMILIES) {
      const table = tableOf(family);
      const state = await kernel.table(table);
      const rules = state === undefined ? [] : await kernel.rules(table);
      parts.push(
        `${family} ${state?.handle} ${state?.flags} ${rules.map((rule) => `${rule.chain}/${rule.handle}`).join(" ")}`,
      );
    }
    return parts.join("\n");
  }

  async function load(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void> {
    // The kernel is asked each time. A remembered list would be wrong exactly when another program has
    // changed the ruleset.
    const script = transaction(tables, await presentChains().catch(() => []), refresh);
    try {
      await run(script);
    } catch (error) {
      if (error instanceof NoVerdict) throw error;
      // Sets of another version or shape may be in the way. This call starts from nothing, still in one
      // transaction. What the sets held is lost then. If the rules themselves are wrong, this call says so.
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
      inTurnOfLists(async () => {
        const lists = [];
        for (const set of [flowSet(family), recentSet(family)]) {
          const flows = packFlows(family);
          await kernel.elements(tableOf("netdev"), set, (key) => flows.add(key));
          lists.push(flows);
        }
        return joinFlows(lists);
      }),
    heard: (family) => inTurn(() => kernel.elements(tableOf("netdev"), heardSet(family), parseHeard)),
    isOwn: (port) => port !== undefined && ports.includes(port),
  };
}

/** Answers a function that runs work after the work that is under way, whether or not that succeeds. */
function createQueue(): <T>(work: () => Promise<T>) => Promise<T> {
  let queue: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = queue.then(work, work);
    queue = result.catch(() => {});
    return result;
  };
}

function tableOf(family: TableFamily): TableId {
  return { family, name: TABLE_NAME };
}

function setKeys({ family, set, elements }: SetElements): SetKeys {
  const keys = elements.map(
    (element) => parseIp(element)?.bytes ?? Uint8Array.of(Number(element) >>> 8, Number(element) & 0xff),
  );
  return { table: tableOf(family), set, keys };
}

const MAC_LENGTH = 6;

function parseHeard(key: Uint8Array): string | undefined {
  return key.length === MAC_LENGTH ? formatMac(key) : undefined;
}

function firstLine(text: string): string {
  const [line = ""] = text.trim().split("\n");
  return line.slice(0, 300);
}
