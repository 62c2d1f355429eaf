/** Entry point of one of the proxy's worker threads: it connects {@link Proxy} to its port and its clock. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../clock.ts";
import { ConnectionCount } from "./connection-count.ts";
import type { FromProxy, ProxyWorkerData, ToProxy } from "./messages.ts";
import { Proxy } from "./proxy.ts";

if (parentPort === null) throw new Error("the proxy runs in a worker thread");
const port = parentPort;
const { settings, share, listener }: ProxyWorkerData = workerData;
const proxy = new Proxy({
  clock: systemClock(() => performance.now()),
  settings,
  listener,
  connections: new ConnectionCount(share),
  random: Math.random,
  post: (message: FromProxy) => port.postMessage(message),
});
port.on("message", (message: ToProxy) => proxy.handle(message, () => port.close()));
