/**
 * Floods the VIP with 70,000 packets of connections that do not exist, each from another port of one client:
 * `flood.ts INDEX SOURCE-MAC DESTINATION-MAC CLIENT VIP`. Bounded.
 */
import { macBytes } from "../../../src/linux/mac.ts";
import { openPacketSocket } from "../../../src/linux/sockets.ts";
import { strayAck } from "../../../src/linux/tcp-frame.ts";
import { parseIp } from "../../../src/net.ts";
import { sendPatiently } from "../../support/lab/patience.ts";

const PACKETS = 70_000;
/** Ports of the client, so that some come twice, once to each port of the VIP. */
const PORTS = 64_000;
const [index, from = "", to = "", client = "", vip = ""] = process.argv.slice(2);
const [sourceMac, destinationMac] = [macBytes(from), macBytes(to)];
const [source, destination] = [parseIp(client), parseIp(vip)];
if (!sourceMac || !destinationMac || !source || !destination) throw new Error("two MAC and two IP addresses");
const socket = openPacketSocket();
for (let i = 0; i < PACKETS; i++) {
  const ends = { sourceMac, destinationMac, source, destination };
  const destinationPort = i < PORTS ? 6_443 : 8_443;
  const frame = strayAck({ ...ends, sourcePort: 1_024 + (i % PORTS), destinationPort });
  sendPatiently(socket, Number(index), frame);
}
socket.close();
