/** Who is one client, for limits per client. Pure. */
import { parseIp, plainAddress } from "../net.ts";

/** Bytes of an IPv6 prefix that one host may have all addresses of (RFC 4291 section 2.5.4: 64 bits). */
const PREFIX_BYTES = 8;

/** Returns the name of what one stranger has of addresses: an IPv4 address, or the /64 of an IPv6 one. */
export function sourceOf(remoteAddress: string): string {
  const address = parseIp(plainAddress(remoteAddress));
  if (address === undefined) return "";
  return address.family === 4
    ? address.text
    : `${Buffer.from(address.bytes.subarray(0, PREFIX_BYTES)).toString("hex")}/64`;
}
