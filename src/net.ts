/** Addresses as values. They are parsed once at the edge, and compared and printed in one canonical form. */
import { isIPv4, isIPv6 } from "node:net";

export type Family = 4 | 6;

const DOT = 46;
const ZERO = 48;

/** A numeric address in canonical text form (RFC 5952 for IPv6), without prefix or zone. */
export interface IpAddress {
  readonly family: Family;
  readonly text: string;
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
}

/** A server's address: a host (address or name) and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Parses `text`; undefined when it is not a numeric address. A zone (`%eth0`) is refused. */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, text, bytes: ipv4Bytes(text) };
  if (!isIPv6(text) || text.includes("%")) return undefined;
  // The URL parser is the platform's own RFC 5952 serializer.
  const canonical = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  return { family: 6, text: canonical, bytes: ipv6Bytes(canonical) };
}

/**
 * Converts digit by digit, because every candidate of every Lease that is read comes
 * through here.
 * @param text four decimal numbers
 */
function ipv4Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(4);
  let index = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code === DOT) index += 1;
    else bytes[index] = (bytes[index] ?? 0) * 10 + code - ZERO;
  }
  return bytes;
}

function ipv6Bytes(canonical: string): Uint8Array {
  const [head = "", tail] = canonical.split("::");
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const middle = Array.from({ length: 8 - left.length - right.length }, () => 0);
  const bytes = new Uint8Array(16);
  [...left, ...middle, ...right].forEach((group, index) => {
    bytes[index * 2] = group >> 8;
    bytes[index * 2 + 1] = group & 0xff;
  });
  return bytes;
}

/** Returns the address of 4 or 16 bytes in network order. */
export function ipFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) {
    return {
      family: 4,
      text: `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`,
      bytes: new Uint8Array(bytes),
    };
  }
  if (bytes.length !== 16) throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  const parsed = parseIp(groups.join(":"));
  if (parsed === undefined) throw new RangeError("unreachable: eight groups are an IPv6 address");
  return parsed;
}

/** Returns the families of these addresses, each once, in the order in which they come. */
export function familiesOf(addresses: readonly IpAddress[]): readonly Family[] {
  return [...new Set(addresses.map(({ family }) => family))];
}

/** Returns 32 or 128: the prefix that covers this address and no other. */
export function hostPrefix(address: IpAddress): number {
  return address.bytes.length * 8;
}

/** Returns the address as a number, for VRRP's tie-break (RFC 9568 section 6.4.3). */
export function ipNumber(address: IpAddress): bigint {
  let value = 0n;
  for (const byte of address.bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

/** Returns text such as `192.0.2.1:6443` or `[2001:db8::1]:6443`. */
export function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Reads what {@link hostPort} writes of a numeric address; undefined for anything else. A person may have
 * written the address with other letters or zeros. `id` is the canonical text.
 */
export function parseServer(text: string): (HostPort & { readonly id: string }) | undefined {
  const [, bracketed, plain, digits = ""] =
    /^(?:\[([^\]]{2,45})\]|([\d.]{7,15})):(\d{1,5})$/.exec(text.trim()) ?? [];
  const address = parseIp(bracketed ?? plain ?? "");
  const port = Number(digits);
  if (address === undefined || port < 1 || port > 65_535) return undefined;
  return { id: hostPort(address.text, port), host: address.text, port };
}

/**
 * Says whether a numeric address is on loopback: only programs of this machine reach it. An IPv4 address may
 * have the form that a socket of both families gives it (`::ffff:127.0.0.1`).
 */
export function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\./.test(address) || address === "::1";
}

const MAPPED = /^::ffff:(?=\d+\.)/i;

/**
 * Returns the address of a socket as plain text: an IPv4 one as such where the socket is one of both families, and
 * none with a zone.
 */
export function plainAddress(address: string): string {
  return address.replace(MAPPED, "").replace(/%.*$/, "");
}

/** A subnet: every address whose first `prefixLength` bits are those of `address`. */
export interface Subnet {
  readonly address: IpAddress;
  readonly prefixLength: number;
}

/** True when both have the same first `bits` bits. The addresses are of one family. */
export function samePrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const mask = (0xff << (8 - (bits & 7))) & 0xff;
  return ((a[whole] ?? 0) & mask) === ((b[whole] ?? 0) & mask);
}

/** Returns the subnet that has this address and no other. */
export function wholeAddress(address: IpAddress): Subnet {
  return { address, prefixLength: hostPrefix(address) };
}

/** True for an address of the subnet. A prefix that is longer than an address covers that address alone. */
export function isInSubnet({ address: net, prefixLength }: Subnet, address: IpAddress): boolean {
  if (net.family !== address.family) return false;
  return samePrefix(net.bytes, address.bytes, Math.min(prefixLength, hostPrefix(net)));
}

/**
 * True for an address that one machine on a network may have. It is false for an unspecified, loopback,
 * multicast, broadcast or reserved address (RFC 6890), and for an IPv4 address in IPv6's form.
 */
export function isMachineAddress({ family, bytes }: IpAddress): boolean {
  const first = bytes[0] ?? 0;
  if (family === 4) return first !== 0 && first !== 127 && first < 224;
  // Unspecified, loopback and IPv4's addresses begin with 80 zero bits.
  return first !== 0xff && bytes.subarray(0, 10).some((byte) => byte !== 0);
}

/**
 * True for an address that one machine in `subnet` may have: neither the subnet's own address (IPv6: the
 * anycast address of its routers, RFC 4291 section 2.6.1) nor its broadcast address.
 */
export function isHostOf(subnet: Subnet, address: IpAddress): boolean {
  if (!isInSubnet(subnet, address)) return false;
  const { prefixLength } = subnet;
  const size = hostPrefix(address);
  // Subnets of two addresses have neither (RFC 3021, RFC 6164).
  if (prefixLength >= size - 1) return true;
  const host = ipNumber(address) & ((1n << BigInt(size - prefixLength)) - 1n);
  return host !== 0n && (address.family === 6 || host !== (1n << BigInt(size - prefixLength)) - 1n);
}

/**
 * True for an address that another machine on the network with these subnets may have. Subnets of the other
 * family say nothing. Where there is none of its own family, the network is reached by a route alone, and
 * nothing says which machines are on it.
 */
export function isOnNetwork(subnets: readonly Subnet[], address: IpAddress): boolean {
  const sameFamily = subnets.filter((subnet) => subnet.address.family === address.family);
  return (
    isMachineAddress(address) && (sameFamily.length === 0 || sameFamily.some((one) => isHostOf(one, address)))
  );
}
