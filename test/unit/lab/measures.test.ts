/**
 * The lab's arithmetic: a timeline or a gap that is computed wrongly makes every scenario's verdict
 * worthless.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { PcapReader, parseNeighbourFrame } from "../../support/lab/frames.ts";
import { describeAttempts, longestGap, longestPauseMs } from "../../support/lab/probe.ts";
import type { Attempt } from "../../support/lab/probe.ts";
import { OwnershipTimeline } from "../../support/lab/timeline.ts";

const attempt = (sentMs: number, ok = true): Attempt => ({
  sentMs,
  ms: 1,
  ok,
  error: ok ? "" : "ECONNREFUSED",
});
const sample = (atMs: number, ...holders: string[]): { atMs: number; holders: string[] } => ({
  atMs,
  holders,
});

describe("the timeline of an address", () => {
  const timeline = new OwnershipTimeline("v", [
    sample(0),
    sample(50, "n1"),
    sample(100, "n1"),
    sample(150, "n1", "n2"),
    sample(200, "n2"),
    sample(250),
    sample(400, "n2"),
  ]);

  test("adds up what had one, two and no holders", () => {
    assert.equal(timeline.maxSimultaneous(), 2);
    assert.equal(timeline.dualMs(), 50);
    assert.equal(timeline.longestDualMs(), 50);
    assert.equal(timeline.longestGapMs(), 150);
    assert.equal(timeline.resolutionMs(), 150);
  });

  test("says who held it at a moment, and nobody before the first sample", () => {
    assert.deepEqual(timeline.holders(149), ["n1"]);
    assert.deepEqual(timeline.holders(1000), ["n2"]);
    assert.deepEqual(timeline.holders(-1), []);
  });

  test("leaves out the dead when told so", () => {
    const rest = timeline.without(["n1"]);
    assert.ok(rest.intervals().every(({ holders }) => !holders.includes("n1")));
    assert.deepEqual(rest.holders(1000), ["n2"]);
    assert.equal(rest.maxSimultaneous(), 1);
  });

  test("looks at a part when told so", () => {
    assert.equal(timeline.between(200).maxSimultaneous(), 1);
    assert.equal(timeline.between(50, 100).longestGapMs(), 0);
  });
});

describe("the longest gap of a client", () => {
  test("lies between two answered probes, whatever was refused between them", () => {
    assert.deepEqual(
      longestGap([attempt(0), attempt(5), attempt(10, false), attempt(15, false), attempt(20), attempt(25)]),
      { fromMs: 5, toMs: 20, ms: 15 },
    );
  });

  test("is not short when nothing is answered, or nothing more", () => {
    assert.equal(longestGap([attempt(0, false), attempt(5, false)]).ms, Infinity);
    assert.equal(longestGap([]).ms, Infinity);
    assert.equal(longestGap([attempt(0), attempt(5), attempt(10, false), attempt(900, false)]).ms, 895);
    assert.equal(longestGap([attempt(0, false), attempt(300)]).ms, 300);
  });

  test("is told apart from a client that did not send", () => {
    const attempts = [attempt(0), attempt(5), attempt(125)];
    assert.equal(longestPauseMs(attempts), 120);
    assert.match(
      describeAttempts(attempts),
      /longest gap 120 ms \(the client itself sent nothing for 120 ms\)/,
    );
  });
});

describe("captured bytes", () => {
  const header = Buffer.from("d4c3b2a1020004000000000000000000ffff000001000000", "hex");
  // Gratuitous ARP request for 10.77.0.100 by 02:00:00:00:01:0b.
  const arp = Buffer.from(
    "ffffffffffff02000000010b0806000108000604000102000000010b0a4d00640000000000000a4d0064",
    "hex",
  );

  function packet(bytes: Buffer, seconds: number, microseconds: number): Buffer {
    const head = Buffer.alloc(16);
    head.writeUInt32LE(seconds, 0);
    head.writeUInt32LE(microseconds, 4);
    head.writeUInt32LE(bytes.length, 8);
    head.writeUInt32LE(bytes.length, 12);
    return Buffer.concat([head, bytes]);
  }

  test("become frames wherever the stream is split", () => {
    const stream = Buffer.concat([header, packet(arp, 10, 250_000), packet(arp, 11, 0)]);
    for (let at = 0; at <= stream.length; at += 1) {
      const reader = new PcapReader();
      const frames = [...reader.push(stream.subarray(0, at)), ...reader.push(stream.subarray(at))];
      assert.deepEqual(
        frames.map(({ wallMs }) => wallMs),
        [10_250, 11_000],
      );
    }
  });

  test("name the announced address and the machine it came from", () => {
    const frame = parseNeighbourFrame(arp, 5, new Map([["02:00:00:00:01:0b", "n1"]]));
    assert.ok(frame?.kind === "arp" && frame.gratuitous && frame.op === "request");
    assert.deepEqual([frame.senderIp, frame.targetIp, frame.node], ["10.77.0.100", "10.77.0.100", "n1"]);
  });

  test("that end early, or are something else, are no frames", () => {
    for (let length = 0; length < arp.length; length += 1)
      assert.equal(parseNeighbourFrame(arp.subarray(0, length), 0, new Map()), undefined);
    assert.throws(() => new PcapReader().push(Buffer.alloc(24)), /pcap/);
  });

  test("of an unsolicited advertisement show its flags", () => {
    const head = Buffer.from("33330000000102000000010b86dd6000000000203aff", "hex");
    const source = Buffer.from("fd77000000000000000000000000000b", "hex");
    const allNodes = Buffer.from("ff020000000000000000000000000001", "hex");
    const target = Buffer.from("fd770000000000000000000000000100", "hex");
    const frame = parseNeighbourFrame(
      Buffer.concat([head, source, allNodes, Buffer.from("8800000020000000", "hex"), target]),
      0,
      new Map(),
    );
    assert.ok(frame?.kind === "ndp" && frame.op === "advertisement" && frame.override && !frame.solicited);
    assert.deepEqual([frame.srcIp, frame.targetIp], ["fd77::b", "fd77::100"]);
  });
});
