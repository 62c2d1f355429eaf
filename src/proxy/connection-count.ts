/**
 * The count of connections over all workers of the proxy. The workers share its memory, because one limit
 * holds for all of them together.
 */

/** What a worker needs to take part in the count. It is a part of the worker's `workerData`. */
export interface ConnectionCountShare {
  readonly memory: SharedArrayBuffer;
  /** The worker's index, from 0. */
  readonly slot: number;
}

/** Creates the memory for the counts of so many workers, all 0. */
export function connectionCountMemory(workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(workers * Int32Array.BYTES_PER_ELEMENT);
}

/**
 * One worker's access to the count. Each worker writes a slot of its own, so the connections of a worker that
 * died can be taken out of the count.
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
   * Answers the connections of all workers together. Two workers may accept at the same moment and exceed the
   * limit by one.
   */
  total(): number {
    let total = 0;
    for (let slot = 0; slot < this.#counts.length; slot++) total += Atomics.load(this.#counts, slot);
    return total;
  }
}
