/**
 * A crowd that connects at once: `crowd-child.ts HOST PORT COUNT`. Each asks one thing and keeps its
 * connection. Prints how long it took until the last had its answer, in ms, and holds all of them until its
 * input ends.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";

const [host = "", port = "", count = ""] = process.argv.slice(2);
const LIMIT_MS = 20_000;
const REQUEST = "GET / HTTP/1.1\r\nHost: crowd\r\n\r\n";

const startMs = performance.now();
const sockets: Socket[] = [];
let answered = 0;

function one(): void {
  const socket = connect({ host, port: Number(port), noDelay: true });
  sockets.push(socket);
  socket.once("connect", () => socket.write(REQUEST));
  socket.once("data", () => {
    answered += 1;
    if (answered === Number(count)) process.stdout.write(`${(performance.now() - startMs).toFixed(1)}\n`);
  });
  socket.on("error", (error) => process.stderr.write(`${error.message}\n`));
}

for (let i = 0; i < Number(count); i++) one();
const limit = setTimeout(() => process.stdout.write("Infinity\n"), LIMIT_MS);
process.stdin.resume().once("end", () => {
  clearTimeout(limit);
  // Reset: thousands in TIME_WAIT would be in the next one's way.
  for (const socket of sockets) socket.resetAndDestroy();
});
