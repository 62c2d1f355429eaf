/** One soak: a cluster with real API servers, faults from a seed, a prober, a verdict. */
import { cpSync, globSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { processOf } from "../bench/processes.ts";
import { createCluster } from "../lab/cluster.ts";
import type { Cluster } from "../lab/cluster.ts";
import { monotonicMs, sleep, wallToMonotonic } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import { FAULT_KINDS } from "./bounds.ts";
import type { FaultKind } from "./bounds.ts";
import { TURN_MS, judge } from "./judge.ts";
import type { Evidence, MemorySample, PlayedEpisode } from "./judge.ts";
import { describeEpisode, episodes, lengthOf, steadyNode } from "./plan.ts";
import { Player } from "./player.ts";
import { Prober } from "./prober.ts";
import { summary, violationsReport } from "./report.ts";
import type { Note } from "./report.ts";
import { WallClock, clockLibrary } from "./wall-clock.ts";

export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Default: all. */
  readonly kinds?: readonly FaultKind[];
  /** Gets text for people, one line or several. */
  readonly say: (line: string) => void;
}

const READY_MS = 400;
const DIRECT_MS = 1_000;
const MEMORY_EVERY_MS = 5_000;
/** Who has the VIP is for the timelines only. */
const SAMPLE_MS = 100;
/** After the last episode: answers that are on their way come in. */
const LAST_CALM_MS = 3_500;

/** `busy`: the machine had no processors for this, so nothing that was seen is held against the agents. */
export type Outcome = "held" | "broken" | "busy";

/** Plays one soak, and says all that it saw. @throws Error when the cluster does not start */
export async function soak({ seed, minutes, kinds = FAULT_KINDS, say }: SoakOptions): Promise<Outcome> {
  say(`seed ${seed}, ${minutes} minutes. Nothing restarts the agent of ${steadyNode(seed)}.`);
  const library = clockLibrary();
  const playable = library === undefined ? kinds.filter((kind) => kind !== "clock-stepped") : kinds;
  if (playable.length < kinds.length)
    say("No clock is stepped: libfaketime (Debian package faketime) is not installed.");
  await using cluster = await createCluster({ vips: (lab) => [lab.vip4, lab.vip6] });
  const clocks = new Map(
    library === undefined
      ? []
      : cluster.nodes.map(({ name, host }) => [name, new WallClock(host, library)] as const),
  );
  const ownership = await cluster.lab.ownership(SAMPLE_MS);
  const prober = cluster.lab.own(await startProber(cluster));
  const player = new Player(cluster, ownership, prober, clocks);
  await cluster.startAgents(
    Object.fromEntries(cluster.nodes.map((node) => [node.name, player.environment(node)])),
  );
  const unwell = await player.well();
  if (unwell !== undefined) throw new Error(`the cluster did not start: ${unwell}\n${cluster.lab.tails(12)}`);

  const fromMs = monotonicMs();
  const memory: MemorySample[] = [];
  const sampling = setInterval(() => memory.push(...memoryOf(cluster)), MEMORY_EVERY_MS);
  const played: PlayedEpisode[] = [];
  try {
    for (const episode of episodes(seed, playable)) {
      if (monotonicMs() + lengthOf(episode) > fromMs + minutes * 60_000) break;
      say(`${clock(monotonicMs() - fromMs)}  ${describeEpisode(episode)}`);
      const one = await player.play(episode);
      played.push(one);
      // What comes after it would be played on a broken cluster.
      if (one.problem !== undefined) break;
    }
    await sleep(LAST_CALM_MS);
  } finally {
    clearInterval(sampling);
  }
  prober.read();
  const { turns, ready, direct } = prober;
  const evidence: Evidence = {
    fromMs,
    toMs: monotonicMs(),
    turns: turns.filter(({ sentMs }) => sentMs >= fromMs),
    ready: ready.filter(({ sentMs }) => sentMs >= fromMs),
    direct,
    episodes: played,
    memory,
  };
  const verdict = judge(evidence);
  say(`\n${summary(evidence, verdict)}`);
  if (verdict.violations.length === 0 && verdict.busy.length === 0) {
    say(`\nEvery bound held (seed ${seed}).`);
    return "held";
  }
  const notes = [...holderNotes(cluster, ownership), ...journalNotes(cluster)];
  say(`\n${violationsReport(evidence, verdict, notes)}`);
  for (const reason of verdict.busy) say(`The machine is too busy: ${reason}.`);
  say(
    `\n${verdict.violations.length} bounds were broken${verdict.busy.length > 0 ? ", on a machine that is too busy to tell why" : ""}. The seed is ${seed}. The journals are in ${keepJournals(cluster, seed)}`,
  );
  return verdict.busy.length > 0 ? "busy" : "broken";
}

function startProber({ client, vips, nodes, plane }: Cluster): Promise<Prober> {
  return Prober.start(
    client,
    {
      vips,
      own: [client.ipv4, client.ipv6],
      servers: nodes.map(({ name, host }) => ({ name, host: host.ipv4 })),
      caFile: join(plane.nodes[0]?.etcKubernetes ?? "", "pki", "ca.crt"),
      turnMs: TURN_MS,
      readyMs: READY_MS,
      directMs: DIRECT_MS,
    },
    new Map(nodes.map(({ name, host }) => [host.mac, name])),
  );
}

function memoryOf(cluster: Cluster): readonly MemorySample[] {
  return cluster.nodes.flatMap(({ name, agent }): readonly MemorySample[] => {
    const figures = agent?.running === true ? processOf(agent.pid) : undefined;
    return agent === undefined || figures === undefined
      ? []
      : [{ node: name, pid: agent.pid, atMs: monotonicMs(), kib: figures.memoryKib }];
  });
}

function holderNotes(cluster: Cluster, ownership: OwnershipSampler): readonly Note[] {
  return cluster.vips.flatMap((vip) =>
    ownership
      .timeline(vip)
      .intervals()
      .map(({ fromMs, holders }) => ({
        atMs: fromMs,
        text: `${vip} is bound on ${holders.join(" and ") || "no node"}`,
      })),
  );
}

const TELLING =
  /^(State changed|Offering|VIP (bound|released)|Starting|A write of the Lease)|check (failed|recovered)|does not answer/;

interface JournalLine {
  readonly ts: string;
  readonly msg: string;
  readonly prevState?: string;
  readonly state?: string;
  readonly reason?: string;
  readonly successor?: string;
  readonly write?: string;
  readonly outcome?: { readonly message?: string };
}

/** What the agents logged of their states. The times of an agent whose clock was wrong are wrong. */
function journalNotes(cluster: Cluster): readonly Note[] {
  const toMonotonic = wallToMonotonic();
  return cluster.nodes.flatMap(({ name, agent }) =>
    (agent?.log() ?? "").split("\n").flatMap((text): readonly Note[] => {
      if (!text.startsWith("{") || !text.endsWith("}")) return [];
      const line: JournalLine = JSON.parse(text);
      if (!TELLING.test(line.msg)) return [];
      const { prevState, state, reason, successor, write, outcome } = line;
      const more = [
        ...(state === undefined ? [] : [`${prevState ?? ""} -> ${state}`]),
        ...[successor, write, reason, outcome?.message].filter((word) => word !== undefined),
      ];
      const rest = more.length === 0 ? "" : `: ${more.join(", ")}`;
      return [{ atMs: Date.parse(line.ts) + toMonotonic, text: `${name}: ${line.msg}${rest}` }];
    }),
  );
}

/** Copies every log out of the sandbox. Answers the directory. */
function keepJournals({ lab }: Cluster, seed: number): string {
  const directory = mkdtempSync(join(tmpdir(), `leasehold-soak-${seed}-`));
  for (const file of globSync(join(lab.directory, "**", "*.log")))
    cpSync(file, join(directory, relative(lab.directory, file)));
  return directory;
}

/** `12:05.3`: minutes and seconds. */
function clock(ms: number): string {
  const seconds = ms / 1_000;
  return `${String(Math.floor(seconds / 60)).padStart(2)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}
