/**
 * A TCP server that says its name to each client, and then gives back what it gets.
 * `greeter.ts ADDRESS PORT NAME`
 */
import { createServer } from "node:net";

const [address = "", port = "", name = ""] = process.argv.slice(2);
createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.write(`${name}\n`);
  socket.pipe(socket);
}).listen(Number(port), address, () => console.log("ready"));
