/** The way to the API for a command that a person runs: the agent's credentials and its API servers. */
import { join } from "node:path";
import { readRemembered } from "../backends/remembered.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { createApiClient } from "../kube/api.ts";
import type { ApiClient } from "../kube/api.ts";
import { createCredentials, provenFile } from "../kube/credentials.ts";
import { apiServerList } from "../kube/servers.ts";
import { createHttpsTransport } from "../kube/https-transport.ts";
import { silentLogger } from "../log.ts";
import { VERSION } from "../version.ts";

/** A connection to the API servers, with the credentials that the agent of this node has. */
export interface Connection extends AsyncDisposable {
  /** Resolves when the kubeconfigs have been read. */
  readonly ready: Promise<void>;
  readonly api: ApiClient;
  /** The Lease that the agents compete for, and the way to it. */
  readonly lease: { readonly api: ApiClient; readonly namespace: string; readonly name: string };
  /** The API servers that are asked, in this order. */
  servers(): readonly string[];
  /** What is wrong with the kubeconfigs; null while one is good. */
  problem(): string | null;
}

/**
 * Opens the connection, which the caller disposes of.
 * @param candidates node addresses that are known in another way, such as from the agent
 */
export function connect(config: Config, clock: Clock, candidates: readonly string[] = []): Connection {
  const log = silentLogger;
  const remembered = readRemembered(join(config.dataDir, "api-servers.json"), log);
  const credentials = createCredentials({
    clock,
    log,
    ownPath: config.kubeconfig,
    adminPath: config.adminKubeconfig,
    provenFile: { path: provenFile(config), mode: "read" },
    onChange: () => {},
  });
  const transport = createHttpsTransport({
    clock,
    log,
    credentials,
    userAgent: `leasehold/${VERSION}`,
    servers: () =>
      apiServerList({
        own: config.nodeIp?.text ?? "127.0.0.1",
        configured: config.apiServers,
        discovered: config.backends,
        candidates,
        remembered,
        vips: config.vips,
        port: config.backendPort,
      }),
  });
  const api = createApiClient({ transport, clock, log });
  return {
    ready: credentials.start(),
    api,
    lease: { api, namespace: config.leaseNamespace, name: config.leaseName },
    servers: () => transport.servers(),
    problem: () => credentials.problem(),
    async [Symbol.asyncDispose]() {
      credentials.stop();
      transport.close();
    },
  };
}
