/**
 * The part of rtnetlink(7) that the VIP needs: add, remove and list addresses, list links. Pure. Layouts:
 * linux/if_addr.h, linux/if_link.h.
 */
import { hostPrefix, ipFromBytes, type Family, type IpAddress } from "../net.ts";
import { concatBytes, viewOf } from "./bytes.ts";
import {
  LITTLE_ENDIAN,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  decodeCString,
  encodeAttribute,
  encodeCString,
  parseAttributeList,
  parseAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink.ts";

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

/** Multicast groups for sockaddr_nl (legacy bit mask). */
export const RTMGRP_LINK = 0x1;
export const RTMGRP_IPV4_IFADDR = 0x10;
export const RTMGRP_IPV6_IFADDR = 0x100;

const AF_INET = 2;
const AF_INET6 = 10;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_PROTO = 11;

/**
 * For IPv4: another address of the same subnet came first. For IPv6 the same bit means a temporary address
 * (RFC 8981).
 */
export const IFA_F_SECONDARY = 0x01;
const IFA_F_NODAD = 0x02;
export const IFA_F_DADFAILED = 0x08;
export const IFA_F_DEPRECATED = 0x20;
export const IFA_F_TENTATIVE = 0x40;
const IFA_F_NOPREFIXROUTE = 0x200;

/**
 * Our mark in IFA_PROTO, the "address protocol" (Linux 5.18): `L`. The kernel itself uses 1 to 3, keepalived
 * 18. `ip address show proto 76` lists what Leasehold has bound.
 */
export const IFA_PROTO_LEASEHOLD = 76;
/** The mark where IFA_PROTO is ignored: the IPv4 label `<interface>:lh`. */
const LABEL_SUFFIX = ":lh";
/** IFNAMSIZ, with the terminating zero. */
const LABEL_SIZE = 16;

const FOREVER = 0xffffffff;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_AF_SPEC = 26;
const IFLA_INET6_CONF = 2;
const IFLA_PROP_LIST = 52;
const IFLA_ALT_IFNAME = 53;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_NOARP = 0x80;
const IFF_LOWER_UP = 0x10000;
const ARPHRD_ETHER = 1;

export interface AddressEntry {
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly linkIndex: number;
  /** Bits IFA_F_*. */
  readonly flags: number;
  /** Seconds until the kernel removes it; null when it never does. */
  readonly validSeconds: number | null;
  /** True when it has Leasehold's mark. */
  readonly ours: boolean;
}

export interface LinkEntry {
  readonly index: number;
  readonly name: string;
  /** Other names of the link (`ip link property add altname`). */
  readonly altNames: readonly string[];
  /** Hardware address; empty when the link has none of six bytes. */
  readonly macBytes: Uint8Array;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly loopback: boolean;
  /** True when the link speaks Ethernet and answers ARP and NDP (IFF_NOARP is not set). */
  readonly ethernet: boolean;
  /**
   * True when the link forwards IPv6 (net.ipv6.conf.<name>.forwarding). Its neighbour advertisements then say
   * "router".
   */
  readonly ipv6Forwarding: boolean;
}

/**
 * Adds the address as a host address (/32, /128). Fails with EEXIST when the link has it with that prefix. An
 * IPv6 address counts with any prefix, because inet6_rtm_newaddr() compares the address alone.
 */
export function createAddress(link: LinkEntry, address: IpAddress, lifetimeSeconds: number): NetlinkRequest {
  return newAddress(link, address, lifetimeSeconds, NLM_F_EXCL);
}

/**
 * Adds the address, or gives the existing one a new lifetime and our mark. Only for an address that is known
 * to be ours.
 */
export function addAddress(link: LinkEntry, address: IpAddress, lifetimeSeconds: number): NetlinkRequest {
  return newAddress(link, address, lifetimeSeconds, NLM_F_REPLACE);
}

function newAddress(
  link: LinkEntry,
  address: IpAddress,
  lifetimeSeconds: number,
  mode: typeof NLM_F_EXCL | typeof NLM_F_REPLACE,
): NetlinkRequest {
  const cacheInfo = new Uint8Array(16);
  // ifa_prefered (offset 0) stays 0: the address is deprecated, so that IPv6 never takes it as a source (RFC
  // 6724 rule 3). IPv4 has no such rule, but it does not choose a /32 without a route of its own.
  viewOf(cacheInfo).setUint32(4, lifetimeSeconds, LITTLE_ENDIAN);
  const attributes = [
    encodeAttribute(IFA_LOCAL, address.bytes),
    encodeAttribute(IFA_ADDRESS, address.bytes),
    encodeAttribute(IFA_CACHEINFO, cacheInfo),
    // No duplicate address detection: it would keep the VIP unusable for a second. The sentinel looks for
    // conflicts.
    encodeAttribute(IFA_FLAGS, uint32(IFA_F_NOPREFIXROUTE | (address.family === 6 ? IFA_F_NODAD : 0))),
    encodeAttribute(IFA_PROTO, Uint8Array.of(IFA_PROTO_LEASEHOLD)),
  ];
  if (address.family === 4) {
    const label = encodeCString(link.name + LABEL_SUFFIX);
    if (label.length <= LABEL_SIZE) attributes.push(encodeAttribute(IFA_LABEL, label));
  }
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | mode,
    payload: concatBytes([ifaddrmsg(address, hostPrefix(address), link.index), ...attributes]),
  };
}

/**
 * Removes the address with exactly that prefix. The same address with another prefix stays, and so does one
 * with a peer. Fails with EADDRNOTAVAIL when there is none.
 */
export function removeAddress(linkIndex: number, address: IpAddress, prefixLength: number): NetlinkRequest {
  return {
    type: RTM_DELADDR,
    flags: NLM_F_REQUEST | NLM_F_ACK,
    payload: concatBytes([
      ifaddrmsg(address, prefixLength, linkIndex),
      encodeAttribute(IFA_LOCAL, address.bytes),
      // Without it inet_rtm_deladdr() ignores the prefix and removes the link's first entry of this address:
      // the machine's own.
      encodeAttribute(IFA_ADDRESS, address.bytes),
    ]),
  };
}

/** Lists the addresses of both families on all links. */
export function dumpAddresses(): NetlinkRequest {
  return { type: RTM_GETADDR, flags: NLM_F_REQUEST | NLM_F_DUMP, payload: new Uint8Array(8) };
}

export function dumpLinks(): NetlinkRequest {
  return { type: RTM_GETLINK, flags: NLM_F_REQUEST | NLM_F_DUMP, payload: new Uint8Array(16) };
}

/** Asks for one link by name. The kernel answers with the link, or with ENODEV. */
export function getLink(name: string): NetlinkRequest {
  const payload = concatBytes([new Uint8Array(16), encodeAttribute(IFLA_IFNAME, encodeCString(name))]);
  return { type: RTM_GETLINK, flags: NLM_F_REQUEST, payload };
}

/** Parses an address; undefined for any other message, and for a malformed one. */
export function parseAddress(message: NetlinkMessage): AddressEntry | undefined {
  const { payload } = message;
  if (message.type !== RTM_NEWADDR || payload.length < 8) return undefined;
  const attributes = parseAttributes(payload.subarray(8));
  if (attributes === undefined) return undefined;
  const view = viewOf(payload);
  const family = familyOf(view.getUint8(0));
  // IFA_LOCAL is the address itself. IFA_ADDRESS is the peer's address on a point-to-point link, and
  // otherwise all that IPv6 has.
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  if (family === undefined || bytes?.length !== (family === 4 ? 4 : 16)) return undefined;
  const prefixLength = view.getUint8(1);
  if (prefixLength > bytes.length * 8) return undefined;
  const flags = readUint32(attributes.get(IFA_FLAGS), 0) ?? view.getUint8(2);
  const valid = readUint32(attributes.get(IFA_CACHEINFO), 4) ?? FOREVER;
  const validSeconds = valid === FOREVER ? null : valid;
  const label = attributes.get(IFA_LABEL);
  const entry = {
    address: ipFromBytes(bytes),
    prefixLength,
    linkIndex: view.getUint32(4, LITTLE_ENDIAN),
    flags,
    validSeconds,
  };
  return { ...entry, ours: isOurs(entry, attributes.get(IFA_PROTO)?.[0], label && decodeCString(label)) };
}

/**
 * Says whether an agent bound the address. Ours is a host address with a finite lifetime, whatever else it
 * looks like: another program that takes it over may leave our mark on it.
 */
function isOurs(
  entry: Omit<AddressEntry, "ours">,
  protocol: number | undefined,
  label: string | undefined,
): boolean {
  if (entry.validSeconds === null || entry.prefixLength !== hostPrefix(entry.address)) return false;
  if (protocol !== undefined) return protocol === IFA_PROTO_LEASEHOLD;
  // Before Linux 5.18 the label is the mark. An interface whose name leaves no room for the suffix uses its
  // own name as the label.
  if (entry.address.family === 4 && label !== undefined && fits(label)) return label.endsWith(LABEL_SUFFIX);
  // An IPv6 address has no mark. But no other program is known to bind a host address with a finite lifetime,
  // deprecated, without detection and route.
  const signature = IFA_F_DEPRECATED | IFA_F_NOPREFIXROUTE | (entry.address.family === 6 ? IFA_F_NODAD : 0);
  return (entry.flags & signature) === signature;
}

/** True when the label has our suffix already, or has room for it. */
function fits(label: string): boolean {
  return label.endsWith(LABEL_SUFFIX) || encodeCString(label + LABEL_SUFFIX).length <= LABEL_SIZE;
}

/** Parses a link; undefined for any other message, and for a malformed one. */
export function parseLink(message: NetlinkMessage): LinkEntry | undefined {
  const { payload } = message;
  if (message.type !== RTM_NEWLINK || payload.length < 16) return undefined;
  const attributes = parseAttributes(payload.subarray(16));
  const name = attributes?.get(IFLA_IFNAME);
  if (attributes === undefined || name === undefined) return undefined;
  const view = viewOf(payload);
  const flags = view.getUint32(8, LITTLE_ENDIAN);
  const mac = attributes.get(IFLA_ADDRESS);
  const macBytes = mac?.length === 6 ? Uint8Array.from(mac) : new Uint8Array(0);
  return {
    index: view.getUint32(4, LITTLE_ENDIAN),
    name: decodeCString(name),
    altNames: altNames(attributes.get(IFLA_PROP_LIST)),
    macBytes,
    up: (flags & IFF_UP) !== 0,
    carrier: (flags & IFF_LOWER_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    ethernet:
      view.getUint16(2, LITTLE_ENDIAN) === ARPHRD_ETHER && macBytes.length === 6 && (flags & IFF_NOARP) === 0,
    ipv6Forwarding: forwardsIpv6(attributes.get(IFLA_AF_SPEC)),
  };
}

/** Reads IFLA_PROP_LIST { IFLA_ALT_IFNAME, IFLA_ALT_IFNAME, ... }. */
function altNames(list: Uint8Array | undefined): readonly string[] {
  return (list && parseAttributeList(list, IFLA_ALT_IFNAME))?.map(decodeCString) ?? [];
}

/** Reads IFLA_AF_SPEC { AF_INET6 { IFLA_INET6_CONF: s32[] } }, of which the first is DEVCONF_FORWARDING. */
function forwardsIpv6(afSpec: Uint8Array | undefined): boolean {
  const inet6 = afSpec && parseAttributes(afSpec)?.get(AF_INET6);
  const settings = inet6 && parseAttributes(inet6)?.get(IFLA_INET6_CONF);
  return (readUint32(settings, 0) ?? 0) !== 0;
}

function ifaddrmsg(address: IpAddress, prefixLength: number, linkIndex: number): Uint8Array {
  // ifa_flags stays 0, because IFA_FLAGS has all 32 bits. ifa_scope 0 is RT_SCOPE_UNIVERSE.
  const bytes = Uint8Array.of(address.family === 4 ? AF_INET : AF_INET6, prefixLength, 0, 0, 0, 0, 0, 0);
  viewOf(bytes).setUint32(4, linkIndex, LITTLE_ENDIAN);
  return bytes;
}

function familyOf(value: number): Family | undefined {
  if (value === AF_INET) return 4;
  return value === AF_INET6 ? 6 : undefined;
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, LITTLE_ENDIAN);
  return bytes;
}

function readUint32(bytes: Uint8Array | undefined, offset: number): number | undefined {
  if (bytes === undefined || bytes.length < offset + 4) return undefined;
  return viewOf(bytes).getUint32(offset, LITTLE_ENDIAN);
}
