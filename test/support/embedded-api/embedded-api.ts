/**
 * Embedded API servers for the demo and fast tests: several listeners, also in several network namespaces, over one
 * store in this process, ready in some 50 ms.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { parseIp } from "../../../src/net.ts";
import { makeEmbeddedPki, writeKubeconfig } from "./pki.ts";
import type { EmbeddedServerSpec } from "./server.ts";
import { EmbeddedServer } from "./server.ts";
import { ObjectStore } from "./store.ts";

export interface EmbeddedApiOptions {
  readonly servers: readonly EmbeddedServerSpec[];
  /** Also in the servers' certificate. */
  readonly vips?: readonly string[];
  /** Kubeconfigs go into `dir/NAME/`. The caller removes it. */
  readonly dir: string;
  readonly now?: () => Date;
}

export interface EmbeddedKubeconfigs {
  readonly admin: string;
  readonly agent: string;
}

export class EmbeddedApi implements AsyncDisposable {
  readonly store: ObjectStore;
  readonly servers: readonly EmbeddedServer[];
  /** By server name; each has that server's `https://ip:port`. */
  readonly kubeconfigs: ReadonlyMap<string, EmbeddedKubeconfigs>;

  constructor(store: ObjectStore, servers: readonly EmbeddedServer[], kubeconfigs: ReadonlyMap<string, EmbeddedKubeconfigs>) {
    this.store = store;
    this.servers = servers;
    this.kubeconfigs = kubeconfigs;
  }

  server(name: string): EmbeddedServer {
    const found = this.servers.find((server) => server.name === name);
    if (found === undefined) throw new Error(`no embedded API server ${name}`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
  }
}

/** Starts the servers and publishes them as the `kubernetes` EndpointSlice; its port is the first server's. */
export async function startEmbeddedApi(options: EmbeddedApiOptions): Promise<EmbeddedApi> {
  const now = options.now ?? (() => new Date());
  const store = new ObjectStore({ wall: now, uid: randomUUID });
  const pki = makeEmbeddedPki([...options.servers.map(({ ip }) => ip), ...(options.vips ?? [])], now());
  const servers = options.servers.map((spec) => new EmbeddedServer(spec, store, pki));
  const kubeconfigs = new Map<string, EmbeddedKubeconfigs>();
  const api = new EmbeddedApi(store, servers, kubeconfigs);
  try {
    await Promise.all(servers.map((server) => server.start()));
    for (const server of servers) {
      const write = (file: string, user: string, client: "admin" | "agent"): Promise<string> =>
        writeKubeconfig(join(options.dir, server.name, file), `https://${server.address}`, user, pki.authority, pki[client]);
      kubeconfigs.set(server.name, {
        admin: await write("admin.conf", "kubernetes-admin", "admin"),
        agent: await write("agent.conf", "leasehold", "agent"),
      });
    }
    publishEndpoints(store, servers);
    return api;
  } catch (error) {
    await api[Symbol.asyncDispose]();
    throw error;
  }
}

/** The EndpointSlice that kube-apiserver's reconciler keeps: one of the first server's family, as it does. */
function publishEndpoints(store: ObjectStore, servers: readonly EmbeddedServer[]): void {
  const [first] = servers;
  const family = parseIp(first?.ip ?? "")?.family ?? 4;
  const addresses = servers.map(({ ip }) => ip).filter((ip) => parseIp(ip)?.family === family);
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "kubernetes", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: `IPv${family}`,
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    ports: [{ name: "https", protocol: "TCP", port: first?.port ?? 6443 }],
  };
  const path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  store.handle({ method: "POST", path, body: JSON.stringify(slice) });
}
