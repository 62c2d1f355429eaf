/** One machine of the lab: a network namespace with one cable to the switch, and its files. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TOOL_PATH } from "../sandbox/tools.ts";
import { run } from "./command.ts";
import type { CommandOptions } from "./command.ts";
import { LabProcess } from "./process.ts";
import { portOf } from "./switch.ts";
import type { Switch } from "./switch.ts";

export interface HostSpec {
  readonly name: string;
  readonly namespace: string;
  readonly kind: "node" | "client";
  readonly ipv4: string;
  readonly ipv6: string;
  readonly prefix4: number;
  readonly prefix6: number;
  readonly mac: string;
  readonly directory: string;
}

export interface SpawnOptions {
  /** Names the log file; default: the program's base name. */
  readonly name?: string;
  /** All of its environment beside PATH, HOME and LANG: nothing else is inherited. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

export class Host {
  readonly name: string;
  readonly namespace: string;
  readonly kind: "node" | "client";
  /** Plain addresses, without prefix length. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  /** This machine's own files; on a tmpfs that ends with the sandbox. */
  readonly directory: string;
  /** For LEASEHOLD_STATE_DIR: what /run/leasehold is on a real node. */
  readonly stateDirectory: string;
  /** For LEASEHOLD_MACHINE_ID_FILE: as /etc/machine-id, different on each. */
  readonly machineIdFile: string;
  readonly processes: LabProcess[] = [];
  readonly #spec: HostSpec;
  readonly #switch: Switch;

  constructor(spec: HostSpec, ethernetSwitch: Switch) {
    this.name = spec.name;
    this.namespace = spec.namespace;
    this.kind = spec.kind;
    this.ipv4 = spec.ipv4;
    this.ipv6 = spec.ipv6;
    this.mac = spec.mac;
    this.directory = spec.directory;
    this.stateDirectory = join(spec.directory, "run");
    this.machineIdFile = join(spec.directory, "machine-id");
    this.#spec = spec;
    this.#switch = ethernetSwitch;
  }

  /** Makes the namespace, the cable and the addresses: three commands, some 30 ms. */
  async start(): Promise<void> {
    mkdirSync(this.stateDirectory, { recursive: true });
    if (!existsSync(this.machineIdFile))
      writeFileSync(this.machineIdFile, `${randomBytes(16).toString("hex")}\n`);
    const { namespace, ipv4, ipv6, prefix4, prefix6, mac } = this.#spec;
    const port = portOf(this.name);
    await run(["ip", "-batch", "-"], {
      input: [
        `netns add ${namespace}`,
        `link add ${port} netns ${this.#switch.namespace} type veth peer name eth0 netns ${namespace} address ${mac}`,
      ].join("\n"),
    });
    // kubeadm's preflight demands ip_forward=1 of every node. Duplicate address detection would
    // keep each IPv6 address unusable for a second or two after start.
    const forwarding = this.kind === "node" ? 1 : 0;
    const script = [
      `echo ${forwarding} >/proc/sys/net/ipv4/ip_forward`,
      "for c in all default eth0; do",
      `  echo 0 >/proc/sys/net/ipv6/conf/$c/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/$c/accept_ra; done`,
      `echo ${forwarding} >/proc/sys/net/ipv6/conf/all/forwarding`,
      "exec ip -batch -",
    ].join("\n");
    const addresses = [
      "link set lo up",
      "link set eth0 up",
      `addr add ${ipv4}/${prefix4} dev eth0`,
      `addr add ${ipv6}/${prefix6} dev eth0 nodad`,
    ].join("\n");
    await Promise.all([
      this.#switch.execute(["ip", "-batch", "-"], `link set ${port} master br0\nlink set ${port} up\n`),
      this.run(["sh", "-c", script], { input: `${addresses}\n` }),
    ]);
  }

  /** `argv` as it must be called from outside to run on this machine. */
  inside(argv: readonly string[]): string[] {
    // nsenter and not `ip netns exec`: no mount namespace to make, and the process keeps its id.
    return ["nsenter", `--net=/run/netns/${this.namespace}`, ...argv];
  }

  /** Runs a command on this machine to its end; answers stdout, throws unless it exits with 0. */
  run(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return run(this.inside(argv), options);
  }

  /** Starts a process that runs until it ends, a test kills it, or the lab ends. */
  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<LabProcess> {
    const name = options.name ?? (argv[0] ?? "process").split("/").at(-1) ?? "process";
    const started = await LabProcess.start({
      name: `${this.name}/${name}`,
      argv: this.inside(argv),
      env: { PATH: TOOL_PATH, HOME: "/root", LANG: "C.UTF-8", ...options.env },
      cwd: options.cwd ?? this.directory,
      logFile: join(this.directory, "log", `${name}.log`),
    });
    this.processes.push(started);
    return started;
  }

  /** What an agent on this machine needs to know about it. */
  agentEnvironment(): Record<string, string> {
    return {
      LEASEHOLD_NODE_NAME: this.name,
      LEASEHOLD_STATE_DIR: this.stateDirectory,
      LEASEHOLD_MACHINE_ID_FILE: this.machineIdFile,
    };
  }

  /** The cable: pulled (`down`), the interface loses its carrier and keeps its addresses. */
  readonly link = {
    down: (): Promise<void> => this.#switch.setPort(this.name, "down"),
    up: (): Promise<void> => this.#switch.setPort(this.name, "up"),
  };

  /**
   * The machine loses power: its link goes first, then its processes, and with its network namespace its
   * addresses and rules. {@link start} boots it again with its files.
   */
  async powerLoss(): Promise<void> {
    await this.link.down();
    await this.stop();
    this.processes.length = 0;
    // The link is deleted by name. Sockets of dead processes in FIN-WAIT-1, whose FIN no machine acknowledges
    // any more, would keep the namespace and with it the link for minutes.
    await this.#switch.execute(["ip", "link", "del", portOf(this.name)]);
    await run(["ip", "netns", "del", this.namespace]);
  }

  /** Stops this machine's processes; answers how many were still running. */
  async stop(): Promise<number> {
    const running = this.processes.filter((process) => process.running).length;
    await Promise.all(this.processes.map((process) => process[Symbol.asyncDispose]()));
    return running;
  }
}
