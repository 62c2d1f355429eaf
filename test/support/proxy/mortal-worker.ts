/**
 * One of the proxy's workers that dies when its slot is called: `new
 * BroadcastChannel("die").postMessage(slot)`.
 */
import { workerData } from "node:worker_threads";
import type { ProxyWorkerData } from "../../../src/proxy/messages.ts";

const { share }: ProxyWorkerData = workerData;
const calls = new BroadcastChannel("die");
calls.addEventListener("message", (event) => {
  if ("data" in event && event.data === share.slot) throw new Error("a bug in the proxy");
});
// The worker ends with its port, as the real one does.
calls.unref();

await import("../../../src/proxy/worker.ts");
