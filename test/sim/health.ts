/** What the simulation, which sees everything, knows about who could serve: the premises of the liveness invariants. Sampled, not exact to the millisecond. */
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

const SAMPLE_MS = 50;

export class Health {
  readonly #world: World;
  readonly #goodSince = new Map<SimNode, number>();
  readonly #connected = new Map<SimNode, boolean>();
  #sampledMs = Number.NEGATIVE_INFINITY;
  #badServers = 0;
  #silentWatches = false;
  #priorities = "";
  #links = "";
  /** When any node's effective priority last changed. */
  priorityChangedMs = 0;
  /** When a link or the segment last changed. */
  linksChangedMs = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Since when this node has been eligible, running and connected to a working API server; undefined while it is not. */
  goodSince(node: SimNode): number | undefined {
    return this.#goodSince.get(node);
  }

  /** Some quorate API server, whatever its mood, hears this node and is heard. */
  connected(node: SimNode): boolean {
    return this.#connected.get(node) ?? false;
  }

  /** API servers that a call may have to pass over. */
  badServers(): number {
    return this.#badServers;
  }

  silentWatches(): boolean {
    return this.#silentWatches;
  }

  sample(): void {
    const { nowMs } = this.#world.scheduler;
    if (nowMs - this.#sampledMs < SAMPLE_MS) return;
    this.#sampledMs = nowMs;
    const { nodes, plane, network } = this.#world;
    const quorate = nodes.map((node) => plane.quorate(node.index));
    const servers = quorate.map((is, server) => is && plane.modes[server]?.kind === "up");
    this.#badServers = servers.filter((works) => !works).length;
    this.#silentWatches = plane.deafWatch.includes(true) || this.#badServers > 0;
    const slow = network.lossRate > 0.02 || network.extraMs > 100;
    for (const machine of this.#world.machines) {
      this.#connected.set(machine, nodes.some((other) => quorate[other.index] === true && network.both(machine.index, other.index)));
    }
    for (const node of nodes) {
      const usable = servers.some((works, server) => works && network.both(node.index, server));
      const good =
        usable &&
        !slow &&
        node.powered &&
        node.eligible &&
        !this.#world.disputed(node) &&
        node.kernel.link.carrier &&
        node.agent?.process.running === true &&
        (plane.refusal[node.index] ?? 0) === 0;
      if (!good) this.#goodSince.delete(node);
      else if (!this.#goodSince.has(node)) this.#goodSince.set(node, nowMs);
    }
    const priorities = nodes.map((node) => node.facts.effective).join();
    if (priorities !== this.#priorities) this.priorityChangedMs = nowMs;
    this.#priorities = priorities;
    const links = nodes.map((node) => `${node.kernel.link.carrier}${nodes.map((other) => network.sameSegment(node.index, other.index)).join()}`).join();
    if (links !== this.#links) this.linksChangedMs = nowMs;
    this.#links = links;
  }
}
