/**
 * One machine of the staged incidents: a {@link Host} with a disk, a host name and processes of its own, on which a
 * person can type what the runbook says. A node runs its static pods by a stand-in for the kubelet.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { monotonicMs, sleep } from "../lab/clock.ts";
import { attempt } from "../lab/command.ts";
import type { CommandResult } from "../lab/command.ts";
import type { Host } from "../lab/host.ts";
import { IMAGE_ENV, IMAGE_NODE_FLAGS } from "../lab/image-start.ts";
import type { LabProcess } from "../lab/process.ts";
import { ROOT } from "../runner/layers.ts";

const FILES = fileURLToPath(new URL("node/", import.meta.url));
const CHILDREN = fileURLToPath(new URL("children/", import.meta.url));
const BUNDLE = join(ROOT, "dist", "leasehold.js");
/** A person's shell on a machine. */
const SHELL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const UNSHARE = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"];
const NAMESPACES = ["--mount", "--uts", "--net", "--pid"];
/** Not nsenter's --wd, which is the folder of that name outside of the machine. */
const SHELL = [
  "env",
  "--ignore-environment",
  "--chdir=/root",
  "HOME=/root",
  "USER=root",
  "LANG=C.UTF-8",
  "TERM=xterm",
  `PATH=${SHELL_PATH}`,
];
const BOOT_LIMIT_MS = 20_000;

export interface MachineOptions {
  /** Paths of the programs that the machine has in /usr/local/bin. Default: none, and no kubelet. */
  readonly programs?: readonly string[];
  /** Size of a disk of its own for /var/lib/leasehold, as mount(8) has it. */
  readonly dataSize?: string;
}

export class Machine {
  readonly host: Host;
  readonly #options: MachineOptions;
  #init: LabProcess | undefined;
  #pid = 0;

  constructor(host: Host, options: MachineOptions = {}) {
    this.host = host;
    this.#options = options;
  }

  get name(): string {
    return this.host.name;
  }

  /** Undefined once it has lost power. */
  get pid(): number | undefined {
    return this.#init?.running === true ? this.#pid : undefined;
  }

  /** Where what is at `path` of this machine (in /etc, /root or /var/lib) is for the test. */
  disk(path: string): string {
    const disk = join(this.host.directory, "disk");
    const [, top = "", rest = ""] = /^\/(etc|root|var\/lib)\/(.*)$/.exec(path) ?? [];
    return top === "var/lib" ? join(disk, "lib", rest) : join(disk, `${top}.upper`, rest);
  }

  async boot(): Promise<void> {
    const { programs = [], dataSize = "" } = this.#options;
    const disk = join(this.host.directory, "disk");
    if (programs.length > 0) this.#install(join(disk, "local.upper"), programs);
    this.#init = await this.host.spawn([...UNSHARE, "sh", join(FILES, "init.sh")], {
      name: "init",
      env: {
        PATH: SHELL_PATH,
        HOME: "/root",
        NODE: this.name,
        ADDRESS: this.host.ipv4,
        DISK: disk,
        NODE_JS: process.execPath,
        KUBELET: programs.length > 0 ? join(CHILDREN, "kubelet.ts") : "",
        DATA_SIZE: dataSize,
      },
    });
    const unshare = this.#init.pid;
    const giveUpAtMs = monotonicMs() + BOOT_LIMIT_MS;
    while (monotonicMs() < giveUpAtMs && this.#init.running) {
      this.#pid = Number(readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").trim());
      if (this.#pid > 0 && existsSync(`/proc/${this.#pid}/root/run/booted`)) return;
      await sleep(20);
    }
    throw new Error(`${this.name} has not booted: ${this.#init.lastLines(10).join("\n")}`);
  }

  /** Puts what a node has beyond Debian below /usr/local. */
  #install(local: string, programs: readonly string[]): void {
    const image = join(local, "lib", "leasehold", "bin");
    for (const folder of [join(local, "bin"), join(local, "sbin"), image])
      mkdirSync(folder, { recursive: true });
    for (const path of programs) symlinkSync(path, join(local, "bin", basename(path)));
    for (const name of ["ctr", "journalctl"]) symlinkSync(join(FILES, name), join(local, "bin", name));
    const script = (path: string, lines: readonly string[]): void => {
      writeFileSync(path, `#!/bin/sh\n${lines.join("\n")}\n`);
      chmodSync(path, 0o755);
    };
    script(join(local, "bin", "crictl"), [
      `exec '${process.execPath}' '${join(CHILDREN, "crictl.ts")}' "$@"`,
    ]);
    script(join(image, "leasehold"), [
      ...Object.entries(IMAGE_ENV).map(([name, value]) => `export ${name}='${value}'`),
      `exec '${process.execPath}' ${IMAGE_NODE_FLAGS.join(" ")} '${BUNDLE}' "$@"`,
    ]);
  }

  /** The machine loses power, for good. */
  powerLoss(): Promise<void> {
    return this.host.powerLoss();
  }

  /** `argv` as it must be called from outside to run on this machine. */
  inside(argv: readonly string[]): string[] {
    return ["nsenter", `--target=${this.#pid}`, ...NAMESPACES, ...SHELL, ...argv];
  }

  /** Runs `commands` in root's shell on this machine, in /root. Never throws for an exit code. */
  try(commands: string, timeoutMs = 60_000): Promise<CommandResult> {
    return attempt(this.inside(["bash", "--norc", "-c", commands]), { timeoutMs });
  }

  /** Like {@link try}, but the first command that fails ends it and throws. Returns what it wrote. */
  async type(commands: string, timeoutMs = 60_000): Promise<string> {
    const { code, stdout, stderr } = await this.try(`set -e -o pipefail\n${commands}`, timeoutMs);
    if (code !== 0) throw new Error(`on ${this.name}: ${commands}\nexit ${code}\n${stderr}${stdout}`);
    return stdout;
  }
}
