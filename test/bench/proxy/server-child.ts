/** Child process of `proxy.ts`: answers each connection by its first byte. */
import type { Socket } from "node:net";
import { startServer } from "../../support/backends/servers.ts";

const block = Buffer.alloc(262_144, 7);

function stream(socket: Socket, left: number): void {
  for (let rest = left; rest > 0; rest -= block.length) {
    if (socket.write(rest < block.length ? block.subarray(0, rest) : block)) continue;
    const after = rest - block.length;
    socket.once("drain", () => stream(socket, after));
    return;
  }
  socket.end();
}

/**
 * "c": one byte back and the end. "d<bytes>\n": that many bytes back. "u": swallows all, one byte at the end.
 */
const server = await startServer((socket) => {
  socket.once("data", (first: Buffer) => {
    switch (String.fromCharCode(first[0] ?? 0)) {
      case "c":
        socket.end("c");
        return;
      case "d":
        stream(socket, Number(first.toString("latin1", 1)));
        return;
      default:
        socket.resume();
        socket.once("end", () => socket.end("u"));
    }
  });
});
process.send?.(server.port);
process.once("disconnect", () => void server.close());
