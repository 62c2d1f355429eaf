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

/** Alone on its router id, so that it is MASTER after three tenths of a second. */
export async function startKeepalived(cluster: Cluster, host: Host): Promise<LabProcess> {
  const config = join(host.directory, "keepalived.conf");
  writeFileSync(
    config,
    `
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 100
    version 3
    advert_int 0.1
    virtual_ipaddress {
        ${cluster.vip}
    }
}
`,
  );
  const pid = (name: string): string => join(host.directory, `${name}.pid`);
  const daemon = await host.spawn(
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
  const has = async (): Promise<boolean> =>
    (await host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0"])).includes(` ${cluster.vip}/`);
  await cluster.lab.until(has, 5_000, `keepalived on ${host.name} has the VIP`);
  return daemon;
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
