/** One of the proxy's workers with a bug: it dies a while after its start. */
await import("../../../src/proxy/worker.ts");

// Not before it is loaded, which takes long on a busy machine: it is to die after it has listened.
setTimeout(() => {
  throw new Error("a bug in the proxy");
}, 300);
