/**
 * One machine of a kubeadm cluster: containerd and a kubelet in namespaces, with a disk that outlives a power
 * loss. init.sh is its process 1.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sleep } from "../lab/clock.ts";
import { attempt } from "../lab/command.ts";
import type { CommandResult } from "../lab/command.ts";
import type { Host } from "../lab/host.ts";
import type { LabProcess } from "../lab/process.ts";
import { cgroupVersion, makeCgroups } from "./cgroups.ts";

const FILES = fileURLToPath(new URL("node/", import.meta.url));
/** A person's shell on a node. */
const NODE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Each machine has these of its own, and {@link Host} makes its network namespace. */
const UNSHARE = ["unshare", "--mount", "--uts", "--pid", "--cgroup", "--fork", "--kill-child"];
const NAMESPACES = ["--mount", "--uts", "--net", "--pid", "--cgroup"];
/** Not nsenter's --wd, which is the folder of that name on the test's machine. */
const SHELL = [
  "env",
  "--ignore-environment",
  "--chdir=/root",
  "HOME=/root",
  "USER=root",
  "LANG=C.UTF-8",
  `PATH=${NODE_PATH}`,
];
const BOOT_LIMIT_MS = 60_000;

export interface MachineSpec {
  readonly host: Host;
  /** The cgroup below which the machine has its own. */
  readonly cgroup: string;
  /** Folders with the programs for /usr/local/bin. */
  readonly programs: readonly string[];
  /** Name of the pause image. */
  readonly pause: string;
  /** Subnet of this machine's pods. */
  readonly pods: string;
  /** Address of the router on the nodes' network. */
  readonly gateway: string;
  /** The node's own address. */
  readonly address: string;
}

/** Parts of /status that the tests read. */
export interface AgentStatus {
  readonly credentials: { readonly source: string };
  readonly fastPath: { readonly mode: string };
  readonly balancer: { readonly backends: readonly { readonly id: string; readonly grade: string }[] };
}

export interface TypeOptions {
  readonly timeoutMs?: number;
  /** A file of the test's machine that becomes the commands' standard input. */
  readonly stdin?: string;
}

export class Machine {
  readonly name: string;
  readonly host: Host;
  readonly address: string;
  readonly #spec: MachineSpec;
  #init: LabProcess | undefined;
  #pid = 0;

  constructor(spec: MachineSpec) {
    this.name = spec.host.name;
    this.host = spec.host;
    this.address = spec.address;
    this.#spec = spec;
  }

  /** Where what is at `path` of this machine (in /etc, /root or /var/lib) is for the test. */
  disk(path: string): string {
    const disk = join(this.host.directory, "disk");
    if (path.startsWith("/etc/")) return join(disk, "etc.upper", path.slice("/etc/".length));
    if (path.startsWith("/var/lib/")) return join(disk, "lib", path.slice("/var/lib/".length));
    return join(disk, path);
  }

  /** Starts the machine, for the first time or again with its disk. Resolves when containerd answers. */
  async boot(): Promise<void> {
    const { cgroup, programs, pause, pods, gateway } = this.#spec;
    const isIpv6 = gateway.includes(":");
    // The lab gives every host an address of each family.
    if (isIpv6) await this.host.run(["ip", "-4", "address", "flush", "dev", "eth0"]);
    await this.host.run(["ip", isIpv6 ? "-6" : "-4", "route", "replace", "default", "via", gateway]);
    const folders = makeCgroups(cgroup, this.name);
    const enter = folders.map((folder) => `echo $$ >${folder}/cgroup.procs`).join(" && ");
    this.#init = await this.host.spawn(
      [
        "sh",
        "-c",
        // The cgroup namespace begins at the cgroup that the process is in when it makes the namespace.
        `${enter} && exec "$@"`,
        "boot",
        ...UNSHARE,
        join(FILES, "init.sh"),
      ],
      {
        name: "init",
        env: {
          PATH: NODE_PATH,
          HOME: "/root",
          NODE: this.name,
          ADDRESS: this.address,
          DISK: join(this.host.directory, "disk"),
          PROGRAMS: [FILES.replace(/\/$/, ""), ...programs].join(":"),
          CGROUPS: cgroupVersion(),
          PAUSE: pause,
          PODS: pods,
        },
      },
    );
    const unshare = this.#init.pid;
    const giveUpAt = performance.now() + BOOT_LIMIT_MS;
    while (performance.now() < giveUpAt && this.#init.running) {
      this.#pid = Number(readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").trim());
      if (this.#pid > 0 && existsSync(`/proc/${this.#pid}/root/run/booted`)) return;
      await sleep(50);
    }
    throw new Error(`${this.name} has not booted: ${this.#init.lastLines(10).join("\n")}`);
  }

  /** The machine loses power. {@link powerOn} boots it again. */
  powerLoss(): Promise<void> {
    return this.host.powerLoss();
  }

  async powerOn(): Promise<void> {
    await this.host.start();
    await this.boot();
  }

  /** `argv` as it must be called from outside to run on this machine. */
  inside(argv: readonly string[]): string[] {
    return ["nsenter", `--target=${this.#pid}`, ...NAMESPACES, ...SHELL, ...argv];
  }

  /** Runs `commands` in root's shell on this machine, in /root. Never throws for an exit code. */
  try(
    commands: string,
    { timeoutMs = 60_000, stdin = "/dev/null" }: TypeOptions = {},
  ): Promise<CommandResult> {
    const script = 'file=$1; shift; exec "$@" <"$file"';
    return attempt(["sh", "-c", script, "type", stdin, ...this.inside(["bash", "-c", commands])], {
      timeoutMs,
    });
  }

  /** Like {@link try}, but the first command that fails ends it and throws. Returns what it wrote. */
  async type(commands: string, options: TypeOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.try(`set -e -o pipefail\n${commands}`, options);
    if (code !== 0) throw new Error(`on ${this.name}: ${commands}\nexit ${code}\n${stderr}${stdout}`);
    return stdout;
  }

  /** What the agent says of itself. */
  async status(): Promise<AgentStatus> {
    return JSON.parse(await this.type("curl -s --max-time 2 127.0.0.1:10081/status"));
  }

  /** The agent's /readyz answers 200. */
  async isReady(): Promise<boolean> {
    return (await this.try("curl -sf --max-time 2 127.0.0.1:10081/readyz")).code === 0;
  }

  /** Id of the running container of that name; undefined when there is none. */
  async container(name: string): Promise<string | undefined> {
    const ids = (await this.type(`crictl ps --quiet --name '^${name}$'`)).trim();
    return ids === "" ? undefined : ids;
  }

  /** Reads a file of root's home. */
  read(name: string): string {
    return readFileSync(this.disk(join("/root", name)), "utf8");
  }

  /** Writes a file into root's home. */
  write(name: string, text: string): void {
    writeFileSync(this.disk(join("/root", name)), text);
  }
}
