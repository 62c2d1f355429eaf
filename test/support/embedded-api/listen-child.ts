/**
 * `listen-child.ts HOST PORT`, with an IPC channel: listens, sends the socket to its parent, ends. See
 * listen.ts.
 */
import { createServer } from "node:net";

const [host, port] = process.argv.slice(2);
const server = createServer();
server.listen(Number(port), host, () => process.send?.("listening", server));
// Ends when the parent has the socket, or is gone.
process.once("message", () => process.disconnect());
process.once("disconnect", () => server.close());
