/** Asks the API and its servers, for `leasehold doctor`. It changes nothing and judges nothing. */
import type { X509Certificate } from "node:crypto";
import { connect as connectTls } from "node:tls";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { ApiClient } from "../kube/api.ts";
import { readKubeconfig } from "../kube/kubeconfig.ts";
import { isObject, statusMessage } from "../kube/record-codec.ts";
import type { JsonObject } from "../kube/record-codec.ts";
import { parseServer } from "../net.ts";
import { neededRights, workerRights } from "../manifests/rights.ts";
import type { Right } from "../manifests/rights.ts";
import type { Asking } from "./ask.ts";
import type { Examined, KubeconfigFacts, OtherSoftware, ServerFacts } from "./examined.ts";
import { failed } from "./examine-machine.ts";
import { poolWith } from "./other-software.ts";

type Api = Pick<ApiClient, "call">;

const API_MS = 3_000;
/** Most bytes of an answer's head. */
const MOST_HEAD = 16_384;

export async function kubeconfig(path: string): Promise<KubeconfigFacts> {
  const read = await readKubeconfig(path);
  switch (read.kind) {
    case "ok":
      return {
        path,
        problem: null,
        isMissing: false,
        startsAt: read.credentials.startsAt,
        expiresAt: read.credentials.expiresAt,
      };
    case "missing":
      return { path, problem: read.why, isMissing: true, startsAt: null, expiresAt: null };
    case "broken":
      return { path, problem: read.error.message, isMissing: false, startsAt: null, expiresAt: null };
  }
}

/** Asks what the user of this connection may not do of what manifests/rbac.yaml grants. */
export async function askRights(config: Config, api: Api): Promise<Examined["rights"]> {
  const { role, vips } = config;
  const wanted = role === "balancer" && vips.length > 0 ? workerRights(config) : neededRights(config);
  const answers = await Promise.all(wanted.map((right) => askRight(right, api)));
  const lacking: { readonly right: string; readonly needed: boolean }[] = [];
  for (const answer of answers) {
    if (answer.kind === "failed") return answer;
    if (answer.value !== null) lacking.push(answer.value);
  }
  return { kind: "ok", value: lacking };
}

/** null: it is allowed. */
async function askRight(
  { words, needed, attributes }: Right,
  api: Api,
): Promise<Asking<{ readonly right: string; readonly needed: boolean } | null>> {
  const outcome = await api.call(
    {
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
      contentType: "application/json",
      body: {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: attributes,
      },
    },
    API_MS,
  );
  if (outcome.kind === "no-answer") return failed("the API", outcome.message);
  const { server, status, body } = outcome.response;
  const allowed = isObject(body) && isObject(body["status"]) ? body["status"]["allowed"] : undefined;
  if (status !== 201 || typeof allowed !== "boolean")
    return failed("the API", `${server} answered ${status} ${statusMessage(body)}`);
  return { kind: "ok", value: allowed ? null : { right: words, needed } };
}

/** An object of the API, as admin.conf may read it; undefined: there is none. */
async function read(api: Api, path: string): Promise<Asking<JsonObject | undefined>> {
  const outcome = await api.call({ method: "GET", path }, API_MS);
  if (outcome.kind === "no-answer") return failed("the API", outcome.message);
  const { server, status, body } = outcome.response;
  if (status === 404) return { kind: "ok", value: undefined };
  if (status !== 200 || !isObject(body))
    return failed("the API", `${server} answered ${status} ${statusMessage(body)}`);
  return { kind: "ok", value: body };
}

/** The node's addresses, as its Node object has them. */
export async function askNode(api: Api, node: string): Promise<Asking<readonly string[]>> {
  const answer = await read(api, `/api/v1/nodes/${encodeURIComponent(node)}`);
  if (answer.kind === "failed") return answer;
  const status = answer.value?.["status"];
  const addresses = isObject(status) && Array.isArray(status["addresses"]) ? status["addresses"] : undefined;
  if (addresses === undefined) return failed("the API", `there is no Node ${node}`);
  return {
    kind: "ok",
    value: addresses.flatMap((one) =>
      isObject(one) && one["type"] === "InternalIP" && typeof one["address"] === "string"
        ? [one["address"]]
        : [],
    ),
  };
}

/** Software in the cluster that gives addresses to machines, as far as admin.conf may see it. */
export async function askSoftware(api: Api, { vips }: Config): Promise<readonly OtherSoftware[]> {
  const [lease, pools] = await Promise.all([
    // kube-vip's own Lease for the control plane.
    read(api, "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock"),
    read(api, "/apis/metallb.io/v1beta1/ipaddresspools"),
  ]);
  const found: OtherSoftware[] = [];
  const spec = lease.kind === "ok" ? lease.value?.["spec"] : undefined;
  const holder = isObject(spec) ? spec["holderIdentity"] : undefined;
  if (typeof holder === "string" && holder !== "")
    found.push({
      software: "kube-vip",
      where: `its Lease plndr-cp-lock is held by ${holder}`,
      hasVip: false,
    });
  const texts = vips.map(({ text }) => text);
  const pool = pools.kind === "ok" ? poolWith(pools.value, texts) : undefined;
  if (pool !== undefined)
    found.push({ software: "metallb", where: `the VIP is in its IPAddressPool ${pool}`, hasVip: true });
  return found;
}

/**
 * Looks at an API server as anybody may: which of the names that clients use its certificate has, and what its
 * clock says. It asks without credentials, and a refusal has a date as well.
 */
export function askServer(server: string, { vips }: Config, clock: Clock): Promise<Asking<ServerFacts>> {
  const { host, port } = parseServer(server) ?? { host: "", port: 0 };
  return new Promise((resolve) => {
    const socket = connectTls({
      host,
      port,
      // Only its names are looked at here. Who signed it is the agent's own check.
      rejectUnauthorized: false,
      servername: "kubernetes",
      ALPNProtocols: ["http/1.1"],
    });
    let found: Omit<ServerFacts, "skewMs"> | undefined;
    let head = "";
    let sentMs = 0;
    const end = (answer: Asking<ServerFacts>): void => {
      limit.cancel();
      socket.destroy();
      resolve(answer);
    };
    // The certificate counts, whatever comes of the request.
    const give = (why: unknown): void =>
      end(found === undefined ? failed(server, why) : { kind: "ok", value: { ...found, skewMs: null } });
    const limit = clock.after(API_MS, () => give("no answer"));
    socket.on("error", give);
    socket.on("close", () => give("it closed the connection"));
    socket.on("secureConnect", () => {
      const certificate: X509Certificate | undefined = socket.getPeerX509Certificate();
      if (certificate === undefined) return give("it showed no certificate");
      const missing = [
        ...(certificate.checkHost("kubernetes") === undefined ? ["kubernetes"] : []),
        ...vips.filter(({ text }) => certificate.checkIP(text) === undefined).map(({ text }) => text),
      ];
      found = { server, missing, startsAt: certificate.validFromDate, expiresAt: certificate.validToDate };
      sentMs = clock.wall().getTime();
      socket.write("GET /livez HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n");
      return undefined;
    });
    socket.on("data", (chunk) => {
      head += chunk.toString("latin1");
      const isWhole = head.includes("\r\n\r\n") || head.length > MOST_HEAD;
      if (!isWhole || found === undefined) return;
      const [, date = ""] = /^date: (.*)\r$/im.exec(head.split("\r\n\r\n", 1)[0] ?? "") ?? [];
      const theirMs = Date.parse(date);
      // The header has whole seconds: half of one is the middle.
      const ourMs = (sentMs + clock.wall().getTime()) / 2 - 500;
      end({
        kind: "ok",
        value: { ...found, skewMs: Number.isNaN(theirMs) ? null : Math.round(theirMs - ourMs) },
      });
    });
  });
}
