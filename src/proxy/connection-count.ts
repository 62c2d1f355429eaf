/** Counts the connections of all workers in memory that the workers share, since one limit holds for all. */

/** The shared memory and this worker's place in it. Each worker gets it as part of its `workerData`. */
export interface ConnectionCountShare {
  readonly memory: SharedArrayBuffer;
  /** Index of the worker, from 0. */
  readonly slot: number;
}

/** Returns shared memory with a slot for each worker, all 0. */
export function connectionCountMemory(workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(workers * Int32Array.BYTES_PER_ELEMENT);
}

/**
 * The counts of all workers. Each worker has a slot of its own, so that the count of a worker that died can
 * be cleared.
 */
export class ConnectionCount {
  readonly slot: number;
  readonly #counts: Int32Array;

  constructor({ memory, slot }: ConnectionCountShare) {
    this.#counts = new Int32Array(memory);
    this.slot = slot;
  }

  /** Sets how many connections this worker has. */
  set(own: number): void {
    Atomics.store(this.#counts, this.slot, own);
  }

  /**
   * Returns the number of connections of all workers. Two workers that accept at the same moment may both
   * take the last place.
   */
  total(): number {
    let total = 0;
    for (let slot = 0; slot < this.#counts.length; slot++) total += Atomics.load(this.#counts, slot);
    return total;
  }
}
