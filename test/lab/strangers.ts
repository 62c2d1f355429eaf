/**
 * Machines and programs that are none of ours and use the VIP all the same, and what people are told of them.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Host } from "../support/lab/host.ts";
import type { LabProcess } from "../support/lab/process.ts";
import type { Cluster } from "./cluster.ts";

const CLAIM = fileURLToPath(new URL("children/claim.ts", import.meta.url));

/** Says every `everyMs` that the VIP is on this machine. */
export function startClaims(cluster: Cluster, host: Host, everyMs: number): Promise<LabProcess> {
  return host.spawn([process.execPath, CLAIM, cluster.vip, String(everyMs)], { name: "claim" });
}

/** Any cluster of the lab, by what these functions need of it. */
type WithVip = Pick<Cluster, "lab" | "vip">;

/** Alone on its router id, so that it is MASTER after three tenths of a second. */
export async function startKeepalived(cluster: WithVip, host: Host): Promise<LabProcess> {
  const daemon = await spawnKeepalived(
    cluster,
    host,
    `
    priority 100
    version 3
    advert_int 0.1`,
  );
  await keepalivedHas(cluster, host);
  return daemon;
}

/**
 * One of several, as kubeadm's documentation configures them: VRRPv2, an advertisement every second, so that
 * the first of them is MASTER after some four seconds.
 */
export function startVrrp(cluster: Cluster, host: Host, priority: number): Promise<LabProcess> {
  return spawnKeepalived(
    cluster,
    host,
    `
    priority ${priority}
    authentication {
        auth_type PASS
        auth_pass 42
    }`,
  );
}

/** keepalived on that machine has the VIP. */
export async function keepalivedHas(cluster: WithVip, host: Host): Promise<void> {
  await cluster.lab.until(
    async () => (await addressOn(cluster, host)).includes("valid_lft forever"),
    10_000,
    `keepalived on ${host.name} has the VIP`,
  );
}

/** The VIP on that machine, as `ip` shows it; "" where it is not. */
export function addressOn(cluster: WithVip, host: Host): Promise<string> {
  return host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0", "to", `${cluster.vip}/32`]);
}

async function spawnKeepalived(cluster: WithVip, host: Host, settings: string): Promise<LabProcess> {
  const config = join(host.directory, "keepalived.conf");
  writeFileSync(
    config,
    `
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51${settings}
    virtual_ipaddress {
        ${cluster.vip}
    }
}
`,
  );
  const pid = (name: string): string => join(host.directory, `${name}.pid`);
  return host.spawn(
    [
      "keepalived",
      "--dont-fork",
      "--log-console",
      "--vrrp",
      "-f",
      config,
      "-p",
      pid("keepalived"),
      "-r",
      pid("vrrp"),
    ],
    { name: "keepalived" },
  );
}

/** On every machine of the lab. */
export async function endStrangers(cluster: Cluster): Promise<void> {
  const processes = [...cluster.lab.hosts.values()].flatMap((host) => host.processes);
  await Promise.all(
    processes
      .filter(({ name, running }) => running && /keepalived|claim/.test(name))
      .map((process) => process.terminate()),
  );
}

interface EventList {
  readonly items: readonly {
    readonly reason: string;
    readonly message: string;
    readonly involvedObject: { readonly kind: string; readonly name: string };
  }[];
}

/** The messages of the Events on the Lease. */
export async function eventsOf(cluster: Cluster, reason: string): Promise<readonly string[]> {
  const list: EventList = JSON.parse(
    await cluster.kubectl(["get", "events", "-n", "kube-system", "-o", "json"]),
  );
  return list.items
    .filter(
      (each) =>
        each.reason === reason &&
        each.involvedObject.kind === "Lease" &&
        each.involvedObject.name === "leasehold",
    )
    .map(({ message }) => message);
}
