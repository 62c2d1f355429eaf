/**
 * Puts whole Ethernet frames on the wire of the link with this index as they are, one a line of the input, in
 * hexadecimal: `send-frames.ts INDEX`. Bounded.
 */
import { readFileSync } from "node:fs";
import { openPacketSocket } from "../../../src/linux/sockets.ts";

const MOST_FRAMES = 1_000;
const lines = readFileSync(0, "utf8")
  .split("\n")
  .filter((line) => line !== "");
if (lines.length > MOST_FRAMES) throw new Error(`${lines.length} frames, not more than ${MOST_FRAMES}`);
const index = Number(process.argv[2]);
const socket = openPacketSocket();
for (const line of lines) socket.send(index, Buffer.from(line, "hex"));
socket.close();
