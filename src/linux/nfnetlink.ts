/** Constants and codecs that ctnetlink and nftables share (linux/netfilter/nfnetlink.h). Pure. */
import { viewOf } from "./bytes.ts";

/**
 * Length of struct nfgenmsg (family, version 0, resource id), with which a payload starts. A message's type
 * is subsystem and operation.
 */
export const NFGENMSG_LENGTH = 4;
export const NFNL_SUBSYS_CTNETLINK = 1;
export const NFNL_SUBSYS_NFTABLES = 10;

/** enum nfproto by nft's words. */
export const NFPROTO = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 } as const;

export const nfnetlinkType = (subsystem: number, operation: number): number => (subsystem << 8) | operation;

/**
 * Reads a number in network order, in which netfilter's attributes are on every machine; undefined when it is
 * too short.
 */
export function readBe32(bytes: Uint8Array | undefined): number | undefined {
  return bytes === undefined || bytes.length < 4 ? undefined : viewOf(bytes).getUint32(0);
}

export function readBe16(bytes: Uint8Array | undefined): number | undefined {
  return bytes === undefined || bytes.length < 2 ? undefined : viewOf(bytes).getUint16(0);
}

export function readBe64(bytes: Uint8Array | undefined): bigint | undefined {
  return bytes === undefined || bytes.length < 8 ? undefined : viewOf(bytes).getBigUint64(0);
}
