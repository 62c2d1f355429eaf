/** Who may read the ops port, as a real API server says it, with the rights of manifests/monitoring. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { systemClock } from "../../src/clock.ts";
import { createApiClient } from "../../src/kube/api.ts";
import { createCredentials } from "../../src/kube/credentials.ts";
import type { Credentials } from "../../src/kube/credentials.ts";
import { readKubeconfig } from "../../src/kube/kubeconfig.ts";
import { createHttpsTransport } from "../../src/kube/https-transport.ts";
import type { HttpsTransport } from "../../src/kube/https-transport.ts";
import { silentLogger } from "../../src/log.ts";
import { MONITORING_RBAC } from "../../src/manifests/monitoring.ts";
import { createAccess } from "../../src/ops/access.ts";
import type { Access, Shown } from "../../src/ops/access.ts";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { startLoopbackControlPlane } from "../support/control-plane/cluster.ts";
import type { ControlPlane } from "../support/control-plane/cluster.ts";

const found = await findBinaries();
const skip = found.kind === "found" ? false : `there is no real API server: ${found.reason}`;
const NOBODY: Shown = { certificate: undefined, token: undefined };

let cluster: ControlPlane;
let directory: string;
let credentials: Credentials;
let transport: HttpsTransport;

before(async () => {
  if (found.kind !== "found") return;
  directory = await mkdtemp(join(tmpdir(), "leasehold-access-"));
  cluster = await startLoopbackControlPlane({ binaries: found.binaries, dir: directory, log: silentLogger });
  const clock = systemClock(() => performance.now());
  const { agent } = cluster.node("n1").kubeconfigs;
  credentials = createCredentials({
    clock,
    log: silentLogger,
    ownPath: agent,
    adminPath: `${agent}.none`,
    onChange: () => {},
  });
  await credentials.start();
  transport = createHttpsTransport({
    clock,
    log: silentLogger,
    credentials,
    servers: () => [new URL(cluster.node("n1").server).host],
    userAgent: "leasehold-test",
  });
});
after(async () => {
  if (found.kind !== "found") return;
  transport.close();
  credentials.stop();
  await cluster[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** As an agent asks, without verdicts from before. */
function access(): Access {
  const clock = systemClock(() => performance.now());
  const api = createApiClient({ transport, clock, log: silentLogger });
  return createAccess({
    clock,
    clusterCa: () => credentials.current()?.ca,
    async review(path, body) {
      const outcome = await api.call({ method: "POST", path, contentType: "application/json", body }, 5_000);
      return outcome.kind === "answer" ? outcome.response : undefined;
    },
  });
}

const kubectl = (args: readonly string[], input?: string): Promise<string> =>
  cluster.node("n1").kubectl(args, input === undefined ? {} : { input });

/** RBAC is read from a cache that is a moment behind. */
async function becomes(shown: Shown, path: string, kind: string): Promise<void> {
  let verdict: unknown;
  for (let turn = 0; turn < 50; turn++) {
    const judged = await access().judge(shown, path);
    if (judged.kind === kind) return;
    verdict = judged;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.fail(`${path}: ${JSON.stringify(verdict)} and not ${kind}`);
}

test(
  "a token and a certificate are whose the API says, and may read what it lets them",
  { skip, timeout: 120_000 },
  async () => {
    const unable = await access().judge({ ...NOBODY, token: "any" }, "/metrics");
    assert.deepEqual(unable, {
      kind: "unknown",
      why: "the agent's user may not ask the API who a client is: apply manifests/monitoring",
    });

    await kubectl(["apply", "-f", "-"], MONITORING_RBAC);
    const made = await kubectl(["create", "token", "leasehold-metrics", "-n", "kube-system"]);
    const scraper: Shown = { ...NOBODY, token: made.trim() };
    await becomes(scraper, "/metrics", "allowed");
    await becomes(scraper, "/status", "forbidden");
    await becomes({ ...NOBODY, token: `${made.trim()}x` }, "/metrics", "unauthenticated");
    await becomes(NOBODY, "/metrics", "unauthenticated");

    const { admin, agent } = cluster.node("n1").kubeconfigs;
    const shown = async (path: string): Promise<Shown> => {
      const read = await readKubeconfig(path);
      assert.ok(read.kind === "ok");
      return {
        certificate: new X509Certificate(read.credentials.clientCertificate?.cert ?? ""),
        token: undefined,
      };
    };
    await becomes(await shown(admin), "/status", "allowed");
    await becomes(await shown(agent), "/status", "forbidden");

    await kubectl(["delete", "clusterrolebinding", "leasehold-metrics"]);
    await becomes(scraper, "/metrics", "forbidden");
  },
);
