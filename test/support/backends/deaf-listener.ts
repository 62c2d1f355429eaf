/**
 * Worker thread: listens and never turns its loop again, so that the kernel's accept queue fills up and
 * further SYNs are dropped: a black hole on loopback, without a packet filter.
 */
import { createServer } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

const server = createServer();
const forever: Int32Array = new Int32Array(workerData);
server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin, only windows do
  parentPort?.postMessage(server.address());
  Atomics.wait(forever, 0, 0);
  server.close();
});
