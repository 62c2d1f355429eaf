/**
 * Child process of `proxy.ts`: the proxy alone. Arguments: how many workers, the ports of the backends. Asked
 * with any message, says how late its main thread's timers have been at most since the last time, in ms:
 * there runs the election.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { silentLogger } from "../../../src/log.ts";
import { ProxyThreads } from "../../../src/proxy/threads.ts";
import { backendAt } from "../../support/backends/servers.ts";
import { clock, workerUrl } from "../../support/proxy/fixture.ts";

/** The histogram holds how long each turn took, this included. */
const TURN_MS = 5;
const [workers, ...ports] = process.argv.slice(2).map(Number);
const backends = ports.map((port) => ({ ...backendAt(port), serving: true, returnedAgoMs: undefined }));
const threads = new ProxyThreads({
  clock,
  log: silentLogger,
  settings: {
    port: 0,
    algorithm: "leastconn",
    maxConnections: 20_000,
    slowStartMs: 0,
    connectTimeoutMs: 1000,
  },
  workers: workers ?? 1,
  workerUrl,
  backends: () => backends,
  onConnectFailed: () => {},
  onChange: () => {},
});
await threads.start();
const turns = monitorEventLoopDelay({ resolution: TURN_MS });
turns.enable();
process.send?.(threads.listening);
process.on("message", () => {
  process.send?.(Math.max(0, turns.max / 1e6 - TURN_MS));
  turns.reset();
});
process.once("disconnect", () => void threads.stop(0));
