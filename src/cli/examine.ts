/** Looks at this machine and asks the API, for `leasehold doctor`. It changes nothing and judges nothing. */
import { execFile } from "node:child_process";
import type { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import { join } from "node:path";
import { promisify } from "node:util";
import { refuseVips } from "../agent/node-network.ts";
import { agentIsPresent } from "../agent/presence.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { LeaseholdError } from "../errors.ts";
import type { ApiClient } from "../kube/api.ts";
import { readKubeconfig } from "../kube/kubeconfig.ts";
import { isObject, parseCandidate, statusMessage } from "../kube/record-codec.ts";
import { CANDIDATE_PREFIX } from "../kube/record.ts";
import { readLease } from "../kube/withdraw.ts";
import { chooseInterface, chooseNodeIp, readNetwork } from "../linux/links.ts";
import type { Network } from "../linux/links.ts";
import { formatMac } from "../linux/mac.ts";
import { gateways } from "../linux/routes.ts";
import { silentLogger } from "../log.ts";
import { createLinuxWire } from "../sentinel/linux-wire.ts";
import { createSentinel } from "../sentinel/sentinel.ts";
import type { Asking } from "./ask.ts";
import { connect } from "./connection.ts";
import type { CertificateFacts, Examined, KubeconfigFacts } from "./diagnose.ts";

const run = promisify(execFile);

const API_MS = 3_000;
/** The wire is asked three times within a second; see the sentinel. */
const WIRE_MS = 4_000;
const NFT_MS = 5_000;
const MANIFESTS = "/etc/kubernetes/manifests";
/** Software that binds addresses, by a word in a static pod. */
const SOFTWARE = ["keepalived", "kube-vip", "kubelived"] as const;
/** Most bytes of a manifest that are read. */
const MOST_BYTES = 1 << 20;

const failed = (where: string, error: unknown) =>
  ({ kind: "failed", where, why: error instanceof Error ? error.message : String(error) }) as const;

/** Never rejects. Takes some 10 s at most. */
export async function examine(config: Config, clock: Clock): Promise<Examined> {
  const { vips } = config;
  const agentRuns = presence();
  const network = machine();
  await using connection = connect(config, clock);
  await connection.ready;
  const lease = await readLease({
    api: connection.api,
    namespace: config.leaseNamespace,
    name: config.leaseName,
  });
  const annotations = lease.kind === "lease" ? lease.record.annotations : {};
  const nodes = Object.entries(annotations).flatMap(([key, value]) =>
    key.startsWith(CANDIDATE_PREFIX) ? (parseCandidate(key.slice(CANDIDATE_PREFIX.length), value) ?? []) : [],
  );
  const found = placeOf(config, network);
  const wire = await askWire(config, clock, network, found);
  return {
    at: clock.wall(),
    vips: vips.map(({ text }) => text),
    agentRuns,
    network: found,
    foreign: network.kind === "ok" ? foreignOn(config, network.value) : [],
    wire:
      wire.kind === "ok" && wire.value !== null
        ? {
            kind: "ok",
            value: { mac: wire.value, node: nodes.find(({ mac }) => mac === wire.value)?.node ?? null },
          }
        : wire.kind === "ok"
          ? { kind: "ok", value: null }
          : wire,
    ports: agentRuns ? [] : await tryPorts(config),
    nft: await tryNft(),
    own: await kubeconfig(config.kubeconfig),
    admin: await kubeconfig(config.adminKubeconfig),
    rights: await askRights(config, connection.api),
    certificates: await Promise.all(connection.servers().map((server) => askCertificate(server, config))),
    others: otherSoftware(),
  };
}

function presence(): boolean {
  try {
    return agentIsPresent();
  } catch {
    return false;
  }
}

function machine(): Asking<Network> {
  try {
    return { kind: "ok", value: readNetwork() };
  } catch (error) {
    return failed("this machine's network", error);
  }
}

function placeOf(config: Config, network: Asking<Network>): Examined["network"] {
  if (network.kind === "failed")
    return { code: "LH_NATIVE", message: network.why, hint: "Run this as root in the host's network." };
  try {
    refuseVips(config.vips, { readNetwork: () => network.value, gateways });
    return { interface: chooseInterface(network.value, config.vips, config.interface).name };
  } catch (error) {
    if (error instanceof LeaseholdError)
      return { code: error.code, message: error.message, hint: error.hint };
    throw error;
  }
}

function foreignOn({ vips }: Config, { addresses, links }: Network): readonly string[] {
  return addresses
    .filter(({ address, ours }) => !ours && vips.some(({ text }) => text === address.text))
    .map(
      ({ address, prefixLength, linkIndex }) =>
        `${address.text}/${prefixLength} on ${links.find(({ index }) => index === linkIndex)?.name ?? linkIndex}`,
    );
}

/** The MAC of another machine that answers for the VIP. */
async function askWire(
  { vips, interface: configured, nodeIp }: Config,
  clock: Clock,
  network: Asking<Network>,
  place: Examined["network"],
): Promise<Asking<string | null>> {
  const where = "the wire";
  if (vips.length === 0) return failed(where, "LEASEHOLD_VIP is not set");
  if (network.kind === "failed") return failed(where, network.why);
  if ("code" in place) return failed(where, "the interface is not known");
  try {
    const link = chooseInterface(network.value, vips, configured);
    const own = nodeIp ?? chooseNodeIp(network.value, link, vips);
    const wire = createLinuxWire({
      interfaceName: link.name,
      log: silentLogger,
      own: [own],
      families: [...new Set(vips.map(({ family }) => family))],
    });
    const sentinel = createSentinel({
      clock,
      log: silentLogger,
      wire,
      ownMac: () => formatMac(link.macBytes),
      addresses: vips,
      intervalMs: 1_000,
      misses: 3,
      random: Math.random,
    });
    return await new Promise((resolve) => {
      const end = (answer: Asking<string | null>): void => {
        limit.cancel();
        sentinel.stop();
        resolve(answer);
      };
      const limit = clock.after(WIRE_MS, () => end(failed(where, "nothing could be sent")));
      sentinel.start((evidence) => {
        if (evidence.kind === "probed") end({ kind: "ok", value: evidence.owner });
      });
      sentinel.probe(false);
    });
  } catch (error) {
    return failed(where, error);
  }
}

async function tryPorts({ balancerPort, opsHost, opsPort, healthPort }: Config): Promise<Examined["ports"]> {
  const wanted = [
    ["LEASEHOLD_BALANCER_PORT", "::", balancerPort],
    ["LEASEHOLD_OPS_ADDRESS", opsHost, opsPort],
    ["LEASEHOLD_HEALTH_PORT", "127.0.0.1", healthPort],
  ] as const;
  return Promise.all(
    wanted.map(async ([setting, host, port]) => ({ setting, port, error: await tryPort(host, port) })),
  );
}

function tryPort(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", (error) => resolve(error.message));
    server.listen({ host, port }, () => server.close(() => resolve(null)));
  });
}

async function tryNft(): Promise<string | null> {
  try {
    await run("nft", ["list", "tables"], { timeout: NFT_MS });
    return null;
  } catch (error) {
    return error instanceof Error
      ? (error.message.split("\n").find((text) => text !== "") ?? "nft failed")
      : "nft failed";
  }
}

async function kubeconfig(path: string): Promise<KubeconfigFacts> {
  const read = await readKubeconfig(path);
  switch (read.kind) {
    case "ok":
      return {
        path,
        problem: null,
        startsAt: read.credentials.startsAt,
        expiresAt: read.credentials.expiresAt,
      };
    case "missing":
      return { path, problem: read.why, startsAt: null, expiresAt: null };
    case "broken":
      return { path, problem: read.error.message, startsAt: null, expiresAt: null };
  }
}

/** What the agent's user needs: manifests/rbac.yaml grants it. */
function neededRights({ leaseNamespace, leaseName }: Config): readonly Readonly<Record<string, string>>[] {
  const lease = { group: "coordination.k8s.io", resource: "leases", namespace: leaseNamespace };
  return [
    ...["get", "watch", "patch"].map((verb) => ({ ...lease, name: leaseName, verb })),
    { ...lease, verb: "create" },
    { group: "events.k8s.io", resource: "events", namespace: leaseNamespace, verb: "create" },
    { group: "discovery.k8s.io", resource: "endpointslices", namespace: "default", verb: "list" },
  ];
}

async function askRights(config: Config, api: Pick<ApiClient, "call">): Promise<Examined["rights"]> {
  const lacking: string[] = [];
  for (const resourceAttributes of neededRights(config)) {
    const { verb, resource, name, namespace } = resourceAttributes;
    const outcome = await api.call(
      {
        method: "POST",
        path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        contentType: "application/json",
        body: {
          apiVersion: "authorization.k8s.io/v1",
          kind: "SelfSubjectAccessReview",
          spec: { resourceAttributes },
        },
      },
      API_MS,
    );
    if (outcome.kind === "no-answer") return failed("the API", outcome.message);
    const { server, status, body } = outcome.response;
    const answer = isObject(body) && isObject(body["status"]) ? body["status"]["allowed"] : undefined;
    if (status !== 201 || typeof answer !== "boolean")
      return failed("the API", `${server} answered ${status} ${statusMessage(body)}`);
    if (!answer) lacking.push(`${verb} ${resource}${name === undefined ? "" : `/${name}`} in ${namespace}`);
  }
  return { kind: "ok", value: lacking };
}

/** Which of the names that clients use the server's certificate has. Nothing is sent to it. */
function askCertificate(server: string, { vips }: Config): Promise<Asking<CertificateFacts>> {
  const [, host = "", port = ""] = /^\[?([^\]]*)\]?:(\d+)$/.exec(server) ?? [];
  return new Promise((resolve) => {
    const socket = connectTls({
      host,
      port: Number(port),
      // Only its names are looked at here. Who signed it is the agent's own check.
      rejectUnauthorized: false,
      servername: "kubernetes",
    });
    const end = (answer: Asking<CertificateFacts>): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(API_MS, () => end(failed(server, "no answer")));
    socket.on("error", (error) => end(failed(server, error)));
    socket.on("secureConnect", () => {
      const certificate: X509Certificate | undefined = socket.getPeerX509Certificate();
      if (certificate === undefined) return end(failed(server, "it showed no certificate"));
      const missing = [
        ...(certificate.checkHost("kubernetes") === undefined ? ["kubernetes"] : []),
        ...vips.filter(({ text }) => certificate.checkIP(text) === undefined).map(({ text }) => text),
      ];
      return end({
        kind: "ok",
        value: { server, missing, startsAt: certificate.validFromDate, expiresAt: certificate.validToDate },
      });
    });
  });
}

function otherSoftware(): Examined["others"] {
  try {
    return readdirSync(MANIFESTS, { withFileTypes: true }).flatMap((entry) => {
      if (!entry.isFile()) return [];
      const file = join(MANIFESTS, entry.name);
      const text = readFileSync(file, "utf8").slice(0, MOST_BYTES);
      return SOFTWARE.filter((software) => new RegExp(`image:.*${software}`).test(text)).map((software) => ({
        file,
        software,
      }));
    });
  } catch {
    // Before kubeadm there is no such directory, and a container may not see it.
    return [];
  }
}
