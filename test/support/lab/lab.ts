/**
 * A lab: nodes and clients made of network namespaces on one switch. Disposable; needs the
 * sandbox (see ../sandbox), in which nothing can be left behind.
 *
 *     await using lab = await createLab();
 *     const [n1, n2] = await Promise.all([lab.node("n1"), lab.node("n2")]);
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { insideSandbox } from "../sandbox/sandbox.ts";
import { ArpCapture } from "./capture.ts";
import { monotonicMs, sleep } from "./clock.ts";
import { attempt } from "./command.ts";
import { Host } from "./host.ts";
import { OwnershipSampler } from "./ownership.ts";
import { Switch } from "./switch.ts";
import type { DropSpec, Fault, FrameCount } from "./switch.ts";

export interface HostOptions {
  /** Address without prefix length; default: the next of 10.77.0.0/24. */
  readonly ipv4?: string;
  /** Likewise of fd77::/64. */
  readonly ipv6?: string;
}

export interface Cleaned {
  readonly namespaces: number;
  /** Processes that still ran. */
  readonly processes: number;
}

/** Of these only T ends the waiting in {@link Lab.until}. */
type Maybe<T> = T | false | null | undefined;

const open = new Set<Lab>();
let serial = 0;

export async function createLab(): Promise<Lab> {
  if (!insideSandbox()) {
    throw new Error(
      "a lab runs in the sandbox only: use `node test/run.ts lab`, or call enterSandbox() first",
    );
  }
  const lab = new Lab(`lab${process.pid}x${++serial}`);
  if (open.size === 0)
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  open.add(lab);
  await lab.start();
  return lab;
}

/** The sandbox would clean up anyhow; this lets agents end in order and says what was there. */
function onSignal(signal: NodeJS.Signals): void {
  const labs = [...open];
  void Promise.all(labs.map((lab) => lab.stop())).then((all) => {
    const namespaces = all.reduce((total, cleaned) => total + cleaned.namespaces, 0);
    const processes = all.reduce((total, cleaned) => total + cleaned.processes, 0);
    process.stderr.write(
      `lab: ${signal}: ended ${processes} processes, removed ${namespaces} network namespaces\n`,
    );
    process.exit(130);
  });
}

export class Lab implements AsyncDisposable {
  /** Addresses of the default subnet that no machine gets: for virtual IPs. */
  readonly vip4 = "10.77.0.100";
  readonly vip6 = "fd77::100";
  readonly subnet4 = "10.77.0.0/24";
  readonly subnet6 = "fd77::/64";
  readonly directory: string;
  readonly hosts = new Map<string, Host>();
  readonly #id: string;
  readonly #switch: Switch;
  readonly #owned = new AsyncDisposableStack();
  #nodes = 0;
  #clients = 0;
  #stopping: Promise<Cleaned> | undefined;

  constructor(id: string) {
    this.#id = id;
    mkdirSync("/run/lab", { recursive: true });
    this.directory = mkdtempSync("/run/lab/");
    this.#switch = new Switch(`${id}-sw`);
  }

  async start(): Promise<void> {
    await attempt(["ip", "netns", "add", this.#switch.namespace]);
    await this.#switch.start();
  }

  /** A machine that routes, as a control-plane node does. Names: up to 12 letters and digits. */
  node(name: string, options: HostOptions = {}): Promise<Host> {
    return this.#host(name, "node", 10 + ++this.#nodes, options);
  }

  client(name: string, options: HostOptions = {}): Promise<Host> {
    return this.#host(name, "client", 200 + ++this.#clients, options);
  }

  async #host(name: string, kind: "node" | "client", number: number, options: HostOptions): Promise<Host> {
    // Interface names have 15 characters at most, and the port's is `p-` and the name.
    if (!/^[a-z0-9]{1,12}$/.test(name)) throw new Error(`bad name for a machine: ${name}`);
    if (this.hosts.has(name)) throw new Error(`the lab has a ${name} already`);
    const host = new Host(
      {
        name,
        kind,
        namespace: `${this.#id}-${name}`,
        ipv4: options.ipv4 ?? `10.77.0.${number}`,
        ipv6: options.ipv6 ?? `fd77::${number.toString(16)}`,
        prefix4: 24,
        prefix6: 64,
        mac: `02:00:00:00:${kind === "node" ? "01" : "02"}:${number.toString(16).padStart(2, "0")}`,
        directory: join(this.directory, name),
      },
      this.#switch,
    );
    this.hosts.set(name, host);
    await host.start();
    return host;
  }

  /** Keeps `resource` until the lab ends; then it is disposed of before the machines are. */
  own<T extends AsyncDisposable>(resource: T): T {
    return this.#owned.use(resource);
  }

  /** Frames from `a` to `b` vanish, and those the other way unless `oneWay`; carriers stay. */
  async cut(a: Host, b: Host, options: { readonly oneWay?: boolean } = {}): Promise<Fault> {
    const there = await this.#switch.drop({ from: a.name, to: b.name });
    const back = options.oneWay === true ? undefined : await this.#switch.drop({ from: b.name, to: a.name });
    return both(there, back);
  }

  /** The machine keeps its carrier, and no frame comes or goes. */
  async isolate(host: Host): Promise<Fault> {
    return both(await this.#switch.drop({ from: host.name }), await this.#switch.drop({ to: host.name }));
  }

  /** Drops what `spec` matches, on its way through the switch. */
  drop(spec: DropSpec): Promise<Fault> {
    return this.#switch.drop(spec);
  }

  /**
   * The switch is a hub for all machines there are: whatever MAC addresses they send with, it learns nothing.
   */
  forgetAddresses(): Promise<void> {
    return this.#switch.forgetAddresses([...this.hosts.keys()]);
  }

  /**
   * Counts the frames that each machine there is sends from now on and that `match` matches (words of nft's
   * netdev family).
   */
  count(match: string): Promise<FrameCount> {
    return this.#switch.count([...this.hosts.keys()], match);
  }

  /** Frames to `host` come `delayMs` late. Throws where the kernel has no sch_netem. */
  delay(host: Host, delayMs: number): Promise<Fault> {
    return this.#switch.delay(host.name, delayMs);
  }

  /** Ends every cut, isolation and drop. */
  heal(): Promise<void> {
    return this.#switch.heal();
  }

  /** Samples who has which address, on the machines that exist now. */
  async ownership(intervalMs = 50): Promise<OwnershipSampler> {
    const namespaces = new Map([...this.hosts.values()].map((host) => [host.name, host.namespace]));
    return this.own(await OwnershipSampler.start(namespaces, intervalMs));
  }

  /** Records all ARP and IPv6 neighbour discovery that passes the switch. */
  async captureArp(): Promise<ArpCapture> {
    const nodes = new Map([...this.hosts.values()].map((host) => [host.mac, host.name]));
    return this.own(await ArpCapture.start(this.#switch.namespace, nodes));
  }

  /**
   * Waits until `predicate` answers something true and answers that. What it throws counts as
   * "not yet". After `timeoutMs` throws an error that names `what` and shows each log's end.
   */
  async until<T>(predicate: () => Maybe<T> | Promise<Maybe<T>>, timeoutMs: number, what: string): Promise<T> {
    const deadline = monotonicMs() + timeoutMs;
    let last: unknown;
    do {
      try {
        const value = await predicate();
        if (value !== false && value !== undefined && value !== null) return value;
        last = value;
      } catch (error) {
        last = error;
      }
      await sleep(20);
    } while (monotonicMs() < deadline);
    const reason = last instanceof Error ? `; last error: ${last.message}` : "";
    throw new Error(`not within ${timeoutMs} ms: ${what}${reason}\n${this.tails(12)}`);
  }

  /** The last lines of every process, for messages. */
  tails(lines: number): string {
    return [...this.hosts.values()]
      .flatMap((host) => host.processes)
      .map((process) => {
        const state =
          process.exit === undefined
            ? "running"
            : `ended: ${process.exit.signal ?? `exit ${process.exit.code}`}`;
        return [`--- ${process.name} (${state})`, ...process.lastLines(lines)].join("\n");
      })
      .join("\n");
  }

  /** Ends all processes and removes all namespaces; idempotent. */
  stop(): Promise<Cleaned> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<Cleaned> {
    const hosts = [...this.hosts.values()];
    await this.#owned.disposeAsync();
    const counts = await Promise.all(hosts.map((host) => host.stop()));
    const namespaces = [...hosts.map((host) => host.namespace), this.#switch.namespace];
    await attempt(["ip", "-force", "-batch", "-"], {
      input: namespaces.map((name) => `netns del ${name}\n`).join(""),
    });
    rmSync(this.directory, { recursive: true, force: true });
    open.delete(this);
    if (open.size === 0)
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, onSignal);
    return { namespaces: namespaces.length, processes: counts.reduce((total, count) => total + count, 0) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function both(first: Fault, second: Fault | undefined): Fault {
  const heal = async (): Promise<void> => {
    await first.heal();
    await second?.heal();
  };
  return { heal, [Symbol.asyncDispose]: heal };
}
