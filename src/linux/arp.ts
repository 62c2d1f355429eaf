/** Encodes and parses ARP (RFC 826) as whole Ethernet frames. Pure. */
import { concatBytes, sameBytes, viewOf } from "./bytes.ts";
import { ETHERNET_HEADER_BYTES, ETHERTYPE, ethernetHeader } from "./ip-header.ts";
import { isOneMachine } from "./mac.ts";

const BROADCAST = new Uint8Array(6).fill(0xff);
/** Hardware type Ethernet and protocol IPv4, with addresses of six and four bytes. */
const FIXED = [0x00, 0x01, 0x08, 0x00, 0x06, 0x04];
const OPERATION = { request: 1, reply: 2 } as const;
const UNKNOWN_MAC = new Uint8Array(6);
const NO_IP = new Uint8Array(4);

/**
 * Builds a gratuitous ARP, broadcast: "`ip` is at `mac`". RFC 5227 section 2.3 wants the request form with an
 * unknown (zero) target hardware address. Some stacks and switches learn from the reply form only, whose
 * target is the announced pair itself (RFC 2002 section 4.6).
 */
export function arpAnnouncement(form: "request" | "reply", mac: Uint8Array, ip: Uint8Array): Uint8Array {
  return broadcast(form, mac, ip, form === "request" ? UNKNOWN_MAC : mac, ip);
}

/**
 * Builds a broadcast "Who has `target`?". With a `sender`, the machine that is asked may learn the sender's
 * MAC (RFC 826). Without one it is an ARP probe (RFC 5227 section 2.1.1). A probe is answered like any
 * request, and its sender 0.0.0.0 keeps other machines from learning anything.
 */
export function arpRequest(mac: Uint8Array, sender: Uint8Array | undefined, target: Uint8Array): Uint8Array {
  return broadcast("request", mac, sender ?? NO_IP, UNKNOWN_MAC, target);
}

function broadcast(
  form: keyof typeof OPERATION,
  mac: Uint8Array,
  ip: Uint8Array,
  targetMac: Uint8Array,
  targetIp: Uint8Array,
): Uint8Array {
  const ethernet = ethernetHeader({ sourceMac: mac, destinationMac: BROADCAST }, ETHERTYPE.arp);
  return concatBytes([ethernet, Uint8Array.of(...FIXED, 0, OPERATION[form]), mac, ip, targetMac, targetIp]);
}

/**
 * What the machine at `mac` says of itself. Bytes point into the frame. A frame in another machine's name,
 * whose Ethernet source is not the machine that it speaks of, is no evidence of anything: any host on the
 * segment can send it without leaving its own switch port.
 */
export type NeighbourFrame =
  /**
   * "`ip` is at `mac`." `reply`: it answers the question of one machine, so that machine's own frames arrive as
   * well. A request or an announcement shows only one direction.
   */
  | { readonly kind: "owner"; readonly ip: Uint8Array; readonly mac: Uint8Array; readonly reply: boolean }
  /** "Does a machine have `ip`? I would like to." */
  | { readonly kind: "probe"; readonly ip: Uint8Array; readonly mac: Uint8Array };

/**
 * Parses an ARP frame. Returns undefined for a frame of neither kind, for a malformed one, and for one in
 * another machine's name. A request says as much about its sender as a reply does (RFC 826, RFC 5227 section
 * 2.4).
 */
export function parseArp(frame: Uint8Array): NeighbourFrame | undefined {
  if (frame.length < ETHERNET_HEADER_BYTES + 28 || viewOf(frame).getUint16(12) !== ETHERTYPE.arp)
    return undefined;
  const arp = frame.subarray(ETHERNET_HEADER_BYTES);
  if (!FIXED.every((byte, index) => arp[index] === byte)) return undefined;
  const operation = viewOf(arp).getUint16(6);
  if (operation !== OPERATION.request && operation !== OPERATION.reply) return undefined;
  const mac = arp.subarray(8, 14);
  const sender = arp.subarray(14, 18);
  const target = arp.subarray(24, 28);
  if (!isOneMachine(mac) || !sameBytes(mac, frame.subarray(6, 12))) return undefined;
  // A reply to one machine is sent to its MAC address, and an announcement in the form of a reply to all.
  const reply = operation === OPERATION.reply && isOneMachine(frame.subarray(0, 6));
  if (isSet(sender)) return { kind: "owner", ip: sender, mac, reply };
  return operation === OPERATION.request && isSet(target) ? { kind: "probe", ip: target, mac } : undefined;
}

function isSet(ip: Uint8Array): boolean {
  return ip.some((byte) => byte !== 0);
}
