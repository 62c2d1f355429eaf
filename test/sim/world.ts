/** One run's world: the machines, the wire, the API servers, and what people and accidents do to them. */
import { INSTANCE, MOVE_TO, OFFER } from "../../src/kube/record.ts";
import type { LeaseRecord } from "../../src/kube/record.ts";
import type { ElectionSettings } from "../../src/election/types.ts";
import { parseIp } from "../../src/net.ts";
import { Accidents } from "./accidents.ts";
import { ControlPlane } from "./control-plane.ts";
import type { Write } from "./control-plane.ts";
import type { Coverage } from "./coverage.ts";
import { COLLECTION } from "./lease-table.ts";
import { Network } from "./network.ts";
import { SimNode } from "./node.ts";
import { REWRITES } from "./plan.ts";
import type { NodePlan, Plan } from "./plan.ts";
import type { Production } from "./production.ts";
import { Random } from "./random.ts";
import type { Recorder } from "./recorder.ts";
import type { Wire } from "../../src/sentinel/wire.ts";
import { Scheduler } from "./scheduler.ts";
import type { SimProcess } from "./process.ts";
import { Segment } from "./segment.ts";
import type { Owner } from "./segment.ts";
import { Ether } from "./sim-wire.ts";
import type { Station } from "./sim-wire.ts";

export const LEASE_DURATION_MS = 10_000;
export const RENEW_DEADLINE_MS = 4_000;
/** Echoes in a row that a holder found silent has not answered. */
export const MISSES = 3;

const ROUTER_MAC = "02:00:00:00:01:01";
const FOREIGN_MAC = "02:00:00:00:02:02";
const ROUTER = ["10.0.0.1", "fd00::1"]
  .map((text) => parseIp(text))
  .filter((address) => address !== undefined);

export interface WorldHooks {
  readonly onWrite: (write: Write) => void;
  readonly onBug: (text: string) => void;
  /** That node takes the holder for dead. */
  readonly onProof: (node: SimNode) => void;
  /** A fault is about to begin, has begun, or is about to end: what lasts for less than a sample must be seen as well. */
  readonly onAccident?: () => void;
  /** Gets what every agent asks of kernel, wire and API servers. */
  readonly recorder?: Recorder | undefined;
  /** Gets what every agent's election does. */
  readonly coverage?: Coverage | undefined;
  /** Every delay and every choice comes from it. Without it the plan's seed decides them. */
  readonly random?: Random | undefined;
}

export class World {
  readonly plan: Plan;
  readonly scheduler = new Scheduler();
  readonly network: Network;
  readonly plane: ControlPlane;
  readonly nodes: readonly SimNode[];
  readonly trace: string[] = [];
  /** Machines that were given the name of one of the nodes, and are off at first. */
  readonly namesakes: readonly SimNode[];
  readonly machines: readonly SimNode[];
  readonly segment: Segment;
  readonly ether: Ether;
  readonly router: Station & { readonly index: number };
  #stations: readonly Station[] = [];
  /** By name, until when two machines may quarrel about it. */
  readonly disputedUntilMs = new Map<string, number>();
  /** Until when people's doings may keep the Lease from being claimed. */
  disturbedUntilMs = 0;
  /**
   * When somebody last wrote a name of another's choosing into holderIdentity, or the Lease went back in
   * time.
   */
  forcedAtMs = Number.NEGATIVE_INFINITY;
  /** When move-to, or somebody's wish for it, last changed. */
  movedAtMs = Number.NEGATIVE_INFINITY;
  /** When somebody last announced the VIP whom the holder by the Lease could not hear. */
  unheardMs = Number.NEGATIVE_INFINITY;
  /** When somebody last removed the addresses of a node by hand. */
  flushedAtMs = Number.NEGATIVE_INFINITY;

  readonly hooks: WorldHooks;
  /** The record that somebody last asked {@link holderOf} about, and its holder. */
  #asked: LeaseRecord | null = null;
  #holder: SimNode | undefined;

  constructor(plan: Plan, production: Production, hooks: WorldHooks) {
    this.plan = plan;
    this.hooks = hooks;
    const random = hooks.random ?? new Random(`${plan.profile}/${plan.seed}/run`);
    const accidents = new Accidents(this, random.fork("world"));
    const names = plan.nodes.map((_, index) => `n${index + 1}`);
    const twins = [
      ...new Set(plan.faults.flatMap((fault) => (fault.kind === "namesake" ? [fault.node] : []))),
    ].toSorted((a, b) => a - b);
    const machines = names.length + twins.length;
    this.network = new Network(this.scheduler, random.fork("network"), machines + 1);
    this.router = {
      index: machines,
      mac: ROUTER_MAC,
      up: plan.gateway,
      has: (text) => ROUTER.some((address) => address.text === text),
    };
    const vips = plan.vips.map((text) => parseIp(text)).filter((address) => address !== undefined);
    this.ether = new Ether(this.scheduler, this.network, random.fork("ether"), vips, () => this.#stations);
    this.plane = new ControlPlane(this.scheduler, this.network, random.fork("plane"), names, (write) => {
      this.#traceWrite(write);
      accidents.strike(write);
      hooks.onWrite(write);
    });
    this.segment = new Segment(
      this.scheduler,
      random.fork("segment"),
      (machine) => this.#answers(machine),
      () => this.machines.filter(({ index }) => this.#answers(index)).map(({ index }) => index),
      (by) => this.#announced(by),
    );
    const families = new Set(vips.map(({ family }) => family));
    const gateways = ROUTER.filter(({ family }) => plan.gateway && families.has(family));
    const build = (name: string, label: string, index: number, node: NodePlan): SimNode =>
      new SimNode({
        scheduler: this.scheduler,
        plane: this.plane,
        random: random.fork(label),
        production,
        index,
        label,
        settings: settingsOf(plan, name, index, node.base),
        vips: plan.vips,
        rate: node.rate,
        wallOffsetMs: node.wallOffsetMs,
        trace: (text) => this.say(label, text),
        onBug: (text) => hooks.onBug(`${label}: ${text}`),
        onAnnounce: (frozen) => this.segment.announced(index, frozen),
        openWire: (process) => this.#openWire(index, process),
        gateways,
        probe: { intervalMs: plan.probeMs, misses: MISSES },
        fastPath: plan.fastPath,
        onProof: () => this.#proved(index),
        recorder: hooks.recorder,
        coverage: hooks.coverage,
      });
    this.nodes = plan.nodes.map((node, index) => build(names[index] ?? "", names[index] ?? "", index, node));
    this.namesakes = twins.flatMap((of, twin) => {
      const [name, node] = [names[of], plan.nodes[of]];
      return name === undefined || node === undefined
        ? []
        : [build(name, `${name}'`, names.length + twin, { ...node, rate: 2 - node.rate })];
    });
    // What is off answers no frame, so nobody meets it on the wire.
    for (const twin of this.namesakes) twin.powered = false;
    this.machines = [...this.nodes, ...this.namesakes];
    const foreign: Station = {
      index: undefined,
      mac: FOREIGN_MAC,
      up: true,
      has: (text) => this.segment.foreignHostAnswers && plan.vips.includes(text),
    };
    this.#stations = [...this.machines.map(stationOf), this.router, foreign];
    if (plan.lease === "shipped") this.#ship();
    plan.nodes.forEach((node, index) => this.scheduler.at(node.startMs, () => this.nodes[index]?.start()));
    for (const fault of plan.faults) this.scheduler.at(fault.atMs, () => accidents.begin(fault));
  }

  /**
   * The machine that a record makes holder: the one that the mark names, or the one that everybody means by
   * that name. None where a webhook has put another node's name beside the mark of the one that claimed.
   */
  holderOf(record: LeaseRecord | null): SimNode | undefined {
    // Asked several times a step about one and the same record.
    if (record !== this.#asked) {
      this.#asked = record;
      this.#holder = record === null ? undefined : this.#findHolder(record);
    }
    return this.#holder;
  }

  #findHolder({ holder, annotations }: LeaseRecord): SimNode | undefined {
    const marked = this.machines.find((machine) => machine.settings.instance === annotations[INSTANCE]);
    if (this.plane.admission === REWRITES && marked !== undefined && marked.name !== holder) return undefined;
    const named = this.machines.filter((machine) => machine.name === holder);
    return named.find((machine) => machine.settings.instance === annotations[INSTANCE]) ?? named[0];
  }

  /** Another machine of this name is on, or was so lately that the name is not yet free again. */
  disputed(node: SimNode): boolean {
    return (
      this.namesakes.some((other) => other.name === node.name) &&
      this.scheduler.nowMs < (this.disputedUntilMs.get(node.name) ?? 0)
    );
  }

  /** A machine as its neighbours on the wire have it. */
  station(machine: SimNode): Station {
    return this.#stations[machine.index] ?? stationOf(machine);
  }

  /** @param index of a machine */
  stationAt(index: number): Station {
    return this.#stations[index] ?? this.router;
  }

  #openWire(index: number, process: SimProcess): Wire {
    const machine = this.machines[index];
    const own = parseIp(machine?.settings.ip ?? "");
    if (machine === undefined || own === undefined) throw new RangeError(`no machine ${index}`);
    return this.ether.open(stationOf(machine), own, process);
  }

  #announced(by: Owner): void {
    const station = this.#stations[by === "foreign" ? this.machines.length + 1 : by];
    if (station === undefined) return;
    this.ether.announced(station);
    const holder = this.holderOf(this.plane.table.record);
    // Or its frame was lost on this way only.
    const mayNotHear =
      holder !== undefined &&
      (this.network.lossRate > 0 || !this.ether.reaches(station, this.station(holder)));
    if (mayNotHear && holder.index !== by) this.unheardMs = this.scheduler.nowMs;
  }

  /**
   * Frames in a machine's name that it did not send. They come from another switch port, so they get to
   * every machine. Gives the end of it.
   */
  forge(index: number, everyMs: number): () => void {
    let goesOn = true;
    const send = (): void => {
      if (!goesOn) return;
      this.ether.announced({ index: undefined, mac: this.stationAt(index).mac, up: true, has: () => false });
      this.scheduler.after(everyMs, send);
    };
    send();
    return () => void (goesOn = false);
  }

  #proved(index: number): void {
    const node = this.machines[index];
    if (node !== undefined) this.hooks.onProof(node);
  }

  #answers(index: number): boolean {
    const kernel = this.machines[index]?.kernel;
    return kernel !== undefined && kernel.bound && kernel.link.carrier;
  }

  /** The node that a person wants; "" when nobody says so. */
  get moveTo(): string {
    return this.plane.table.record?.annotations[MOVE_TO] ?? "";
  }

  say(who: string, text: string): void {
    this.trace.push(`${(this.scheduler.nowMs / 1_000).toFixed(4).padStart(10)}s  ${who.padEnd(7)} ${text}`);
  }

  /** Two addresses in one place: both bound, both links up, frames pass between them. */
  sameSegment(a: SimNode, b: SimNode): boolean {
    return a.kernel.link.carrier && b.kernel.link.carrier && this.network.sameSegment(a.index, b.index);
  }

  #ship(): void {
    const body = {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        name: "leasehold",
        namespace: "kube-system",
        annotations: { "leasehold.dev/note": "one Lease, one VIP" },
      },
      spec: {},
    };
    this.plane.person({ method: "POST", path: COLLECTION, contentType: "application/json", body });
  }

  #traceWrite({ author, response, change, request, sentMs }: Write): void {
    const node = this.machines[author];
    const who = author < 0 ? "person" : (node?.label ?? "?");
    // What the API carried out is what counts, whatever the agent thinks of it.
    if (
      change.changed &&
      node !== undefined &&
      change.after?.holder === node.name &&
      change.after.renewTime !== change.before?.renewTime
    ) {
      node.lastRenewedAtMs = Math.max(node.lastRenewedAtMs, sentMs);
    }
    if (!change.changed) {
      this.say("lease", `${who}: ${request.method} answered ${response.status}`);
      return;
    }
    const { before, after } = change;
    const same =
      this.holderOf(before) === this.holderOf(after) &&
      before?.holder === after?.holder &&
      before?.annotations[OFFER] === after?.annotations[OFFER] &&
      before?.leaseTransitions === after?.leaseTransitions;
    if (same && author >= 0) return;
    const offer = after?.annotations[OFFER];
    this.say(
      "lease",
      after === null
        ? `deleted by ${who}`
        : `by ${who}: holder "${after.holder}" transitions ${after.leaseTransitions}${offer === undefined ? "" : ` offer ${offer}`}`,
    );
  }
}

function stationOf(machine: SimNode): Station & { readonly index: number } {
  return {
    index: machine.index,
    mac: machine.kernel.link.mac,
    get up() {
      return machine.powered && machine.kernel.link.carrier && !machine.clock.suspended;
    },
    has: (text) => text === machine.settings.ip || machine.kernel.has(text),
  };
}

function settingsOf(plan: Plan, node: string, index: number, base: number): ElectionSettings {
  return {
    node,
    instance: `machine-${index + 1}`,
    ip: `10.0.0.${11 + index}`,
    vips: plan.vips.toSorted(),
    version: "0.0.0",
    base,
    leaseDurationMs: LEASE_DURATION_MS,
    renewDeadlineMs: RENEW_DEADLINE_MS,
    renewIntervalMs: 1_000,
    nopreempt: plan.nopreempt,
    nopreemptStrict: plan.nopreemptStrict,
    preemptDelayMs: plan.preemptDelayMs,
    onApiLoss: plan.onApiLoss,
    takeOver: plan.takeOver ?? false,
  };
}
