/**
 * Embedded API servers for the demo and fast tests: several listeners, also in several network namespaces,
 * over one store in this process, ready in some 50 ms.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { parseIp } from "../../../src/net.ts";
import { makeEmbeddedPki, writeKubeconfig } from "./pki.ts";
import type { EmbeddedPki } from "./pki.ts";
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

  readonly #options: EmbeddedApiOptions;

  constructor(
    options: EmbeddedApiOptions,
    store: ObjectStore,
    servers: readonly EmbeddedServer[],
    kubeconfigs: ReadonlyMap<string, EmbeddedKubeconfigs>,
  ) {
    this.#options = options;
    this.store = store;
    this.servers = servers;
    this.kubeconfigs = kubeconfigs;
  }

  server(name: string): EmbeddedServer {
    const found = this.servers.find((server) => server.name === name);
    if (found === undefined) throw new Error(`no embedded API server ${name}`);
    return found;
  }

  /**
   * Every server gets certificates of a new CA, and each node's admin.conf follows, as with kubeadm; the
   * agents' own kubeconfigs stay as they are.
   * @param follow the kubeconfigs that follow
   * @returns writes the other kubeconfigs of the new CA
   */
  async changeAuthority(
    follow: readonly (keyof EmbeddedKubeconfigs)[] = ["admin"],
  ): Promise<() => Promise<void>> {
    const pki = makeEmbeddedPki(namesOf(this.#options), new Date());
    const later = (["admin", "agent"] as const).filter((file) => !follow.includes(file));
    await writeKubeconfigs(this, pki, this.#options.dir, follow);
    await Promise.all(this.servers.map((server) => server.become(pki)));
    return async () => void (await writeKubeconfigs(this, pki, this.#options.dir, later));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
  }
}

/**
 * Starts the servers and publishes them as the `kubernetes` EndpointSlice; its port is the first server's.
 */
export async function startEmbeddedApi(options: EmbeddedApiOptions): Promise<EmbeddedApi> {
  const now = options.now ?? (() => new Date());
  const store = new ObjectStore({ wall: now, uid: randomUUID });
  const pki = makeEmbeddedPki(namesOf(options), now());
  const servers = options.servers.map((spec) => new EmbeddedServer(spec, store, pki));
  const kubeconfigs = new Map<string, EmbeddedKubeconfigs>();
  const api = new EmbeddedApi(options, store, servers, kubeconfigs);
  try {
    await Promise.all(servers.map((server) => server.start()));
    for (const [name, files] of await writeKubeconfigs(api, pki, options.dir, ["admin", "agent"]))
      kubeconfigs.set(name, files);
    publishEndpoints(store, servers);
    return api;
  } catch (error) {
    await api[Symbol.asyncDispose]();
    throw error;
  }
}

function namesOf({ servers, vips }: EmbeddedApiOptions): readonly string[] {
  return [...servers.map(({ ip }) => ip), ...(vips ?? [])];
}

async function writeKubeconfigs(
  { servers }: Pick<EmbeddedApi, "servers">,
  pki: EmbeddedPki,
  dir: string,
  which: readonly (keyof EmbeddedKubeconfigs)[],
): Promise<ReadonlyMap<string, EmbeddedKubeconfigs>> {
  const users = { admin: "kubernetes-admin", agent: "leasehold" } as const;
  const written = new Map<string, EmbeddedKubeconfigs>();
  for (const { name, address } of servers) {
    const path = (file: keyof EmbeddedKubeconfigs): string => join(dir, name, `${file}.conf`);
    for (const file of which)
      await writeKubeconfig(path(file), `https://${address}`, users[file], pki.authority, pki[file]);
    written.set(name, { admin: path("admin"), agent: path("agent") });
  }
  return written;
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
