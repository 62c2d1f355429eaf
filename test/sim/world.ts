/** One run's world: the machines, the wire, the API servers, and what people and accidents do to them. */
import { CANDIDATE_PREFIX, MOVE_TO, OFFER } from "../../src/kube/record.ts";
import type { ElectionSettings } from "../../src/election/types.ts";
import { ControlPlane } from "./control-plane.ts";
import type { ServerMode, Write } from "./control-plane.ts";
import { COLLECTION, LEASE_PATH } from "./lease-table.ts";
import { Network } from "./network.ts";
import { SimNode } from "./node.ts";
import { describeFault, QUIET_MS } from "./plan.ts";
import type { Fault, Person, Plan, ServerFault } from "./plan.ts";
import type { Production } from "./production.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

export const LEASE_DURATION_MS = 10_000;
export const RENEW_DEADLINE_MS = 4_000;

export interface WorldHooks {
  readonly onWrite: (write: Write) => void;
  readonly onBug: (text: string) => void;
}

export class World {
  readonly plan: Plan;
  readonly scheduler = new Scheduler();
  readonly network: Network;
  readonly plane: ControlPlane;
  readonly nodes: readonly SimNode[];
  readonly trace: string[] = [];
  /** Which node announced the VIP last, as its segment's switches and neighbours remember it. */
  lastAnnouncer: number | undefined;
  announcerChangedMs = 0;
  /** Until when people's doings may keep the Lease from being claimed. */
  disturbedUntilMs = 0;
  /** When somebody last wrote a name of another's choosing into holderIdentity, or the Lease went back in time. */
  forcedAtMs = Number.NEGATIVE_INFINITY;
  /** When move-to, or somebody's wish for it, last changed. */
  movedAtMs = Number.NEGATIVE_INFINITY;
  /** Faults under way, by their number in the plan. */
  readonly active = new Set<Fault>();
  /** When somebody last removed the addresses of a node by hand. */
  flushedAtMs = Number.NEGATIVE_INFINITY;
  #strikes: Extract<Fault, { kind: "strike" }>[] = [];
  readonly #random: Random;

  constructor(plan: Plan, production: Production, hooks: WorldHooks) {
    this.plan = plan;
    const random = new Random(`${plan.profile}/${plan.seed}/run`);
    this.#random = random.fork("world");
    const names = plan.nodes.map((_, index) => `n${index + 1}`);
    this.network = new Network(this.scheduler, random.fork("network"), names.length);
    this.plane = new ControlPlane(this.scheduler, this.network, random.fork("plane"), names, (write) => {
      this.#traceWrite(write);
      this.#strike(write);
      hooks.onWrite(write);
    });
    this.nodes = plan.nodes.map((node, index) => {
      const name = names[index] ?? "";
      const settings: ElectionSettings = {
        node: name,
        instance: `machine-${index + 1}`,
        ip: `10.0.0.${11 + index}`,
        version: "0.0.0",
        base: node.base,
        leaseDurationMs: LEASE_DURATION_MS,
        renewDeadlineMs: RENEW_DEADLINE_MS,
        renewIntervalMs: 1_000,
        nopreempt: plan.nopreempt,
        nopreemptStrict: plan.nopreemptStrict,
        preemptDelayMs: plan.preemptDelayMs,
      };
      return new SimNode({
        scheduler: this.scheduler,
        plane: this.plane,
        random: random.fork(name),
        production,
        index,
        settings,
        vips: plan.vips,
        rate: node.rate,
        wallOffsetMs: node.wallOffsetMs,
        trace: (text) => this.say(name, text),
        onBug: (text) => hooks.onBug(`${name}: ${text}`),
        onAnnounce: () => {
          if (this.lastAnnouncer !== index) this.announcerChangedMs = this.scheduler.nowMs;
          this.lastAnnouncer = index;
        },
        onRole: () => {},
      });
    });
    if (plan.lease === "shipped") this.#ship();
    plan.nodes.forEach((node, index) => this.scheduler.at(node.startMs, () => this.nodes[index]?.start()));
    for (const fault of plan.faults) this.scheduler.at(fault.atMs, () => this.#begin(fault));
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
      metadata: { name: "leasehold", namespace: "kube-system", annotations: { "leasehold.dev/note": "one Lease, one VIP" } },
      spec: {},
    };
    this.plane.person({ method: "POST", path: COLLECTION, contentType: "application/json", body });
  }

  #traceWrite({ author, response, change, request, sentMs }: Write): void {
    const who = author < 0 ? "person" : (this.nodes[author]?.name ?? "?");
    const node = this.nodes[author];
    // What the API carried out is what counts, whatever the agent thinks of it.
    if (change.changed && node !== undefined && change.after?.holder === node.name && change.after.renewTime !== change.before?.renewTime) {
      node.lastRenewedAtMs = Math.max(node.lastRenewedAtMs, sentMs);
    }
    if (!change.changed) {
      this.say("lease", `${who}: ${request.method} answered ${response.status}`);
      return;
    }
    const { before, after } = change;
    const same = before?.holder === after?.holder && before?.annotations[OFFER] === after?.annotations[OFFER] && before?.leaseTransitions === after?.leaseTransitions;
    if (same && author >= 0) return;
    const offer = after?.annotations[OFFER];
    this.say("lease", after === null ? `deleted by ${who}` : `by ${who}: holder "${after.holder}" transitions ${after.leaseTransitions}${offer === undefined ? "" : ` offer ${offer}`}`);
  }

  /** Applies `cure` after the fault's time. */
  #until(fault: Fault, forMs: number, cure: () => void): void {
    this.active.add(fault);
    this.scheduler.after(forMs, () => {
      this.active.delete(fault);
      this.say("world", `over: ${describeFault(fault).trim()}`);
      cure();
    });
  }

  #begin(fault: Fault): void {
    this.say("world", describeFault(fault).trim().replace(/^\S+\s+/, ""));
    const { scheduler, network, plane } = this;
    const node = "node" in fault ? this.nodes[fault.node] : undefined;
    switch (fault.kind) {
      case "pause":
        node?.agent?.process.pause(scheduler.nowMs + fault.forMs);
        return;
      case "stall":
        node?.kernel.stallNextCall(fault.forMs);
        return;
      case "crash":
        node?.crash();
        return this.#until(fault, fault.forMs, () => node?.start());
      case "stop":
        node?.stop(() => scheduler.after(fault.forMs, () => node.start()));
        return;
      case "power":
        return this.#power(fault);
      case "isolate": {
        const others = this.nodes.filter((other) => other !== node).map((other) => other.index);
        const cures = others.flatMap((other) => [network.cut(fault.node, other), network.cut(other, fault.node), network.cutSegment(fault.node, other)]);
        return this.#until(fault, fault.forMs, () => callAll(cures));
      }
      case "partition":
        return this.#partition(fault);
      case "one-way":
        return this.#until(fault, fault.forMs, network.cut(fault.from, fault.to));
      case "link":
        return this.#link(fault);
      case "lossy":
        network.lossRate = fault.rate;
        network.extraMs = fault.extraMs;
        return this.#until(fault, fault.forMs, () => {
          network.lossRate = 0;
          network.extraMs = 0;
        });
      case "server":
        return this.#server(fault, fault.how, fault.ms);
      case "quorum":
        plane.quorumFaults += 1;
        return this.#until(fault, fault.forMs, () => {
          plane.quorumFaults -= 1;
          plane.changed();
        });
      case "leader":
        return plane.stall(fault.forMs);
      case "compact":
        return plane.table.compact();
      case "refusal":
        plane.refusal[fault.node] = fault.status;
        return this.#until(fault, fault.forMs, () => {
          plane.refusal[fault.node] = 0;
        });
      case "wall":
        return node?.clock.stepWall(fault.byMs);
      case "check":
        if (node === undefined) return;
        return this.#until(fault, fault.forMs, node.fail(fault.check));
      case "priority":
        node?.weigh(fault.delta);
        return this.#until(fault, fault.forMs, () => node?.weigh(-fault.delta));
      case "flush":
        this.flushedAtMs = scheduler.nowMs;
        return node?.kernel.flush();
      case "person":
        return this.#person(fault.does);
      case "strike":
        this.#strikes.push(fault);
        return;
    }
  }

  /** Faults that were waiting for this write. */
  #strike({ author, change: { before, after } }: Write): void {
    if (author < 0 || this.#strikes.length === 0) return;
    const offer = after?.annotations[OFFER];
    const moment = before?.holder !== after?.holder ? (after?.holder === "" ? "release" : "claim") : "offer";
    if (moment === "offer" && (offer === undefined || offer === before?.annotations[OFFER])) return;
    const names = { old: before?.holder ?? "", new: (moment === "offer" ? offer : after?.holder) ?? "" };
    for (const strike of this.#strikes) {
      const node = this.nodes.find((one) => one.name === names[strike.who]);
      if (strike.on !== moment || node === undefined) continue;
      this.#strikes = this.#strikes.filter((other) => other !== strike);
      this.scheduler.after(strike.delayMs, () => this.#hit(node, strike));
    }
  }

  #hit(node: SimNode, { how, forMs: wishedMs, atMs }: Extract<Fault, { kind: "strike" }>): void {
    const { index } = node;
    // It may have waited for long: the end belongs to the quiet.
    const forMs = Math.min(wishedMs, this.plan.lengthMs - QUIET_MS - this.scheduler.nowMs);
    if (forMs <= 0) return;
    const others = this.nodes.filter((other) => other !== node).map((other) => other.index);
    switch (how) {
      case "pause":
      case "crash":
      case "stop":
      case "isolate":
        return this.#begin({ kind: how, node: index, forMs, atMs });
      case "deafen":
        this.#begin({ kind: "server", server: index, how: "mute", ms: 0, forMs, atMs });
        for (const from of others) this.#begin({ kind: "one-way", from, to: index, forMs, atMs });
        return;
    }
  }

  #power(fault: Extract<Fault, { kind: "power" }>): void {
    const { plane } = this;
    const node = this.nodes[fault.node];
    if (node === undefined || !node.powered) return;
    node.powerOff();
    plane.powered[fault.node] = false;
    // One member in n is the leader.
    if (this.#random.chance(1 / this.nodes.length)) plane.stall(this.#random.between(1_000, 1_150));
    plane.setMode(fault.node, { kind: "dark" });
    this.#until(fault, fault.forMs, () => {
      node.powerOn();
      plane.powered[fault.node] = true;
      plane.setMode(fault.node, { kind: "down" });
      this.scheduler.after(this.#random.between(2_000, 8_000), () => plane.setMode(fault.node, { kind: "up" }));
      this.scheduler.after(this.#random.between(1_000, 4_000), () => node.start());
    });
  }

  #partition(fault: Extract<Fault, { kind: "partition" }>): void {
    const { network } = this;
    const side = (index: number): number => (fault.mask >> index) & 1;
    const cures: (() => void)[] = [];
    for (const a of this.nodes.keys()) {
      for (const b of this.nodes.keys()) {
        if (side(a) === side(b)) continue;
        if (fault.layer !== "segment") cures.push(network.cut(a, b));
        if (fault.layer !== "routed" && a < b) cures.push(network.cutSegment(a, b));
      }
    }
    this.#until(fault, fault.forMs, () => callAll(cures));
  }

  #link(fault: Extract<Fault, { kind: "link" }>): void {
    const { network, scheduler } = this;
    const node = this.nodes[fault.node];
    if (node === undefined) return;
    node.kernel.setCarrier(false);
    const others = this.nodes.filter((other) => other !== node && fault.api).map((other) => other.index);
    const cures = others.flatMap((other) => [network.cut(fault.node, other), network.cut(other, fault.node)]);
    let cure = (): void => {};
    // The interface check needs some runs to say so, and some to take it back.
    const detected = scheduler.after(this.#random.between(50, 2_500), () => {
      cure = node.fail("interface");
    });
    this.#until(fault, fault.forMs, () => {
      callAll(cures);
      node.kernel.setCarrier(true);
      detected.cancelled = true;
      scheduler.after(this.#random.between(50, 2_500), () => cure());
    });
  }

  #server(fault: Extract<Fault, { kind: "server" }>, how: ServerFault, ms: number): void {
    const { plane } = this;
    const { server } = fault;
    if (how === "torn") return plane.tearWatches(server);
    if (how === "deaf") {
      plane.deafWatch[server] = true;
      return this.#until(fault, fault.forMs, () => {
        plane.deafWatch[server] = false;
        plane.changed();
      });
    }
    if (plane.modes[server]?.kind === "dark") return;
    const mode = serverMode(how, ms, this.#random);
    plane.setMode(server, mode);
    this.#until(fault, fault.forMs, () => {
      // Another fault may have come over it.
      if (plane.modes[server] === mode) plane.setMode(server, { kind: "up" });
    });
  }

  #person(does: Person): void {
    const merge = (body: unknown): void => {
      this.plane.person({ method: "PATCH", path: LEASE_PATH, contentType: "application/merge-patch+json", body });
    };
    const wall = new Date(Date.UTC(2026, 0, 1) + this.scheduler.nowMs).toISOString().replace("Z", "000Z");
    this.disturbedUntilMs = Math.max(this.disturbedUntilMs, this.scheduler.nowMs);
    switch (does.kind) {
      case "delete":
        this.plane.delete();
        return;
      case "empty":
        return merge({ spec: { holderIdentity: "" } });
      case "holder":
        this.forcedAtMs = this.scheduler.nowMs;
        return merge({ spec: { holderIdentity: does.holder, renewTime: wall } });
      case "future":
        return merge({ spec: { renewTime: "2096-01-01T00:00:00.000000Z" } });
      case "duration":
        this.disturbedUntilMs = this.scheduler.nowMs + does.seconds * 1_000;
        return merge({ spec: { leaseDurationSeconds: does.seconds } });
      case "transitions":
        return merge({ spec: { leaseTransitions: null } });
      case "move-to":
        this.movedAtMs = this.scheduler.nowMs;
        return merge({ metadata: { annotations: { [MOVE_TO]: does.to } } });
      case "wipe":
        return merge({ metadata: { annotations: null } });
      case "garbage":
        return merge({ metadata: { annotations: { [`${CANDIDATE_PREFIX}n${does.node + 1}`]: "{not json" } } });
      case "offer":
        this.forcedAtMs = this.scheduler.nowMs;
        return merge({ metadata: { annotations: { [OFFER]: does.to } } });
      case "restore":
        this.#restore();
        return;
    }
  }

  /** The first such wish takes the backup, the next one brings it back. */
  #restore(): void {
    if (!this.plane.restore()) this.plane.table.backUp();
    else this.forcedAtMs = this.scheduler.nowMs;
  }
}

function callAll(cures: readonly (() => void)[]): void {
  for (const cure of cures) cure();
}

function serverMode(how: Exclude<ServerFault, "deaf" | "torn">, ms: number, random: Random): ServerMode {
  switch (how) {
    case "down":
      return { kind: "down" };
    case "hung":
      return { kind: "hung" };
    case "slow":
      return { kind: "slow", beforeMs: ms, afterMs: 0 };
    case "late":
      return { kind: "slow", beforeMs: 0, afterMs: ms };
    case "failing":
      return { kind: "failing", status: random.pick([429, 500, 503, 504]), rate: random.between(0.3, 1) };
    case "mute":
      return { kind: "mute", rate: random.between(0.3, 1) };
  }
}
