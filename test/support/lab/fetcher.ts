/**
 * HTTP from inside a machine's network namespace, for its loopback-only endpoints: one small child a machine.
 */
import { spawn } from "node:child_process";
import type { ChildProcessByStdio } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Host } from "./host.ts";

export interface Fetched {
  /** 0: no answer; the body says why. */
  readonly status: number;
  readonly body: string;
}

export class Fetcher implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<string, (answer: Fetched) => void>();
  #next = 0;

  constructor(host: Host) {
    const script = fileURLToPath(new URL("children/fetch.ts", import.meta.url));
    const [file = "", ...args] = host.inside([process.execPath, script]);
    this.#child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin.on("error", () => {});
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const answer: Fetched & { readonly id: string } = JSON.parse(line);
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    this.#child.once("exit", () => {
      for (const done of this.#waiting.values()) done({ status: 0, body: "the fetcher has ended" });
    });
  }

  get(url: string): Promise<Fetched> {
    const id = String((this.#next += 1));
    return new Promise((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        resolve({ status: 0, body: "the fetcher has ended" });
        return;
      }
      this.#waiting.set(id, resolve);
      this.#child.stdin.write(`${id} ${url}\n`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    this.#child.kill("SIGKILL");
    await ended;
  }
}
