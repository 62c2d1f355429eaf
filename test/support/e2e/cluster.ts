/** Machines for a kubeadm cluster on one switch, and the people at work on them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../control-plane/go-build.ts";
import { createLab } from "../lab/lab.ts";
import type { HostOptions, Lab } from "../lab/lab.ts";
import type { Host } from "../lab/host.ts";
import { attempt, run } from "../lab/command.ts";
import { ClientProbe } from "../lab/probe.ts";
import { ROOT } from "../runner/layers.ts";
import { CGROUP_VARIABLE } from "./cgroups.ts";
import { Machine } from "./node.ts";
import { prepared } from "./prepare.ts";
import type { Prepared } from "./prepare.ts";

/** The addresses of a network. `node` and `pods` are of the machine with a number from 1. */
interface Addresses {
  readonly vip: string;
  readonly gateway: string;
  readonly node: (number: number) => string;
  readonly pods: (number: number) => string;
}

/** The addresses of the guides, RFC 5737's and RFC 3849's, so that nothing has to be replaced. */
const IPV4: Addresses = {
  vip: "192.0.2.10",
  gateway: "192.0.2.254",
  node: (number) => `192.0.2.${10 + number}`,
  pods: (number) => `10.97.${number}.0/24`,
};
const IPV6: Addresses = {
  vip: "2001:db8::10",
  gateway: "2001:db8::fe",
  node: (number) => `2001:db8::${10 + number}`,
  pods: (number) => `fd97:0:0:${number}::/64`,
};
export const VIP = IPV4.vip;

export class Machines implements AsyncDisposable {
  readonly lab: Lab;
  readonly prepared: Prepared;
  /** A machine on the same network that is no node: the gateway, and a client. */
  readonly client: Host;
  readonly #machines = new Map<string, Machine>();
  readonly #addresses: Addresses;

  constructor(lab: Lab, client: Host, what: Prepared, addresses: Addresses) {
    this.lab = lab;
    this.#addresses = addresses;
    this.client = client;
    this.prepared = what;
  }

  machine(name: string): Machine {
    const found = this.#machines.get(name);
    if (found === undefined) throw new Error(`no machine ${name}`);
    return found;
  }

  /**
   * A new machine with the control plane's images and this repository's manifests.
   * @param number 1 for 192.0.2.11
   * @param before folders with programs that go before the others of their name
   */
  async add(name: string, number: number, before: readonly string[] = []): Promise<Machine> {
    const cgroup = process.env[CGROUP_VARIABLE];
    if (cgroup === undefined) throw new Error(`the runner names no ${CGROUP_VARIABLE}`);
    const address = this.#addresses.node(number);
    const host = await this.lab.node(name, hostOptions(address));
    const machine = new Machine({
      host,
      cgroup,
      programs: [...before, ...this.prepared.programs.folders],
      pause: this.prepared.images.pause,
      pods: this.#addresses.pods(number),
      gateway: this.#addresses.gateway,
      address,
    });
    this.#machines.set(name, machine);
    await machine.boot();
    await this.#furnish(machine);
    return machine;
  }

  /** The machine loses power, and an empty one with its name and address boots in its place. */
  async renew(machine: Machine): Promise<Machine> {
    await machine.powerLoss();
    await run(["rm", "-rf", machine.disk("")], { timeoutMs: 60_000 });
    await machine.powerOn();
    await this.#furnish(machine);
    return machine;
  }

  async #furnish(machine: Machine): Promise<void> {
    await machine.type("ctr -n k8s.io images import -", {
      stdin: this.prepared.images.archive,
      timeoutMs: 120_000,
    });
    await run(["cp", "-r", join(ROOT, "manifests"), machine.disk("/root/manifests")]);
  }

  /**
   * Runs commands of a person whose machine is none of the nodes, with `leasehold.tar` in the current folder.
   * `ssh NODE COMMAND` reaches the nodes.
   */
  async typeOutside(commands: string): Promise<string> {
    const folder = mkdtempSync(join(this.client.directory, "desk-"));
    mkdirSync(join(folder, "bin"));
    const cases = [...this.#machines.values()].map(
      (machine) => `${machine.name}) exec ${machine.inside([]).join(" ")} "$@" ;;`,
    );
    writeFileSync(
      join(folder, "bin", "ssh"),
      `#!/bin/sh\nname=$1\nshift\ncase $name in\n${cases.join("\n")}\nesac\nexit 255\n`,
      { mode: 0o755 },
    );
    await run(["ln", "-sf", this.prepared.leasehold, join(folder, "leasehold.tar")]);
    return run(["bash", "-c", `set -e -o pipefail\n${commands}`], {
      cwd: folder,
      env: {
        PATH: [join(folder, "bin"), ...this.prepared.programs.folders, process.env["PATH"] ?? ""].join(":"),
      },
      timeoutMs: 120_000,
    });
  }

  /** Names of the machines that have the VIP on an interface, as their kernels say. */
  async holders(address = this.#addresses.vip): Promise<readonly string[]> {
    const holding = await Promise.all(
      [...this.#machines.values()].map(async ({ name, host }) => {
        // A machine without power has no network namespace.
        const { stdout } = await attempt(host.inside(["ip", "-o", "addr"]));
        return stdout.includes(` ${address}/`) ? [name] : [];
      }),
    );
    return holding.flat();
  }

  /** The machine that has the VIP. @throws Error when none has it */
  async holder(): Promise<Machine> {
    const [name] = await this.holders();
    if (name === undefined) throw new Error("no machine has the VIP");
    return this.machine(name);
  }

  /** A client that asks VIP:6443/readyz over a new connection every 20 ms. */
  probe(): Promise<ClientProbe> {
    return ClientProbe.start(this.client, {
      host: this.#addresses.vip,
      port: 6443,
      tls: {},
      path: "/readyz",
      intervalMs: 100,
      realTime: true,
    });
  }

  /** Copies every machine's /var/log, for people, and returns where they are. A later call replaces them. */
  async saveLogs(): Promise<string> {
    const folder = join(cacheFolder(process.env), "e2e-logs");
    rmSync(folder, { recursive: true, force: true });
    for (const machine of this.#machines.values()) {
      mkdirSync(join(folder, machine.name), { recursive: true });
      await attempt(["cp", "-r", join(machine.host.directory, "disk", "log"), join(folder, machine.name)]);
      await attempt(["cp", "-r", join(machine.host.directory, "log"), join(folder, machine.name, "machine")]);
    }
    return folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
  }
}

const hostOptions = (address: string): HostOptions =>
  address.includes(":") ? { ipv6: address } : { ipv4: address };

/**
 * Makes the network; {@link Machines.add} makes the nodes.
 * @param family with 6 the nodes have no IPv4 address but the loopback's
 */
export async function createMachines(family: 4 | 6 = 4): Promise<Machines> {
  const lab = await createLab();
  const addresses = family === 4 ? IPV4 : IPV6;
  try {
    const client = await lab.client("gateway", hostOptions(addresses.gateway));
    return new Machines(lab, client, prepared(), addresses);
  } catch (error) {
    await lab.stop();
    throw error;
  }
}
