/**
 * The {@link Wire} on Linux: whole frames over AF_PACKET, so that neither routes nor neighbour tables nor a
 * firewall of this machine stand in between.
 */
import { arpRequest, parseArp, type NeighbourFrame } from "../linux/arp.ts";
import { echoRequestFrame, parseEchoReplyFrame } from "../linux/echo-frame.ts";
import { openMemberships, type Memberships } from "../linux/groups.ts";
import { readiness, SystemCallError } from "../linux/libc.ts";
import { findLink } from "../linux/links.ts";
import { formatMac, parseMac } from "../linux/mac.ts";
import { neighbourSolicitation, parseNeighbour, solicitedNode } from "../linux/ndp.ts";
import type { PacketInterest, PacketKind } from "../linux/packet-filter.ts";
import { openPacketReceiver, type PacketReceiver } from "../linux/packet-receiver.ts";
import { RTMGRP_LINK, type LinkEntry } from "../linux/rtnetlink.ts";
import { openPacketSocket, openRouteSocket, subscribe } from "../linux/sockets.ts";
import type { Logger } from "../log.ts";
import { ipFromBytes, type Family, type IpAddress } from "../net.ts";
import type { Heard, Listening, Wire } from "./wire.ts";

export interface LinuxWireDeps {
  /**
   * Answers the name of the VIP's interface, which may change. An interface that is deleted and created again
   * is found again.
   */
  readonly interfaceName: () => string;
  readonly log: Logger;
  /** Answers this node's own addresses there, at most one of each family. */
  readonly own: () => readonly IpAddress[];
  /** The families of the VIPs. The wire neither sends nor hears the other family. */
  readonly families: readonly Family[];
}

interface Listener {
  readonly kind: PacketKind;
  readonly interest: PacketInterest["kind"];
  readonly receiver: PacketReceiver;
}

/**
 * The sockets for each family. The echo replies have one with the answers in IPv6, and their own in IPv4, by
 * its EtherType.
 */
const SOCKETS: Readonly<Record<Family, readonly Pick<Listener, "kind" | "interest">[]>> = {
  4: [
    { kind: "ipv4", interest: "answers" },
    { kind: "arp", interest: "answers" },
    { kind: "arp", interest: "claims" },
    { kind: "arp", interest: "hosts" },
  ],
  6: [
    { kind: "ipv6", interest: "answers" },
    { kind: "ipv6", interest: "claims" },
    { kind: "ipv6", interest: "hosts" },
  ],
};

/**
 * What is open on one link. Sockets and memberships end with the link's index, not with its MAC address or
 * carrier.
 */
type Attachment =
  /** There is no such interface, or it has no ARP: a tunnel, a point-to-point link. */
  | { readonly kind: "detached" }
  | {
      readonly kind: "attached";
      readonly link: LinkEntry;
      readonly ownMac: string;
      readonly listeners: readonly Listener[];
      /** Says of each listener whether it has something to read: most have nothing in most turns. */
      readonly ready: () => readonly boolean[];
      readonly memberships: Memberships;
    };

/** Opens the sockets. The interface need not exist yet. @throws {LeaseholdError} LH_NATIVE: no NET_RAW */
export function createLinuxWire(deps: LinuxWireDeps): Wire {
  const { log, own, families } = deps;
  let listening: Listening = { identifier: 0, macs: [], vips: [], others: [] };
  let interests = interestsOf(listening);
  const resources: { close(): void }[] = [];
  const keep = <T extends { close(): void }>(resource: T): T => {
    resources.push(resource);
    return resource;
  };
  let attachment: Attachment = { kind: "detached" };
  let interfaceName = deps.interfaceName();
  /** The link may have changed since it was looked at. */
  let stale = true;
  /**
   * A listener heard that its link went down or away. If the link went away, the listener hears nothing any
   * more, not even from a new link with the same index.
   */
  let doubtful = false;
  /** What may be missing since the last drain. */
  let missing = { answers: false, claims: false };
  let failing = false;
  let lastMac: { readonly text: string; readonly bytes: Uint8Array | undefined } = {
    text: "",
    bytes: undefined,
  };

  const sockets = openSockets();

  function openSockets(): {
    readonly packet: ReturnType<typeof openPacketSocket>;
    readonly route: ReturnType<typeof openRouteSocket>;
  } {
    try {
      const packet = keep(openPacketSocket());
      const route = keep(openRouteSocket());
      // A look at the link 20 times a second would cost more than all the rest. A subscription costs nothing
      // while no link changes.
      keep(subscribe(RTMGRP_LINK, () => (stale = true)));
      return { packet, route };
    } catch (error) {
      close();
      throw error;
    }
  }

  function close(): void {
    detach();
    stale = false;
    for (const resource of resources.splice(0).toReversed()) resource.close();
  }

  function detach(): void {
    if (attachment.kind === "attached") {
      for (const { receiver } of attachment.listeners) receiver.close();
      attachment.memberships.close();
      missing = { answers: true, claims: true };
    }
    attachment = { kind: "detached" };
  }

  /** Answers the link as it is now, with everything open on it. */
  function current(): Attachment {
    const name = deps.interfaceName();
    if (!stale && name === interfaceName) return attachment;
    stale = false;
    interfaceName = name;
    try {
      const link = findLink(sockets.route, interfaceName);
      if (link?.ethernet !== true) detach();
      else if (
        attachment.kind === "attached" &&
        attachment.link.index === link.index &&
        !(doubtful && link.up)
      )
        attachment = { ...attachment, link, ownMac: formatMac(link.macBytes) };
      else attach(link);
      failing = false;
    } catch (error) {
      // The process is out of descriptors or memory, or the link went away in between. The next turn tries
      // again.
      detach();
      stale = true;
      if (!failing)
        log.warn(
          { err: error, interface: interfaceName },
          "The agent cannot listen on the VIP's interface, so it cannot hear other machines there: check NET_RAW; it tries again",
        );
      failing = true;
    }
    return attachment;
  }

  function attach(link: LinkEntry): void {
    detach();
    const listeners: Listener[] = [];
    try {
      for (const { kind, interest } of families.flatMap((family) => SOCKETS[family])) {
        const receiver = openPacketReceiver(kind, link.index, interests[interest]);
        listeners.push({ kind, interest, receiver });
      }
    } catch (error) {
      for (const { receiver } of listeners) receiver.close();
      throw error;
    }
    doubtful = false;
    attachment = {
      kind: "attached",
      link,
      ownMac: formatMac(link.macBytes),
      listeners,
      ready: readiness(listeners.map(({ receiver }) => receiver.fd)),
      memberships: openMemberships(link.index),
    };
  }

  /** Parses a MAC address. The last one is remembered, because the holder's is asked for again and again. */
  function macOf(text: string): Uint8Array | undefined {
    if (text !== lastMac.text) lastMac = { text, bytes: parseMac(text) };
    return lastMac.bytes;
  }

  function ownOf(family: Family): IpAddress | undefined {
    return own().find((address) => address.family === family);
  }

  /** Answers the link on which frames of that family can go out now. */
  function outlet(
    family: Family,
  ): { readonly link: LinkEntry; readonly memberships: Memberships } | undefined {
    const now = current();
    // Without carrier the kernel takes a frame and drops it, and says that all is well.
    return now.kind === "attached" && now.link.up && now.link.carrier && families.includes(family)
      ? now
      : undefined;
  }

  function send(link: LinkEntry, frame: Uint8Array): boolean {
    try {
      sockets.packet.send(link.index, frame);
      return true;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // ENETDOWN, ENXIO: the link went down or away, and the notification has not come yet. Other errors (a
      // full queue) cost one look at the link.
      stale = true;
      return false;
    }
  }

  /** Without an answer every listener is read. */
  function readyOf({ ready }: Attachment & { readonly kind: "attached" }): readonly boolean[] {
    try {
      return ready();
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      return [];
    }
  }

  // What answers before the first drain is there to be drained.
  current();

  return {
    echo(address, mac, identifier, sequence) {
      const out = outlet(address.family);
      const source = ownOf(address.family);
      const destinationMac = macOf(mac);
      if (out === undefined || source === undefined || destinationMac === undefined) return false;
      const ends = { sourceMac: out.link.macBytes, destinationMac, source, destination: address };
      return send(out.link, echoRequestFrame({ ...ends, identifier, sequence }));
    },
    ask(address, as) {
      const out = outlet(address.family);
      if (out === undefined) return false;
      const sender = as === "node" ? ownOf(address.family)?.bytes : undefined;
      const mac = out.link.macBytes;
      if (address.family === 4) return send(out.link, arpRequest(mac, sender, address.bytes));
      // RFC 4862 section 5.4.2: a node joins the group before it asks. Otherwise two nodes that ask at the
      // same time do not hear each other. If it cannot join, an owner is heard all the same.
      if (sender === undefined) out.memberships.join(solicitedNode(address.bytes));
      return send(out.link, neighbourSolicitation(mac, sender, address.bytes));
    },
    listen(next) {
      if (sameListening(listening, next)) return;
      listening = next;
      interests = interestsOf(next);
      if (attachment.kind !== "attached") return;
      try {
        for (const { interest, receiver } of attachment.listeners)
          if (interest !== "hosts") receiver.retune(interests[interest]);
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        // The kernel has no memory for a filter. The sockets are opened again, with the new ones.
        log.warn({ err: error, interface: interfaceName }, "Listening on the VIP's interface failed");
        detach();
        stale = true;
      }
    },
    drain() {
      const now = current();
      const heard: Heard[] = [];
      let flooded = false;
      if (now.kind === "attached") {
        const ready = readyOf(now);
        for (const [index, { kind, interest, receiver }] of now.listeners.entries()) {
          if (ready[index] === false) continue;
          const outcome = receiver.drain((frame) => {
            const word = understand(kind, interest, frame, now.ownMac);
            if (word !== undefined) heard.push(word);
          });
          if (outcome === "down") {
            stale = doubtful = true;
            missing = { answers: true, claims: true };
          }
          if (outcome === "lost" && interest !== "hosts") {
            flooded = true;
            missing = { ...missing, [interest]: true };
          }
        }
      }
      const result = { heard, missing, flooded };
      missing = { answers: false, claims: false };
      return result;
    },
    close,
  };
}

type Interests = { readonly [K in PacketInterest["kind"]]: Extract<PacketInterest, { readonly kind: K }> };

function interestsOf({ identifier, macs, vips, others }: Listening): Interests {
  const bytesOf = (addresses: readonly IpAddress[]): readonly Uint8Array[] =>
    addresses.map(({ bytes }) => bytes);
  return {
    answers: { kind: "answers", identifier, macs: macs.flatMap((mac) => parseMac(mac) ?? []) },
    claims: { kind: "claims", vips: bytesOf(vips), addresses: bytesOf([...vips, ...others]) },
    hosts: { kind: "hosts" },
  };
}

function sameListening(a: Listening, b: Listening): boolean {
  const textOf = ({ identifier, macs, vips, others }: Listening): string =>
    [identifier, ...macs, "", ...vips.map(({ text }) => text), "", ...others.map(({ text }) => text)].join();
  return textOf(a) === textOf(b);
}

/**
 * Reads a frame. Answers undefined for a frame that is malformed, of no interest, or from this machine
 * itself: there is a loop in the network, or a host repeats this machine's frames.
 */
function understand(
  kind: PacketKind,
  interest: PacketInterest["kind"],
  frame: Uint8Array,
  ownMac: string,
): Heard | undefined {
  switch (kind) {
    case "arp":
      return neighbour(parseArp(frame), interest, ownMac);
    case "ipv4":
      return echo(frame, ownMac);
    case "ipv6":
      return echo(frame, ownMac) ?? neighbour(parseNeighbour(frame), interest, ownMac);
  }
}

function echo(frame: Uint8Array, ownMac: string): Heard | undefined {
  const reply = parseEchoReplyFrame(frame);
  if (reply === undefined) return undefined;
  const mac = formatMac(reply.sourceMac);
  return mac === ownMac
    ? undefined
    : {
        kind: "echo",
        address: ipFromBytes(reply.ip),
        mac,
        identifier: reply.identifier,
        sequence: reply.sequence,
      };
}

function neighbour(
  frame: NeighbourFrame | undefined,
  interest: PacketInterest["kind"],
  ownMac: string,
): Heard | undefined {
  if (frame === undefined) return undefined;
  const mac = formatMac(frame.mac);
  if (mac === ownMac) return undefined;
  if (interest === "hosts") return { kind: "host", mac };
  const address = ipFromBytes(frame.ip);
  return frame.kind === "owner"
    ? { kind: "owner", address, mac, reply: frame.reply }
    : { kind: "probe", address, mac };
}
