/** Child process of `proxy.ts`: the proxy alone, with the backend ports of its arguments. */
import { ProxyThread } from "../../../src/balancer/proxy/thread.ts";
import { silentLogger } from "../../../src/log.ts";
import { clock, workerUrl } from "../../support/balancer/fixture.ts";
import { backendAt } from "../../support/balancer/servers.ts";

const backends = process.argv.slice(2).map((port) => ({
  ...backendAt(Number(port)),
  serving: true,
  returnedAgoMs: undefined,
}));
const thread = new ProxyThread({
  clock,
  log: silentLogger,
  settings: { port: 0, algorithm: "leastconn", maxConnections: 20_000, slowStartMs: 0, connectTimeoutMs: 1000 },
  workerUrl,
  backends: () => backends,
  onConnectFailed: () => {},
  onChange: () => {},
});
await thread.start();
process.send?.(thread.listening);
process.once("disconnect", () => void thread.stop(0));
