/** Neighbour discovery (RFC 4861) announcements as whole Ethernet frames. Pure. */
import { internetChecksum } from "./checksum.ts";
import { concatBytes } from "./bytes.ts";

/** ff02::1, all nodes on the link, and its Ethernet group (RFC 2464 section 7). */
const ALL_NODES = Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01);
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 0x01);
const ICMPV6 = 58;
const NEIGHBOR_ADVERTISEMENT = 136;
const FLAG_ROUTER = 0x80;
const FLAG_OVERRIDE = 0x20;
const OPTION_TARGET_LINK_LAYER_ADDRESS = 2;

/**
 * An unsolicited neighbour advertisement (section 7.2.6): "`ip` is at `mac`", overriding what the neighbours know.
 * `router` is whether this machine forwards: hosts drop a default router whose advertisement says that it is none (section 7.2.5), so it must
 * agree with what the kernel itself answers.
 */
export function unsolicitedAdvertisement(mac: Uint8Array, ip: Uint8Array, router: boolean): Uint8Array {
  const icmp = concatBytes([
    // Type, code, checksum (below), flags, reserved.
    Uint8Array.of(NEIGHBOR_ADVERTISEMENT, 0, 0, 0, FLAG_OVERRIDE | (router ? FLAG_ROUTER : 0), 0, 0, 0),
    ip,
    // The option's length is in units of eight bytes.
    Uint8Array.of(OPTION_TARGET_LINK_LAYER_ADDRESS, 1),
    mac,
  ]);
  // The pseudo-header of RFC 8200 section 8.1: source, destination, length (32 bits), three zeroes, next header.
  const pseudo = concatBytes([ip, ALL_NODES, Uint8Array.of(0, 0, 0, icmp.length, 0, 0, 0, ICMPV6)]);
  const checksum = internetChecksum([pseudo, icmp]);
  icmp[2] = checksum >>> 8;
  icmp[3] = checksum & 0xff;
  // Version 6, no traffic class nor flow label; hop limit 255 proves that no router passed it on (section 7.1.2).
  const ipv6 = concatBytes([Uint8Array.of(0x60, 0, 0, 0, 0, icmp.length, ICMPV6, 255), ip, ALL_NODES]);
  return concatBytes([ALL_NODES_MAC, mac, Uint8Array.of(0x86, 0xdd), ipv6, icmp]);
}
