/**
 * What the simulation, which sees everything, knows about who could serve: the premises of the liveness
 * invariants. Sampled, not exact to the millisecond.
 */
import type { ServerMode } from "./control-plane.ts";
import type { SimNode } from "./node.ts";
import type { Station } from "./sim-wire.ts";
import { StartingRule } from "./starting.ts";
import type { Found } from "./starting.ts";
import { UpsetRule } from "./upset.ts";
import type { World } from "./world.ts";

export const SAMPLE_MS = 50;
/** Two seconds until it asks again, a probe, and its annotation. */
const FOREIGN_GONE_MS = 5_000;

export class Health {
  readonly #world: World;
  /** By machine: since when something has been so without a break; NaN while it is not. */
  readonly #goodSince: Float64Array;
  readonly #usableSince: Float64Array;
  readonly #holdableSince: Float64Array;
  readonly #awakeSince: Float64Array;
  /** By machine: when something was last so. */
  readonly #provisionalMs: Float64Array;
  readonly #unboundMs: Float64Array;
  /** By machine. */
  readonly #connected: boolean[] = [];
  #sampledMs = Number.NEGATIVE_INFINITY;
  #badServers = 0;
  #silentWatches = false;
  /** As of the last look, by node, and by two nodes. */
  readonly #priorities: number[] = [];
  readonly #links: boolean[] = [];
  /** By API server: its etcd has a quorum; and it works. */
  readonly #quorate: boolean[] = [];
  readonly #working: boolean[] = [];
  /** By pair of stations: when frames last passed both ways, and when they last did not. */
  readonly #reachedMs: Float64Array;
  readonly #cutMs: Float64Array;
  readonly #reachedSince: Float64Array;
  readonly #upsets = new UpsetRule();
  readonly #starting: StartingRule;
  /** When frames were last lost or late by the network's doing. */
  lossMs = Number.NEGATIVE_INFINITY;
  /** When any node's effective priority last changed. */
  priorityChangedMs = 0;
  /** When an API server last answered 5xx now and then. */
  failingMs = Number.NEGATIVE_INFINITY;
  /** When it last changed which API servers serve whom. */
  apiChangedMs = 0;
  /** When it had changed before that. */
  apiChangedBeforeMs = 0;
  #api = "";
  /** When a link or the segment last changed. */
  linksChangedMs = 0;

  constructor(world: World) {
    this.#world = world;
    const machines = world.machines.length;
    const never = (): Float64Array => new Float64Array(machines).fill(Number.NaN);
    this.#goodSince = never();
    this.#usableSince = never();
    this.#holdableSince = never();
    this.#awakeSince = never();
    this.#provisionalMs = new Float64Array(machines).fill(Number.NEGATIVE_INFINITY);
    this.#unboundMs = new Float64Array(machines).fill(Number.NEGATIVE_INFINITY);
    this.#starting = new StartingRule(machines, world.nodes.length);
    // The router is one of them.
    const pairs = (world.machines.length + 1) ** 2;
    this.#reachedMs = new Float64Array(pairs).fill(Number.NEGATIVE_INFINITY);
    this.#cutMs = new Float64Array(pairs).fill(Number.NEGATIVE_INFINITY);
    this.#reachedSince = new Float64Array(pairs).fill(Number.POSITIVE_INFINITY);
  }

  /**
   * Since when this node has been eligible, running and connected to a working API server; undefined while it
   * is not.
   */
  goodSince(node: SimNode): number | undefined {
    return begun(this.#goodSince, node);
  }

  /** Since when some API server has worked for this node and would write for it; undefined: none does. */
  usableSince(node: SimNode): number | undefined {
    return begun(this.#usableSince, node);
  }

  /** The same, and etcd has had a leader, so that it was answered. */
  answeredSince(node: SimNode): number | undefined {
    const usableMs = this.usableSince(node);
    return usableMs === undefined ? undefined : Math.max(usableMs, this.#world.plane.stalledUntilMs);
  }

  /**
   * Since when nobody at all has been able to claim, and this node can see that: no API server is silent to
   * it, or at least half answer and do not write.
   */
  holdableSince(node: SimNode): number | undefined {
    return begun(this.#holdableSince, node);
  }

  /** Since when its agent has run without being frozen. */
  awakeSince(node: SimNode): number | undefined {
    return begun(this.#awakeSince, node);
  }

  /** When its agent last had the VIP without the Lease. */
  provisionalMs(node: SimNode): number {
    // It may have become so since the last sample.
    return node.provisional === "" ? at(this.#provisionalMs, node.index) : this.#world.scheduler.nowMs;
  }

  unboundMs(node: SimNode): number {
    return at(this.#unboundMs, node.index);
  }

  /** When these two last did not reach each other on the segment; stations by their number. */
  cutMs(a: number, b: number): number {
    return at(this.#cutMs, this.#pair(a, b));
  }

  /** When they last began to, perhaps to stop since. */
  reachedSince(a: number, b: number): number {
    return at(this.#reachedSince, this.#pair(a, b));
  }

  reachedMs(a: number, b: number): number {
    return at(this.#reachedMs, this.#pair(a, b));
  }

  /** Its link flapped, or another candidate claimed against it: it may not become holder for a while. */
  unstable(node: SimNode): boolean {
    return this.#upsets.unstable(node, this.#world.scheduler.nowMs);
  }

  /** It was upset so lately that it does not preempt. */
  shy(node: SimNode): boolean {
    return this.#upsets.shy(node, this.#world.scheduler.nowMs);
  }

  #pair(a: number, b: number): number {
    return Math.min(a, b) * (this.#world.machines.length + 1) + Math.max(a, b);
  }

  #since(times: Float64Array, node: SimNode, is: boolean): void {
    if (!is) times[node.index] = Number.NaN;
    else if (Number.isNaN(at(times, node.index))) times[node.index] = this.#world.scheduler.nowMs;
  }

  #sampleMachine(node: SimNode): void {
    const { nodes, plane, network, scheduler } = this.#world;
    const { nowMs } = scheduler;
    const status = plane.refusal[node.index] ?? 0;
    const refused = status !== 0;
    const awake = node.agent?.process.running === true && !node.agent.process.catchingUp;
    const isLossy = network.lossRate > 0 || network.extraMs > 0;
    let works = false;
    let unable = 0;
    let surelyThere = true;
    // And in truth no write can be carried out anywhere, not even late or unanswered.
    let stopped = true;
    let slow = false;
    for (let server = 0; server < nodes.length; server += 1) {
      const mode = plane.modes[server]?.kind ?? "dark";
      const quorate = this.#quorate[server] === true;
      const reached = network.both(node.index, server);
      const worksHere = mode === "up" && quorate && reached && !refused;
      const silent = mode === "dark" || mode === "hung" || !reached;
      const starting = this.#starting.look(node.index, server, found(mode, reached, isLossy), awake, nowMs);
      works ||= worksHere;
      if (!silent && mode !== "down" && !worksHere) unable += 1;
      surelyThere &&= !silent || starting.surely;
      stopped &&= mode === "down" || mode === "dark" || !quorate || (starting.surely && silent);
      slow ||= mode === "slow";
    }
    const holdable = !refused && !works && (surelyThere || unable * 2 >= nodes.length);
    this.#since(this.#usableSince, node, works);
    // One that takes longer than a survey waits may be taken for silent.
    this.#since(this.#holdableSince, node, holdable && stopped && !slow);
    this.#since(this.#awakeSince, node, awake);
    if (node.provisional !== "") this.#provisionalMs[node.index] = nowMs;
    if (!node.kernel.bound) this.#unboundMs[node.index] = nowMs;
  }

  #samplePairs(): void {
    const { machines, router, ether, network, scheduler } = this.#world;
    const { nowMs } = scheduler;
    const count = machines.length + 1;
    const station = (index: number): Station =>
      index < machines.length ? this.#world.stationAt(index) : router;
    for (let from = 0; from < count; from += 1) {
      const a = station(from);
      const { up } = a;
      for (let to = from + 1; to < count; to += 1) {
        const pair = this.#pair(from, to);
        if (up && (network.segmentWhole ? station(to).up : ether.reachesBothWays(a, station(to)))) {
          if (
            this.#reachedSince[pair] === Number.POSITIVE_INFINITY ||
            at(this.#cutMs, pair) > at(this.#reachedMs, pair)
          )
            this.#reachedSince[pair] = nowMs;
          this.#reachedMs[pair] = nowMs;
        } else this.#cutMs[pair] = nowMs;
      }
    }
  }

  /** Some quorate API server, whatever its mood, hears this node and is heard. */
  connected(node: SimNode): boolean {
    return this.#connected[node.index] === true;
  }

  /** API servers that a call may have to pass over. */
  badServers(): number {
    return this.#badServers;
  }

  silentWatches(): boolean {
    return this.#silentWatches;
  }

  /**
   * Whoever starts while a foreign host has the VIP, and was never seen to follow another, does not claim; it
   * asks the wire again every two seconds.
   */
  #refusesForeign(): boolean {
    const { segment, plane, scheduler, plan } = this.#world;
    return (
      (plan.takeOver === true || (plane.table.record?.holder ?? "") === "") &&
      (segment.foreignHostClaims || scheduler.nowMs - segment.foreignEndedMs < FOREIGN_GONE_MS)
    );
  }

  sample(): void {
    if (this.#world.scheduler.nowMs - this.#sampledMs >= SAMPLE_MS) this.look();
  }

  look(): void {
    const { nowMs } = this.#world.scheduler;
    this.#sampledMs = nowMs;
    const { nodes, machines, plane, network } = this.#world;
    let badServers = 0;
    for (let server = 0; server < nodes.length; server += 1) {
      const quorate = plane.quorate(server);
      const works = quorate && plane.modes[server]?.kind === "up";
      this.#quorate[server] = quorate;
      this.#working[server] = works;
      if (!works) badServers += 1;
    }
    this.#badServers = badServers;
    if (plane.modes.some(({ kind }) => kind === "failing")) this.failingMs = nowMs;
    this.#silentWatches = plane.deafWatch.includes(true) || badServers > 0;
    if (network.lossRate > 0 || network.extraMs > 0) this.lossMs = nowMs;
    for (const machine of machines) this.#sampleMachine(machine);
    this.#samplePairs();
    const slow = network.lossRate > 0.02 || network.extraMs > 100;
    for (const { index } of machines) this.#connected[index] = this.#reachesOne(index, this.#quorate);
    for (const node of nodes) {
      const good =
        !slow &&
        this.#reachesOne(node.index, this.#working) &&
        node.powered &&
        node.eligible &&
        !this.#world.disputed(node) &&
        !this.unstable(node) &&
        !this.#refusesForeign() &&
        node.kernel.link.carrier &&
        node.agent?.process.running === true &&
        plane.admission === 0 &&
        (plane.refusal[node.index] ?? 0) === 0;
      this.#since(this.#goodSince, node, good);
    }
    const reach = network.whole
      ? []
      : nodes.map((node) => nodes.map((other) => network.both(node.index, other.index)).join());
    const modes = plane.modes.map(({ kind }) => kind).join();
    const api = `${modes} ${this.#quorate.join()} ${plane.refusal.join()} ${plane.admission} ${reach.join()}`;
    if (api !== this.#api) [this.apiChangedBeforeMs, this.apiChangedMs] = [this.apiChangedMs, nowMs];
    this.#api = api;
    if (this.#prioritiesChanged()) this.priorityChangedMs = nowMs;
    if (this.#linksChanged()) this.linksChangedMs = nowMs;
  }

  /** That machine and one of these API servers hear each other. */
  #reachesOne(machine: number, servers: readonly boolean[]): boolean {
    const { network } = this.#world;
    for (let server = 0; server < servers.length; server += 1)
      if (servers[server] === true && network.both(machine, server)) return true;
    return false;
  }

  #prioritiesChanged(): boolean {
    let changed = false;
    for (const { index, effective } of this.#world.nodes) {
      changed ||= this.#priorities[index] !== effective;
      this.#priorities[index] = effective;
    }
    return changed;
  }

  #linksChanged(): boolean {
    const { nodes, network } = this.#world;
    let changed = false;
    for (const a of nodes) {
      for (const b of nodes) {
        const index = a.index * nodes.length + b.index;
        const link = a === b ? a.kernel.link.carrier : network.sameSegment(a.index, b.index);
        changed ||= this.#links[index] !== link;
        this.#links[index] = link;
      }
    }
    return changed;
  }
}

/** What a survey of a server may find that is in this mode. */
function found(mode: ServerMode["kind"], reached: boolean, isLossy: boolean): Found {
  if (!reached) return "silent";
  switch (mode) {
    case "down":
      return "refusing";
    case "hung":
    case "dark":
      return "silent";
    case "slow":
    case "mute":
      return "unclear";
    case "up":
    case "failing":
      return isLossy ? "unclear" : "answering";
  }
}

function at(times: Float64Array, index: number): number {
  return times[index] ?? Number.NaN;
}

function begun(times: Float64Array, { index }: SimNode): number | undefined {
  const sinceMs = at(times, index);
  return Number.isNaN(sinceMs) ? undefined : sinceMs;
}
