/**
 * Virtual time. Events run in order of their time, ties in the order in which they were planned; after each,
 * every promise that it settled has run to its end before the next one starts. Nothing here or below it knows
 * a real timer.
 */

/** Something that will run at its time. */
export class Planned {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
  cancelled = false;

  constructor(atMs: number, order: number, callback: () => void) {
    this.atMs = atMs;
    this.order = order;
    this.callback = callback;
  }
}

/** Heaps smaller than this are not worth a look for cancelled events. */
const SMALL_HEAP = 64;

export class Scheduler {
  #nowMs = 0;
  #order = 0;
  #events = 0;
  /** A binary heap. The times stand beside it, as comparing them is most of its work. */
  readonly #heap: Planned[] = [];
  readonly #timesMs: number[] = [];
  /** The heap is swept when it has grown to this. */
  #sweepAt = SMALL_HEAP;
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
    const planned = new Planned(Math.max(atMs, this.#nowMs), this.#order++, callback);
    if (this.#heap.length >= this.#sweepAt) this.#sweep();
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
    const index = this.#heap.push(planned) - 1;
    this.#timesMs.push(planned.atMs);
    this.#rise(index, planned);
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
    const last = this.#heap.pop();
    this.#timesMs.pop();
    if (last !== undefined && this.#heap.length > 0) this.#sink(0, last);
  }

  /** Puts `planned` at `index` or above it. */
  #rise(from: number, planned: Planned): void {
    const heap = this.#heap;
    const timesMs = this.#timesMs;
    const { atMs } = planned;
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      const parentMs = timesMs[parentIndex];
      if (parent === undefined || parentMs === undefined) break;
      if (parentMs < atMs || (parentMs === atMs && parent.order < planned.order)) break;
      heap[index] = parent;
      timesMs[index] = parentMs;
      index = parentIndex;
    }
    heap[index] = planned;
    timesMs[index] = atMs;
  }

  /** Puts `planned` at `index` or below it. */
  #sink(from: number, planned: Planned): void {
    const heap = this.#heap;
    const timesMs = this.#timesMs;
    const { atMs } = planned;
    let index = from;
    for (;;) {
      let childIndex = index * 2 + 1;
      let child = heap[childIndex];
      let childMs = timesMs[childIndex];
      if (child === undefined || childMs === undefined) break;
      const right = heap[childIndex + 1];
      const rightMs = timesMs[childIndex + 1];
      if (
        right !== undefined &&
        rightMs !== undefined &&
        (rightMs < childMs || (rightMs === childMs && right.order < child.order))
      ) {
        childIndex += 1;
        child = right;
        childMs = rightMs;
      }
      if (atMs < childMs || (atMs === childMs && planned.order < child.order)) break;
      heap[index] = child;
      timesMs[index] = childMs;
      index = childIndex;
    }
    heap[index] = planned;
    timesMs[index] = atMs;
  }

  /**
   * Takes the cancelled events out. Most time-outs are cancelled long before their time, and would make the
   * heap several times as large.
   */
  #sweep(): void {
    const kept = this.#heap.filter(({ cancelled }) => !cancelled);
    this.#heap.length = 0;
    this.#timesMs.length = 0;
    for (const planned of kept) this.#push(planned);
    this.#sweepAt = Math.max(SMALL_HEAP, kept.length * 2);
  }
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
