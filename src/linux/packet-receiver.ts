/**
 * Packet sockets that receive (packet(7)). Each is given the frames of one EtherType that come in by one link, before netfilter sees them: after an
 * ingress hook of the netdev family, if there is one, but before every firewall in the inet families and before conntrack. None asks for
 * ETH_P_ALL, for which the kernel would clone every frame that the machine sends.
 */
import { viewOf } from "./bytes.ts";
import { ETHERTYPE } from "./ip-header.ts";
import { attachFilter, bindSocket, closeSocket, getSocketOption, receiveDatagram, setSocketOption, SystemCallError } from "./libc.ts";
import { LITTLE_ENDIAN } from "./netlink.ts";
import { packetFilter, type PacketKind } from "./packet-filter.ts";
import { openRawPacketSocket, packetAddress } from "./sockets.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
/** As in `echo.ts`: some 150 small frames (the kernel doubles the size, and charges each frame with its whole buffer). */
const RECEIVE_BUFFER_BYTES = 64 * 1024;
/** Far fewer than fill the buffer, whatever their size. */
const FEW = 16;
/** More than fit the buffer, so that a turn empties it; but what comes in meanwhile must not keep this thread. */
const MOST_AT_ONCE = 256;
/** No frame that passes the filter has reason to be longer: neighbour discovery is never fragmented (RFC 6980). */
const FRAME_BYTES = 1514;

export interface PacketReceiver {
  /**
   * What has come since the last call; `take` is given each frame in a buffer that the next one overwrites. "lost": there was more than one
   * turn may take, or the kernel had no room. "down": the link went down, or away; the socket lives on if it was the former.
   */
  drain(take: (frame: Uint8Array) => void): "all" | "lost" | "down";
  close(): void;
}

/** @throws {SystemCallError} EPERM without NET_RAW, ENODEV */
export function openPacketReceiver(kind: PacketKind, linkIndex: number): PacketReceiver {
  // With protocol 0 it gets nothing until it is bound, so nothing that passed no filter.
  const fd = openRawPacketSocket();
  try {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, new Uint8Array(Int32Array.of(RECEIVE_BUFFER_BYTES).buffer));
    attachFilter(fd, packetFilter(kind, linkIndex));
    bindSocket(fd, packetAddress(ETHERTYPE[kind], linkIndex));
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  const buffer = new Uint8Array(FRAME_BYTES);
  // struct tpacket_stats: packets, drops; asking sets both to 0.
  const statistics = new Uint8Array(8);

  /** The kernel drops only for want of room, so while the buffer is full of frames: no question is needed when few were there. */
  function dropped(count: number): boolean {
    if (count < FEW) return false;
    getSocketOption(fd, SOL_PACKET, PACKET_STATISTICS, statistics);
    return viewOf(statistics).getUint32(4, LITTLE_ENDIAN) > 0;
  }

  return {
    drain(take) {
      for (let count = 0; count < MOST_AT_ONCE; count++) {
        try {
          const received = receiveDatagram(fd, buffer);
          if (received.kind === "empty") return dropped(count) ? "lost" : "all";
          if (received.kind === "data") take(buffer.subarray(0, received.length));
        } catch (error) {
          // Told once, when the link goes down or away (packet_notifier).
          if (error instanceof SystemCallError && error.errnoName === "ENETDOWN") return "down";
          throw error;
        }
      }
      return "lost";
    },
    close: () => closeSocket(fd),
  };
}
