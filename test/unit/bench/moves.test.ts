/**
 * What the clients of `moves` count: a stream that is read wrongly loses events that the network did not
 * lose.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ClientReport } from "../../bench/moves/clients.ts";
import { ChunkedBody, EventCounter, EventFeed } from "../../bench/moves/events.ts";
import { disorderly, outcomeOf } from "../../bench/moves/outcome.ts";

const HEAD = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const event = (n: number, madeMs: number): string =>
  `{"type":"MODIFIED","object":{"data":{"n":"${n}","t":"${madeMs}.000"}}}\n`;
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

describe("a watch's stream", () => {
  test("is the same whatever pieces it comes in", () => {
    const text = event(1, 10) + event(2, 20);
    const wire = HEAD + chunk(text.slice(0, 50)) + chunk(text.slice(50, 90)) + chunk(text.slice(90));
    for (const size of [1, 7, 1000]) {
      const body = new ChunkedBody();
      let read = "";
      for (let at = 0; at < wire.length; at += size) read += body.read(wire.slice(at, at + size));
      assert.equal(read, text, `in pieces of ${size}`);
    }
  });

  test("is counted when a chunk ends in the middle of a number", () => {
    const counter = new EventCounter(new EventFeed(), "n1");
    const text = event(1, 10) + event(22, 20);
    const cut = text.indexOf("22") + 1;
    counter.read(HEAD + chunk(text.slice(0, cut)), 30);
    counter.read(chunk(text.slice(cut)), 40);
    assert.deepEqual(counter.seen(), { last: 22, missed: 0, latestMs: 20, behindMs: 0 });
  });

  test("missed only what somebody saw, and is late against its own API server", () => {
    const feed = new EventFeed();
    const [first, second, elsewhere] = [
      new EventCounter(feed, "n1"),
      new EventCounter(feed, "n1"),
      new EventCounter(feed, "n2"),
    ];
    for (const n of [1, 2, 4])
      first.read(n === 1 ? HEAD + chunk(event(n, n * 100)) : chunk(event(n, n * 100)), n * 100 + 5);
    second.read(HEAD + chunk(event(1, 100)), 105);
    second.read(chunk(event(4, 400)), 705);
    elsewhere.read(HEAD + chunk(event(2, 200)), 900);
    elsewhere.read(chunk(event(4, 400)), 900);
    assert.deepEqual(first.seen(), { last: 4, missed: 0, latestMs: 5, behindMs: 0 });
    // Number 3 was never made.
    assert.deepEqual(second.seen(), { last: 4, missed: 1, latestMs: 305, behindMs: 300 });
    assert.deepEqual(elsewhere.seen(), { last: 4, missed: 0, latestMs: 500, behindMs: 0 });
    second.mark();
    assert.equal(second.seen().behindMs, 0);
  });
});

describe("the outcome of a fault", () => {
  const events = { last: 9, missed: 0, latestMs: 20, behindMs: 3 };
  const watch = (server: string, more: Partial<ClientReport> = {}): ClientReport => ({
    kind: "watch",
    server,
    closedMs: null,
    closedBy: "",
    lastHeardMs: 9_900,
    askedMs: null,
    events,
    ...more,
  });
  const request = (server: string, more: Partial<ClientReport> = {}): ClientReport => ({
    ...watch(server, more),
    kind: "request",
    events: null,
  });
  const when = { faultMs: 5_000, endMs: 10_000, dead: "n3" };

  test("tells closed, hung and living ones apart, and leaves the dead server's out", () => {
    const outcome = outcomeOf(
      [
        watch("n1"),
        watch("n1", { lastHeardMs: 7_000 }),
        request("n2", { askedMs: 7_000 }),
        request("n2", { closedMs: 6_000, closedBy: "ECONNRESET" }),
        watch("n3", { closedMs: 5_400 }),
        request("n3"),
      ],
      when,
    );
    assert.deepEqual(outcome, {
      livePercent: 25,
      closed: 1,
      hung: 2,
      missed: 0,
      latestMs: 20,
      behindMs: 3,
      toldWatchesMs: 400,
      toldRequestsMs: Infinity,
    });
  });

  test("a server that says nothing to anybody hangs nobody", () => {
    const silent = { lastHeardMs: 6_000 };
    const reports = [watch("n1", silent), { ...watch("n1", silent), kind: "direct" as const }];
    assert.equal(outcomeOf(reports, when).hung, 0);
    assert.equal(outcomeOf([watch("n1", silent), { ...watch("n1"), kind: "direct" as const }], when).hung, 1);
  });

  test("nobody on the dead server has nothing to be told", () => {
    assert.equal(outcomeOf([watch("n1")], { ...when, dead: undefined }).toldWatchesMs, undefined);
  });

  test("half-closes that were not answered with an end", () => {
    const endings = [
      { server: "n1", how: "ended" },
      { server: "n2", how: "hung" },
      { server: "n3", how: "ECONNRESET" },
    ];
    assert.equal(disorderly(endings, "n3"), 1);
    assert.equal(disorderly(endings, undefined), 2);
  });
});
