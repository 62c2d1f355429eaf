/**
 * keepalived and HAProxy on every node as kubeadm's documentation of high availability configures them:
 * VRRPv2, advertisements every second, multicast, preemption, priorities 101, 100, 100, the check of the
 * balancer. Or the same with the quickest that VRRPv3 can do.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "../../support/lab/host.ts";
import type { Lab } from "../../support/lab/lab.ts";
import type { LabProcess } from "../../support/lab/process.ts";
import { documented, startHaproxy } from "../haproxy.ts";

/** Routers of different ids do not hear each other: several sets can run on the same nodes. */
export interface Vrrp {
  readonly version: 2 | 3;
  readonly advertS: number;
  readonly routerId: number;
}

export const DOCUMENTED: Vrrp = { version: 2, advertS: 1, routerId: 51 };
/** RFC 5798 counts in centiseconds; a tenth of a second is what people set. */
export const VRRP3: Vrrp = { version: 3, advertS: 0.1, routerId: 52 };

export interface KeepalivedOptions {
  readonly vip: string;
  readonly vrrp: Vrrp;
  /** HAProxy's, on every node. */
  readonly port: number;
  /** Behind HAProxy, `address:port` of each. */
  readonly servers: readonly string[];
}

interface KeepalivedNode {
  readonly host: Host;
  readonly config: string;
  daemon: LabProcess | undefined;
  balancer: LabProcess | undefined;
}

export class Keepalived {
  readonly #lab: Lab;
  readonly #nodes: readonly KeepalivedNode[];
  readonly #options: KeepalivedOptions;

  constructor(lab: Lab, hosts: readonly Host[], options: KeepalivedOptions) {
    this.#lab = lab;
    this.#options = options;
    const { vip, vrrp, port } = options;
    this.#nodes = hosts.map((host, index) => {
      const config = join(host.directory, `keepalived-${vrrp.routerId}.conf`);
      const check = join(host.directory, `check_apiserver-${vrrp.routerId}.sh`);
      writeFileSync(check, checkScript(port), { mode: 0o755 });
      writeFileSync(config, configuration({ vip, vrrp, first: index === 0, check }));
      return { host, config, daemon: undefined, balancer: undefined };
    });
  }

  /** Starts what is not running. */
  async start(): Promise<void> {
    const { port, servers, vrrp } = this.#options;
    for (const node of this.#nodes) {
      if (node.balancer?.running !== true)
        node.balancer = await startHaproxy(
          node.host,
          `haproxy-${port}`,
          documented({ port, servers, checks: true }),
        );
      if (node.daemon?.running !== true)
        node.daemon = await node.host.spawn(command(node, vrrp), { name: `keepalived-${vrrp.routerId}` });
    }
  }

  /** Waits until the first node, whose priority is the highest, alone holds the address; answers its name. */
  async settled(): Promise<string> {
    const first = this.#first().host.name;
    await this.#lab.until(
      async () => (await this.#holders()).join() === first,
      30_000,
      `${first} alone holds keepalived's address`,
    );
    return first;
  }

  async #holders(): Promise<readonly string[]> {
    const held = await Promise.all(
      this.#nodes.map((node) => node.host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0"])),
    );
    return this.#nodes
      .filter((_, index) => held[index]?.includes(` ${this.#options.vip}/`))
      .map((node) => node.host.name);
  }

  /** SIGTERM to the master's first process, as the kubelet sends it; its balancer stays. */
  async stopMaster(): Promise<void> {
    const { daemon } = this.#first();
    if (daemon?.running !== true) return;
    process.kill(daemon.pid, "SIGTERM");
    await daemon.exited;
  }

  /** Of what runs on a node: keepalived's first process and HAProxy's. */
  pids(name: string): readonly number[] {
    const node = this.#nodes.find(({ host }) => host.name === name);
    return [node?.daemon, node?.balancer].flatMap((program) =>
      program?.running === true ? [program.pid] : [],
    );
  }

  /**
   * SIGKILL to all of a node's processes, its balancer's too: ours is one process, agent and balancer. Its
   * address stays.
   */
  async kill(name: string): Promise<void> {
    const node = this.#nodes.find(({ host }) => host.name === name);
    for (const program of [node?.daemon, node?.balancer]) program?.kill("SIGKILL");
    await Promise.all([node?.daemon?.exited, node?.balancer?.exited]);
  }

  #first(): KeepalivedNode {
    const [first] = this.#nodes;
    if (first === undefined) throw new Error("keepalived needs nodes");
    return first;
  }
}

function command(node: KeepalivedNode, { routerId }: Vrrp): readonly string[] {
  const pid = (name: string): string => join(node.host.directory, `${name}-${routerId}.pid`);
  return [
    "keepalived",
    "--dont-fork",
    "--log-console",
    "--vrrp",
    "-f",
    node.config,
    "-p",
    pid("keepalived"),
    "-r",
    pid("vrrp"),
  ];
}

/** Asks the balanced port on its own node: any API server's answer will do. */
function checkScript(port: number): string {
  return `#!/bin/sh\ncurl --silent --fail --insecure --max-time 2 https://localhost:${port}/healthz -o /dev/null\n`;
}

/** VRRPv3 has no authentication (RFC 5798, 9). */
function configuration({
  vip,
  vrrp,
  first,
  check,
}: {
  readonly vip: string;
  readonly vrrp: Vrrp;
  readonly first: boolean;
  readonly check: string;
}): string {
  const version = `
    version 3
    advert_int ${vrrp.advertS}`;
  const authentication = `
    authentication {
        auth_type PASS
        auth_pass 42
    }`;
  return `
global_defs {
    router_id LVS_DEVEL
}
vrrp_script check_apiserver {
    script "${check}"
    interval 3
    weight -2
    fall 10
    rise 2
}
vrrp_instance VI_1 {
    state ${first ? "MASTER" : "BACKUP"}
    interface eth0
    virtual_router_id ${vrrp.routerId}
    priority ${first ? 101 : 100}${vrrp.version === 3 ? version : authentication}
    virtual_ipaddress {
        ${vip}
    }
    track_script {
        check_apiserver
    }
}
`;
}
