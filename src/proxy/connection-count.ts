/** How many connections the workers hold between them: memory that they share, since the limit is one for all. */

/** Given to each worker as part of its `workerData`. */
export interface HeldShare {
  readonly memory: SharedArrayBuffer;
  /** Which of the workers. */
  readonly slot: number;
}

export function heldMemory(workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(workers * Int32Array.BYTES_PER_ELEMENT);
}

/** A slot each, so that nothing is left of what a worker that died had counted. */
export class Held {
  readonly slot: number;
  readonly #counts: Int32Array;

  constructor({ memory, slot }: HeldShare) {
    this.#counts = new Int32Array(memory);
    this.slot = slot;
  }

  set(own: number): void {
    Atomics.store(this.#counts, this.slot, own);
  }

  /** Of all workers. Two that accept at the same moment may both take the last place. */
  total(): number {
    let total = 0;
    for (let slot = 0; slot < this.#counts.length; slot++) total += Atomics.load(this.#counts, slot);
    return total;
  }
}
