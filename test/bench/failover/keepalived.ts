/**
 * keepalived on every node as kubeadm's documentation of high availability configures it: VRRPv2, advertisements
 * every second, multicast, preemption, priorities 101, 100, 100. Behind its address answers a plain TCP listener.
 * Its check of the balancer is left out: it would pass throughout.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Host } from "../../support/lab/host.ts";
import type { Lab } from "../../support/lab/lab.ts";
import type { LabProcess } from "../../support/lab/process.ts";

export const LISTENER_PORT = 7000;
const LISTENER = fileURLToPath(new URL("../../support/lab/children/echo-server.ts", import.meta.url));

interface KeepalivedNode {
  readonly host: Host;
  readonly config: string;
  daemon: LabProcess | undefined;
  listener: LabProcess | undefined;
}

export class Keepalived {
  readonly vip: string;
  readonly #lab: Lab;
  readonly #nodes: readonly KeepalivedNode[];

  constructor(lab: Lab, hosts: readonly Host[], vip: string) {
    this.vip = vip;
    this.#lab = lab;
    this.#nodes = hosts.map((host, index) => {
      const config = join(host.directory, "keepalived.conf");
      writeFileSync(config, configuration(vip, index === 0));
      return { host, config, daemon: undefined, listener: undefined };
    });
  }

  /** Starts what is not running; returns when the first node, whose priority is the highest, alone holds the address. */
  async start(): Promise<void> {
    for (const node of this.#nodes) {
      if (node.listener?.running !== true) node.listener = await node.host.spawn([process.execPath, LISTENER, JSON.stringify({ port: LISTENER_PORT })], { name: "listener" });
      if (node.daemon?.running !== true) node.daemon = await node.host.spawn(command(node), { name: "keepalived" });
    }
    const first = this.#nodes[0]?.host.name;
    await this.#lab.until(async () => (await this.holders()).join() === first, 30_000, `${first} alone holds keepalived's address`);
  }

  async holders(): Promise<readonly string[]> {
    const held = await Promise.all(this.#nodes.map((node) => node.host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0"])));
    return this.#nodes.filter((_, index) => held[index]?.includes(` ${this.vip}/`)).map((node) => node.host.name);
  }

  /** SIGTERM to the master's first process, as the kubelet sends it; its listener stays. */
  async stopMaster(): Promise<void> {
    const { daemon } = this.#master();
    if (daemon === undefined) return;
    process.kill(daemon.pid, "SIGTERM");
    await daemon.exited;
  }

  /** SIGKILL to all of the master's processes, and its listener with it: ours is one process, agent and balancer. */
  async killMaster(): Promise<void> {
    const { daemon, listener } = this.#master();
    daemon?.kill("SIGKILL");
    listener?.kill("SIGKILL");
    await daemon?.exited;
  }

  #master(): KeepalivedNode {
    const [first] = this.#nodes;
    if (first === undefined) throw new Error("keepalived needs nodes");
    return first;
  }
}

function command(node: KeepalivedNode): readonly string[] {
  const pid = (name: string): string => join(node.host.directory, `${name}.pid`);
  return ["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", node.config, "-p", pid("keepalived"), "-r", pid("vrrp")];
}

function configuration(vip: string, first: boolean): string {
  return `
global_defs {
    router_id LVS_DEVEL
}
vrrp_instance VI_1 {
    state ${first ? "MASTER" : "BACKUP"}
    interface eth0
    virtual_router_id 51
    priority ${first ? 101 : 100}
    authentication {
        auth_type PASS
        auth_pass 42
    }
    virtual_ipaddress {
        ${vip}
    }
}
`;
}
