/** The soak's client process, and what it has seen so far. */
import { fileURLToPath } from "node:url";
import type { Host } from "../support/lab/host.ts";
import { LogCursor } from "../support/lab/log-cursor.ts";
import type { LabProcess } from "../support/lab/process.ts";
import type { Answer, Turn } from "./judge.ts";

export interface ProberOptions {
  readonly vips: readonly string[];
  /** The client's own addresses. */
  readonly own: readonly string[];
  readonly servers: readonly { readonly name: string; readonly host: string }[];
  readonly caFile: string;
  /** Between two questions for each VIP. */
  readonly turnMs: number;
  /** Between two GETs over each VIP. */
  readonly readyMs: number;
  /** Between two GETs at each API server. */
  readonly directMs: number;
}

const LINE = /^(turn|ready|direct) (\d+\.\d) (\S+) (\S+)$/;

export class Prober implements AsyncDisposable {
  readonly turns: Turn[] = [];
  /** By VIP. */
  readonly ready: Answer[] = [];
  /** By node. */
  readonly direct: Answer[] = [];
  readonly #process: LabProcess;
  readonly #cursor: LogCursor;
  readonly #nodeOf: ReadonlyMap<string, string>;

  private constructor(process: LabProcess, nodeOf: ReadonlyMap<string, string>) {
    this.#process = process;
    this.#cursor = new LogCursor(process.logFile);
    this.#nodeOf = nodeOf;
  }

  /** @param nodeOf MAC address to node */
  static async start(
    client: Host,
    options: ProberOptions,
    nodeOf: ReadonlyMap<string, string>,
  ): Promise<Prober> {
    const script = fileURLToPath(new URL("children/prober.ts", import.meta.url));
    const argv = [process.execPath, script, JSON.stringify(options)];
    return new Prober(await client.spawn(argv, { name: "prober" }), nodeOf);
  }

  /** Takes in what the process has written. @throws Error when it has ended or wrote something else */
  read(): void {
    for (const line of this.#cursor.lines()) {
      const [, word, sent = "", name = "", outcome = ""] = LINE.exec(line) ?? [];
      const sentMs = Number(sent);
      if (word === "turn") {
        const macs = outcome === "-" ? [] : outcome.split(",");
        this.turns.push({ sentMs, vip: name, nodes: macs.map((mac) => this.#nodeOf.get(mac) ?? mac) });
      } else if (word === "ready") this.ready.push({ sentMs, name, outcome });
      else if (word === "direct") this.direct.push({ sentMs, name, outcome });
      else throw new Error(`${this.#process.name}: ${line}\n${this.#process.lastLines(10).join("\n")}`);
    }
    if (!this.#process.running)
      throw new Error(`the prober has ended:\n${this.#process.lastLines(10).join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
