/** The proxy's worker with a bug: it dies a while after its start. */
setTimeout(() => {
  throw new Error("a bug in the proxy");
}, 300);

await import("../../../src/balancer/proxy/worker.ts");
