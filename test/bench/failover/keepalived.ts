/**
 * keepalived on every node as kubeadm's documentation of high availability configures it: VRRPv2, advertisements
 * every second, multicast, preemption, priorities 101, 100, 100. What answers behind its address, the caller brings.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "../../support/lab/host.ts";
import type { Lab } from "../../support/lab/lab.ts";
import type { LabProcess } from "../../support/lab/process.ts";

interface KeepalivedNode {
  readonly host: Host;
  readonly config: string;
  daemon: LabProcess | undefined;
  balancer: LabProcess | undefined;
}

export interface KeepalivedOptions {
  readonly vip: string;
  /** What listens behind the address on each node. */
  readonly balancer: (host: Host) => Promise<LabProcess>;
  /** Port of the balancer that the documented check asks for /healthz; without it there is no check. */
  readonly checkPort?: number;
}

export class Keepalived {
  readonly vip: string;
  readonly #lab: Lab;
  readonly #nodes: readonly KeepalivedNode[];

  readonly #balancer: KeepalivedOptions["balancer"];

  constructor(lab: Lab, hosts: readonly Host[], { vip, balancer, checkPort }: KeepalivedOptions) {
    this.vip = vip;
    this.#lab = lab;
    this.#balancer = balancer;
    this.#nodes = hosts.map((host, index) => {
      const config = join(host.directory, "keepalived.conf");
      const check = join(host.directory, "check_apiserver.sh");
      if (checkPort !== undefined) writeFileSync(check, checkScript(checkPort), { mode: 0o755 });
      writeFileSync(config, configuration(vip, index === 0, checkPort === undefined ? undefined : check));
      return { host, config, daemon: undefined, balancer: undefined };
    });
  }

  /** Starts what is not running; returns when the first node, whose priority is the highest, alone holds the address. */
  async start(): Promise<void> {
    for (const node of this.#nodes) {
      if (node.balancer?.running !== true) node.balancer = await this.#balancer(node.host);
      if (node.daemon?.running !== true) node.daemon = await node.host.spawn(command(node), { name: "keepalived" });
    }
    const first = this.#nodes[0]?.host.name;
    await this.#lab.until(async () => (await this.holders()).join() === first, 30_000, `${first} alone holds keepalived's address`);
  }

  async holders(): Promise<readonly string[]> {
    const held = await Promise.all(this.#nodes.map((node) => node.host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0"])));
    return this.#nodes.filter((_, index) => held[index]?.includes(` ${this.vip}/`)).map((node) => node.host.name);
  }

  /** SIGTERM to the master's first process, as the kubelet sends it; its balancer stays. */
  async stopMaster(): Promise<void> {
    const { daemon } = this.#master();
    if (daemon === undefined) return;
    process.kill(daemon.pid, "SIGTERM");
    await daemon.exited;
  }

  /** SIGKILL to all of the master's processes, and its balancer with it: ours is one process, agent and balancer. */
  async killMaster(): Promise<void> {
    const { daemon, balancer } = this.#master();
    daemon?.kill("SIGKILL");
    balancer?.kill("SIGKILL");
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

/** Asks the balanced port on its own node: any API server's answer will do. */
function checkScript(port: number): string {
  return `#!/bin/sh\ncurl --silent --fail --insecure --max-time 2 https://localhost:${port}/healthz -o /dev/null\n`;
}

function configuration(vip: string, first: boolean, check: string | undefined): string {
  const script = `
vrrp_script check_apiserver {
    script "${check}"
    interval 3
    weight -2
    fall 10
    rise 2
}`;
  const track = `
    track_script {
        check_apiserver
    }`;
  return `
global_defs {
    router_id LVS_DEVEL
}${check === undefined ? "" : script}
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
    }${check === undefined ? "" : track}
}
`;
}
