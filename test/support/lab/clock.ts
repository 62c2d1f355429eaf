/**
 * CLOCK_MONOTONIC in milliseconds. It is one clock for the whole machine, so times taken by
 * probes, samplers and captures in different processes can be compared.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** What to add to a wall-clock time in ms (Unix epoch) to get {@link monotonicMs}, as of now. */
export function wallToMonotonic(): number {
  return monotonicMs() - (performance.timeOrigin + performance.now());
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
