/**
 * The wire between the machines: delay, retransmission, one-way and two-way cuts, and the VIP's own Ethernet
 * segment, which may be cut apart while routed traffic still flows (another NIC, another VLAN).
 */
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** What TCP still carries over when a cut heals in time; later the connection has been given up. */
const RETRANSMIT_MS = 15_000;

interface Parked {
  readonly from: number;
  readonly to: number;
  readonly sinceMs: number;
  readonly deliver: () => void;
}

/** `byPath`: by `from * size + to`, as several faults may cut the same path. `total`: of all paths. */
interface Cuts {
  readonly byPath: Map<number, number>;
  total: number;
}

export class Network {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #size: number;
  readonly #cuts: Cuts = { byPath: new Map(), total: 0 };
  readonly #segmentCuts: Cuts = { byPath: new Map(), total: 0 };
  #parked: Parked[] = [];
  readonly #healed = new Set<() => void>();
  /** Chance that a message has to be sent again, and how much slower everything is. */
  lossRate = 0;
  extraMs = 0;

  constructor(scheduler: Scheduler, random: Random, size: number) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#size = size;
  }

  /** No path of the routed network is cut. */
  get whole(): boolean {
    return this.#cuts.total === 0;
  }

  /** No path of the segment is cut. */
  get segmentWhole(): boolean {
    return this.#segmentCuts.total === 0;
  }

  open(from: number, to: number): boolean {
    return (
      this.#cuts.total === 0 || from === to || (this.#cuts.byPath.get(from * this.#size + to) ?? 0) === 0
    );
  }

  both(a: number, b: number): boolean {
    return this.open(a, b) && this.open(b, a);
  }

  /** Frames get from one to the other on the VIP's segment. */
  segmentOpen(from: number, to: number): boolean {
    return (
      this.#segmentCuts.total === 0 ||
      from === to ||
      (this.#segmentCuts.byPath.get(from * this.#size + to) ?? 0) === 0
    );
  }

  /** True when frames of both nodes reach one another on the VIP's segment. */
  sameSegment(a: number, b: number): boolean {
    return this.segmentOpen(a, b) && this.segmentOpen(b, a);
  }

  /** Cuts one direction of the routed network; gives the cure. */
  cut(from: number, to: number): () => void {
    return this.#count(this.#cuts, from * this.#size + to);
  }

  /** Cuts one direction of the segment, as a switch does whose port has lost one fibre; gives the cure. */
  cutFrames(from: number, to: number): () => void {
    return this.#count(this.#segmentCuts, from * this.#size + to);
  }

  /** Cuts the segment between two nodes, both ways. */
  cutSegment(a: number, b: number): () => void {
    const cures = [this.cutFrames(a, b), this.cutFrames(b, a)];
    return () => {
      for (const cure of cures) cure();
    };
  }

  onHeal(callback: () => void): void {
    this.#healed.add(callback);
  }

  delay(from: number, to: number): number {
    if (from === to) return this.#random.between(0.05, 0.3);
    const resent = this.#random.chance(this.lossRate) ? this.#random.between(200, 800) : 0;
    return this.#random.logarithmic(0.1, 3) + resent + this.#random.unit() * this.extraMs;
  }

  /**
   * One message. On a cut path it waits, as in TCP's send queue, and half of them make it when the cut heals
   * in time.
   */
  send(from: number, to: number, leaveMs: number, deliver: () => void): void {
    this.#scheduler.at(leaveMs + this.delay(from, to), () => {
      if (this.open(from, to)) deliver();
      else this.#parked.push({ from, to, sinceMs: this.#scheduler.nowMs, deliver });
    });
  }

  #count(cuts: Cuts, key: number): () => void {
    const add = (by: number): void => {
      cuts.byPath.set(key, (cuts.byPath.get(key) ?? 0) + by);
      cuts.total += by;
    };
    add(1);
    let cured = false;
    return () => {
      if (cured) return;
      cured = true;
      add(-1);
      this.#flush();
    };
  }

  #flush(): void {
    const parked = this.#parked;
    this.#parked = [];
    for (const message of parked) {
      if (!this.open(message.from, message.to)) {
        this.#parked.push(message);
        continue;
      }
      const late = this.#scheduler.nowMs - message.sinceMs > RETRANSMIT_MS;
      if (late || this.#random.chance(0.5)) continue;
      this.#scheduler.after(this.#random.between(1, 1_500), message.deliver);
    }
    for (const callback of this.#healed) callback();
  }
}
