/**
 * Joins IPv6 multicast groups, so that the network card lets their frames in and switches that look at MLD
 * (RFC 4541) send them here.
 */
import { concatBytes, viewOf } from "./bytes.ts";
import { closeSocket, openSocket, setSocketOption, SystemCallError } from "./libc.ts";
import { LITTLE_ENDIAN } from "./netlink.ts";

const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const IPPROTO_IPV6 = 41;
const IPV6_ADD_MEMBERSHIP = 20;

export interface Memberships {
  /**
   * Joins a group. Returns false when that is impossible: no IPv6, no such link. A group that was joined
   * stays joined.
   */
  join(group: Uint8Array): boolean;
  /** Leaves all groups. */
  close(): void;
}

/** Memberships on one link, until the link is deleted. The socket is opened with the first group. */
export function openMemberships(linkIndex: number): Memberships {
  const joined = new Set<string>();
  let fd: number | undefined;
  return {
    join(group) {
      const key = group.join();
      if (joined.has(key)) return true;
      // struct ipv6_mreq
      const request = concatBytes([group, new Uint8Array(4)]);
      viewOf(request).setInt32(group.length, linkIndex, LITTLE_ENDIAN);
      try {
        fd ??= openSocket(AF_INET6, SOCK_DGRAM, 0);
        setSocketOption(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, request);
      } catch (error) {
        if (error instanceof SystemCallError) return false;
        throw error;
      }
      joined.add(key);
      return true;
    },
    close() {
      if (fd !== undefined) closeSocket(fd);
      fd = undefined;
      joined.clear();
    },
  };
}
