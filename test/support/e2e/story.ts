/** The parts of a story that is played on one cluster, one after the other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machines } from "./cluster.ts";

/**
 * Returns a function that defines one part as a test. After a part has failed, the later ones fail at once,
 * and the machines' logs are kept.
 */
export function parts(machines: () => Machines): (name: string, play: () => Promise<void>) => void {
  let broken = false;
  return (name, play) => {
    test(name, async () => {
      assert.ok(!broken, "an earlier part has failed");
      try {
        await play();
      } catch (error) {
        broken = true;
        process.stderr.write(`The machines' logs: ${await machines().saveLogs()}\n`);
        throw error;
      }
    });
  };
}

/** Prints how long each part of a story took. */
export class Stopwatch {
  #last = performance.now();

  /** @param what ended now */
  lap(what: string): void {
    const now = performance.now();
    process.stderr.write(`${((now - this.#last) / 1000).toFixed(1).padStart(6)} s  ${what}\n`);
    this.#last = now;
  }
}
