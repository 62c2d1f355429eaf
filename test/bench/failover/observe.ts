/**
 * One fault and what is seen of it: by a client that opens connections all the time, and in the kernels'
 * tables.
 */
import type { Cluster, ClusterNode } from "../../lab/cluster.ts";
import type { ArpCapture } from "../../support/lab/capture.ts";
import { monotonicMs, sleep } from "../../support/lab/clock.ts";
import { attempt } from "../../support/lab/command.ts";
import type { Host } from "../../support/lab/host.ts";
import { OwnershipSampler } from "../../support/lab/ownership.ts";
import { ClientProbe } from "../../support/lab/probe.ts";
import type { Attempt, ProbeOptions } from "../../support/lab/probe.ts";
import type { OwnershipTimeline } from "../../support/lab/timeline.ts";
import type { Contender } from "./contenders.ts";

/** The clients' machine, the wire and all who are there. */
export interface Rig {
  readonly cluster: Cluster;
  readonly contenders: readonly Contender[];
  readonly arp: ArpCapture;
  readonly realTime: boolean;
  /** A machine that forgets all the time where the address is, as one that has never been there. */
  readonly newcomer: Host;
}

/** @returns whether this machine lets a client have a processor whenever it wants one */
export async function allowsRealTime(cluster: Cluster): Promise<boolean> {
  return (await attempt(cluster.client.inside(["chrt", "--rr", "1", "true"]))).code === 0;
}

const PROBE_EVERY_MS = 5;
const PROBE_TIMEOUT_MS = 1_000;
const NEWCOMER_EVERY_MS = 10;
const FORGETS = "while :; do ip neigh flush all; sleep 0.05; done";
/**
 * Answers before the fault. Proof of death needs 20 of the holder's, 50 ms apart, and so long must the client
 * have been content too.
 */
const BEFORE_MS = 1_500;
/** What is looked at of the time before the fault. */
const LEAD_MS = 500;
const OWNERSHIP_EVERY_MS = 10;
/** Longer than any subject takes. What is not over by then is a figure too, and no failed measurement. */
const AT_MOST_MS = 45_000;

export interface Watched {
  readonly attempts: readonly Attempt[];
  /** Of connections that have to ask the wire for the address first. None unless asked for. */
  readonly newcomers: readonly Attempt[];
  readonly timeline: OwnershipTimeline;
}

export interface Fault {
  /** What the client does; default: every 5 ms a connection to {@link Contender.port}. */
  readonly ask?: Pick<ProbeOptions, "port" | "path" | "status" | "intervalMs">;
  readonly act: () => Promise<void>;
  /** The address is to leave this node; undefined: it is to stay. */
  readonly from?: ClusterNode;
  /** It is looked at for this long at least, once the address has moved. */
  readonly atLeastMs: number;
  readonly newcomers?: boolean;
}

let serial = 0;

export async function startProbe(
  { cluster }: Rig,
  contender: Contender,
  options: Omit<ProbeOptions, "host">,
  machine = cluster.client,
): Promise<ClientProbe> {
  return ClientProbe.start(machine, { host: contender.vip, ...options }, `probe-${(serial += 1)}`);
}

export async function watch(rig: Rig, contender: Contender, fault: Fault): Promise<Watched> {
  const { cluster, newcomer } = rig;
  // What the client learnt in an earlier fault is no part of this one.
  await cluster.client.run(["ip", "neigh", "flush", "all"]);
  await using ownership = await OwnershipSampler.start(
    new Map(cluster.nodes.map(({ name, host }) => [name, host.namespace])),
    OWNERSHIP_EVERY_MS,
  );
  const asked = {
    port: contender.port,
    intervalMs: PROBE_EVERY_MS,
    ...fault.ask,
    timeoutMs: PROBE_TIMEOUT_MS,
    realTime: rig.realTime,
  };
  await using probe = await startProbe(rig, contender, asked);
  await using _forgetting =
    fault.newcomers === true ? await newcomer.spawn(["sh", "-c", FORGETS], { name: "forget" }) : undefined;
  await using strangers =
    fault.newcomers === true
      ? await startProbe(rig, contender, { ...asked, intervalMs: NEWCOMER_EVERY_MS }, newcomer)
      : undefined;
  await cluster.lab.until(
    () => steady(probe, BEFORE_MS),
    30_000,
    `${contender.name}: ${contender.vip}:${asked.port} answers steadily before the fault`,
  );

  const fromMs = monotonicMs();
  await fault.act();
  const moved = async (): Promise<boolean> =>
    fault.from === undefined ||
    (await ownership.holders(contender.vip)).some((name) => name !== fault.from?.name);
  let movedMs: number | undefined;
  while (monotonicMs() < fromMs + AT_MOST_MS) {
    if (movedMs === undefined && (await moved())) movedMs = monotonicMs();
    if (
      movedMs !== undefined &&
      monotonicMs() > movedMs + fault.atLeastMs &&
      steady(probe, 2 * PROBE_TIMEOUT_MS)
    )
      break;
    await sleep(50);
  }
  const since = (attempts: readonly Attempt[]): readonly Attempt[] =>
    attempts.filter(({ sentMs }) => sentMs > fromMs - LEAD_MS);
  return {
    attempts: since(await probe.stop()),
    newcomers: since((await strangers?.stop()) ?? []),
    timeline: ownership.timeline(contender.vip).between(fromMs - LEAD_MS),
  };
}

/** No attempt that ended in the last `spanMs` failed, and there were some all the time. */
function steady(probe: ClientProbe, spanMs: number): boolean {
  const sinceMs = monotonicMs() - spanMs;
  const recent = probe.attempts().filter(({ sentMs, ms }) => sentMs + ms > sinceMs);
  const first = recent[0]?.sentMs ?? Infinity;
  // A client that was not there yet, or whose process had to wait, has not seen the whole span.
  return first < sinceMs + 100 && recent.every(({ ok }) => ok);
}
