/** What happens to the machines, the wire and the API servers, and ends again. */
import { OFFER } from "../../src/kube/record.ts";
import type { ServerMode, Write } from "./control-plane.ts";
import type { SimNode } from "./node.ts";
import { disturb } from "./people.ts";
import { describeFault, QUIET_MS } from "./plan.ts";
import type { Fault, ServerFault } from "./plan.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/**
 * A name is free after 30 s of silence, by the slowest clock; then it has to be published, and the Lease may
 * have to run out.
 */
const DISPUTE_MS = 50_000;

export class Accidents {
  readonly #world: World;
  readonly #random: Random;
  #strikes: Extract<Fault, { kind: "strike" }>[] = [];

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  /** Applies `cure` after the fault's time. */
  #until(fault: Fault, forMs: number, cure: () => void): void {
    this.#world.scheduler.after(forMs, () => {
      this.#world.say("world", `over: ${describeFault(fault).trim()}`);
      this.#world.hooks.onAccident?.();
      cure();
    });
  }

  begin(fault: Fault): void {
    // What a node had begun before a fault ends it counts, however short it was.
    this.#world.hooks.onAccident?.();
    this.#begin(fault);
    this.#world.hooks.onAccident?.();
  }

  #begin(fault: Fault): void {
    this.#world.say(
      "world",
      describeFault(fault)
        .trim()
        .replace(/^\S+\s+/, ""),
    );
    const { scheduler, network, plane } = this.#world;
    const node = "node" in fault ? this.#world.nodes[fault.node] : undefined;
    switch (fault.kind) {
      case "pause":
        node?.agent?.process.pause(scheduler.nowMs + fault.forMs);
        return;
      case "suspend":
        return this.#suspend(fault);
      case "foreign":
        return this.#until(fault, fault.forMs, this.#world.segment.foreignHost(fault.everyMs));
      case "forged":
        return this.#until(fault, fault.forMs, this.#world.forge(fault.node, fault.everyMs));
      case "squatter":
        return this.#squatter(fault);
      case "namesake":
        return this.#namesake(fault);
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
        const others = this.#world.nodes.filter((other) => other !== node).map((other) => other.index);
        const cures = others.flatMap((other) => [
          network.cut(fault.node, other),
          network.cut(other, fault.node),
          network.cutSegment(fault.node, other),
        ]);
        cures.push(network.cutSegment(fault.node, this.#world.router.index));
        return this.#until(fault, fault.forMs, () => callAll(cures));
      }
      case "partition":
        return this.#partition(fault);
      case "one-way":
        return this.#oneWay(fault);
      case "estranged":
        return this.#until(fault, fault.forMs, network.cutSegment(...fault.nodes));
      case "flap":
        return this.#flap(fault);
      case "outage":
        for (const server of this.#world.nodes.keys()) this.#server({ ...fault, server }, "down", 0);
        return;
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
        return plane.stall(fault.forMs, fault.dead);
      case "compact":
        return plane.table.compact();
      case "refusal":
        plane.refusal[fault.node] = fault.status;
        return this.#until(fault, fault.forMs, () => {
          plane.refusal[fault.node] = 0;
        });
      case "admission":
        plane.admission = fault.status;
        plane.policy = fault.holder ?? plane.policy;
        return this.#until(fault, fault.forMs, () => {
          plane.admission = 0;
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
        this.#world.flushedAtMs = scheduler.nowMs;
        return node?.kernel.flush();
      case "person":
        return disturb(this.#world, fault.does);
      case "strike":
        this.#strikes.push(fault);
        return;
    }
  }

  /** Faults that were waiting for this write. */
  strike({ author, change: { before, after } }: Write): void {
    if (author < 0 || this.#strikes.length === 0) return;
    const offer = after?.annotations[OFFER];
    const moment = before?.holder !== after?.holder ? (after?.holder === "" ? "release" : "claim") : "offer";
    if (moment === "offer" && (offer === undefined || offer === before?.annotations[OFFER])) return;
    const names = { old: before?.holder ?? "", new: (moment === "offer" ? offer : after?.holder) ?? "" };
    for (const strike of this.#strikes) {
      const node = this.#world.nodes.find((one) => one.name === names[strike.who]);
      if (strike.on !== moment || node === undefined) continue;
      this.#strikes = this.#strikes.filter((other) => other !== strike);
      this.#world.scheduler.after(strike.delayMs, () => this.#hit(node, strike));
    }
  }

  #hit(node: SimNode, { how, forMs: wishedMs, atMs }: Extract<Fault, { kind: "strike" }>): void {
    const { index } = node;
    // It may have waited for long: the end belongs to the quiet.
    const forMs = Math.min(wishedMs, this.#world.plan.lengthMs - QUIET_MS - this.#world.scheduler.nowMs);
    if (forMs <= 0) return;
    const others = this.#world.nodes.filter((other) => other !== node).map((other) => other.index);
    switch (how) {
      case "pause":
      case "crash":
      case "stop":
      case "isolate":
        return this.begin({ kind: how, node: index, forMs, atMs });
      case "deafen":
        this.begin({ kind: "server", server: index, how: "mute", ms: 0, forMs, atMs });
        for (const from of others)
          this.begin({ kind: "one-way", from, to: index, layer: "routed", forMs, atMs });
        return;
    }
  }

  /** Its API server and etcd member stand still with it. */
  #suspend(fault: Extract<Fault, { kind: "suspend" }>): void {
    const { plane } = this.#world;
    const node = this.#world.nodes[fault.node];
    if (node === undefined || !node.powered || node.clock.suspended) return;
    node.suspend(fault.forMs);
    const mode: ServerMode = { kind: "hung" };
    plane.powered[fault.node] = false;
    plane.setMode(fault.node, mode);
    this.#until(fault, fault.forMs, () => {
      if (!node.powered) return;
      plane.powered[fault.node] = true;
      if (plane.modes[fault.node] === mode) plane.setMode(fault.node, { kind: "up" });
    });
  }

  #squatter(fault: Extract<Fault, { kind: "squatter" }>): void {
    const node = this.#world.nodes[fault.node];
    if (node === undefined || !node.powered || node.kernel.squatted) return;
    node.kernel.squat(node.addresses);
    const end = this.#world.segment.foreignHost(fault.everyMs, node.index);
    this.#until(fault, fault.forMs, () => {
      node.kernel.squat([]);
      end();
    });
  }

  #namesake(fault: Extract<Fault, { kind: "namesake" }>): void {
    const { scheduler, disputedUntilMs, namesakes, nodes } = this.#world;
    const name = nodes[fault.node]?.name ?? "";
    const other = namesakes.find((machine) => machine.name === name);
    if (other === undefined || other.agent !== undefined) return;
    disputedUntilMs.set(name, Number.POSITIVE_INFINITY);
    other.powerOn();
    other.start();
    this.#until(fault, fault.forMs, () => {
      other.powerOff();
      disputedUntilMs.set(name, scheduler.nowMs + DISPUTE_MS);
    });
  }

  #power(fault: Extract<Fault, { kind: "power" }>): void {
    const { plane } = this.#world;
    const node = this.#world.nodes[fault.node];
    if (node === undefined || !node.powered) return;
    node.powerOff();
    plane.powered[fault.node] = false;
    // One member in n is the leader.
    if (this.#random.chance(1 / this.#world.nodes.length))
      plane.stall(this.#random.between(1_000, 1_150), true);
    plane.setMode(fault.node, { kind: "dark" });
    this.#until(fault, fault.forMs, () => {
      node.powerOn();
      plane.powered[fault.node] = true;
      plane.setMode(fault.node, { kind: "down" });
      this.#world.scheduler.after(this.#random.between(2_000, 8_000), () =>
        plane.setMode(fault.node, { kind: "up" }),
      );
      this.#world.scheduler.after(this.#random.between(1_000, 4_000), () => node.start());
    });
  }

  #partition(fault: Extract<Fault, { kind: "partition" }>): void {
    const { network } = this.#world;
    const side = (index: number): number => (fault.mask >> index) & 1;
    const cures: (() => void)[] = [];
    // The router stays with the second side.
    if (fault.layer !== "routed")
      for (const a of this.#world.nodes.keys())
        if (side(a) === 1) cures.push(network.cutSegment(a, this.#world.router.index));
    for (const a of this.#world.nodes.keys()) {
      for (const b of this.#world.nodes.keys()) {
        if (side(a) === side(b)) continue;
        if (fault.layer !== "segment") cures.push(network.cut(a, b));
        if (fault.layer !== "routed" && a < b) cures.push(network.cutSegment(a, b));
      }
    }
    this.#until(fault, fault.forMs, () => callAll(cures));
  }

  #link(fault: Extract<Fault, { kind: "link" }>): void {
    const { network, scheduler } = this.#world;
    const node = this.#world.nodes[fault.node];
    if (node === undefined) return;
    node.kernel.unplug();
    const others = this.#world.nodes
      .filter((other) => other !== node && fault.api)
      .map((other) => other.index);
    const cures = others.flatMap((other) => [network.cut(fault.node, other), network.cut(other, fault.node)]);
    let cure = (): void => {};
    // The interface check is told by the kernel.
    const detected = scheduler.after(this.#random.between(1, 30), () => {
      cure = node.fail("interface");
    });
    this.#until(fault, fault.forMs, () => {
      callAll(cures);
      node.kernel.plug();
      detected.cancelled = true;
      scheduler.after(this.#random.between(1, 30), () => cure());
    });
  }

  #oneWay(fault: Extract<Fault, { kind: "one-way" }>): void {
    const { network } = this.#world;
    const { from, to, layer } = fault;
    const cures = [
      ...(layer === "segment" ? [] : [network.cut(from, to)]),
      ...(layer === "routed" ? [] : [network.cutFrames(from, to)]),
    ];
    this.#until(fault, fault.forMs, () => callAll(cures));
  }

  #flap(fault: Extract<Fault, { kind: "flap" }>): void {
    const { scheduler } = this.#world;
    const endMs = scheduler.nowMs + fault.forMs;
    const once = (): void => {
      const { nowMs } = scheduler;
      const forMs = Math.min(fault.downMs, endMs - nowMs);
      if (forMs <= 0) return;
      this.#link({ atMs: nowMs, kind: "link", node: fault.node, api: false, forMs });
      this.#world.hooks.onAccident?.();
      scheduler.after(Math.max(fault.everyMs, fault.downMs + 50), once);
    };
    once();
  }

  #server(
    fault: Extract<Fault, { kind: "server" | "outage" }> & { readonly server: number },
    how: ServerFault,
    ms: number,
  ): void {
    const { plane } = this.#world;
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
