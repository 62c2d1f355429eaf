/**
 * Rules into the kernel and figures out of it, by the `nft` program: one call a change, one transaction a call (ADR 0009). Calls
 * are made one after the other. Nothing here knows what the rules are for.
 */
import { spawn } from "node:child_process";
import { LeaseholdError } from "../../errors.ts";
import type { Family } from "../../net.ts";
import { flowSet, heardSet } from "./tables.ts";
import type { Table } from "./tables.ts";
import { putAnew, removal, TABLE_NAME, transaction } from "./transaction.ts";
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

export interface Nft {
  /** Replaces what is there; what was is untouched when this fails. @throws {LeaseholdError} LH_NFT */
  load(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void>;
  /** The same from nothing: quicker, and what the sets held is lost. For when somebody has removed it all anyway. @throws {LeaseholdError} LH_NFT */
  restore(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void>;
  /** Starts the time-outs of set elements anew. @throws {LeaseholdError} LH_NFT */
  refresh(elements: readonly SetElements[]): Promise<void>;
  /** Removes everything of ours. @throws {LeaseholdError} LH_NFT */
  remove(): Promise<void>;
  /** There are tables of ours, whoever put them there. @throws {LeaseholdError} LH_NFT */
  present(): Promise<boolean>;
  counters(): Promise<readonly Counter[]>;
  flows(family: Family): Promise<readonly Flow[]>;
  /** MAC addresses of the peers whose probe has come lately. */
  heard(family: Family): Promise<readonly string[]>;
  /** True when a change of the ruleset is our own doing: nft's netlink port is its process id (see nftables-monitor.ts). */
  isOwn(port: number | undefined): boolean;
}

const PROGRAM = "nft";
/** 30 ms is usual; a machine that is short of everything may take long, and nothing waits for it but the next change. */
const TIMEOUT_MS = 10_000;
const MOST_OUTPUT = 64 * 1024 * 1024;
/** A notification may come after the program has ended. */
const PIDS_KEPT = 32;

export function createNft(): Nft {
  const pids: number[] = [];
  let queue: Promise<unknown> = Promise.resolve();

  /** After whatever is under way, whether or not that succeeds. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = queue.then(work, work);
    queue = result.catch(() => {});
    return result;
  }

  function call(args: readonly string[], input: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = spawn(PROGRAM, args, { stdio: ["pipe", "pipe", "pipe"], timeout: TIMEOUT_MS, killSignal: "SIGKILL" });
      // First of all: where there is no descriptor left (EMFILE) the child has no pipes either, and an error that nobody hears ends the agent.
      child.on("error", (error) => reject(new LeaseholdError("LH_NFT", `${PROGRAM} cannot be started: ${error.message}`, { cause: error })));
      if (child.pid === undefined) return;
      pids.push(child.pid);
      if (pids.length > PIDS_KEPT) pids.shift();
      const output: Buffer[] = [];
      const errors: Buffer[] = [];
      let size = 0;
      child.stdout.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > MOST_OUTPUT) child.kill("SIGKILL");
        else output.push(chunk);
      });
      child.stderr.on("data", (chunk: Buffer) => {
        if (errors.length < 16) errors.push(chunk);
      });
      child.on("close", (code, signal) => {
        if (code === 0) resolve(Buffer.concat(output).toString());
        else reject(new LeaseholdError("LH_NFT", `${PROGRAM} ${args.join(" ")}: ${signal ?? `exit ${code}`}: ${firstLine(Buffer.concat(errors).toString())}`));
      });
      // It may end before it has read everything; its exit status says why.
      child.stdin.on("error", () => {});
      child.stdin.end(input);
    });
  }

  async function query(args: readonly string[]): Promise<readonly Item[]> {
    return parseItems(await call(["-j", ...args], ""));
  }

  async function presentChains(): Promise<readonly PresentChain[]> {
    const items = await query(["list", "chains"]);
    return items.flatMap((item) => {
      const { family, table, name } = item["chain"] ?? {};
      return isFamily(family) && table === TABLE_NAME && typeof name === "string" ? [{ family, name }] : [];
    });
  }

  async function load(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void> {
    // Asked each time: a remembered list would be wrong exactly when somebody else has been at the ruleset.
    const script = transaction(tables, await presentChains().catch(() => []), refresh);
    try {
      await call(["-f", "-"], script);
    } catch {
      // Sets of another version or shape, or a chain that came or went meanwhile: start from nothing, still in one transaction. What the sets
      // held is lost then, and an error in the rules themselves is told by this call.
      await restore(tables, refresh);
    }
  }

  async function restore(tables: readonly Table[], refresh: readonly SetElements[]): Promise<void> {
    await call(["-f", "-"], removal() + transaction(tables, [], refresh));
  }

  /** An absent table or set holds nothing. */
  async function elements(family: Family, set: string): Promise<readonly unknown[]> {
    const items = await query(["list", "set", "netdev", TABLE_NAME, set]).catch(() => []);
    const found = items.find((item) => item["set"]?.["name"] === set)?.["set"]?.["elem"];
    return Array.isArray(found) ? found.map(elementValue) : [];
  }

  return {
    load: (tables, refresh) => inTurn(() => load(tables, refresh)),
    restore: (tables, refresh) => inTurn(() => restore(tables, refresh)),
    refresh: (refreshed) =>
      inTurn(async () => {
        const lines = refreshed.flatMap(({ family, set, elements: values }) => putAnew(family, set, values));
        if (lines.length > 0) await call(["-f", "-"], `${lines.join("\n")}\n`);
      }),
    remove: () => inTurn(async () => void (await call(["-f", "-"], removal()))),
    present: () => inTurn(async () => (await query(["list", "tables"])).some((item) => isFamily(item["table"]?.["family"]) && item["table"]?.["name"] === TABLE_NAME)),
    counters: () =>
      inTurn(async () => {
        const items = await query(["list", "counters"]);
        return items.flatMap((item) => {
          const { family, table, name, packets, bytes } = item["counter"] ?? {};
          if (!isFamily(family) || table !== TABLE_NAME || typeof name !== "string") return [];
          return typeof packets === "number" && typeof bytes === "number" ? [{ family, name, packets, bytes }] : [];
        });
      }),
    flows: (family) => inTurn(async () => (await elements(family, flowSet(family))).flatMap(parseFlow)),
    heard: (family) => inTurn(async () => (await elements(family, heardSet(family))).filter((value) => typeof value === "string")),
    isOwn: (port) => port !== undefined && pids.includes(port),
  };
}

type Fields = Readonly<Record<string, unknown>>;
type Item = Readonly<Record<string, Fields | undefined>>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The objects of `nft -j`: each is one member that names its kind. */
export function parseItems(text: string): readonly Item[] {
  const json: unknown = JSON.parse(text);
  const list = isFields(json) ? json["nftables"] : undefined;
  if (!Array.isArray(list)) return [];
  return list.filter(isFields).map((item) => Object.fromEntries(Object.entries(item).map(([kind, value]) => [kind, isFields(value) ? value : undefined])));
}

/** An element with a time-out is wrapped: `{ elem: { val, timeout, expires } }`. */
export function elementValue(element: unknown): unknown {
  const inner = isFields(element) && isFields(element["elem"]) ? element["elem"]["val"] : element;
  return isFields(inner) && Array.isArray(inner["concat"]) ? inner["concat"] : inner;
}

export function parseFlow(value: unknown): readonly Flow[] {
  if (!Array.isArray(value) || value.length !== 5) return [];
  const [mac, client, clientPort, vip, vipPort]: readonly unknown[] = value;
  if (typeof mac !== "string" || typeof client !== "string" || typeof vip !== "string") return [];
  if (typeof clientPort !== "number" || typeof vipPort !== "number") return [];
  return [{ mac, client, clientPort, vip, vipPort }];
}

function isFamily(value: unknown): value is TableFamily {
  return value === "netdev" || value === "ip" || value === "ip6";
}

function firstLine(text: string): string {
  const [line = ""] = text.trim().split("\n");
  return line.slice(0, 300);
}
