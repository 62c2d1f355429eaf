/**
 * Real clients of the cluster's API, through the VIP: watches that only listen, connections that keep asking,
 * and ever new ones.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HeldConnections } from "../support/lab/hold.ts";
import type { HoldOptions } from "../support/lab/hold.ts";
import type { Host } from "../support/lab/host.ts";
import type { TlsOptions } from "../support/lab/probe.ts";
import { ClientProbe, describeAttempts, failures } from "../support/lab/probe.ts";
import { Ticker } from "../support/lab/ticker.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";

const CONFIG_MAP = "/api/v1/namespaces/default/configmaps/ticker";
const WATCH =
  "/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name%3Dticker&timeoutSeconds=3600";

/** super-admin's certificate, as files. */
export function clientTls(cluster: Cluster): Required<Omit<TlsOptions, "servername">> {
  const [node] = cluster.plane.nodes;
  if (node === undefined) throw new Error("the cluster has no node");
  const text = readFileSync(node.kubeconfigs.superAdmin, "utf8");
  const file = (name: string, field: string): string => {
    const path = join(cluster.lab.directory, name);
    writeFileSync(path, Buffer.from(new RegExp(`${field}: (\\S+)`).exec(text)?.[1] ?? "", "base64"), {
      mode: 0o600,
    });
    return path;
  };
  return {
    caFile: join(node.etcKubernetes, "pki", "ca.crt"),
    certFile: file("client.crt", "client-certificate-data"),
    keyFile: file("client.key", "client-key-data"),
  };
}

let serial = 0;

export interface ClientsOptions {
  readonly watches: number;
  readonly requests: number;
  /** Default: the cluster's first VIP. */
  readonly vip?: string;
  /** Default 6443. */
  readonly port?: number;
  /** See HoldOptions: the watches' ports, then those of the requests. */
  readonly localPort?: number;
  /** How they end when they are told to, see HoldOptions; default half-close. */
  readonly finish?: NonNullable<HoldOptions["finish"]>;
}

export interface Clients extends AsyncDisposable {
  readonly watches: HeldConnections;
  readonly requests: HeldConnections;
}

/** Opens them all and waits until each has had its first answer. */
export async function openClients(cluster: Cluster, host: Host, options: ClientsOptions): Promise<Clients> {
  const tls = clientTls(cluster);
  const target = {
    host: options.vip ?? cluster.vip,
    port: options.port ?? 6443,
    finish: options.finish ?? "half-close",
    tls,
  } as const;
  const id = (serial += 1);
  const { localPort } = options;
  const watches = await HeldConnections.start(
    host,
    { ...target, localPort, mode: "watch", path: WATCH, count: options.watches },
    `watches-${id}`,
  );
  const requests = await HeldConnections.start(
    host,
    {
      ...target,
      localPort: localPort && localPort + options.watches,
      mode: "request",
      path: "/livez",
      everyMs: 200,
      count: options.requests,
    },
    `requests-${id}`,
  );
  await cluster.lab.until(
    () =>
      watches.alive().filter((each) => each.lines.length > 3).length === options.watches &&
      requests.alive().filter((each) => each.lines.length > 3).length === options.requests,
    30_000,
    `${options.watches} watches and ${options.requests} connections are open`,
  );
  return {
    watches,
    requests,
    async [Symbol.asyncDispose]() {
      await watches[Symbol.asyncDispose]();
      await requests[Symbol.asyncDispose]();
    },
  };
}

export interface NewConnectionsOptions {
  /** Default: the cluster's first VIP. */
  readonly host?: string;
  /** Default 6443. */
  readonly port?: number;
  /** Default 20. */
  readonly intervalMs?: number;
  /** Default 3000. */
  readonly timeoutMs?: number;
  /** Default /livez. */
  readonly path?: string;
}

/** What many a kubectl sees: a new verified TLS connection and a GET, again and again. */
export function openNewConnections(
  cluster: Cluster,
  from: Host,
  options: NewConnectionsOptions = {},
): Promise<ClientProbe> {
  const caFile = join(cluster.plane.nodes[0]?.etcKubernetes ?? "", "pki", "ca.crt");
  const target = {
    host: cluster.vip,
    port: 6443,
    intervalMs: 20,
    timeoutMs: 3_000,
    path: "/livez",
    ...options,
  };
  return ClientProbe.start(from, { ...target, tls: { caFile } }, `new-connections-${(serial += 1)}`);
}

/** `count` new connections, all of them answered. */
export async function allServed(
  cluster: Cluster,
  from: Host,
  count = 20,
  options: NewConnectionsOptions = {},
): Promise<void> {
  await using fresh = await openNewConnections(cluster, from, options);
  await cluster.lab.until(
    () => fresh.attempts().length >= count,
    10_000,
    `${from.name} has opened ${count} connections`,
  );
  const attempts = await fresh.stop();
  assert.ok(failures(attempts).length === 0, `${from.name}: ${describeAttempts(attempts)}`);
}

/** An event every `everyMs`, made at `node`'s own API server. */
export async function startTicker(cluster: Cluster, node: ClusterNode, everyMs = 50): Promise<Ticker> {
  await cluster.kubectl(["create", "configmap", "ticker", "--from-literal=n=0"]).catch(() => {});
  const tls = clientTls(cluster);
  return Ticker.start(
    node.host,
    { server: "127.0.0.1:6443", path: CONFIG_MAP, everyMs, tls },
    `ticker-${(serial += 1)}`,
  );
}
