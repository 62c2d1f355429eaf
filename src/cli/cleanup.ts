/**
 * `leasehold cleanup`: takes the data plane's rules out of the kernel. They outlive the agent on purpose; this is for when it will not come back.
 * The node leaves the Lease first. Else the others would go on sending it packets for as long as its API server is UP, and a kernel without
 * these rules routes them back to the VIP, or drops them where its firewall forwards nothing.
 */
import { join } from "node:path";
import { createNft } from "../balancer/fastpath/nft.ts";
import { readRemembered } from "../balancer/remembered.ts";
import type { Clock } from "../clock.ts";
import { parseConfig } from "../config.ts";
import type { Config } from "../config.ts";
import { LeaseholdError } from "../errors.ts";
import { createApiClient } from "../kube/api.ts";
import { createCredentials } from "../kube/credentials.ts";
import { apiServerList } from "../kube/servers.ts";
import { createUndiciTransport } from "../kube/undici-transport.ts";
import { withdraw } from "../kube/withdraw.ts";
import type { Withdrawal } from "../kube/withdraw.ts";
import { silentLogger } from "../log.ts";
import { VERSION } from "../version.ts";

export interface CleanupDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  readonly clock: Clock;
  /** Leaves the Lease alone: for a worker, which is not in it, and for a cluster that is no more. */
  readonly rulesOnly: boolean;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
}

/**
 * Until every agent has heard of it: a read of the Lease every 2 s where a watch stalls, a look at the peers every second, one load of the rules. And
 * until clients of this node's API server that are not idle have been told: for 2 s after the members changed nobody resets (SETTLE_MS), then a packet
 * has to come again. Without the rules what the server sends has the wrong source, so that the client is silent and is not told.
 */
const HEARD_MS = 8_000;

/** Resolves with the exit status. */
export async function cleanup(deps: CleanupDeps): Promise<number> {
  if (!deps.rulesOnly) {
    const status = await leave(deps);
    if (status !== 0) return status;
  }
  try {
    await createNft().remove();
  } catch (error) {
    const hint = error instanceof LeaseholdError ? `\n${error.hint}` : "";
    deps.printError(`leasehold: ${error instanceof Error ? error.message : String(error)}${hint}\n`);
    return 1;
  }
  deps.print("The tables netdev, ip and ip6 leasehold are gone. Connections that they carried to other nodes end.\n");
  return 0;
}

async function leave({ env, hostname, clock, print, printError }: CleanupDeps): Promise<number> {
  // The node's name, the Lease's and the credentials are wanted, and the VIP, which only a candidate must have, is not.
  const parsed = parseConfig({ ...env, LEASEHOLD_ROLE: "balancer" }, hostname);
  if (parsed.kind === "error") {
    printError(`leasehold: the configuration is wrong:\n${parsed.problems.map((problem) => `  ${problem}\n`).join("")}`);
    return 2;
  }
  const { nodeName, leaseNamespace, leaseName } = parsed.config;
  const withdrawal = await withdrawn(parsed.config, clock);
  switch (withdrawal.kind) {
    case "unknown":
      print(`The Lease does not name ${nodeName}.\n`);
      return 0;
    case "withdrawn":
      print(`${nodeName} has left the Lease. Waiting until the others have heard of it.\n`);
      await new Promise<void>((resolve) => void clock.after(HEARD_MS, resolve));
      return 0;
    case "failed":
      printError(
        `leasehold: ${nodeName} could not be taken out of the Lease, and the rules were left: without them the packets that other nodes send here are lost.\n` +
          `  ${withdrawal.message}\n` +
          `Make /etc/kubernetes and LEASEHOLD_NODE_NAME known to this command; or, from anywhere,\n` +
          `  kubectl annotate lease -n ${leaseNamespace} ${leaseName} leasehold.dev/candidate.${nodeName}-\n` +
          `and then, as for a worker or a cluster that is no more: leasehold cleanup --rules-only\n`,
      );
      return 1;
  }
}

async function withdrawn(config: Config, clock: Clock): Promise<Withdrawal> {
  const log = silentLogger;
  const remembered = readRemembered(join(config.dataDir, "api-servers.json"), log);
  const credentials = createCredentials({ clock, log, ownPath: config.kubeconfig, adminPath: config.adminKubeconfig, onChange: () => {} });
  const transport = createUndiciTransport({
    clock,
    log,
    credentials,
    userAgent: `leasehold/${VERSION}`,
    servers: () =>
      apiServerList({
        own: config.nodeIp?.text ?? "127.0.0.1",
        configured: config.apiServers,
        discovered: config.backends,
        candidates: [],
        remembered,
        vips: config.vips,
        port: config.backendPort,
      }),
  });
  try {
    await credentials.start();
    return await withdraw({ api: createApiClient({ transport, clock, log }), namespace: config.leaseNamespace, name: config.leaseName, node: config.nodeName });
  } finally {
    credentials.stop();
    await transport.close();
  }
}
