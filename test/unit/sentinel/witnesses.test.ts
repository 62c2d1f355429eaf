/** Whom to ask, how often, and what their words are worth. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseIp } from "../../../src/net.ts";
import type { IpAddress } from "../../../src/net.ts";
import { createArpBudget } from "../../../src/sentinel/arp-budget.ts";
import { createLinkPresence } from "../../../src/sentinel/link-presence.ts";
import { createWitnesses } from "../../../src/sentinel/witnesses.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { FakeWire } from "./fake-wire.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const [A, B, C] = [ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::3")];
const [MAC_A, MAC_B, MAC_C] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"];

function fixture() {
  const clock = new FakeClock();
  const wire = new FakeWire(clock);
  const asks = createArpBudget(clock, wire);
  const witnesses = createWitnesses(wire, asks, 7);
  /** What one turn sends: `address mac` for an echo, `address` for a question. */
  const turn = (sequence: number, answered = true, not: readonly string[] = []): readonly string[] => {
    wire.sent.length = 0;
    clock.advance(1_000);
    witnesses.ask({ sequence, not, answered, reserve: 0 });
    return wire.sent.map((frame) =>
      frame.kind === "echo" ? `${frame.address} ${frame.mac}` : frame.address,
    );
  };
  return { clock, wire, asks, witnesses, turn };
}

describe("witnesses", () => {
  test("an echo to each whose MAC is known, but to those that are none; one of the others is asked for, in turn", () => {
    const { witnesses, turn } = fixture();
    witnesses.set([
      { address: A, mac: MAC_A },
      { address: B, mac: undefined },
      { address: C, mac: undefined },
    ]);
    assert.deepEqual(turn(1), [`${A.text} ${MAC_A}`, C.text]);
    assert.deepEqual(turn(2), [`${A.text} ${MAC_A}`, B.text]);
    assert.deepEqual(turn(3, true, [MAC_A]), [C.text]);
    const unanswered = [turn(4, false), turn(5, false), turn(6, false)].map(([, asked]) => asked);
    assert.deepEqual(new Set(unanswered), new Set([A.text, B.text, C.text]), "all, when nobody has answered");
  });

  test("a MAC that is heard is asked next to the one given, since any machine may have said it, and is kept for who stays in the list", () => {
    const { witnesses, turn } = fixture();
    witnesses.set([{ address: A, mac: MAC_B }]);
    witnesses.owner(A.text, MAC_A, 1);
    witnesses.set([
      { address: A, mac: MAC_B },
      { address: C, mac: MAC_C },
    ]);
    assert.deepEqual(turn(2), [`${A.text} ${MAC_A}`, `${A.text} ${MAC_B}`, `${C.text} ${MAC_C}`]);
    assert.deepEqual(turn(3, true, [MAC_A]), [`${A.text} ${MAC_B}`, `${C.text} ${MAC_C}`]);
    assert.deepEqual(witnesses.known().macs, [MAC_B, MAC_C], "only those that the Lease names");
    witnesses.set([{ address: C, mac: MAC_C }]);
    witnesses.set([{ address: A, mac: MAC_B }]);
    assert.deepEqual(turn(4), [`${A.text} ${MAC_B}`]);
  });

  test("an owner has answered when it was asked for in this turn or the one before", () => {
    const { wire, witnesses, turn } = fixture();
    witnesses.set([{ address: A, mac: undefined }]);
    assert.equal(witnesses.owner(A.text, MAC_A, 0xffff), false, "nobody had asked");
    turn(0xffff, false);
    witnesses.set([
      { address: A, mac: undefined },
      { address: B, mac: MAC_B },
    ]);
    assert.deepEqual(
      [0xffff, 0, 1].map((sequence) => witnesses.owner(A.text, MAC_A, sequence)),
      [true, true, false],
    );
    assert.equal(witnesses.owner(B.text, MAC_B, 0), false);
    assert.equal(witnesses.owner(C.text, MAC_C, 0), false);
    wire.linkUp = false;
    turn(5, false);
    assert.equal(witnesses.owner(A.text, MAC_A, 5), false, "it could not be sent");
  });
});

test("five questions in any second, not counting what was not sent; probes always go out, and count", () => {
  const { clock, wire, asks } = fixture();
  wire.linkUp = false;
  for (let i = 0; i < 9; i++) assert.equal(asks.ask(A), "failed");
  wire.linkUp = true;
  assert.equal(asks.ask(A, 5), "later");
  for (let i = 0; i < 3; i++) assert.equal(asks.ask(A, 2), "sent");
  assert.equal(asks.ask(A, 2), "later");
  for (let i = 0; i < 2; i++) assert.equal(asks.ask(A), "sent");
  assert.equal(asks.ask(A), "later");
  assert.ok(asks.probe(A, "probe"));
  clock.advance(999);
  assert.equal(asks.ask(A), "later");
  clock.advance(1);
  for (let i = 0; i < 5; i++) assert.ok(asks.probe(A, "probe"));
  assert.equal(asks.ask(A), "later");
});

test("neighbours are missed after two questions in vain, all asked since our link was last seen to work", () => {
  const clock = new FakeClock();
  const told: boolean[] = [];
  let linkUp = true;
  const neighbours = createLinkPresence({
    nowMs: clock.now(),
    ask: () => (linkUp ? "sent" : "failed"),
    known: () => [A],
    changed: (heard) => void told.push(heard),
  });
  const timer = clock.every(100, () => neighbours.tick(clock.now(), false));
  neighbours.heard(clock.now());
  clock.advance(1_500);
  linkUp = false;
  clock.advance(10_000);
  linkUp = true;
  clock.advance(2_000);
  assert.deepEqual(told, [true]);
  clock.advance(2_000);
  assert.deepEqual(told, [true, false]);
  timer.cancel();
});

test("nobody is missed before each known neighbour was asked, though the list changes with the holder", () => {
  const clock = new FakeClock();
  const told: boolean[] = [];
  const questions: string[] = [];
  let known: readonly IpAddress[] = [A, B, C];
  const neighbours = createLinkPresence({
    nowMs: clock.now(),
    ask: ({ text }) => {
      questions.push(text);
      return "sent";
    },
    known: () => known,
    changed: (heard) => void told.push(heard),
  });
  neighbours.heard(clock.now());
  clock.every(100, () => neighbours.tick(clock.now(), false));
  clock.advance(2_100);
  assert.deepEqual(questions, [A.text, B.text]);
  // B is the holder now, which is watched in another way. C has not been asked yet.
  known = [A, C];
  clock.advance(900);
  assert.deepEqual(told, [true]);
  clock.advance(300);
  assert.deepEqual(questions, [A.text, B.text, C.text]);
  assert.deepEqual(told, [true, false]);
});
