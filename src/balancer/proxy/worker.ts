/** Entry of the proxy's worker thread: wires {@link Proxy} to its port and its clock. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../../clock.ts";
import type { FromProxy, ProxySettings, ToProxy } from "./messages.ts";
import { Proxy } from "./proxy.ts";

if (parentPort === null) throw new Error("the proxy runs in a worker thread");
const port = parentPort;
const settings: ProxySettings = workerData;
const proxy = new Proxy({
  clock: systemClock(() => performance.now()),
  settings,
  random: Math.random,
  post: (message: FromProxy) => port.postMessage(message),
});
port.on("message", (message: ToProxy) => proxy.handle(message, () => port.close()));
