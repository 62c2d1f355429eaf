/**
 * Virtual time. Events run in order of their time, ties in the order in which they were planned; after each,
 * every promise that it settled has run to its end before the next one starts. Nothing here or below it knows
 * a real timer.
 */

export interface Planned {
  readonly atMs: number;
  readonly order: number;
  cancelled: boolean;
  readonly callback: () => void;
}

export class Scheduler {
  #nowMs = 0;
  #order = 0;
  #events = 0;
  readonly #heap: Planned[] = [];
  #unremarkable = false;

  /** True time, ms. No simulated process may see it: they have clocks of their own, and those are wrong. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events run so far. */
  get events(): number {
    return this.#events;
  }

  at(atMs: number, callback: () => void): Planned {
    const planned: Planned = {
      atMs: Math.max(atMs, this.#nowMs),
      order: this.#order++,
      cancelled: false,
      callback,
    };
    this.#push(planned);
    return planned;
  }

  after(delayMs: number, callback: () => void): Planned {
    return this.at(this.#nowMs + delayMs, callback);
  }

  /**
   * Runs everything up to `endMs`. `afterEach` is called when an event and all that it settled have run, and
   * says whether to go on.
   */
  async runUntil(endMs: number, afterEach: () => boolean): Promise<void> {
    // From here on this runs as a promise's reaction, which is what settle() relies on.
    await Promise.resolve();
    for (let next = this.#pop(endMs); next !== undefined; next = this.#pop(endMs)) {
      this.#nowMs = next.atMs;
      this.#events += 1;
      next.callback();
      if (this.#unremarkable) {
        this.#unremarkable = false;
        continue;
      }
      await settle();
      if (!afterEach()) return;
      // Lets the real event loop breathe (test runner, Ctrl-C); no simulated code waits for it.
      if (this.#events % 4_096 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  /**
   * Called within an event that has settled no promise, and after which nothing looks different: it need not
   * be looked at.
   */
  nothingHappened(): void {
    this.#unremarkable = true;
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let index = heap.push(planned) - 1;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || !earlier(planned, parent)) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = planned;
  }

  #pop(endMs: number): Planned | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || (!top.cancelled && top.atMs > endMs)) return undefined;
      this.#removeTop();
      if (!top.cancelled) return top;
    }
  }

  #removeTop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let childIndex = index * 2 + 1;
      let child = heap[childIndex];
      if (child === undefined) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && earlier(right, child)) {
        childIndex += 1;
        child = right;
      }
      if (!earlier(child, last)) break;
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = last;
  }
}

function earlier(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/**
 * Called within a promise's reaction; resolves when no other one is left to run: Node takes the next-tick
 * queue only after the microtask queue has run dry.
 */
function settle(): Promise<void> {
  return new Promise(nextTick);
}

function nextTick(resolve: () => void): void {
  process.nextTick(resolve);
}
