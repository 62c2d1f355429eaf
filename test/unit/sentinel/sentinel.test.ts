/** The sentinel on a fake clock and a fake link. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { silentLogger } from "../../../src/log.ts";
import { parseIp } from "../../../src/net.ts";
import type { IpAddress } from "../../../src/net.ts";
import type { Evidence, Watched } from "../../../src/sentinel/evidence.ts";
import { createSentinel } from "../../../src/sentinel/sentinel.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { FakeWire } from "./fake-wire.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const V4 = ip("192.0.2.100");
const V6 = ip("2001:db8::100");
const GATEWAY = ip("192.0.2.1");
const PEER = ip("192.0.2.13");
const [OWN, HOLDER, GATEWAY_MAC, PEER_MAC, STRANGER] = [
  "02:00:00:00:00:01",
  "02:00:00:00:00:02",
  "02:00:00:00:00:fe",
  "02:00:00:00:00:03",
  "02:00:00:00:00:66",
];
const WATCHED: Watched = {
  holder: { tenure: "t1", mac: HOLDER },
  witnesses: [
    { address: GATEWAY, mac: undefined },
    { address: PEER, mac: PEER_MAC },
  ],
  pace: "fast",
};

interface Told<Kind extends Evidence["kind"] = Evidence["kind"]> {
  readonly atMs: number;
  readonly evidence: Evidence & { readonly kind: Kind };
}

function fixture(addresses: readonly IpAddress[] = [V4], misses = 3, hasArp = () => true) {
  const clock = new FakeClock();
  const wire = new FakeWire(clock);
  const holder = wire.host(HOLDER, ...addresses.map(({ text }) => text));
  const gateway = wire.host(GATEWAY_MAC, GATEWAY.text);
  const peer = wire.host(PEER_MAC, PEER.text);
  const told: Told[] = [];
  const sentinel = createSentinel({
    clock,
    log: silentLogger,
    wire,
    ownMac: () => OWN,
    hasArp,
    addresses,
    misses,
    random: () => 0.5,
  });
  const start = (): void => sentinel.start((evidence) => void told.push({ atMs: clock.now(), evidence }));
  /** What was said, but for the neighbours. */
  const kinds = (): readonly string[] =>
    told.map(({ evidence }) => evidence.kind).filter((kind) => kind !== "neighbours");
  const of = <Kind extends Evidence["kind"]>(kind: Kind): readonly Told<Kind>[] =>
    told.filter((each): each is Told<Kind> => each.evidence.kind === kind);
  return { clock, wire, holder, gateway, peer, told, kinds, of, sentinel, start };
}

/** One that has answered steadily. */
function watching(addresses: readonly IpAddress[] = [V4], watched: Watched = WATCHED, misses = 3) {
  const all = fixture(addresses, misses);
  all.start();
  all.sentinel.watch(watched);
  all.clock.advance(watched.pace === "slow" ? 12_000 : 2_000);
  assert.equal(all.sentinel.status().proof, "ready");
  return all;
}

test("without ARP there is no proof, and the status says so", () => {
  let hasArp = false;
  const { sentinel, start } = fixture([V4], 3, () => hasArp);
  start();
  assert.equal(sentinel.status().proof, "no-arp");
  hasArp = true;
  assert.equal(sentinel.status().proof, "none");
});

describe("a holder", () => {
  test("whose power fails is silent 150 to 200 ms later, whenever in a turn it happens", () => {
    for (const addresses of [[V4], [V4, V6]]) {
      for (let phase = 0; phase < 50; phase += 7) {
        const { clock, holder, kinds, of, sentinel } = watching(addresses);
        clock.advance(phase);
        const diedMs = clock.now();
        holder.alive = false;
        clock.advance(5_000);
        assert.deepEqual(kinds(), ["silent"]);
        const [silent] = of("silent");
        assert.equal(silent?.evidence.tenure, "t1");
        const tookMs = (silent?.atMs ?? 0) - diedMs;
        assert.ok(tookMs >= 150 && tookMs <= 200, `${tookMs} ms on the fake clock`);
        assert.equal(sentinel.status().proof, "silent");
      }
    }
  });

  test("that has just claimed its own Lease again, as a restarted agent does, is as well known as before", () => {
    const { clock, holder, of, sentinel } = watching();
    sentinel.watch({ ...WATCHED, holder: { tenure: "t2", mac: HOLDER } });
    clock.advance(20);
    holder.alive = false;
    clock.advance(250);
    assert.deepEqual(
      of("silent").map(({ evidence }) => evidence.tenure),
      ["t2"],
    );
  });

  test("is learnt from the start when another machine holds the Lease, or when it has missed something", () => {
    const other = watching();
    other.sentinel.watch({ ...WATCHED, holder: { tenure: "t2", mac: PEER_MAC } });
    assert.equal(other.sentinel.status().proof, "calibrating");
    const away = watching();
    away.holder.alive = false;
    away.clock.advance(110);
    away.holder.alive = true;
    away.sentinel.watch({ ...WATCHED, holder: { tenure: "t2", mac: HOLDER } });
    assert.equal(away.sentinel.status().proof, "calibrating");
  });

  test("is asked every 50 ms at its own MAC, witnesses not at all while it answers", () => {
    const { clock, wire } = watching([V4, V6]);
    wire.sent.length = 0;
    clock.advance(1_000);
    const echoes = wire.echoes();
    assert.equal(echoes.length, 40);
    assert.ok(
      echoes.every((frame) => frame.kind === "echo" && frame.mac === HOLDER && frame.identifier === 0x8000),
    );
    assert.deepEqual(wire.asks(), []);
  });

  test("is not silent without a witness: all cut off, none named, or only itself and us", () => {
    for (const spoil of [
      ({ wire }: ReturnType<typeof watching>) => void (wire.cut = true),
      ({ holder, gateway, peer }: ReturnType<typeof watching>) =>
        void (holder.alive = gateway.alive = peer.alive = false),
      ({ holder, sentinel }: ReturnType<typeof watching>) => {
        sentinel.watch({ ...WATCHED, witnesses: [] });
        holder.alive = false;
      },
      ({ holder, wire, sentinel }: ReturnType<typeof watching>) => {
        holder.alive = false;
        const its = ["192.0.2.12", "192.0.2.14", "192.0.2.15"];
        wire.host(HOLDER, ...its);
        wire.host(OWN, "192.0.2.11");
        const unknown = its.map((text) => ({ address: ip(text), mac: undefined }));
        sentinel.watch({
          ...WATCHED,
          witnesses: [...unknown, { address: ip("192.0.2.11"), mac: OWN }, { address: V4, mac: STRANGER }],
        });
      },
      ({ holder, gateway, peer, wire }: ReturnType<typeof watching>) => {
        // The witnesses' words come from the holder's MAC.
        holder.alive = gateway.alive = peer.alive = false;
        wire.lost = (frame) => {
          if (frame.kind === "echo" && frame.mac === PEER_MAC)
            wire.say({ ...frame, kind: "echo", address: PEER, mac: HOLDER });
          return false;
        };
      },
      ({ holder, gateway, peer }: ReturnType<typeof watching>) => {
        // Too late to show that our link works still.
        holder.alive = gateway.alive = peer.answersAsks = false;
        peer.delayMs = 120;
      },
    ]) {
      const all = watching();
      spoil(all);
      all.clock.advance(10_000);
      assert.deepEqual(all.kinds(), []);
      assert.equal(all.sentinel.status().proof, "no-witness");
    }
  });

  test("is not silent by the word of one that was not asked", () => {
    const { clock, wire, holder, kinds } = watching([V4], {
      ...WATCHED,
      witnesses: [{ address: PEER, mac: PEER_MAC }],
    });
    holder.alive = false;
    wire.cut = true;
    // Said in the turns after the first and the second miss; in the first of them it was asked by an echo
    // only.
    for (const ms of [110, 160]) wire.say({ kind: "owner", address: PEER, mac: PEER_MAC, reply: true }, ms);
    clock.advance(5_000);
    assert.deepEqual(kinds(), []);
  });

  test("is not silent by what a third host asks or announces, which shows that it is heard and not that it hears", () => {
    for (const reply of [false, true]) {
      const { clock, wire, holder, kinds } = watching([V4], {
        ...WATCHED,
        witnesses: [{ address: PEER, mac: PEER_MAC }],
      });
      holder.alive = false;
      wire.cut = true;
      // In each turn, so also when it was just asked.
      for (let ms = 60; ms < 2_000; ms += 50)
        wire.say({ kind: "owner", address: PEER, mac: PEER_MAC, reply }, ms);
      clock.advance(2_000);
      assert.deepEqual(kinds(), reply ? ["silent"] : []);
    }
  });

  test("is asked for in time, however many questions a witness that is away has cost", () => {
    const { clock, gateway, holder, kinds } = watching([V4, V6], WATCHED, 8);
    gateway.alive = false;
    holder.alive = false;
    clock.advance(450);
    assert.deepEqual(kinds(), ["silent"]);
  });

  test("is alive while it could not be asked for", () => {
    const { clock, wire, holder, kinds, sentinel } = watching([V4, V6]);
    holder.answersAsks = false;
    sentinel.probe(false);
    clock.advance(450);
    assert.equal(wire.asks(V4.text).length + wire.asks(V6.text).length, 6);
    holder.answersAsks = true;
    holder.answersEchoes = false;
    clock.advance(5_000);
    assert.deepEqual(kinds(), ["probed"]);
    assert.equal(sentinel.status().by, "arp");
  });

  test("calibrates by prompt answers, whatever comes late beside them", () => {
    const { clock, wire, sentinel, start } = fixture();
    wire.lost = (frame) => {
      if (frame.kind === "echo")
        wire.say({ ...frame, kind: "echo", address: V4, sequence: frame.sequence - 1 }, 2);
      return false;
    };
    start();
    sentinel.watch(WATCHED);
    clock.advance(1_200);
    assert.equal(sentinel.status().proof, "ready");
    sentinel.watch({ ...WATCHED, witnesses: [{ address: V4, mac: HOLDER }] });
    assert.equal(sentinel.status().proof, "no-witness", "the VIP is none");
  });

  test("has a witness in one that drops echoes, whose MAC is another one now, or is not known", () => {
    for (const witnesses of [[{ address: GATEWAY, mac: undefined }], [{ address: PEER, mac: STRANGER }]]) {
      const { clock, holder, kinds } = watching([V4], { ...WATCHED, witnesses });
      holder.alive = false;
      clock.advance(300);
      assert.deepEqual(kinds(), ["silent"]);
    }
    const { clock, holder, peer, kinds } = watching([V4], {
      ...WATCHED,
      witnesses: [{ address: PEER, mac: PEER_MAC }],
    });
    peer.answersEchoes = false;
    holder.alive = false;
    clock.advance(500);
    assert.deepEqual(kinds(), ["silent"]);
  });

  test("that answers before its turn is judged is alive, though we were stopped meanwhile", () => {
    const { clock, kinds, sentinel } = watching();
    for (let i = 0; i < 50; i++) {
      clock.jump(100 + i * 20);
      clock.advance(60);
    }
    assert.deepEqual(kinds(), []);
    clock.advance(2_000);
    assert.equal(sentinel.status().proof, "ready");
  });

  test("is not silent because frames were left unread, or could not be sent", () => {
    for (const spoil of [{ overrun: true }, { linkUp: false }]) {
      const { clock, wire, holder, kinds } = watching();
      Object.assign(wire, spoil);
      holder.alive = false;
      clock.advance(5_000);
      assert.deepEqual(kinds(), []);
    }
  });

  test("is silent though a flood of other machines' claims fills the socket for those, and the status says so", () => {
    const { clock, wire, holder, kinds, sentinel } = watching();
    assert.equal(sentinel.status().flooded, false);
    wire.claimsLost = true;
    clock.advance(5_000);
    assert.deepEqual([sentinel.status().proof, sentinel.status().flooded], ["ready", true]);
    holder.alive = false;
    clock.advance(300);
    assert.deepEqual(kinds(), ["silent"]);
    wire.claimsLost = false;
    clock.advance(59_000);
    assert.equal(sentinel.status().flooded, true);
    clock.advance(2_000);
    assert.equal(sentinel.status().flooded, false);
  });

  test("whose answers are lost in a flood is not found dead, and the status says why", () => {
    const { clock, wire, holder, kinds, sentinel } = watching();
    wire.overrun = true;
    holder.alive = false;
    clock.advance(5_000);
    assert.deepEqual([kinds(), sentinel.status().proof], [[], "flooded"]);
    wire.overrun = false;
    clock.advance(1_300);
    assert.deepEqual(kinds(), ["silent"]);
  });

  test("is heard apart from all machines but the witnesses that the Lease names", () => {
    const { wire, sentinel } = watching([V4, V6]);
    assert.deepEqual(wire.listening?.macs, [HOLDER, PEER_MAC]);
    assert.deepEqual(wire.listening?.vips, [V4, V6]);
    assert.deepEqual(wire.listening?.others, [GATEWAY, PEER]);
    sentinel.watch({ ...WATCHED, holder: { tenure: "t2", mac: STRANGER }, witnesses: [] });
    assert.deepEqual(wire.listening?.macs, [STRANGER]);
  });

  test("whose answers come late, but come, is alive", () => {
    const { clock, holder, kinds } = watching();
    holder.delayMs = 120;
    clock.advance(10_000);
    assert.deepEqual(kinds(), []);
  });

  test("one of whose addresses is gone is not dead", () => {
    const { clock, holder, kinds } = watching([V4, V6]);
    holder.addresses = [V6.text];
    clock.advance(60_000);
    assert.deepEqual(kinds(), []);
  });

  test("that stays the same keeps what is known of it; another MAC is learnt from the start", () => {
    const { clock, sentinel } = watching();
    sentinel.watch({ ...WATCHED, holder: { tenure: "t1", mac: HOLDER }, witnesses: [], pace: "slow" });
    sentinel.watch({ ...WATCHED, holder: { tenure: "t1", mac: HOLDER } });
    assert.equal(sentinel.status().proof, "ready");
    sentinel.watch({ ...WATCHED, holder: { tenure: "t2", mac: STRANGER } });
    clock.advance(2_000);
    assert.equal(sentinel.status().proof, "calibrating");
    sentinel.watch({ ...WATCHED, holder: { tenure: "t3", mac: HOLDER } });
    assert.equal(sentinel.status().proof, "calibrating");
    for (let i = 0; i < 100; i++) {
      sentinel.watch({ ...WATCHED, holder: { tenure: "t3", mac: HOLDER }, witnesses: [] });
      clock.advance(30);
    }
    sentinel.watch({ ...WATCHED, holder: { tenure: "t3", mac: HOLDER } });
    assert.equal(sentinel.status().proof, "ready", "however often it is said");
    sentinel.watch({ ...WATCHED, holder: null });
    assert.deepEqual(sentinel.status(), {
      proof: "none",
      by: "icmp",
      missed: 0,
      neighbours: true,
      flooded: false,
    });
  });

  test("watched slowly is silent after 1.5 to 2 s", () => {
    const { clock, wire, holder, of } = watching([V4], { ...WATCHED, pace: "slow" });
    wire.sent.length = 0;
    clock.advance(5_000);
    assert.equal(wire.echoes().length, 10);
    const diedMs = clock.now();
    holder.alive = false;
    clock.advance(1_499);
    assert.deepEqual(of("silent"), []);
    clock.advance(501);
    assert.ok((of("silent")[0]?.atMs ?? Infinity) <= diedMs + 2_000);
  });

  test("is not shielded by another one that answers for it, nor by an echo that it forwards", () => {
    const { clock, wire, holder, kinds } = watching();
    holder.addresses = [];
    wire.lost = (frame) => {
      if (frame.kind === "echo" && frame.mac === HOLDER)
        wire.say({ ...frame, kind: "echo", address: V4, mac: STRANGER });
      return false;
    };
    wire.host(STRANGER, V4.text);
    clock.advance(300);
    assert.deepEqual(kinds(), ["claimed", "silent"]);
  });
});

describe("a firewall", () => {
  test("that begins to drop echoes is no death; then ARP tells, at 5/s at most", () => {
    for (const addresses of [[V4], [V4, V6]]) {
      const { clock, wire, holder, kinds, sentinel } = watching(addresses);
      holder.answersEchoes = false;
      clock.advance(60_000);
      assert.deepEqual(kinds(), []);
      assert.deepEqual([sentinel.status().by, sentinel.status().proof], ["arp", "ready"]);
      holder.alive = false;
      clock.advance(addresses.length * 1_000);
      assert.deepEqual(kinds(), ["silent"]);
      clock.advance(10_000);
      assert.ok(wire.mostAsks() <= 5, `${wire.mostAsks()} in a second`);
    }
  });

  test("that always did: calibrated by ARP, and by echoes when they are let through", () => {
    const { clock, wire, holder, peer, gateway, kinds, sentinel, start } = fixture();
    holder.answersEchoes = peer.answersEchoes = gateway.answersEchoes = false;
    start();
    sentinel.watch(WATCHED);
    clock.advance(7_000);
    assert.deepEqual([sentinel.status().by, sentinel.status().proof], ["arp", "calibrating"]);
    clock.advance(2_000);
    assert.equal(sentinel.status().proof, "ready");
    holder.answersEchoes = true;
    clock.advance(10_000);
    assert.deepEqual([sentinel.status().by, sentinel.status().proof], ["icmp", "ready"]);
    holder.answersEchoes = false;
    clock.advance(5_000);
    holder.alive = false;
    clock.advance(2_000);
    assert.deepEqual(kinds(), ["silent"]);
    assert.ok(wire.mostAsks() <= 5);
  });
});

describe("a dead holder that shows up", () => {
  test("is told at once, by an echo or by its announcement, and no proof is believed for a minute, then for two", () => {
    const { clock, wire, holder, kinds, sentinel } = watching();
    let expected: readonly string[] = [];
    for (const minutes of [1, 2, 4]) {
      holder.alive = false;
      clock.advance(1_000);
      expected = [...expected, "silent"];
      assert.deepEqual(kinds(), expected);
      if (minutes === 2) wire.say({ kind: "owner", address: V4, mac: HOLDER, reply: false });
      else holder.alive = true;
      clock.advance(110);
      expected = [...expected, "answering"];
      assert.deepEqual(kinds(), expected);
      assert.equal(sentinel.status().proof, "backing-off");
      const untilMs = clock.now() + minutes * 60_000;
      // It dies and lives all that time, as a new tenure of another machine's would.
      for (let round = 0; clock.now() < untilMs - 5_000; round++) {
        if (round === 3) sentinel.watch({ ...WATCHED, holder: { tenure: `t${minutes}`, mac: HOLDER } });
        holder.alive = true;
        clock.advance(2_000);
        holder.alive = false;
        clock.advance(1_000);
      }
      assert.deepEqual(kinds(), expected);
      holder.alive = true;
      clock.advance(7_000);
      assert.equal(sentinel.status().proof, "ready");
    }
  });

  test("in the middle of a slow turn is told within 100 ms", () => {
    const { clock, wire, holder, kinds } = watching([V4], { ...WATCHED, pace: "slow" });
    holder.alive = false;
    clock.advance(2_610);
    wire.say({ kind: "owner", address: V4, mac: HOLDER, reply: false });
    clock.advance(100);
    assert.deepEqual(kinds(), ["silent", "answering"]);
  });
});

describe("claims", () => {
  test("another machine that says it has the VIP: once for each burst and MAC, again when it says so again", () => {
    const { clock, wire, of } = watching();
    const burst = (mac: string): void => {
      for (let i = 0; i < 5; i++) wire.say({ kind: "owner", address: V4, mac, reply: false });
    };
    burst(STRANGER);
    burst(PEER_MAC);
    burst(HOLDER);
    wire.say({ kind: "owner", address: V4, mac: OWN, reply: false });
    wire.say({ kind: "owner", address: GATEWAY, mac: STRANGER, reply: false });
    clock.advance(60);
    assert.deepEqual(
      of("claimed").map(({ evidence }) => evidence.mac),
      [STRANGER, PEER_MAC],
    );
    clock.advance(120);
    burst(STRANGER);
    clock.advance(60);
    assert.deepEqual(
      of("claimed").map(({ evidence }) => evidence.mac),
      [STRANGER, PEER_MAC, STRANGER],
    );
  });

  test("with no holder anybody's counts, within 100 ms; a flood of MACs is told in part", () => {
    const { clock, wire, of, start } = fixture();
    start();
    wire.say({ kind: "owner", address: V4, mac: HOLDER, reply: false });
    clock.advance(100);
    assert.deepEqual(
      of("claimed").map(({ evidence }) => evidence.mac),
      [HOLDER],
    );
    for (let i = 10; i < 99; i++)
      wire.say({ kind: "owner", address: V4, mac: `02:00:00:00:01:${i}`, reply: false });
    clock.advance(100);
    assert.equal(of("claimed").length, 9);
  });
});

describe("a probe", () => {
  const probing = (addresses: readonly IpAddress[] = [V4]) => {
    const all = fixture(addresses);
    all.holder.alive = false;
    all.start();
    return all;
  };

  test("three for each address, 200 ms apart; nobody", () => {
    const { clock, wire, of, sentinel } = probing([V4, V6]);
    const startMs = clock.now();
    sentinel.probe(false);
    clock.advance(599);
    assert.deepEqual(of("probed"), []);
    clock.advance(5_000);
    assert.deepEqual(of("probed"), [
      { atMs: startMs + 600, evidence: { kind: "probed", owner: null, prober: null } },
    ]);
    const expected = [0, 200, 400].flatMap((ms) =>
      [V4, V6].map(({ text }) => ({ kind: "ask", atMs: startMs + ms, address: text, as: "probe" })),
    );
    assert.deepEqual(wire.sent, expected);
    sentinel.probe(false);
    clock.advance(600);
    assert.equal(of("probed").length, 2);
  });

  test("one that is under way is begun anew", () => {
    for (const afterMs of [1, 250, 599]) {
      const { clock, wire, of, sentinel } = probing();
      const startMs = clock.now();
      sentinel.probe(false);
      clock.advance(afterMs);
      wire.sent.length = 0;
      sentinel.probe(false);
      clock.advance(5_000);
      assert.deepEqual(
        of("probed").map(({ atMs }) => atMs - startMs),
        [afterMs + 600],
      );
      assert.deepEqual(
        wire.asks().map(({ atMs }) => atMs - startMs),
        [0, 200, 400].map((ms) => afterMs + ms),
      );
    }
  });

  test("after a random time of up to a second", () => {
    const { clock, wire, sentinel } = probing();
    const startMs = clock.now();
    sentinel.probe(true);
    clock.advance(2_000);
    assert.equal(wire.asks()[0]?.atMs, startMs + 500);
  });

  test("an owner is told at once, as a claim too unless it is the holder we know", () => {
    for (const [watched, kinds] of [
      [{ ...WATCHED, holder: null }, ["probed", "claimed"]],
      [WATCHED, ["probed"]],
    ] as const) {
      const all = probing();
      all.holder.alive = true;
      all.sentinel.watch(watched);
      all.sentinel.probe(false);
      all.clock.advance(100);
      assert.deepEqual(
        all.of("probed").map(({ evidence }) => evidence),
        [{ kind: "probed", owner: HOLDER, prober: null }],
      );
      assert.deepEqual(all.kinds(), kinds);
      all.clock.advance(5_000);
      assert.equal(all.of("probed").length, 1);
    }
  });

  test("an owner that is heard before the first was sent counts as well", () => {
    const { clock, wire, of, sentinel } = probing();
    sentinel.probe(true);
    wire.say({ kind: "owner", address: V4, mac: STRANGER, reply: false });
    clock.advance(100);
    assert.equal(of("probed")[0]?.evidence.owner, STRANGER);
    assert.deepEqual(wire.asks(), []);
  });

  test("another one may be begun from within the answer, and is one of its own", () => {
    const { clock, wire, holder, sentinel } = fixture();
    const startMs = clock.now();
    holder.alive = false;
    let told = 0;
    sentinel.start((evidence) => {
      if (evidence.kind === "probed" && told++ === 0) sentinel.probe(true);
    });
    clock.advance(30);
    sentinel.probe(false);
    clock.advance(185);
    wire.say({ kind: "owner", address: V4, mac: STRANGER, reply: false });
    clock.advance(5_000);
    assert.equal(told, 2);
    assert.deepEqual(
      wire.asks().map(({ atMs }) => atMs - startMs),
      [30, 730, 930, 1130],
    );
  });

  test("another that asks as we do is told, whenever; not ourselves, nor one that asks for another address, nor one before", () => {
    for (const afterMs of [50, 350, 1_050]) {
      const { clock, wire, of, sentinel } = probing();
      wire.say({ kind: "probe", address: V4, mac: PEER_MAC });
      clock.advance(200);
      sentinel.probe(true);
      clock.advance(afterMs);
      wire.say({ kind: "probe", address: V4, mac: OWN });
      wire.say({ kind: "probe", address: GATEWAY, mac: PEER_MAC });
      wire.say({ kind: "probe", address: V4, mac: STRANGER });
      clock.advance(2_000);
      assert.deepEqual(
        of("probed").map(({ evidence }) => evidence),
        [{ kind: "probed", owner: null, prober: STRANGER }],
      );
    }
  });

  test("of several that ask as we do the lowest is told", () => {
    const { clock, wire, of, sentinel } = probing();
    sentinel.probe(false);
    for (const mac of ["02:00:00:00:0a:02", "02:00:00:00:0a:01", "02:00:00:00:0a:03"])
      wire.say({ kind: "probe", address: V4, mac });
    clock.advance(2_000);
    assert.deepEqual(
      of("probed").map(({ evidence }) => evidence),
      [{ kind: "probed", owner: null, prober: "02:00:00:00:0a:01" }],
    );
  });

  test("without a link there is no verdict until it could be asked three times", () => {
    const { clock, wire, of, sentinel } = probing();
    wire.linkUp = false;
    sentinel.probe(false);
    clock.advance(30_000);
    assert.deepEqual(of("probed"), []);
    wire.linkUp = true;
    clock.advance(1_000);
    assert.equal(of("probed").length, 1);
    assert.equal(wire.asks().length, 3);
  });

  test("a probe whose answer we may have lost is sent again", () => {
    for (const spoil of [
      ({ clock }: ReturnType<typeof fixture>) => clock.jump(1_000),
      ({ wire }: ReturnType<typeof fixture>) => void (wire.overrun = true),
    ]) {
      const all = probing();
      all.sentinel.probe(false);
      all.clock.advance(410);
      spoil(all);
      all.clock.advance(150);
      all.wire.overrun = false;
      assert.deepEqual(all.of("probed"), []);
      all.clock.advance(1_000);
      assert.equal(all.of("probed").length, 1);
      assert.equal(all.wire.asks().length, 4);
    }
  });
});

describe("neighbours", () => {
  const quiet = () => {
    const all = fixture();
    all.holder.alive = false;
    all.sentinel.watch({ ...WATCHED, holder: null });
    return all;
  };

  test("the first one heard is told; nobody for 3 s as well, and the next one again", () => {
    const { clock, wire, gateway, peer, of, sentinel, start } = quiet();
    gateway.alive = peer.alive = false;
    assert.equal(sentinel.status().neighbours, null);
    start();
    clock.advance(100);
    assert.equal(wire.asks().length, 1, "there is nothing to wait for");
    clock.advance(30_000);
    assert.deepEqual(of("neighbours"), [], "nobody was ever heard");
    gateway.alive = true;
    clock.advance(3_000);
    const lastMs = clock.now();
    gateway.alive = false;
    clock.advance(10_000);
    gateway.alive = true;
    clock.advance(3_000);
    assert.deepEqual(
      of("neighbours").map(({ evidence }) => evidence.heard),
      [true, false, true],
    );
    const falseMs = (of("neighbours")[1]?.atMs ?? 0) - lastMs;
    assert.ok(falseMs > 1_000 && falseMs <= 3_200, String(falseMs));
    assert.equal(sentinel.status().neighbours, true);
  });

  test("one is asked each second, in turn, and nobody while somebody is heard anyway", () => {
    const { clock, wire, gateway, start } = quiet();
    gateway.alive = false;
    start();
    clock.advance(10_000);
    assert.ok(wire.asks(GATEWAY.text).length >= 3 && wire.asks(PEER.text).length >= 3);
    assert.ok(wire.sent.length <= 11);
    wire.sent.length = 0;
    for (let i = 0; i < 20; i++) {
      wire.say({ kind: "owner", address: ip("192.0.2.77"), mac: STRANGER, reply: false });
      clock.advance(500);
    }
    assert.deepEqual(wire.sent, []);
  });

  test("our own frames are nobody; a link that is down, no one to ask, frames lost and a pause of ours say nothing", () => {
    const spoils: readonly ((all: ReturnType<typeof fixture>) => void)[] = [
      ({ wire }) => void (wire.linkUp = false),
      ({ sentinel }) => sentinel.watch({ ...WATCHED, holder: null, witnesses: [] }),
      ({ wire }) => void (wire.overrun = true),
      ({ clock }) => {
        for (let i = 0; i < 10; i++) {
          clock.jump(2_000);
          clock.advance(200);
        }
      },
    ];
    for (const spoil of spoils) {
      const all = quiet();
      all.start();
      all.clock.advance(1_500);
      assert.equal(all.sentinel.status().neighbours, true);
      all.gateway.alive = all.peer.alive = false;
      spoil(all);
      if (spoil !== spoils[3]) all.clock.advance(10_000);
      assert.equal(all.of("neighbours").length, 1);
    }
    const { clock, wire, gateway, peer, of, start } = quiet();
    gateway.alive = peer.alive = false;
    start();
    wire.say({ kind: "owner", address: GATEWAY, mac: OWN, reply: false });
    clock.advance(500);
    assert.deepEqual(of("neighbours"), []);
  });
});

describe("its life", () => {
  test("stopped it leaves no timer, closes the wire and says nothing more, even from within what it tells", () => {
    const { clock, wire, holder, told, sentinel, kinds } = watching();
    sentinel.probe(true);
    sentinel.stop();
    assert.equal(clock.pendingTimers, 0);
    assert.ok(wire.closed);
    const count = told.length;
    holder.alive = false;
    clock.advance(5_000);
    assert.equal(told.length, count);
    assert.deepEqual(kinds(), []);
    const second = fixture();
    second.sentinel.start(() => second.sentinel.stop());
    second.sentinel.watch(WATCHED);
    second.wire.say({ kind: "owner", address: V4, mac: STRANGER, reply: false });
    second.wire.say({ kind: "owner", address: V4, mac: STRANGER, reply: false });
    second.clock.advance(1_000);
    assert.equal(second.clock.pendingTimers, 0);
    assert.deepEqual(second.wire.sent, []);
    const third = fixture();
    third.holder.alive = false;
    third.sentinel.start((evidence) => {
      if (evidence.kind === "neighbours" && !evidence.heard) third.sentinel.stop();
    });
    third.sentinel.watch(WATCHED);
    third.clock.advance(3_000);
    third.wire.cut = true;
    third.clock.advance(2_000);
    third.sentinel.watch({ ...WATCHED, holder: { tenure: "t2", mac: HOLDER } });
    third.clock.advance(10_000);
    assert.ok(third.wire.closed);
  });

  test("may be set on somebody else from within what it tells", () => {
    const { clock, holder, sentinel, wire } = fixture();
    const told: string[] = [];
    sentinel.start(({ kind }) => {
      told.push(kind);
      if (kind === "silent") sentinel.watch({ ...WATCHED, holder: null });
    });
    sentinel.watch(WATCHED);
    clock.advance(2_000);
    holder.alive = false;
    clock.advance(1_000);
    wire.sent.length = 0;
    clock.advance(900);
    assert.deepEqual(told, ["neighbours", "silent"]);
    assert.equal(sentinel.status().proof, "none");
    assert.deepEqual(wire.echoes(), []);
  });

  test("what has come is told when asked for, without waiting for the turn, and judges nobody", () => {
    const { wire, kinds, sentinel } = watching();
    wire.say({ kind: "owner", address: V4, mac: PEER_MAC, reply: false });
    assert.deepEqual(kinds(), []);
    sentinel.poll();
    assert.deepEqual(kinds(), ["claimed"]);
    sentinel.stop();
    sentinel.poll();
    assert.deepEqual(kinds(), ["claimed"]);
  });

  test("other programs' echoes are not ours", () => {
    const { clock, holder, wire, kinds } = watching();
    holder.alive = false;
    wire.lost = (frame) => {
      if (frame.kind !== "echo") return false;
      wire.say({ ...frame, kind: "echo", address: V4, mac: HOLDER, identifier: 0x8001 });
      wire.say({
        ...frame,
        kind: "echo",
        address: V4,
        mac: HOLDER,
        sequence: (frame.sequence + 30_000) & 0xffff,
      });
      return false;
    };
    clock.advance(250);
    assert.deepEqual(kinds(), ["silent"]);
  });
});

describe("whatever is lost", () => {
  /** What happens to a frame of each turn. */
  const losses = fc.array(fc.boolean(), { minLength: 200, maxLength: 400 });

  test("a living holder is not silent while of three echoes one is answered, by whichever witness and pace of ours", () => {
    fc.assert(
      fc.property(
        losses,
        fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 20 }),
        fc.boolean(),
        (lost, pauses, both) => {
          const { clock, wire, kinds } = watching(both ? [V4, V6] : [V4]);
          let echoes = 0;
          wire.lost = (frame) => {
            if (frame.kind === "echo" && frame.mac === HOLDER)
              return ++echoes % 3 !== 0 && lost[echoes % lost.length] === true;
            return lost[wire.sent.length % lost.length] === true;
          };
          for (const pauseMs of pauses) {
            clock.advance(1_000);
            clock.jump(pauseMs);
          }
          clock.advance(10_000);
          assert.deepEqual(kinds(), []);
          assert.ok(wire.mostAsks() <= 5);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("a minute at least is between a contradiction and the next silence, and no more than 5 questions in any second", () => {
    let contradictions = 0;
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            forMs: fc.integer({ min: 100, max: 20_000 }),
            alive: fc.boolean(),
            echoes: fc.boolean(),
            cut: fc.boolean(),
          }),
          { minLength: 20, maxLength: 40 },
        ),
        (states) => {
          const { clock, wire, holder, told } = watching();
          for (const { forMs, alive, echoes, cut } of states) {
            holder.alive = alive;
            holder.answersEchoes = echoes;
            wire.cut = cut && alive;
            clock.advance(forMs);
          }
          let answeringMs = -Infinity;
          for (const { atMs, evidence } of told) {
            if (evidence.kind === "answering") {
              answeringMs = atMs;
              contradictions++;
            }
            if (evidence.kind === "silent") assert.ok(atMs - answeringMs >= 60_000);
          }
          assert.ok(wire.mostAsks() <= 5);
        },
      ),
      { numRuns: 25 },
    );
    assert.ok(contradictions > 0, "else this has shown nothing");
  });

  test("the same random numbers, the same frames", () => {
    const run = (): unknown => {
      const { clock, wire, holder, told, sentinel } = watching([V4, V6]);
      holder.answersEchoes = false;
      clock.advance(5_000);
      holder.alive = false;
      sentinel.probe(true);
      clock.advance(5_000);
      return { sent: wire.sent, told };
    };
    assert.deepEqual(run(), run());
  });
});
