/**
 * The data planes side by side: a client, the node that holds the address, and a backend, each a network
 * namespace on one switch. The kernel fast path and our proxy beside HAProxy, as kubeadm documents it and
 * tuned, and beside no balancer at all. In each round one kind of load runs over all five, seconds apart,
 * beginning with another one each time.
 */
import { fileURLToPath } from "node:url";
import { sleep } from "../../support/lab/clock.ts";
import { createLab } from "../../support/lab/lab.ts";
import type { Lab } from "../../support/lab/lab.ts";
import { versionsOf } from "../anchor.ts";
import { documented, startHaproxy, tuned } from "../haproxy.ts";
import type { Benchmark, Plan, RatioGoal, Sample } from "../report.ts";
import { forwarded, loadFastPath } from "./fast-path.ts";
import type { FastPathTopology } from "./fast-path.ts";
import { bulk, connections, connectionsIn, CROWD, crowd, gbitIn, pingPong, startServer } from "./load.ts";
import type { Measured, ServerKind, Target } from "./load.ts";

const NONE = "none";
const FAST = "fast path";
const PROXY = "proxy";
const DOCUMENTED = "HAProxy";
const TUNED = "HAProxy tuned";
const PORT = 6443;
const PROXY_PORT = 8443;

const NEW = "new connections";
const ROUND_TRIPS = "round trips";
const P50 = "round trip, median";
const P99 = "round trip, p99";
const CROWD_ANSWERED = `${CROWD} connect at once`;
const MEMORY = "idle connection";

type Direction = "down" | "up";
const bulkName = (direction: Direction): string => `bulk ${direction}`;
const cpuOf = (what: string): string => `CPU, ${what}`;
const holdersShare = (what: string): string => `CPU, ${what}, holder's`;

/**
 * The documented configuration is the one that the goal means. What the tuned one leaves of it is told, for
 * whoever tunes.
 */
function overHaproxy(
  metric: string,
  of: string,
  kind: RatioGoal["kind"],
  value: number,
): readonly RatioGoal[] {
  return [DOCUMENTED, TUNED].map((over): RatioGoal => ({
    metric,
    of,
    over,
    kind,
    value,
    judged: over === DOCUMENTED,
  }));
}

export const balancer: Benchmark = {
  name: "balancer",
  summary:
    "the kernel fast path and the proxy beside HAProxy and no balancer: bulk, connections, round trips, CPU, memory",
  defaultRounds: 10,
  subjects: [NONE, FAST, PROXY, DOCUMENTED, TUNED],
  ours: FAST,
  anchor: DOCUMENTED,
  metrics: [
    { name: bulkName("down"), unit: "Gbit/s", decimals: 2 },
    { name: bulkName("up"), unit: "Gbit/s", decimals: 2 },
    { name: NEW, unit: "1/s", decimals: 0 },
    { name: ROUND_TRIPS, unit: "1/s", decimals: 0 },
    { name: P50, unit: "us", decimals: 0 },
    { name: P99, unit: "us", decimals: 0 },
    { name: CROWD_ANSWERED, unit: "ms", decimals: 0 },
    { name: MEMORY, unit: "KiB", decimals: 1 },
    { name: cpuOf(bulkName("down")), unit: "ms/Gbit", decimals: 0 },
    { name: holdersShare(bulkName("down")), unit: "ms/Gbit", decimals: 0 },
    { name: cpuOf(bulkName("up")), unit: "ms/Gbit", decimals: 0 },
    { name: holdersShare(bulkName("up")), unit: "ms/Gbit", decimals: 0 },
    { name: cpuOf(NEW), unit: "us each", decimals: 0 },
    { name: holdersShare(NEW), unit: "us each", decimals: 0 },
  ],
  ratioGoals: [
    ...overHaproxy(bulkName("down"), FAST, "at-least", 2.2),
    { metric: bulkName("down"), of: FAST, over: NONE, kind: "at-least", value: 0.85, judged: true },
    ...overHaproxy(bulkName("up"), FAST, "at-least", 2),
    { metric: bulkName("up"), of: FAST, over: NONE, kind: "at-least", value: 0.75, judged: true },
    ...overHaproxy(NEW, FAST, "at-least", 1.1),
    ...overHaproxy(ROUND_TRIPS, FAST, "at-least", 1.4),
    ...overHaproxy(P99, FAST, "at-most", 1),
    ...overHaproxy(NEW, PROXY, "at-least", 0.8),
    ...overHaproxy(bulkName("down"), PROXY, "at-least", 1),
    ...overHaproxy(bulkName("up"), PROXY, "at-least", 1),
  ],
  anchorVersion: () => versionsOf(["haproxy", "iperf3", "sockperf", "wrk"]),
  needs: "namespaces",
  run,
};

interface Subject {
  readonly name: string;
  readonly target: Target;
}

async function run({ rounds }: Plan, record: (sample: Sample) => void): Promise<void> {
  await using lab = await createLab();
  const client = await lab.client("client");
  const plain = await lab.node("backend");
  const { subjects, fast } = await prepare(lab, plain.ipv4);
  const servers = [plain, fast.backend];

  const during = async (kind: ServerKind, act: () => Promise<void>): Promise<void> => {
    const started = await Promise.all(servers.map((host) => startServer(host, kind, PORT)));
    await act();
    await Promise.all(started.map((server) => server[Symbol.asyncDispose]()));
  };

  // Compiled and grown before it counts.
  await during("http", async () => {
    for (const subject of subjects) await connections(client, subject.target);
  });
  if ((await forwarded(fast)) === 0) throw new Error("no packet took the fast path");

  for (let round = 1; round <= rounds; round++) {
    const say = (subject: Subject, metric: string, value: number): void =>
      record({ round, subject: subject.name, metric, value });
    await during("bulk", async () => {
      for (const direction of ["down", "up"] as const) {
        const name = bulkName(direction);
        const rates = await overAll(
          subjects,
          (subject) => bulk(client, subject.target, direction),
          say,
          name,
        );
        sayCpu(rates, say, name, gbitIn);
      }
    });
    await during("http", async () => {
      const rates = await overAll(subjects, (subject) => connections(client, subject.target), say, NEW);
      // ms for each connection to us.
      sayCpu(rates, say, NEW, (rate) => connectionsIn(rate) / 1000);
      const memory = new Map<Subject, number>();
      for (const subject of subjects) {
        const { answeredMs, memoryKib } = await crowd(client, subject.target);
        say(subject, CROWD_ANSWERED, answeredMs);
        memory.set(subject, memoryKib);
        await sleep(200);
      }
      const direct = memory.get(directOf(subjects)) ?? 0;
      for (const [subject, kib] of memory)
        if (subject.name !== NONE) say(subject, MEMORY, (kib - direct) / CROWD);
    });
    await during("echo", async () => {
      for (const subject of subjects) {
        const { perSecond, p50Us, p99Us } = await pingPong(client, subject.target);
        say(subject, ROUND_TRIPS, perSecond);
        say(subject, P50, p50Us);
        say(subject, P99, p99Us);
      }
    });
    subjects.push(...subjects.splice(0, 1)); // nobody is always the first
  }
}

/**
 * Two holders and two backends: rules that translate make the kernel track every connection of their
 * namespace, which must not slow the others down.
 */
async function prepare(
  lab: Lab,
  backend: string,
): Promise<{ readonly subjects: Subject[]; readonly fast: FastPathTopology }> {
  const holder = await lab.node("holder");
  const fast: FastPathTopology = {
    vip: lab.vip4,
    port: PORT,
    holder: await lab.node("fastholder"),
    backend: await lab.node("fastbackend"),
    alias: "10.77.0.99",
  };
  await loadFastPath(fast);
  const server = `${backend}:${PORT}`;
  const script = fileURLToPath(new URL("proxy-child.ts", import.meta.url));
  const proxy = await holder.spawn([process.execPath, script, String(PROXY_PORT), server], { name: "proxy" });
  const options = { servers: [server], checks: false };
  const plain = await startHaproxy(holder, "haproxy", documented({ ...options, port: 7443 }));
  const quick = await startHaproxy(holder, "haproxy-tuned", tuned({ ...options, port: 7444 }));
  for (const port of [PROXY_PORT, 7443, 7444])
    await lab.until(
      async () => (await holder.run(["ss", "-Htln", `sport = :${port}`])) !== "",
      10_000,
      `port ${port} listens`,
    );
  const subjects: Subject[] = [
    { name: NONE, target: { host: backend, port: PORT, pid: undefined } },
    { name: FAST, target: { host: fast.vip, port: PORT, pid: undefined } },
    { name: PROXY, target: { host: holder.ipv4, port: PROXY_PORT, pid: proxy.pid } },
    { name: DOCUMENTED, target: { host: holder.ipv4, port: 7443, pid: plain.pid } },
    { name: TUNED, target: { host: holder.ipv4, port: 7444, pid: quick.pid } },
  ];
  return { subjects, fast };
}

function directOf(subjects: readonly Subject[]): Subject {
  const direct = subjects.find(({ name }) => name === NONE);
  if (direct === undefined) throw new Error("nothing to compare with");
  return direct;
}

type Say = (subject: Subject, metric: string, value: number) => void;

async function overAll(
  subjects: readonly Subject[],
  act: (subject: Subject) => Promise<Measured<number>>,
  say: Say,
  metric: string,
): Promise<ReadonlyMap<Subject, Measured<number>>> {
  const results = new Map<Subject, Measured<number>>();
  for (const subject of subjects) {
    const result = await act(subject);
    results.set(subject, result);
    say(subject, metric, result.value);
  }
  return results;
}

/**
 * Of all processes for one unit of work, and what of it is more than the client and the server alone need:
 * the holder's.
 */
function sayCpu(
  results: ReadonlyMap<Subject, Measured<number>>,
  say: Say,
  what: string,
  amountOf: (rate: number) => number,
): void {
  const each = ({ value, cpuMs }: Measured<number>): number => cpuMs / amountOf(value);
  const direct = results.get(directOf([...results.keys()]));
  for (const [subject, result] of results) {
    say(subject, cpuOf(what), each(result));
    if (direct !== undefined && subject.name !== NONE)
      say(subject, holdersShare(what), each(result) - each(direct));
  }
}
