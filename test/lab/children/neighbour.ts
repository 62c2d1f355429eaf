/**
 * A neighbour that does as it is told: an echo server for TCP on port 7000, one that prints for UDP on 7001,
 * and a client. Commands, one a line: `connect HOST PORT`, `write TEXT` (to all its connections). It prints a
 * line for each event.
 */
import { createSocket } from "node:dgram";
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const clients: Socket[] = [];

function client(host: string, port: number): void {
  const socket = connect({ host, port });
  clients.push(socket);
  socket.on("connect", () => say(`connected from ${socket.localPort}`));
  socket.on("data", (data: Buffer) => say(`got ${data.toString()}`));
  socket.on("error", (error: NodeJS.ErrnoException) => say(`client ${error.code}`));
}

const server = createServer((socket) => {
  socket.on("error", (error: NodeJS.ErrnoException) => say(`server ${error.code}`));
  socket.pipe(socket);
});
server.listen(7000, "::", () => {
  const udp = createSocket("udp6");
  udp.on("message", (data, from) => say(`datagram ${data.toString()} from ${from.address} ${from.port}`));
  udp.bind(7001, "::", () => say("ready"));
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, first = "", second = ""] = line.split(" ");
  if (command === "connect") client(first, Number(second));
  else for (const socket of clients) socket.write(first);
});
