/**
 * Builds classic BPF programs (linux/filter.h) that let only packets of interest through to a packet socket.
 * The kernel runs them before it copies the packet. A balancer's traffic is large, so packets of no interest
 * must leave at the first test. Pure.
 */
import { viewOf } from "./bytes.ts";
import { ECHO_BYTES, ECHO_TYPES } from "./echo.ts";
import { type ETHERTYPE, ICMP, ICMPV6, IPV4_HEADER_BYTES } from "./ip-header.ts";
import { NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION } from "./ndp.ts";
import { LITTLE_ENDIAN } from "./netlink.ts";

const LOAD_BYTE = 0x30;
const LOAD_HALF = 0x28;
const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_EQUAL_INDEX = 0x1d;
const JUMP_GREATER = 0x25;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;
/** Copies the accumulator to the index register. */
const KEEP = 0x07;
/**
 * Loads from this offset on read what the kernel knows about the packet (SKF_AD_OFF, -4096): whom it is for,
 * and the device it came in by.
 */
const ANCILLARY = 0xffff_f000;
const PACKET_TYPE = ANCILLARY + 4;
const DEVICE_INDEX = ANCILLARY + 8;
/**
 * From linux/if_packet.h: after HOST, BROADCAST and MULTICAST come OTHERHOST (a promiscuous device's),
 * OUTGOING and the like.
 */
const PACKET_MULTICAST = 2;
const SOURCE_MAC = 6;
const ARP_SENDER = 28;
const ARP_TARGET = 38;
const IPV6_LENGTH = 18;
const IPV6_SOURCE = 22;
const ICMPV6_TYPE = 54;
const ND_TARGET = 62;
const ND_OPTION = 78;
/** The option's type, and its length in units of eight bytes (RFC 4861 section 4.6.1). */
const TARGET_LINK_LAYER_ADDRESS = 0x0201;
const UNSPECIFIED = new Uint8Array(16);
const WHOLE_PACKET = 0xffff;
const INSTRUCTION_BYTES = 8;
/**
 * The most addresses, and the most MAC addresses, that a filter names. A program has at most 4,096
 * instructions, and each of them costs every ARP frame of the segment a little.
 */
const MOST_NAMED = 64;

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

/**
 * Loads, and one comparison. `wanted` is its outcome in a packet that we want. A load past the packet's end
 * drops the packet.
 */
interface Test {
  readonly loads: readonly Instruction[];
  readonly jump: number;
  readonly value: number;
  readonly wanted: boolean;
}

const is = (load: number, at: number, value: number): Test => ({
  loads: [[load, 0, 0, at]],
  jump: JUMP_EQUAL,
  value,
  wanted: true,
});
const isNot = (jump: number, load: number, at: number, value: number): Test => ({
  ...is(load, at, value),
  jump,
  wanted: false,
});
/** The packet has the same at both places. */
const same = (load: number, at: number, other: number): Test => ({
  loads: [
    [load, 0, 0, at],
    [KEEP, 0, 0, 0],
    [load, 0, 0, other],
  ],
  jump: JUMP_EQUAL_INDEX,
  value: 0,
  wanted: true,
});

export type PacketKind = keyof typeof ETHERTYPE;

/**
 * What a socket is for. Each interest has a socket of its own, so that a flood of one kind of frames does not
 * drive out those of another.
 */
export type PacketInterest =
  /**
   * Answers that prove life: echo replies without data and with this `identifier`, and ARP or neighbour
   * discovery in frames from `macs`. Only frames with one of these MAC addresses can flood its socket.
   */
  | { readonly kind: "answers"; readonly identifier: number; readonly macs: readonly Uint8Array[] }
  /**
   * Who has, or would like to have, an address: ARP and neighbour advertisements about one of `addresses`,
   * and probes for one of `vips` (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2).
   */
  | {
      readonly kind: "claims";
      readonly vips: readonly Uint8Array[];
      readonly addresses: readonly Uint8Array[];
    }
  /** Any ARP or neighbour advertisement, or probe: it shows that the link carries frames. */
  | { readonly kind: "hosts" };

/**
 * Builds the filter for frames of one EtherType that come in by the link with `linkIndex`. ARP, and neighbour
 * advertisements about an address, come through only if their Ethernet source is the machine that they speak
 * of; see {@link NeighbourFrame}.
 *
 * A socket that is bound to a link is also given frames that came in by that link for a VLAN or bridge above
 * it. Those have another index.
 */
export function packetFilter(kind: PacketKind, linkIndex: number, interest: PacketInterest): Uint8Array {
  const ours: readonly Test[] = [
    is(LOAD_WORD, DEVICE_INDEX, linkIndex),
    isNot(JUMP_GREATER, LOAD_WORD, PACKET_TYPE, PACKET_MULTICAST),
  ];
  switch (kind) {
    case "arp":
      return assemble([...sameMac(22), ...ours], arpChoices(interest));
    case "ipv4":
      return assemble([is(LOAD_BYTE, 23, ICMP), ...ours], echo4Choices(interest));
    case "ipv6":
      return assemble([is(LOAD_BYTE, 20, ICMPV6), ...ours], ipv6Choices(interest));
  }
}

/** The bytes of a MAC address at `at` are those of the frame's Ethernet source. */
function sameMac(at: number): readonly Test[] {
  return [same(LOAD_WORD, SOURCE_MAC, at), same(LOAD_HALF, SOURCE_MAC + 4, at + 4)];
}

function isFrom(mac: Uint8Array): readonly Test[] {
  const view = viewOf(mac);
  return [is(LOAD_HALF, SOURCE_MAC + 4, view.getUint16(4)), is(LOAD_WORD, SOURCE_MAC, view.getUint32(0))];
}

/** The bytes of an address at `at`. Its last word comes first, because it differs most. */
function isAddress(at: number, address: Uint8Array): readonly Test[] {
  const view = viewOf(address);
  const words = Array.from({ length: address.length / 4 }, (_, word) => word * 4);
  return words.toReversed().map((word) => is(LOAD_WORD, at + word, view.getUint32(word)));
}

/** Each of the choices is a packet that we want. Offsets are from the beginning of the Ethernet frame. */
function arpChoices(interest: PacketInterest): readonly (readonly Test[])[] {
  switch (interest.kind) {
    case "answers":
      return interest.macs.slice(0, MOST_NAMED).map(isFrom);
    case "claims":
      return [
        ...named(interest.vips, 4).map((vip) => [
          ...isAddress(ARP_TARGET, vip),
          ...isAddress(ARP_SENDER, UNSPECIFIED.subarray(0, 4)),
        ]),
        ...named(interest.addresses, 4).map((address) => isAddress(ARP_SENDER, address)),
      ];
    case "hosts":
      return [[]];
  }
}

function echo4Choices(interest: PacketInterest): readonly (readonly Test[])[] {
  if (interest.kind !== "answers") return [];
  return [
    [
      is(LOAD_BYTE, 14, 0x45),
      is(LOAD_BYTE, 34, ECHO_TYPES[4].reply),
      is(LOAD_HALF, 38, interest.identifier),
      is(LOAD_HALF, 16, IPV4_HEADER_BYTES + ECHO_BYTES),
      // The packet has neither "more fragments" nor an offset.
      isNot(JUMP_ANY_BIT, LOAD_HALF, 20, 0x3fff),
    ],
  ];
}

function ipv6Choices(interest: PacketInterest): readonly (readonly Test[])[] {
  const advertisement = is(LOAD_BYTE, ICMPV6_TYPE, NEIGHBOR_ADVERTISEMENT);
  const probe = [is(LOAD_BYTE, ICMPV6_TYPE, NEIGHBOR_SOLICITATION), ...isAddress(IPV6_SOURCE, UNSPECIFIED)];
  switch (interest.kind) {
    case "answers":
      return [
        [
          is(LOAD_BYTE, ICMPV6_TYPE, ECHO_TYPES[6].reply),
          is(LOAD_HALF, 58, interest.identifier),
          is(LOAD_HALF, IPV6_LENGTH, ECHO_BYTES),
        ],
        ...interest.macs.slice(0, MOST_NAMED).map((mac) => [advertisement, ...isFrom(mac)]),
      ];
    case "claims":
      return [
        ...named(interest.vips, 16).map((vip) => [...isAddress(ND_TARGET, vip), ...probe]),
        ...named(interest.addresses, 16).flatMap((address) => {
          const about = [...isAddress(ND_TARGET, address), advertisement];
          return [
            // Only an answer to a unicast question may leave the option out. This comes first, because to look
            // at an option that is not there drops the packet.
            [...about, is(LOAD_HALF, IPV6_LENGTH, 24)],
            [...about, is(LOAD_HALF, ND_OPTION, TARGET_LINK_LAYER_ADDRESS), ...sameMac(ND_OPTION + 2)],
          ];
        }),
      ];
    case "hosts":
      return [[advertisement], probe];
  }
}

function named(addresses: readonly Uint8Array[], bytes: 4 | 16): readonly Uint8Array[] {
  return addresses.filter(({ length }) => length === bytes).slice(0, MOST_NAMED);
}

/**
 * Assembles a program that lets a packet through when it passes every one of `all`, and every test of one of
 * `choices`.
 */
function assemble(all: readonly Test[], choices: readonly (readonly Test[])[]): Uint8Array {
  const program: Instruction[] = [];
  for (const { loads, jump, value, wanted } of all)
    program.push(...loads, [jump, wanted ? 1 : 0, wanted ? 0 : 1, value], [RETURN, 0, 0, 0]);
  for (const tests of choices) {
    for (const [index, { loads, jump, value, wanted }] of tests.entries()) {
      // A failed test jumps over the instructions of each test that follows, and over the return, to the next
      // choice.
      const away = tests.slice(index + 1).reduce((sum, test) => sum + test.loads.length + 1, 1);
      program.push(...loads, [jump, wanted ? 0 : away, wanted ? away : 0, value]);
    }
    program.push([RETURN, 0, 0, WHOLE_PACKET]);
  }
  program.push([RETURN, 0, 0, 0]);
  const bytes = new Uint8Array(program.length * INSTRUCTION_BYTES);
  const view = viewOf(bytes);
  for (const [index, [code, ifTrue, ifFalse, value]] of program.entries()) {
    const offset = index * INSTRUCTION_BYTES;
    view.setUint16(offset, code, LITTLE_ENDIAN);
    view.setUint8(offset + 2, ifTrue);
    view.setUint8(offset + 3, ifFalse);
    view.setUint32(offset + 4, value, LITTLE_ENDIAN);
  }
  return bytes;
}
