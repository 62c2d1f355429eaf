/**
 * Packet sockets that receive (packet(7)). Each is given the frames of one EtherType that come in by one
 * link. They arrive after an ingress hook of the netdev family, if there is one, but before conntrack and
 * before every firewall in the inet families. No socket asks for ETH_P_ALL, for which the kernel would clone
 * every frame that the machine sends.
 */
import { int32, viewOf } from "./bytes.ts";
import { ETHERTYPE } from "./ip-header.ts";
import {
  attachFilter,
  bindSocket,
  closeSocket,
  getSocketOption,
  receiveDatagram,
  setSocketOption,
  SystemCallError,
} from "./libc.ts";
import { LITTLE_ENDIAN } from "./netlink.ts";
import { packetFilter, type PacketInterest, type PacketKind } from "./packet-filter.ts";
import { openRawPacketSocket, packetAddress } from "./sockets.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
/**
 * Room for some 150 small frames, as in `echo.ts` (the kernel doubles the size, and charges each frame with
 * its whole buffer).
 */
const RECEIVE_BUFFER_BYTES = 64 * 1024;
const FEW_FRAMES_BYTES = 4 * 1024;
/** Far fewer frames than fill the buffer, whatever their size. */
const FEW = 16;
/**
 * More frames than fit the buffer, so that a turn empties it. Frames that come in meanwhile must not keep
 * this thread.
 */
const MOST_AT_ONCE = 256;
/**
 * No frame that passes the filter has reason to be longer: neighbour discovery is never fragmented (RFC
 * 6980).
 */
const FRAME_BYTES = 1514;

export interface PacketReceiver {
  /** The descriptor, for {@link readiness}. */
  readonly fd: number;
  /**
   * Gives `take` each frame that has come since the last call, in a buffer that the next one overwrites.
   * "lost" means that there were more than one turn may take, or that the kernel had no room. "down" means
   * that the link went down or away. If it went down, the socket can be used again.
   */
  drain(take: (frame: Uint8Array) => void): "all" | "lost" | "down";
  /**
   * Lets other frames through from now on. Those that wait in the socket stay there.
   * @throws {SystemCallError}
   */
  retune(interest: PacketInterest): void;
  close(): void;
}

/**
 * Opens a socket that receives frames of one kind. One that only shows that the link carries frames has room
 * for a few, and loses the others.
 * @throws {SystemCallError} EPERM without NET_RAW, ENODEV
 */
export function openPacketReceiver(
  kind: PacketKind,
  linkIndex: number,
  interest: PacketInterest,
): PacketReceiver {
  // With protocol 0 the socket gets nothing until it is bound, so it gets no frame that passed no filter.
  const fd = openRawPacketSocket();
  try {
    const room = interest.kind === "hosts" ? FEW_FRAMES_BYTES : RECEIVE_BUFFER_BYTES;
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, int32(room));
    attachFilter(fd, packetFilter(kind, linkIndex, interest));
    bindSocket(fd, packetAddress(ETHERTYPE[kind], linkIndex));
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  const buffer = new Uint8Array(FRAME_BYTES);
  // struct tpacket_stats has packets and drops. Reading sets both to 0.
  const statistics = new Uint8Array(8);

  /**
   * Says whether the kernel dropped frames. It drops only for want of room, when the buffer is full of
   * frames, so after a few frames it need not be asked.
   */
  function dropped(count: number): boolean {
    if (count < FEW) return false;
    getSocketOption(fd, SOL_PACKET, PACKET_STATISTICS, statistics);
    return viewOf(statistics).getUint32(4, LITTLE_ENDIAN) > 0;
  }

  return {
    fd,
    drain(take) {
      for (let count = 0; count < MOST_AT_ONCE; count++) {
        try {
          const received = receiveDatagram(fd, buffer);
          if (received.kind === "empty") return dropped(count) ? "lost" : "all";
          if (received.kind === "data") take(buffer.subarray(0, received.length));
        } catch (error) {
          // The kernel reports this once, when the link goes down or away (packet_notifier).
          if (error instanceof SystemCallError && error.errnoName === "ENETDOWN") return "down";
          throw error;
        }
      }
      return "lost";
    },
    retune: (next) => attachFilter(fd, packetFilter(kind, linkIndex, next)),
    close: () => closeSocket(fd),
  };
}
