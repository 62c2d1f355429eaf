/** What the load programs print, as numbers. */

/** `iperf3 --json`: Gbit/s that arrived. @throws Error with what iperf3 complains of */
export function gbitPerSecond(iperf3: string): number {
  const report: {
    readonly error?: string;
    readonly end?: { readonly sum_received?: { readonly bits_per_second?: number } };
  } = JSON.parse(iperf3);
  const bits = report.end?.sum_received?.bits_per_second;
  if (report.error !== undefined || bits === undefined)
    throw new Error(`iperf3: ${report.error ?? "no figures"}`);
  return bits / 1e9;
}

/**
 * `wrk`: answers a second; what was reset or timed out is no answer. @throws Error when some answers were not
 * 200
 */
export function requestsPerSecond(wrk: string): number {
  const rate = /^Requests\/sec:\s+(\d+(?:\.\d+)?)$/m.exec(wrk)?.[1];
  if (rate === undefined || wrk.includes("Non-2xx")) throw new Error(`wrk: ${wrk}`);
  return Number(rate);
}

export interface RoundTrips {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** `sockperf ping-pong --full-rtt`. @throws Error with all it said when figures are missing */
export function roundTrips(sockperf: string): RoundTrips {
  const valid = /\[Valid Duration\] RunTime=([\d.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)/.exec(
    sockperf,
  );
  const percentile = (name: string): number =>
    Number(new RegExp(`percentile ${name} =\\s+([\\d.]+)`).exec(sockperf)?.[1]);
  const figures = {
    perSecond: Number(valid?.[2]) / Number(valid?.[1]),
    p50Us: percentile("50\\.000"),
    p99Us: percentile("99\\.000"),
  };
  if (Object.values(figures).some((value) => !Number.isFinite(value)))
    throw new Error(`sockperf: ${sockperf}`);
  return figures;
}
