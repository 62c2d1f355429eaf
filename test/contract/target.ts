/**
 * The API servers that the contract suites run against: the embedded one, and a real one where there is one
 * to be had.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readKubeconfig } from "../../src/kube/kubeconfig.ts";
import { silentLogger } from "../../src/log.ts";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { startLoopbackControlPlane } from "../support/control-plane/cluster.ts";
import { startEmbeddedApi } from "../support/embedded-api/embedded-api.ts";

export interface Target extends AsyncDisposable {
  /** `ip:port` */
  readonly server: string;
  readonly adminKubeconfig: string;
  /** What the agent has: less than admin on the real one. */
  readonly agentKubeconfig: string;
  /** Makes the server forget the changes so far: a watch from an earlier resourceVersion finds them gone. */
  forget(): Promise<void>;
  /** SIGSTOP: connections are taken, nothing is said. */
  stop(): void;
  continue(): void;
}

export interface TargetKind {
  readonly name: string;
  start(): Promise<Target>;
}

/** The embedded API server first; says so in one line where no real one can be had. */
export async function targetKinds(): Promise<readonly TargetKind[]> {
  const embedded: TargetKind = { name: "embedded API server", start: startEmbedded };
  const found = await findBinaries((line) => process.stderr.write(`control plane: ${line}\n`));
  if (found.kind === "unavailable") {
    process.stderr.write(`${found.reason}: the contract runs against the embedded API server only\n`);
    return [embedded];
  }
  const real: TargetKind = {
    name: `kube-apiserver ${found.binaries.version}`,
    async start() {
      const dir = await mkdtemp(join(tmpdir(), "leasehold-contract-"));
      const cluster = await startLoopbackControlPlane({ binaries: found.binaries, dir, log: silentLogger });
      const node = cluster.node("n1");
      return {
        server: new URL(node.server).host,
        adminKubeconfig: node.kubeconfigs.admin,
        agentKubeconfig: node.kubeconfigs.agent,
        async forget() {
          await node.apiServer.kill();
          await node.apiServer.start();
          await node.ready();
        },
        stop: () => node.apiServer.stop(),
        continue: () => node.apiServer.continue(),
        async [Symbol.asyncDispose]() {
          await cluster[Symbol.asyncDispose]();
          await rm(dir, { recursive: true, force: true });
        },
      };
    },
  };
  return [embedded, real];
}

async function startEmbedded(): Promise<Target> {
  const dir = await mkdtemp(join(tmpdir(), "leasehold-contract-"));
  const api = await startEmbeddedApi({ servers: [{ name: "n1", ip: "127.0.0.1", port: 0 }], dir });
  const kubeconfigs = api.kubeconfigs.get("n1");
  if (kubeconfigs === undefined) throw new Error("no kubeconfig for n1");
  return {
    server: api.server("n1").address,
    adminKubeconfig: kubeconfigs.admin,
    agentKubeconfig: kubeconfigs.agent,
    forget() {
      api.store.compact();
      return Promise.resolve();
    },
    stop: () => api.server("n1").stop(),
    continue: () => api.server("n1").continue(),
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  /** Parsed where it is JSON, without managedFields. */
  readonly body: unknown;
}

export interface RawClient {
  /** @param body text goes out as it is, everything else as JSON */
  call(method: string, path: string, body?: unknown, contentType?: string): Promise<Answer>;
  /** Collects events, BOOKMARKs apart, until there are `count`, the stream ends or 5 s are over. */
  watch(path: string, count: number): Promise<readonly WatchLine[]>;
}

export interface WatchLine {
  readonly type: string;
  readonly object: unknown;
}

const TIMEOUT_MS = 5000;

/**
 * HTTP and nothing else, so that what is compared is the servers. @param anonymous without a client
 * certificate
 */
export async function rawClient(
  target: Pick<Target, "server" | "adminKubeconfig">,
  anonymous = false,
): Promise<RawClient> {
  const read = await readKubeconfig(target.adminKubeconfig);
  if (read.kind !== "ok") throw new Error(`${target.adminKubeconfig}: ${JSON.stringify(read)}`);
  const { ca, clientCertificate } = read.credentials;
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(target.server) ?? [];
  const tls = { host, port, ca, ...(anonymous ? {} : clientCertificate), servername: "kubernetes" };
  return {
    call: (method, path, body, contentType = "application/json") =>
      new Promise((resolve, reject) => {
        const headers = body === undefined ? {} : { "content-type": contentType };
        const sent = request({ ...tls, method, path, headers, timeout: TIMEOUT_MS }, (response) => {
          let text = "";
          response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
          response.on("error", reject);
          response.on("end", () => {
            const type = response.headers["content-type"] ?? "";
            resolve({
              status: response.statusCode ?? 0,
              type,
              body: type === "application/json" ? parse(text) : text,
            });
          });
        });
        sent.on("timeout", () => sent.destroy(new Error(`${method} ${path}: no answer`)));
        sent.on("error", reject);
        sent.end(typeof body === "string" || body === undefined ? body : JSON.stringify(body));
      }),
    watch: (path, count) =>
      new Promise((resolve, reject) => {
        const lines: WatchLine[] = [];
        let rest = "";
        const sent = request({ ...tls, path }, (response) => {
          response.setEncoding("utf8").on("data", (chunk: string) => {
            const parts = (rest + chunk).split("\n");
            rest = parts.pop() ?? "";
            for (const part of parts) {
              const line = watchLine(parse(part));
              if (line.type !== "BOOKMARK") lines.push(line);
            }
            if (lines.length >= count) sent.destroy();
          });
          response.on("close", () => resolve(lines));
          response.on("error", () => resolve(lines));
        });
        const timer = setTimeout(() => sent.destroy(), TIMEOUT_MS);
        sent.on("error", reject);
        sent.on("close", () => {
          clearTimeout(timer);
          resolve(lines);
        });
        sent.end();
      }),
  };
}

function watchLine(value: unknown): WatchLine {
  if (typeof value !== "object" || value === null || !("type" in value) || !("object" in value)) {
    throw new Error(`no watch event: ${JSON.stringify(value)}`);
  }
  return { type: String(value.type), object: value.object };
}

function parse(text: string): unknown {
  return JSON.parse(text, (member: string, value: unknown) =>
    member === "managedFields" ? undefined : value,
  );
}
