/**
 * The filters, run here as linux/net/core/filter.c defines them: what they let through is what the parsers
 * understand, and nothing of a balancer's traffic.
 */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { arpAnnouncement, arpRequest, parseArp } from "../../../src/linux/arp.ts";
import { viewOf } from "../../../src/linux/bytes.ts";
import { echoRequestFrame, parseEchoReplyFrame } from "../../../src/linux/echo-frame.ts";
import { neighbourSolicitation, parseNeighbour, unsolicitedAdvertisement } from "../../../src/linux/ndp.ts";
import { packetFilter, type PacketInterest, type PacketKind } from "../../../src/linux/packet-filter.ts";
import { strayAck, udpFrame } from "../../../src/linux/tcp-frame.ts";
import { parseIp, type IpAddress } from "../../../src/net.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const change = (frame: Uint8Array, at: number, value: number): Uint8Array =>
  frame.map((byte, index) => (index === at ? value : byte));

const MAC = hex("02000000000a");
const LINK = 3;
const ENDS = {
  sourceMac: MAC,
  destinationMac: hex("02000000000b"),
  identifier: 1,
  sequence: 1,
  sourcePort: 6443,
  destinationPort: 40001,
};
const V4 = { ...ENDS, source: ip("192.0.2.1"), destination: ip("192.0.2.100") };
const V6 = { ...ENDS, source: ip("2001:db8::1"), destination: ip("2001:db8::100") };
const REPLY4 = hex(
  "02000000000a 02000000000b 0800 45 00 001c 0000 0000 40 01 f67b c0000264 c0000201 00 00 edc6 1234 0005",
  "00".repeat(18),
);
const REPLY6 = hex(
  "02000000000a 02000000000b 86dd 60000000 0008 3a 40 20010db8000000000000000000000100 20010db8000000000000000000000001",
  "81 00 1011 1234 0005",
);

interface Arrival {
  readonly linkIndex: number;
  /** PACKET_HOST 0, BROADCAST 1, MULTICAST 2, OTHERHOST 3, OUTGOING 4 */
  readonly packetType: number;
}

/** Accepts or not, and in how many instructions. */
function run(
  program: Uint8Array,
  frame: Uint8Array,
  { linkIndex, packetType }: Arrival = { linkIndex: LINK, packetType: 0 },
): { readonly accepted: boolean; readonly steps: number } {
  const view = viewOf(program);
  const data = viewOf(frame);
  let accumulator = 0;
  let index = 0;
  let steps = 0;
  for (let at = 0; ; at++) {
    steps++;
    const offset = at * 8;
    const value = view.getUint32(offset + 4, true);
    const load = (bytes: number, read: () => number): boolean => {
      if (value === 0xffff_f004) accumulator = packetType;
      else if (value === 0xffff_f008) accumulator = linkIndex;
      else if (value + bytes <= frame.length) accumulator = read();
      else return false;
      return true;
    };
    const jump = (condition: boolean): void => void (at += view.getUint8(offset + (condition ? 2 : 3)));
    switch (view.getUint16(offset, true)) {
      case 0x20:
        if (!load(4, () => data.getUint32(value))) return { accepted: false, steps };
        break;
      case 0x28:
        if (!load(2, () => data.getUint16(value))) return { accepted: false, steps };
        break;
      case 0x30:
        if (!load(1, () => data.getUint8(value))) return { accepted: false, steps };
        break;
      case 0x15:
        jump(accumulator === value);
        break;
      case 0x07:
        index = accumulator;
        break;
      case 0x1d:
        jump(accumulator === index);
        break;
      case 0x25:
        jump(accumulator > value);
        break;
      case 0x45:
        jump((accumulator & value) !== 0);
        break;
      case 0x06:
        return { accepted: value > 0, steps };
      default:
        assert.fail(`instruction ${at}`);
    }
  }
}

const VIPS = [V4.destination.bytes, V6.destination.bytes];
const OTHERS = [V4.source.bytes, V6.source.bytes];
const ANSWERS: PacketInterest = { kind: "answers", identifier: 0x1234, macs: [MAC, hex("02000000000c")] };
const CLAIMS: PacketInterest = { kind: "claims", vips: VIPS, addresses: [...VIPS, ...OTHERS] };
const HOSTS: PacketInterest = { kind: "hosts" };
const INTERESTS = [ANSWERS, CLAIMS, HOSTS];

/** The interests whose filter lets the frame through. */
const takers = (kind: PacketKind, frame: Uint8Array, arrival?: Arrival): readonly string[] =>
  INTERESTS.filter((interest) => run(packetFilter(kind, LINK, interest), frame, arrival).accepted).map(
    (interest) => interest.kind,
  );
const accepts = (kind: PacketKind, frame: Uint8Array, arrival?: Arrival): boolean =>
  takers(kind, frame, arrival).length > 0;

describe("a packet filter", () => {
  test("lets answers, owners and probes through, each to the sockets that want them", () => {
    const wanted: readonly (readonly [PacketKind, Uint8Array, readonly string[]])[] = [
      ["arp", arpAnnouncement("reply", MAC, V4.destination.bytes), ["answers", "claims", "hosts"]],
      ["arp", arpRequest(MAC, V4.source.bytes, V4.destination.bytes), ["answers", "claims", "hosts"]],
      ["arp", arpRequest(MAC, undefined, V4.destination.bytes), ["answers", "claims", "hosts"]],
      ["ipv4", REPLY4, ["answers"]],
      ["ipv4", change(REPLY4, 20, 0x40), ["answers"]],
      ["ipv6", REPLY6, ["answers"]],
      ["ipv6", unsolicitedAdvertisement(MAC, V6.destination.bytes, false), ["answers", "claims", "hosts"]],
      ["ipv6", neighbourSolicitation(MAC, undefined, V6.destination.bytes), ["claims", "hosts"]],
    ];
    for (const [kind, frame, by] of wanted) {
      for (const packetType of [0, 1, 2])
        assert.deepEqual(
          takers(kind, frame, { linkIndex: LINK, packetType }),
          by,
          Buffer.from(frame).toString("hex"),
        );
      for (const packetType of [3, 4, 5])
        assert.equal(
          accepts(kind, frame, { linkIndex: LINK, packetType }),
          false,
          `packet type ${packetType}`,
        );
      assert.equal(
        accepts(kind, frame, { linkIndex: 7, packetType: 0 }),
        false,
        "for a VLAN or bridge above the link",
      );
    }
  });

  test("keeps what other machines say of other addresses from the sockets that matter", () => {
    const other4 = ip("198.51.100.7").bytes;
    const other6 = ip("2001:db8::107").bytes;
    const another = hex("0200000000ee");
    for (const [kind, frame] of [
      ["arp", arpAnnouncement("request", another, other4)],
      ["arp", arpRequest(another, other4, V4.destination.bytes)],
      ["arp", arpRequest(another, undefined, other4)],
      ["ipv6", unsolicitedAdvertisement(another, other6, false)],
      ["ipv6", neighbourSolicitation(another, undefined, other6)],
    ] as const)
      assert.deepEqual(takers(kind, frame), ["hosts"], Buffer.from(frame).toString("hex"));
    assert.deepEqual(takers("arp", arpAnnouncement("request", another, V4.destination.bytes)), [
      "claims",
      "hosts",
    ]);
    assert.deepEqual(takers("ipv4", change(REPLY4, 39, 0x35)), [], "the answer to another program's echo");
    assert.deepEqual(takers("ipv6", change(REPLY6, 59, 0x35)), [], "the answer to another program's echo");
  });

  test("keeps out what a machine says in another one's name", () => {
    for (let at = 6; at < 12; at++) {
      const forge = (frame: Uint8Array): Uint8Array => change(frame, at, (frame[at] ?? 0) ^ 4);
      assert.deepEqual(takers("arp", forge(arpAnnouncement("reply", MAC, V4.destination.bytes))), []);
      assert.deepEqual(takers("arp", forge(arpRequest(MAC, undefined, V4.destination.bytes))), []);
      const advertisement = unsolicitedAdvertisement(MAC, V6.destination.bytes, false);
      assert.ok(!takers("ipv6", forge(advertisement)).includes("claims"));
      assert.ok(!takers("ipv6", forge(advertisement)).includes("answers"));
    }
  });

  test("names up to 64 addresses and machines, and fits into what the kernel takes", () => {
    const many = (bytes: number): readonly Uint8Array[] =>
      Array.from({ length: 500 }, (_, index) =>
        Uint8Array.from({ length: bytes }, (__, at) =>
          at === bytes - 1 ? index : at === 0 ? 2 : index >> 8,
        ),
      );
    const [MACS, V4S, V6S] = [many(6), many(4), many(16)];
    for (const interest of [
      { ...ANSWERS, macs: MACS },
      { ...CLAIMS, vips: [...V4S, ...V6S], addresses: [...V4S, ...V6S] },
    ])
      for (const kind of ["arp", "ipv4", "ipv6"] as const)
        assert.ok(packetFilter(kind, LINK, interest).length / 8 <= 4_096, `${kind} ${interest.kind}`);
    const last = { ...CLAIMS, addresses: V6S };
    assert.equal(
      run(packetFilter("ipv6", LINK, last), unsolicitedAdvertisement(MAC, V6S[63] ?? assert.fail(), false))
        .accepted,
      true,
    );
  });

  test("keeps everything else out", () => {
    assert.equal(accepts("ipv4", echoRequestFrame(V4)), false, "an echo request");
    assert.equal(accepts("ipv4", change(REPLY4, 17, 84)), false, "an answer to ping");
    assert.equal(accepts("ipv4", change(REPLY4, 20, 0x20)), false, "a first fragment");
    assert.equal(accepts("ipv4", change(REPLY4, 21, 1)), false, "a later fragment");
    assert.equal(accepts("ipv6", echoRequestFrame(V6)), false, "an echo request");
    assert.equal(accepts("ipv6", change(REPLY6, 19, 64)), false, "an answer to ping");
    assert.equal(
      accepts("ipv6", neighbourSolicitation(MAC, V6.source.bytes, V6.destination.bytes)),
      false,
      "a solicitation with a sender",
    );
    for (let at = 22; at < 38; at++) {
      assert.equal(
        accepts("ipv6", change(neighbourSolicitation(MAC, undefined, V6.destination.bytes), at, 1)),
        false,
        `byte ${at} of the sender`,
      );
    }
    assert.equal(
      accepts("ipv6", change(unsolicitedAdvertisement(MAC, V6.destination.bytes, false), 54, 134)),
      false,
      "a router advertisement",
    );
  });

  test("lets go of TCP and UDP after one look at the protocol", () => {
    for (const frame of [strayAck(V4), udpFrame({ ...V4, payload: new Uint8Array(9) })]) {
      for (const interest of INTERESTS)
        assert.deepEqual(run(packetFilter("ipv4", LINK, interest), frame), { accepted: false, steps: 3 });
    }
    for (const frame of [strayAck(V6), udpFrame({ ...V6, payload: new Uint8Array(9) })]) {
      for (const interest of INTERESTS)
        assert.deepEqual(run(packetFilter("ipv6", LINK, interest), frame), { accepted: false, steps: 3 });
    }
  });

  test("never keeps out what the parsers understand", () => {
    const seeds: readonly (readonly [PacketKind, Uint8Array])[] = [
      ["arp", arpRequest(MAC, undefined, V4.destination.bytes)],
      ["ipv4", REPLY4],
      ["ipv6", REPLY6],
      ["ipv6", unsolicitedAdvertisement(MAC, V6.destination.bytes, false)],
      ["ipv6", neighbourSolicitation(MAC, undefined, V6.destination.bytes)],
    ];
    const damage = fc.record({ at: fc.nat(85), to: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(damage, { maxLength: 2 }),
        fc.nat(100),
        ([kind, seed], changes, length) => {
          const frame = seed.slice(0, length);
          for (const { at, to } of changes) if (at < frame.length) frame[at] = to;
          const understood =
            kind === "arp"
              ? parseArp(frame)
              : (parseEchoReplyFrame(frame) ?? (kind === "ipv6" ? parseNeighbour(frame) : undefined));
          // A damaged EtherType would not come to this socket.
          if (understood !== undefined && frame[12] === seed[12] && frame[13] === seed[13])
            assert.equal(accepts(kind, frame), true);
        },
      ),
    );
  });
});
