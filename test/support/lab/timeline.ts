/**
 * Who held an address when: pure arithmetic over samples. A sample says what was true at one
 * instant; between two samples a holder counts as holding when the earlier one says so.
 */

export interface OwnershipSample {
  readonly atMs: number;
  /** Names of the nodes that have the address on any interface, sorted. */
  readonly holders: readonly string[];
}

export interface Interval {
  readonly fromMs: number;
  readonly toMs: number;
  readonly holders: readonly string[];
}

export class OwnershipTimeline {
  readonly address: string;
  readonly samples: readonly OwnershipSample[];

  /** `samples` in order of time. */
  constructor(address: string, samples: readonly OwnershipSample[]) {
    this.address = address;
    this.samples = samples;
  }

  /** Only what was sampled from `fromMs` to `toMs`, both included. */
  between(fromMs: number, toMs = Infinity): OwnershipTimeline {
    return new OwnershipTimeline(
      this.address,
      this.samples.filter((sample) => sample.atMs >= fromMs && sample.atMs <= toMs),
    );
  }

  /** As if these nodes were not there: dead ones, whose kernels nobody hears. */
  without(names: readonly string[]): OwnershipTimeline {
    return new OwnershipTimeline(
      this.address,
      this.samples.map(({ atMs, holders }) => ({
        atMs,
        holders: holders.filter((holder) => !names.includes(holder)),
      })),
    );
  }

  /** Holders at `atMs`, as the last sample before it says; none before the first sample. */
  holders(atMs: number): readonly string[] {
    return this.samples.findLast((sample) => sample.atMs <= atMs)?.holders ?? [];
  }

  /** Spells of unchanged holders, in order. The last one ends at the last sample. */
  intervals(): Interval[] {
    const intervals: Interval[] = [];
    for (const sample of this.samples) {
      const last = intervals.at(-1);
      if (last === undefined) {
        intervals.push({ fromMs: sample.atMs, toMs: sample.atMs, holders: sample.holders });
        continue;
      }
      intervals[intervals.length - 1] = { ...last, toMs: sample.atMs };
      if (last.holders.join() !== sample.holders.join()) {
        intervals.push({ fromMs: sample.atMs, toMs: sample.atMs, holders: sample.holders });
      }
    }
    return intervals;
  }

  /** The most nodes that had the address in one sample. */
  maxSimultaneous(): number {
    return this.samples.reduce((most, sample) => Math.max(most, sample.holders.length), 0);
  }

  /** Total time with more than one holder. */
  dualMs(): number {
    return sum(this.intervals().filter((interval) => interval.holders.length > 1));
  }

  /** The longest single spell with more than one holder. */
  longestDualMs(): number {
    return longest(this.intervals().filter((interval) => interval.holders.length > 1));
  }

  /** The longest spell without a holder, those at the start and the end included. */
  longestGapMs(): number {
    return longest(this.intervals().filter((interval) => interval.holders.length === 0));
  }

  /** Every change of the set of holders, as `t+1.25s n1 -> n2`, for messages. */
  describe(): string {
    const origin = this.samples[0]?.atMs ?? 0;
    return this.intervals()
      .map(
        (interval) =>
          `t+${((interval.fromMs - origin) / 1000).toFixed(2)}s ${interval.holders.join("+") || "nobody"}`,
      )
      .join(", ");
  }

  /** The longest time that passed between two samples: how fine this timeline can be. */
  resolutionMs(): number {
    return this.samples.reduce((worst, sample, index) => {
      const previous = this.samples[index - 1];
      return previous === undefined ? worst : Math.max(worst, sample.atMs - previous.atMs);
    }, 0);
  }
}

function lengths(intervals: readonly Interval[]): number[] {
  return intervals.map((interval) => interval.toMs - interval.fromMs);
}

function sum(intervals: readonly Interval[]): number {
  return lengths(intervals).reduce((total, length) => total + length, 0);
}

function longest(intervals: readonly Interval[]): number {
  return lengths(intervals).reduce((most, length) => Math.max(most, length), 0);
}
