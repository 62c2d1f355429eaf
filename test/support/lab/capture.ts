/** ARP and neighbour discovery as they pass the switch, with their time and their true sender. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { TOOL_PATH, missingTools } from "../sandbox/tools.ts";
import { wallToMonotonic } from "./clock.ts";
import { PcapReader, parseNeighbourFrame } from "./frames.ts";
import type { ArpFrame, NdpFrame, NeighbourFrame } from "./frames.ts";

export class ArpCapture implements AsyncDisposable {
  /** In the order they passed. Grows while the capture runs; some ms behind the wire. */
  readonly frames: NeighbourFrame[] = [];
  readonly #child: ChildProcess;
  #failure: Error | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves when frames are being captured. `nodes`: MAC address to machine. */
  static async start(namespace: string, nodes: ReadonlyMap<string, string>): Promise<ArpCapture> {
    const missing = missingTools(["tcpdump"]);
    if (missing !== undefined) throw new Error(missing);
    // -U and immediate mode: each frame at once. -Z root: do not change to a user that the
    // sandbox's user namespace does not have. Promiscuous: br0 then gets unicast frames too.
    const child = spawn(
      "nsenter",
      [
        `--net=/run/netns/${namespace}`,
        "tcpdump",
        "-i",
        "br0",
        "-n",
        "-U",
        "--immediate-mode",
        "-Z",
        "root",
        "-w",
        "-",
        "arp or icmp6",
      ],
      { stdio: ["ignore", "pipe", "pipe"], env: { PATH: TOOL_PATH } },
    );
    const capture = new ArpCapture(child);
    const reader = new PcapReader();
    const toMonotonic = wallToMonotonic();
    child.stdout?.on("data", (chunk: Buffer) => {
      try {
        for (const { wallMs, bytes } of reader.push(chunk)) {
          const frame = parseNeighbourFrame(bytes, wallMs + toMonotonic, nodes);
          if (frame !== undefined) capture.frames.push(frame);
        }
      } catch (error) {
        capture.#failure ??= error instanceof Error ? error : new Error(String(error));
        child.kill("SIGKILL");
      }
    });
    await new Promise<void>((resolve, reject) => {
      let text = "";
      const timer = setTimeout(() => reject(new Error(`tcpdump does not start: ${text}`)), 5000);
      child.once("error", reject);
      child.once("exit", (code) => {
        const rootless = text.includes("Couldn't change to")
          ? "; without root it needs the Debian package uidmap and a line in /etc/subuid"
          : "";
        reject(new Error(`tcpdump: exit ${code}: ${text.trim()}${rootless}`));
      });
      child.stderr?.setEncoding("utf8").on("data", (more: string) => {
        text += more;
        if (!text.includes("listening on")) return;
        clearTimeout(timer);
        resolve();
      });
    });
    return capture;
  }

  #read(): readonly NeighbourFrame[] {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#child.exitCode !== null) throw new Error(`tcpdump ended: exit ${this.#child.exitCode}`);
    return this.frames;
  }

  arp(): ArpFrame[] {
    return this.#read().filter((frame) => frame.kind === "arp");
  }

  ndp(): NdpFrame[] {
    return this.#read().filter((frame) => frame.kind === "ndp");
  }

  /** Gratuitous ARP (either form) and unsolicited advertisements for `address`. */
  announcements(address: string, fromMs = 0, toMs = Infinity): NeighbourFrame[] {
    return this.#read().filter((frame) => {
      if (frame.timeMs < fromMs || frame.timeMs > toMs || frame.targetIp !== address) return false;
      return frame.kind === "arp" ? frame.gratuitous : frame.op === "advertisement" && !frame.solicited;
    });
  }

  /** Who announced `address`: names of machines, or MAC addresses of strangers; no doubles. */
  announcers(address: string, fromMs = 0, toMs = Infinity): string[] {
    return [...new Set(this.announcements(address, fromMs, toMs).map((frame) => frame.node ?? frame.srcMac))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await closed;
  }
}
