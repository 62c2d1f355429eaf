/** {@link VipKernel} on Linux uses rtnetlink for addresses and AF_PACKET for announcements. */
import { LeaseholdError } from "../errors.ts";
import { arpAnnouncement } from "../linux/arp.ts";
import { SystemCallError } from "../linux/libc.ts";
import { NO_ARP, findLink } from "../linux/links.ts";
import { formatMac } from "../linux/mac.ts";
import { unsolicitedAdvertisement } from "../linux/ndp.ts";
import {
  RTMGRP_IPV4_IFADDR,
  RTMGRP_IPV6_IFADDR,
  RTMGRP_LINK,
  addAddress,
  createAddress,
  dumpAddresses,
  parseAddress,
  removeAddress,
  type AddressEntry,
  type LinkEntry,
} from "../linux/rtnetlink.ts";
import { openPacketSocket, openRouteSocket, subscribe } from "../linux/sockets.ts";
import type { Logger } from "../log.ts";
import { hostPrefix, type IpAddress } from "../net.ts";
import type { LinkState, VipKernel } from "./kernel.ts";
import { obstacle } from "./owner.ts";

export interface LinuxKernelDeps {
  /**
   * Answers the name of the VIP's interface, which may change. An interface that is deleted and created again
   * is followed.
   */
  readonly interfaceName: () => string;
  readonly log: Logger;
}

/**
 * Opens the sockets. `close` closes them and changes nothing else.
 * @throws {LeaseholdError} LH_NATIVE without NET_ADMIN or NET_RAW
 */
export function createVipKernel(deps: LinuxKernelDeps): VipKernel & { close(): void } {
  const { interfaceName, log } = deps;
  const route = openRouteSocket();
  const packet = openPacketSocketOr(() => route.close());

  function requireLink(): LinkEntry {
    const name = interfaceName();
    const link = findLink(route, name);
    if (link === undefined) throw new LeaseholdError("LH_INTERFACE", `there is no interface ${name}`);
    return link;
  }

  function listAddresses(): readonly AddressEntry[] {
    return route.query(dumpAddresses(), "list addresses").flatMap((message) => parseAddress(message) ?? []);
  }

  /** Finds where `addresses` are bound now, on any interface. */
  function locate(addresses: readonly IpAddress[]): readonly AddressEntry[] {
    const wanted = new Set(addresses.map((address) => address.text));
    return listAddresses().filter((entry) => wanted.has(entry.address.text));
  }

  function unbind(addresses: readonly IpAddress[]): void {
    const bound = locate(addresses).filter((entry) => entry.ours);
    if (bound.length === 0) return;
    const requests = bound.map((entry) => removeAddress(entry.linkIndex, entry.address, entry.prefixLength));
    for (const [index, fate] of route.batch(requests, "remove address").entries()) {
      if (fate.kind === "done") continue;
      // The address expired, or its interface went away, since it was listed.
      if (fate.error.errnoName === "EADDRNOTAVAIL" || fate.error.errnoName === "ENODEV") continue;
      throw new LeaseholdError("LH_NATIVE", `${bound[index]?.address.text}: ${fate.error.message}`, {
        cause: fate.error,
      });
    }
  }

  function bindOn(link: LinkEntry, addresses: readonly IpAddress[], lifetimeSeconds: number): void {
    const present = locate(addresses).filter((entry) => entry.linkIndex === link.index);
    const taken = obstacle(present.filter(isInTheWay), false);
    if (taken !== undefined) throw taken;
    const ours = new Set(present.filter((entry) => entry.ours).map((entry) => entry.address.text));
    // Where no address is bound, none may be replaced: another program may bind it at this moment.
    const requests = addresses.map((address) =>
      (ours.has(address.text) ? addAddress : createAddress)(link, address, lifetimeSeconds),
    );
    for (const [index, fate] of route.batch(requests, "add address").entries()) {
      if (fate.kind === "done") continue;
      const code = fate.error.errnoName === "EEXIST" ? "LH_VIP_FOREIGN" : "LH_NATIVE";
      throw new LeaseholdError(code, `${addresses[index]?.text} on ${link.name}: ${fate.error.message}`, {
        cause: fate.error,
      });
    }
  }

  function takeBack(addresses: readonly IpAddress[]): void {
    try {
      unbind(addresses);
    } catch (error) {
      // The addresses end with their lifetime. The caller needs to know why the bind failed.
      log.error({ err: error }, "The agent could not unbind the other addresses");
    }
  }

  return {
    link() {
      const link = findLink(route, interfaceName());
      return link && linkState(link);
    },
    addresses: () =>
      listAddresses().map(({ address, prefixLength, linkIndex, ours, validSeconds }) => ({
        address,
        prefixLength,
        linkIndex,
        ours,
        validSeconds,
      })),
    bind(addresses, lifetimeSeconds) {
      const link = requireLink();
      try {
        bindOn(link, addresses, lifetimeSeconds);
      } catch (error) {
        // The addresses move together or not at all: half a VIP would keep the other family's clients from
        // the next holder.
        takeBack(addresses);
        throw error;
      }
    },
    unbind,
    announce(addresses) {
      const link = requireLink();
      if (!link.up || !link.carrier)
        throw new LeaseholdError("LH_LINK_DOWN", `${link.name} is ${link.up ? "without carrier" : "down"}`);
      if (!link.ethernet)
        throw new LeaseholdError("LH_LINK_TYPE", `no neighbour can be told on ${link.name}: ${NO_ARP}`);
      for (const address of addresses) {
        for (const frame of announcements(link, address)) send(link, frame);
      }
    },
    onChange: (callback) => subscribe(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, callback),
    close() {
      route.close();
      packet.close();
    },
  };

  function send(link: LinkEntry, frame: Uint8Array): void {
    try {
      packet.send(link.index, frame);
    } catch (error) {
      // The link went down, or away, since its state was read.
      if (error instanceof SystemCallError && ["ENETDOWN", "ENXIO", "ENODEV"].includes(error.errnoName)) {
        throw new LeaseholdError("LH_LINK_DOWN", `${link.name}: ${error.message}`, { cause: error });
      }
      throw error;
    }
  }
}

/**
 * The kernel identifies an IPv6 address of a link by the address alone, and an IPv4 address by its prefix
 * too. So a /24 and our /32 of one IPv4 address can both exist.
 */
function isInTheWay({ address, prefixLength }: AddressEntry): boolean {
  return address.family === 6 || prefixLength === hostPrefix(address);
}

/** Both forms of ARP are sent, because stacks and switches differ in which form they learn from. */
function announcements(link: LinkEntry, address: IpAddress): readonly Uint8Array[] {
  if (address.family === 6)
    return [unsolicitedAdvertisement(link.macBytes, address.bytes, link.ipv6Forwarding)];
  return [
    arpAnnouncement("request", link.macBytes, address.bytes),
    arpAnnouncement("reply", link.macBytes, address.bytes),
  ];
}

function linkState(link: LinkEntry): LinkState {
  return {
    name: link.name,
    index: link.index,
    mac: link.ethernet ? formatMac(link.macBytes) : "",
    up: link.up,
    carrier: link.carrier,
  };
}

function openPacketSocketOr(undo: () => void): ReturnType<typeof openPacketSocket> {
  try {
    return openPacketSocket();
  } catch (error) {
    undo();
    throw error;
  }
}
