/** An agent's Lease store as `main.ts` puts it together, against servers of a test. */
import { systemClock } from "../../src/clock.ts";
import { createApiClient } from "../../src/kube/api.ts";
import { createCredentials } from "../../src/kube/credentials.ts";
import { createLeaseStore } from "../../src/kube/lease-store.ts";
import type { ApiLeaseStore } from "../../src/kube/lease-store.ts";
import { createHttpsTransport } from "../../src/kube/https-transport.ts";
import { silentLogger } from "../../src/log.ts";
import type { Logger } from "../../src/log.ts";

export interface Agent extends AsyncDisposable {
  readonly store: ApiLeaseStore;
}

/** @param servers `ip:port`, in the order to ask them in */
export async function startAgent(
  node: string,
  servers: readonly string[],
  kubeconfig: string,
  log: Logger = silentLogger,
): Promise<Agent> {
  const clock = systemClock(() => performance.now());
  const credentials = createCredentials({
    clock,
    log,
    ownPath: kubeconfig,
    // No fallback: what the agent may not do with its own rights shall fail.
    adminPath: `${kubeconfig}.none`,
    onChange: () => {},
  });
  await credentials.start();
  const transport = createHttpsTransport({
    clock,
    log,
    credentials,
    servers: () => servers,
    userAgent: "leasehold-test",
  });
  const api = createApiClient({ transport, clock, log });
  const store = createLeaseStore({
    api,
    clock,
    log,
    namespace: "kube-system",
    name: "leasehold",
    node,
    leaseDurationMs: 10_000,
  });
  return {
    store,
    async [Symbol.asyncDispose]() {
      transport.close();
      credentials.stop();
    },
  };
}
