/**
 * Samples which nodes have which addresses, by asking the kernel (RTM_GETADDR) and nobody
 * else. One `ip -batch` per namespace stays alive and dumps on request, so that a sample
 * costs no fork: 20 a second on four nodes take about 1 % of a core.
 */
import { spawn } from "node:child_process";
import type { ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { TOOL_PATH } from "../sandbox/tools.ts";
import { monotonicMs } from "./clock.ts";
import { OwnershipTimeline } from "./timeline.ts";
import type { OwnershipSample } from "./timeline.ts";

/** `2: eth0    inet 10.77.0.100/32 scope ...` */
const ADDRESS_LINE = /^\d+: \S+\s+inet6? ([0-9a-f.:]+)[/ ]/;
/** lo is in every namespace and its line comes last: the end of one dump. */
const END_LINE = /^1: lo: </;

/** Asks one namespace for all its addresses. */
class AddressReader {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  #partial = "";
  #dump: string[] = [];
  #waiting: PromiseWithResolvers<readonly string[]> | undefined;
  #ended = false;

  constructor(namespace: string) {
    this.#child = spawn("ip", ["-n", namespace, "-o", "-force", "-batch", "-"], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { PATH: TOOL_PATH },
    });
    this.#child.stdin.on("error", () => {}); // ended: the next lines say so
    const end = (): void => {
      this.#ended = true;
      this.#waiting?.reject(new Error(`ip -n ${namespace} has ended`));
    };
    this.#child.once("error", end).once("exit", end);
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => this.#accept(text));
  }

  #accept(text: string): void {
    const lines = (this.#partial + text).split("\n");
    this.#partial = lines.pop() ?? "";
    for (const line of lines) {
      if (END_LINE.test(line)) {
        this.#waiting?.resolve(this.#dump);
        this.#waiting = undefined;
        this.#dump = [];
        continue;
      }
      const address = ADDRESS_LINE.exec(line)?.[1];
      if (address !== undefined) this.#dump.push(address);
    }
  }

  /** undefined when the namespace has not answered the last request yet. Rejects when it never will. */
  read(): Promise<readonly string[]> | undefined {
    if (this.#waiting !== undefined) return undefined;
    if (this.#ended) return Promise.reject(new Error("ip has ended"));
    this.#waiting = Promise.withResolvers();
    this.#child.stdin.write("addr show\nlink show lo\n");
    return this.#waiting.promise;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await closed;
  }
}

interface Sample {
  readonly atMs: number;
  /** All addresses of each node. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
}

function same(one: Sample["addresses"], other: Sample["addresses"]): boolean {
  return [...one].every(([node, all]) => all.join() === other.get(node)?.join());
}

function holdersIn(sample: Sample, address: string): string[] {
  return [...sample.addresses]
    .filter(([, all]) => all.includes(address))
    .map(([node]) => node)
    .sort();
}

export class OwnershipSampler implements AsyncDisposable {
  readonly #readers: ReadonlyMap<string, AddressReader>;
  readonly #samples: Sample[] = [];
  readonly #timer: NodeJS.Timeout;
  #pending: Promise<void> | undefined;

  private constructor(namespaces: ReadonlyMap<string, string>, intervalMs: number) {
    this.#readers = new Map([...namespaces].map(([node, namespace]) => [node, new AddressReader(namespace)]));
    this.#timer = setInterval(() => void this.#sample().catch(() => {}), intervalMs);
  }

  /** `namespaces`: node name to network namespace. Resolves after the first sample. */
  static async start(namespaces: ReadonlyMap<string, string>, intervalMs = 50): Promise<OwnershipSampler> {
    const sampler = new OwnershipSampler(namespaces, intervalMs);
    await sampler.#sample();
    return sampler;
  }

  #sample(): Promise<void> {
    this.#pending ??= this.#take().finally(() => (this.#pending = undefined));
    return this.#pending;
  }

  async #take(): Promise<void> {
    const atMs = monotonicMs();
    const dumps = [...this.#readers].map(
      async ([node, reader]) => [node, (await reader.read()) ?? []] as const,
    );
    const addresses = new Map(await Promise.all(dumps));
    // Most samples are as the one before: thousands of them in an hour must not each keep lists of its own.
    const last = this.#samples.at(-1)?.addresses;
    this.#samples.push({ atMs, addresses: last !== undefined && same(last, addresses) ? last : addresses });
  }

  /** Takes a sample now and answers who has the address. */
  async holders(address: string): Promise<readonly string[]> {
    await this.#pending?.catch(() => {}); // one that began before this call may be older than what the caller did
    await this.#sample();
    const last = this.#samples.at(-1);
    return last === undefined ? [] : holdersIn(last, address);
  }

  /** Addresses in the kernel's own notation (`fd77::100`, not `fd77:0::100`). */
  timeline(address: string): OwnershipTimeline {
    const samples: OwnershipSample[] = this.#samples.map((sample) => ({
      atMs: sample.atMs,
      holders: holdersIn(sample, address),
    }));
    return new OwnershipTimeline(address, samples);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#readers.values()].map((reader) => reader.close()));
  }
}
