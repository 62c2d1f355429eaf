/**
 * What happens in one run: the cluster and the faults, drawn from the seed. Data only, so that a failing plan
 * can be printed and shrunk.
 */
import { Random } from "./random.ts";

export interface NodePlan {
  readonly base: number;
  /** Local ms per true ms, 0.95 to 1.05. */
  readonly rate: number;
  readonly wallOffsetMs: number;
  readonly startMs: number;
}

export type Person =
  | { readonly kind: "delete" }
  | { readonly kind: "empty" }
  | { readonly kind: "holder"; readonly holder: string }
  | { readonly kind: "future" }
  | { readonly kind: "duration"; readonly seconds: number }
  | { readonly kind: "transitions" }
  | { readonly kind: "move-to"; readonly to: string | null }
  | { readonly kind: "wipe" }
  | { readonly kind: "garbage"; readonly node: number }
  | { readonly kind: "offer"; readonly to: string }
  | { readonly kind: "restore" };

export type ServerFault = "down" | "hung" | "slow" | "late" | "failing" | "mute" | "deaf" | "torn";

export type Fault = { readonly atMs: number } & (
  | { readonly kind: "pause"; readonly node: number; readonly forMs: number }
  /** Frozen inside the next system call that binds or announces. */
  | { readonly kind: "stall"; readonly node: number; readonly forMs: number }
  /** The whole machine stands still, and goes on where it was. */
  | { readonly kind: "suspend"; readonly node: number; readonly forMs: number }
  /** A host that is none of ours claims the VIP: it answers, and announces every `everyMs`. */
  | { readonly kind: "foreign"; readonly everyMs: number; readonly forMs: number }
  /** A host sends frames in this node's name, its MAC address included: "the VIP is here". */
  | { readonly kind: "forged"; readonly node: number; readonly everyMs: number; readonly forMs: number }
  /** Other software (keepalived) has the VIP on this node's machine, where a foreign host would not. */
  | { readonly kind: "squatter"; readonly node: number; readonly everyMs: number; readonly forMs: number }
  /** Another machine of this node's name is switched on, and off again. */
  | { readonly kind: "namesake"; readonly node: number; readonly forMs: number }
  /** SIGKILL; started again after `forMs`, on the same boot. */
  | { readonly kind: "crash"; readonly node: number; readonly forMs: number }
  /** SIGTERM; started again after `forMs`. */
  | { readonly kind: "stop"; readonly node: number; readonly forMs: number }
  /** The machine loses power and boots again. */
  | { readonly kind: "power"; readonly node: number; readonly forMs: number }
  | { readonly kind: "isolate"; readonly node: number; readonly forMs: number }
  /** Nodes of the bit mask on one side. `segment`: only the VIP's Ethernet, `routed`: only the rest. */
  | {
      readonly kind: "partition";
      readonly mask: number;
      readonly layer: "both" | "routed" | "segment";
      readonly forMs: number;
    }
  /** What one sends does not get to the other. */
  | {
      readonly kind: "one-way";
      readonly from: number;
      readonly to: number;
      readonly layer: "both" | "routed" | "segment";
      readonly forMs: number;
    }
  /** The VIP's segment is cut between these two only: each hears the others. */
  | { readonly kind: "estranged"; readonly nodes: readonly [number, number]; readonly forMs: number }
  /** The VIP's link loses its carrier; the API stays reachable by another one unless `api`. */
  | { readonly kind: "link"; readonly node: number; readonly api: boolean; readonly forMs: number }
  /** The VIP's link goes down and comes back, again and again. */
  | {
      readonly kind: "flap";
      readonly node: number;
      readonly everyMs: number;
      readonly downMs: number;
      readonly forMs: number;
    }
  | { readonly kind: "lossy"; readonly rate: number; readonly extraMs: number; readonly forMs: number }
  | {
      readonly kind: "server";
      readonly server: number;
      readonly how: ServerFault;
      readonly ms: number;
      readonly forMs: number;
    }
  /** Every API server is stopped: a control plane that is being made, or upgraded by a careless hand. */
  | { readonly kind: "outage"; readonly forMs: number }
  | { readonly kind: "quorum"; readonly forMs: number }
  /** etcd elects another leader. `dead`: what was proposed to the last one is lost. */
  | { readonly kind: "leader"; readonly dead: boolean; readonly forMs: number }
  | { readonly kind: "compact" }
  /** `status`: the answer to every request of this node; {@link DISTRUST}: its TLS handshakes fail. */
  | { readonly kind: "refusal"; readonly node: number; readonly status: number; readonly forMs: number }
  /**
   * An admission webhook denies every node's write of the Lease, or puts another holder into it ({@link
   * REWRITES}). Reads work.
   */
  | {
      readonly kind: "admission";
      readonly status: number;
      /** The other holder, which may be a node. Default: a name that no node has. */
      readonly holder?: string;
      readonly forMs: number;
    }
  | { readonly kind: "wall"; readonly node: number; readonly byMs: number }
  | { readonly kind: "check"; readonly node: number; readonly check: string; readonly forMs: number }
  | { readonly kind: "priority"; readonly node: number; readonly delta: number; readonly forMs: number }
  | { readonly kind: "flush"; readonly node: number }
  | { readonly kind: "person"; readonly does: Person }
  /**
   * Waits for the next such write, and then hits one of the two nodes that it is about, in the worst moment.
   */
  | {
      readonly kind: "strike";
      readonly on: Moment;
      readonly who: "old" | "new";
      readonly how: Blow;
      readonly delayMs: number;
      readonly forMs: number;
    }
);

export type Moment = "offer" | "claim" | "release";
/** `deafen`: what it sends arrives, and no answer comes back. */
export type Blow = "pause" | "crash" | "isolate" | "deafen" | "stop";

/** Instead of a status: the node trusts no API server's certificate any more, so it gets no answer at all. */
export const DISTRUST = -1;

/** Instead of a status of the webhook: it admits every write, and puts another holder into it. */
export const REWRITES = 200;

export const PROFILES = [
  "chaos",
  "fence",
  "api",
  "people",
  "planned",
  "birth",
  "persistent",
  "refused",
] as const;
export type Profile = (typeof PROFILES)[number];

/**
 * The profile of a seed in a search over all of them. A run of `persistent` is an hour and costs as much as
 * twenty others, so one seed in 32 has it, and three more have `chaos`. Nearly half of the simulated time is
 * still its.
 */
export function profileOf(seed: number): Profile {
  const profile = PROFILES[seed % PROFILES.length] ?? "chaos";
  return profile === "persistent" && Math.floor(seed / PROFILES.length) % 4 !== 0 ? "chaos" : profile;
}

export interface Plan {
  readonly seed: string;
  readonly profile: Profile;
  readonly nodes: readonly NodePlan[];
  readonly nopreempt: boolean;
  readonly nopreemptStrict: boolean;
  readonly preemptDelayMs: number;
  readonly vips: readonly string[];
  /** The fast path is loaded everywhere: two holders do no harm for a while. */
  readonly fastPath: boolean;
  /** The sentinel's pace. */
  readonly probeMs: number;
  /** A router is on the segment, and known to all: a third host for everybody. */
  readonly gateway: boolean;
  /** What a node does that cannot get the Lease written. */
  readonly onApiLoss: "auto" | "hold" | "release";
  /** The agents are to take the VIP over from foreign hosts, and to give it back. */
  readonly takeOver?: boolean;
  /** How the Lease is at first. */
  readonly lease: "absent" | "shipped";
  readonly faults: readonly Fault[];
  /** True ms. The last `quietMs` of it are without faults. */
  readonly lengthMs: number;
}

type Kind = Fault["kind"];

/** What may happen in which profile, and how often compared with the others. */
const MIX: Readonly<Record<Exclude<Profile, "persistent">, Readonly<Partial<Record<Kind, number>>>>> = {
  chaos: {
    pause: 8,
    stall: 4,
    crash: 5,
    stop: 5,
    power: 4,
    isolate: 4,
    partition: 4,
    "one-way": 4,
    estranged: 4,
    link: 3,
    flap: 1,
    lossy: 3,
    server: 12,
    outage: 1,
    quorum: 2,
    leader: 3,
    compact: 1,
    refusal: 2,
    wall: 3,
    check: 6,
    priority: 6,
    flush: 1,
    person: 6,
    strike: 8,
    suspend: 4,
    foreign: 2,
  },
  fence: {
    pause: 10,
    stall: 8,
    crash: 6,
    power: 6,
    isolate: 6,
    partition: 4,
    "one-way": 4,
    estranged: 5,
    flap: 1,
    link: 2,
    server: 5,
    outage: 1,
    quorum: 3,
    wall: 2,
    flush: 1,
    stop: 4,
    strike: 12,
    priority: 4,
    suspend: 8,
    foreign: 3,
    namesake: 4,
  },
  api: {
    server: 20,
    outage: 4,
    quorum: 5,
    leader: 4,
    lossy: 5,
    compact: 3,
    refusal: 4,
    "one-way": 5,
    stop: 3,
    priority: 4,
    crash: 2,
    power: 2,
    isolate: 2,
    namesake: 2,
  },
  people: { person: 20, crash: 3, pause: 3, stop: 3, server: 3, priority: 4, check: 3 },
  birth: {
    power: 6,
    pause: 4,
    crash: 4,
    stop: 2,
    isolate: 3,
    partition: 2,
    estranged: 3,
    "one-way": 2,
    outage: 4,
    refusal: 3,
    server: 5,
    link: 3,
    foreign: 3,
    lossy: 1,
    suspend: 3,
  },
  refused: {
    crash: 6,
    stop: 4,
    power: 4,
    pause: 2,
    suspend: 1,
    isolate: 2,
    link: 2,
    estranged: 1,
    server: 2,
    check: 2,
    priority: 2,
  },
  planned: { stop: 6, priority: 8, check: 4, person: 5, wall: 2, compact: 1, crash: 3, foreign: 2 },
};

export const QUIET_MS = 60_000;

export function makePlan(seed: string, profile: Profile): Plan {
  const random = new Random(`${profile}/${seed}`);
  return withTakeOver(drawPlan(seed, profile, random), random.fork("takeOver"));
}

function drawPlan(seed: string, profile: Profile, random: Random): Plan {
  const size = random.integer(2, random.chance(0.3) ? 7 : 5);
  const samePriority = random.chance(0.4);
  const nodes = Array.from({ length: size }, (): NodePlan => ({
    base: samePriority ? 100 : random.integer(50, 150),
    rate: random.chance(0.3) ? random.pick([0.95, 1.05]) : random.between(0.95, 1.05),
    wallOffsetMs: random.chance(0.3) ? random.between(-7_200_000, 7_200_000) : random.between(-50, 50),
    startMs: random.between(0, 3_000),
  }));
  const lengthMs = profile === "persistent" ? 3_600_000 : random.between(120_000, 300_000);
  const nopreempt = random.chance(0.5);
  const plan: Plan = {
    seed,
    profile,
    nodes,
    nopreempt,
    nopreemptStrict: nopreempt && random.chance(0.1),
    preemptDelayMs: random.chance(0.25) ? random.integer(1_000, 10_000) : 0,
    vips: random.chance(0.3) ? ["10.0.0.100", "fd00::100"] : ["10.0.0.100"],
    ...drawWire(random.fork("wire"), profile),
    onApiLoss:
      profile === "refused" ? random.fork("onApiLoss").weighted({ auto: 8, hold: 1, release: 1 }) : "auto",
    lease: random.chance(0.5) ? "absent" : "shipped",
    faults: [],
    lengthMs,
  };
  switch (profile) {
    case "persistent":
      return { ...plan, faults: onePersistent(random, size, lengthMs) };
    case "birth":
      return {
        ...plan,
        faults: [...birth(random.fork("birth"), size), ...many(random, profile, size, lengthMs)],
      };
    case "refused":
      return {
        ...plan,
        faults: [
          ...refused(random.fork("refused"), size, lengthMs),
          ...many(random, profile, size, lengthMs),
        ],
      };
    case "chaos":
    case "fence":
    case "api":
    case "people":
    case "planned":
      return { ...plan, faults: many(random, profile, size, lengthMs) };
  }
}

/** How many of the plans of `planned` take the VIP over from other software. */
const TAKE_OVERS = 0.2;

/**
 * The agents are to take the VIP over from keepalived and to give it back, and it comes and goes: on a host
 * of its own, or on a node's machine.
 */
function withTakeOver(plan: Plan, random: Random): Plan {
  if (plan.profile !== "planned" || !random.chance(TAKE_OVERS)) return plan;
  const faults = plan.faults.map((fault): Fault => {
    const comes = fault.kind === "foreign" || (fault.kind === "check" && random.chance(0.5));
    if (!comes) return fault;
    const { atMs, forMs } = fault;
    const everyMs = random.logarithmic(500, 30_000);
    const node = random.integer(0, plan.nodes.length - 1);
    return random.chance(0.5)
      ? { atMs, kind: "foreign", everyMs, forMs }
      : { atMs, kind: "squatter", node, everyMs, forMs };
  });
  return { ...plan, takeOver: true, faults };
}

/** The default pace of 50 ms where frames decide; elsewhere a slower one, to play more. */
function drawWire(random: Random, profile: Profile): Pick<Plan, "fastPath" | "probeMs" | "gateway"> {
  return {
    fastPath: random.chance(0.5),
    probeMs: profile === "fence" || random.chance(0.2) ? 50 : random.pick([100, 250, 500]),
    gateway: random.chance(0.8),
  };
}

/**
 * A cluster that is made, or comes back from a power failure: no API server yet, or none that lets the agents
 * in.
 */
function birth(random: Random, size: number): readonly Fault[] {
  const forMs = random.logarithmic(3_000, 70_000);
  const refused = random.chance(0.4);
  const outage: readonly Fault[] = [{ atMs: 0, kind: "outage", forMs }];
  // RBAC comes after the servers.
  const refusals = Array.from({ length: size }, (_, node): Fault => ({
    atMs: 0,
    kind: "refusal",
    node,
    status: random.pick([401, 403, 404]),
    forMs: forMs + random.between(0, 20_000),
  }));
  const foreign: readonly Fault[] = random.chance(0.15)
    ? [
        {
          atMs: 0,
          kind: "foreign",
          everyMs: random.logarithmic(500, 30_000),
          forMs: random.between(5_000, 40_000),
        },
      ]
    : [];
  return [...outage, ...(refused ? refusals : []), ...foreign];
}

/**
 * For minutes the API serves some nodes, or none: credentials, RBAC, flow control, trust, a webhook, or a mix
 * of them.
 */
function refused(random: Random, size: number, lengthMs: number): readonly Fault[] {
  const limitMs = lengthMs - QUIET_MS;
  const some = random.chance(0.5) ? 2 ** size - 1 : random.integer(1, 2 ** size - 1);
  const mixed = random.chance(0.4);
  const status = (): number => random.pick([401, 403, 403, 429, DISTRUST]);
  const common = status();
  // All at once, as when a token expires, or one after the other.
  const spreadMs = random.chance(0.6) ? 0 : 10_000;
  const begins = (): number => random.between(15_000, 30_000);
  const atMs = begins();
  const forMs = Math.min(limitMs - atMs - spreadMs, random.logarithmic(20_000, 240_000));
  const each = Array.from({ length: size }, (_, node): Fault => ({
    atMs: atMs + random.unit() * spreadMs,
    kind: "refusal",
    node,
    status: mixed ? status() : common,
    forMs,
  }));
  const admission = random.chance(0.4);
  const refusals =
    admission && random.chance(0.7) ? [] : each.filter((_, node) => (some & (2 ** node)) !== 0);
  const beginsMs = admission ? begins() : 0;
  const denied = admission ? random.pick([403, 500]) : 0;
  const other = random.fork("rewrites");
  const verdict = other.chance(0.3)
    ? { status: REWRITES, holder: other.chance(0.5) ? "policy" : `n${other.integer(1, size)}` }
    : { status: denied };
  const webhook: readonly Fault[] = admission
    ? [{ atMs: beginsMs, kind: "admission", ...verdict, forMs }]
    : [];
  return [...refusals, ...webhook];
}

function many(
  random: Random,
  profile: Exclude<Profile, "persistent">,
  size: number,
  lengthMs: number,
): readonly Fault[] {
  const faults: Fault[] = [];
  // From a fault now and then to a storm of them.
  const gapMs = random.logarithmic(1_500, 40_000);
  let atMs = random.between(500, 15_000);
  while (atMs < lengthMs - QUIET_MS - 1_000) {
    const kind = random.weighted(MIX[profile]);
    const limitMs = lengthMs - QUIET_MS - atMs;
    // A planned move has the API to itself: the next one comes when it is over.
    const calm = profile === "planned";
    faults.push(draw(random, kind, atMs, size, limitMs, calm));
    atMs += calm ? random.between(16_000, 30_000) : -Math.log(1 - random.unit()) * gapMs;
  }
  return faults;
}

function draw(random: Random, kind: Kind, atMs: number, size: number, limitMs: number, calm: boolean): Fault {
  const node = random.integer(0, size - 1);
  const forMs = Math.min(limitMs, random.logarithmic(100, 60_000));
  switch (kind) {
    case "pause":
      return { atMs, kind, node, forMs: Math.min(limitMs, random.logarithmic(1, 120_000)) };
    case "suspend":
      return { atMs, kind, node, forMs: Math.min(limitMs, random.logarithmic(100, 60_000)) };
    case "foreign":
      return { atMs, kind, everyMs: random.logarithmic(500, 30_000), forMs };
    case "forged":
      return { atMs, kind, node, everyMs: random.logarithmic(100, 5_000), forMs };
    case "squatter":
      return { atMs, kind, node, everyMs: random.logarithmic(500, 30_000), forMs };
    case "namesake":
      return { atMs, kind, node, forMs: Math.min(limitMs, random.logarithmic(2_000, 120_000)) };
    case "stall":
      return { atMs, kind, node, forMs: Math.min(limitMs, random.logarithmic(1, 30_000)) };
    case "crash":
      return { atMs, kind, node, forMs: calm || random.chance(0.5) ? random.between(800, 1_600) : forMs };
    case "stop":
      return { atMs, kind, node, forMs: Math.min(limitMs, random.between(2_500, 20_000)) };
    case "power":
      return { atMs, kind, node, forMs: Math.min(limitMs, random.between(5_000, 60_000)) };
    case "isolate":
    case "quorum":
      return kind === "quorum" ? { atMs, kind, forMs } : { atMs, kind, node, forMs };
    case "partition":
      return {
        atMs,
        kind,
        mask: random.integer(1, 2 ** size - 2),
        layer: random.pick(["both", "both", "routed", "segment"]),
        forMs,
      };
    case "one-way":
      return {
        atMs,
        kind,
        from: node,
        to: (node + random.integer(1, size - 1)) % size,
        layer: random.pick(["both", "routed", "routed", "segment"]),
        forMs,
      };
    case "estranged":
      return { atMs, kind, nodes: [node, (node + random.integer(1, size - 1)) % size], forMs };
    case "flap":
      return {
        atMs,
        kind,
        node,
        everyMs: random.logarithmic(500, 20_000),
        downMs: random.logarithmic(50, 5_000),
        forMs: Math.min(limitMs, random.between(10_000, 60_000)),
      };
    case "outage":
      return { atMs, kind, forMs };
    case "link":
      return { atMs, kind, node, api: random.chance(0.5), forMs };
    case "lossy":
      return { atMs, kind, rate: random.between(0, 0.3), extraMs: random.logarithmic(1, 1_000), forMs };
    case "server":
      return {
        atMs,
        kind,
        server: node,
        how: random.pick(["down", "hung", "slow", "late", "failing", "mute", "deaf", "torn"]),
        ms: random.logarithmic(50, 6_000),
        forMs,
      };
    case "leader":
      return {
        atMs,
        kind,
        dead: random.fork(`leader ${atMs}`).chance(0.7),
        forMs: random.between(1_000, 1_150),
      };
    case "compact":
      return { atMs, kind };
    case "admission":
      return { atMs, kind, status: random.pick([403, 500]), forMs };
    case "refusal":
      return { atMs, kind, node, status: random.pick([401, 403, 429]), forMs };
    case "wall":
      return { atMs, kind, node, byMs: random.pick([-1, 1]) * random.logarithmic(10, 4 * 3_600_000) };
    case "check":
      return {
        atMs,
        kind,
        node,
        check: random.pick(calm ? ["balancer", "exec"] : ["balancer", "interface", "exec"]),
        forMs,
      };
    case "priority":
      return { atMs, kind, node, delta: random.pick([-50, -20, 20, 50]), forMs };
    case "flush":
      return { atMs, kind, node };
    case "strike":
      return {
        atMs,
        kind,
        on: random.pick(["offer", "claim", "release"]),
        who: random.pick(["old", "new"]),
        how: random.pick(["pause", "crash", "isolate", "deafen", "stop"]),
        delayMs: random.chance(0.5) ? random.between(0, 15) : random.logarithmic(1, 2_000),
        forMs,
      };
    case "person":
      return { atMs, kind, does: calm ? moveTo(random, size) : drawPerson(random, size) };
  }
}

function moveTo(random: Random, size: number): Person {
  return { kind: "move-to", to: random.chance(0.3) ? null : `n${random.integer(1, size)}` };
}

function drawPerson(random: Random, size: number): Person {
  const someone = `n${random.integer(1, size)}`;
  switch (
    random.pick([
      "delete",
      "empty",
      "holder",
      "future",
      "duration",
      "transitions",
      "move-to",
      "wipe",
      "garbage",
      "offer",
      "restore",
    ] as const)
  ) {
    case "delete":
      return { kind: "delete" };
    case "empty":
      return { kind: "empty" };
    case "holder":
      return { kind: "holder", holder: random.chance(0.5) ? "stranger" : someone };
    case "future":
      return { kind: "future" };
    case "duration":
      return { kind: "duration", seconds: random.pick([1, 5, 15, 30]) };
    case "transitions":
      return { kind: "transitions" };
    case "move-to":
      return random.chance(0.2) ? { kind: "move-to", to: "nobody" } : moveTo(random, size);
    case "wipe":
      return { kind: "wipe" };
    case "garbage":
      return { kind: "garbage", node: random.integer(0, size - 1) };
    case "offer":
      return { kind: "offer", to: someone };
    case "restore":
      return { kind: "restore" };
  }
}

/** One fault that begins and stays, for an hour: the VIP must not wander. */
function onePersistent(random: Random, size: number, lengthMs: number): readonly Fault[] {
  const kind = random.weighted<Kind>({
    isolate: 2,
    partition: 3,
    "one-way": 4,
    estranged: 2,
    link: 3,
    flap: 3,
    outage: 1,
    lossy: 3,
    server: 10,
    refusal: 2,
    check: 3,
    priority: 2,
    power: 1,
    foreign: 2,
    namesake: 2,
  });
  const atMs = random.between(20_000, 40_000);
  const fault = draw(random, kind, atMs, size, lengthMs, false);
  if (fault.kind === "lossy")
    return [{ ...fault, rate: fault.rate / 3, extraMs: Math.min(fault.extraMs, 500), forMs: lengthMs }];
  return "forMs" in fault ? [{ ...fault, forMs: lengthMs }] : [fault];
}

/** One line for people. */
export function describeFault(fault: Fault): string {
  const { atMs, kind, ...rest } = fault;
  return `${(atMs / 1_000).toFixed(3).padStart(9)}s  ${kind} ${JSON.stringify(rest, (_, value: unknown) => (typeof value === "number" ? Math.round(value * 1_000) / 1_000 : value))}`;
}
