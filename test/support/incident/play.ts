/** Plays one incident before a person: starts the cluster, breaks it, tells, waits and cleans up. */
import { monotonicMs, sleep } from "../lab/clock.ts";
import { startCluster } from "./cluster.ts";
import type { IncidentCluster, IncidentPrograms } from "./cluster.ts";
import type { Incident, Staged } from "./incident.ts";
import { writeShells } from "./shells.ts";

const LOOK_MS = 1_000;
/** So often in a row it must be well: a cluster that moves may look well in between. */
const WELL_LOOKS = 3;

export interface PlayOptions {
  readonly programs: IncidentPrograms;
  readonly minutes: number;
  /** Directory for the commands that lead onto the machines. */
  readonly shells: string;
  readonly say: (line: string) => void;
}

/** Returns whether it was solved in time. */
export async function play(incident: Incident, options: PlayOptions): Promise<boolean> {
  const { programs, minutes, shells, say } = options;
  await using cluster = await startCluster(programs, incident.options, (line) => say(`... ${line}`));
  const staged = await incident.stage(cluster);
  writeShells(shells, cluster.machines);
  for (const line of briefing(incident.name, staged, cluster, options)) say(line);
  const begunMs = monotonicMs();
  let looks = 0;
  while (monotonicMs() - begunMs < minutes * 60_000) {
    looks = (await isSolved(staged)) ? looks + 1 : 0;
    if (looks === WELL_LOOKS) {
      say(`SOLVED after ${duration(monotonicMs() - begunMs)}`);
      return true;
    }
    await sleep(LOOK_MS);
  }
  say(`NOT SOLVED: ${minutes} minutes are over`);
  return false;
}

/** What it throws counts as "not yet". */
export async function isSolved({ solved }: Staged): Promise<boolean> {
  try {
    return await solved();
  } catch {
    return false;
  }
}

function briefing(
  name: string,
  { symptom, goal }: Staged,
  { vip, nodes, client, neighbour }: IncidentCluster,
  { minutes, shells }: PlayOptions,
): readonly string[] {
  return [
    "",
    `INCIDENT ${name}`,
    ...symptom.map((line) => `  ${line}`),
    "",
    `GOAL: ${goal}`,
    `You have ${minutes} minutes. The runbook is docs/operations.md.`,
    "",
    `The cluster's VIP is ${vip}. The machines, all on one network:`,
    ...nodes.map(({ host }) => `  ${host.name}  ${host.ipv4}  ${host.mac}  control-plane node`),
    `  client  ${client.host.ipv4}  ${client.host.mac}  your workstation`,
    `  db1  ${neighbour.host.ipv4}  ${neighbour.host.mac}  the database of another team`,
    "",
    "A shell as root on one of them, or one command, as with ssh:",
    `  ${shells}/n1`,
    `  ${shells}/n1 leasehold status`,
    "",
    "How these machines differ from real ones: static pods run as plain processes, so crictl has only ps, logs, exec,",
    "stop and inspect. No kubelet probes restart what hangs, there is no systemd, and no controllers and no CNI run.",
    "",
  ];
}

function duration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
