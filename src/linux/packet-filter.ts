/**
 * Builds classic BPF programs (linux/filter.h) that let only packets about an address through to a packet
 * socket. The kernel runs them before it copies the packet. A balancer's traffic is large, so packets of no
 * interest must leave at the first test. Pure.
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
const JUMP_GREATER = 0x25;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;
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
const WHOLE_PACKET = 0xffff;
const INSTRUCTION_BYTES = 8;

/**
 * One load and one comparison. `wanted` is its outcome in a packet that we want. A load past the packet's end
 * drops the packet.
 */
interface Test {
  readonly load: number;
  readonly at: number;
  readonly jump: number;
  readonly value: number;
  readonly wanted: boolean;
}

const is = (load: number, at: number, value: number): Test => ({
  load,
  at,
  jump: JUMP_EQUAL,
  value,
  wanted: true,
});

export type PacketKind = keyof typeof ETHERTYPE;

/**
 * Builds the filter for frames of one EtherType that come in by the link with `linkIndex`. It lets these
 * through:
 * - any ARP
 * - ICMP and ICMPv6 echo replies without data
 * - neighbour advertisements, and neighbour solicitations without sender (RFC 4862 section 5.4.2)
 *
 * A socket that is bound to a link is also given frames that came in by that link for a VLAN or bridge above
 * it. Those have another index.
 */
export function packetFilter(kind: PacketKind, linkIndex: number): Uint8Array {
  const ours: readonly Test[] = [
    is(LOAD_WORD, DEVICE_INDEX, linkIndex),
    { load: LOAD_WORD, at: PACKET_TYPE, jump: JUMP_GREATER, value: PACKET_MULTICAST, wanted: false },
  ];
  return assemble(alternatives(kind).map((tests) => [...tests, ...ours]));
}

/** Returns the tests of each wanted packet. Offsets are from the beginning of the Ethernet frame. */
function alternatives(kind: PacketKind): readonly (readonly Test[])[] {
  const icmp6 = is(LOAD_BYTE, 20, ICMPV6);
  switch (kind) {
    case "arp":
      return [[]];
    case "ipv4":
      return [
        [
          is(LOAD_BYTE, 23, ICMP),
          is(LOAD_BYTE, 14, 0x45),
          is(LOAD_BYTE, 34, ECHO_TYPES[4].reply),
          is(LOAD_HALF, 16, IPV4_HEADER_BYTES + ECHO_BYTES),
          // The packet has neither "more fragments" nor an offset.
          { load: LOAD_HALF, at: 20, jump: JUMP_ANY_BIT, value: 0x3fff, wanted: false },
        ],
      ];
    case "ipv6":
      return [
        [icmp6, is(LOAD_BYTE, 54, ECHO_TYPES[6].reply), is(LOAD_HALF, 18, ECHO_BYTES)],
        [icmp6, is(LOAD_BYTE, 54, NEIGHBOR_ADVERTISEMENT)],
        [
          icmp6,
          is(LOAD_BYTE, 54, NEIGHBOR_SOLICITATION),
          ...[22, 26, 30, 34].map((at) => is(LOAD_WORD, at, 0)),
        ],
      ];
  }
}

/** Assembles a program that lets a packet through when it passes every test of one of `choices`. */
function assemble(choices: readonly (readonly Test[])[]): Uint8Array {
  const program: (readonly [code: number, ifTrue: number, ifFalse: number, value: number])[] = [];
  for (const tests of choices) {
    for (const [index, { load, at, jump, value, wanted }] of tests.entries()) {
      // A failed test jumps over two instructions for each test that follows, and over the return, to the
      // next choice.
      const away = (tests.length - 1 - index) * 2 + 1;
      program.push([load, 0, 0, at], [jump, wanted ? 0 : away, wanted ? away : 0, value]);
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
