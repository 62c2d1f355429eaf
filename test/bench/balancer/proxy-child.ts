/**
 * The proxy alone on PORT, in front of ADDRESS:PORT: `proxy-child.ts 8443 10.77.0.12:6443`. Ends with a
 * signal.
 */
import { availableParallelism } from "node:os";
import { silentLogger } from "../../../src/log.ts";
import { ProxyThreads, workersFor } from "../../../src/proxy/threads.ts";
import { clock, workerUrl } from "../../support/proxy/fixture.ts";

const [port = "", server = ""] = process.argv.slice(2);
const [host = "", serverPort = ""] = server.split(":");
const backends = [
  { id: server, host, port: Number(serverPort), local: false, serving: true, returnedAgoMs: undefined },
];
const threads = new ProxyThreads({
  clock,
  log: silentLogger,
  settings: {
    port: Number(port),
    algorithm: "leastconn",
    maxConnections: 20_000,
    slowStartMs: 0,
    connectTimeoutMs: 1000,
  },
  workers: workersFor(availableParallelism()),
  workerUrl,
  backends: () => backends,
  onConnectFailed: () => {},
  onChange: () => {},
});
await threads.start();
