/** What the load programs print is read by pattern: a wrong one would be a wrong figure and no error. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gbitPerSecond, requestsPerSecond, roundTrips } from "../../bench/balancer/figures.ts";
import { cpuMs, family, memoryKib, parentOf, processOf } from "../../bench/processes.ts";

describe("figures of the load programs", () => {
  test("iperf3: what the receiver counted", () => {
    assert.equal(
      gbitPerSecond('{"end":{"sum_sent":{"bits_per_second":9e9},"sum_received":{"bits_per_second":8.5e9}}}'),
      8.5,
    );
    assert.throws(() => gbitPerSecond('{"end":{},"error":"the server is busy"}'), /busy/);
  });

  test("wrk: answers only", () => {
    assert.equal(requestsPerSecond("  Latency 1ms\nRequests/sec:   7863.93\nTransfer/sec: 1MB\n"), 7863.93);
    assert.throws(
      () => requestsPerSecond("  Non-2xx or 3xx responses: 3\nRequests/sec:   7863.93\n"),
      /Non-2xx/,
    );
    assert.throws(() => requestsPerSecond("unable to connect"), /unable/);
  });

  test("sockperf: the valid part of the run, whole round trips", () => {
    const text = `sockperf: [Total Run] RunTime=2.000 sec; Warm up time=400 msec; SentMessages=96390; ReceivedMessages=96389
sockperf: [Valid Duration] RunTime=1.5 sec; SentMessages=75000; ReceivedMessages=75000
sockperf: ---> percentile 99.900 =   90.032
sockperf: ---> percentile 99.000 =   29.032
sockperf: ---> percentile 50.000 =    8.447`;
    assert.deepEqual(roundTrips(text), { perSecond: 50_000, p50Us: 8.447, p99Us: 29.032 });
    assert.throws(() => roundTrips("no messages"), /no messages/);
  });

  test("/proc: time of the process and its children, whatever its name; memory", () => {
    assert.equal(cpuMs("7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 10 20 3 4 20 0 1 0"), 370);
    assert.equal(parentOf("7 (a) 3 (c)) S 1 7 7 0 -1 4194560"), 1);
    assert.deepEqual(family(process.pid).includes(process.pid), true);
    assert.ok(family(process.ppid).includes(process.pid));
    const own = processOf(process.pid);
    assert.ok(own !== undefined && own.anonymousKib > 0 && own.wakeUps > 0);
    assert.ok(own.memoryKib > own.anonymousKib && own.memoryKib >= own.proportionalKib);
    assert.ok(own.proportionalKib > own.anonymousKib / 2);
    assert.equal(memoryKib(undefined, "MemTotal: 5 kB\nSlab:             1234 kB\n"), 1234);
  });
});
