/**
 * `leasehold cleanup` removes the fast path's rules from the kernel. They outlive the agent on purpose, and
 * this command is for an agent that will not come back.
 *
 * The node leaves the Lease first. Otherwise the other nodes would send it packets for as long as its API
 * server is UP. A kernel without these rules routes those packets back to the VIP, or drops them where its
 * firewall forwards nothing. So the command removes nothing before it knows three things: it runs on the
 * machine that leaves, the Lease has that machine under this name, and no agent is there to put everything
 * back.
 */
import { agentIsPresent } from "../agent/presence.ts";
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { parseConfig } from "../config/config.ts";
import type { Config } from "../config/config.ts";
import { PREFIX } from "../config/settings.ts";
import { errorMessage, LeaseholdError } from "../errors.ts";
import { createNft } from "../fastpath/nft.ts";
import type { Nft } from "../fastpath/nft.ts";
import { CANDIDATE_PREFIX } from "../kube/record.ts";
import { readLease, withdraw } from "../kube/withdraw.ts";
import type { WithdrawDeps } from "../kube/withdraw.ts";
import { readNetwork } from "../linux/links.ts";
import { createNftables } from "../linux/nftables.ts";
import { connect } from "./connection.ts";
import { findLeaver } from "./leaver.ts";
import type { Leaver, Machine } from "./leaver.ts";

export interface CleanupDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  readonly clock: Clock;
  /** Leaves the Lease alone: for a worker, which is not in it, and for a cluster that no longer exists. */
  readonly rulesOnly: boolean;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
}

/**
 * Milliseconds until every agent and every client has noticed. An agent reads the Lease every 2 s when a
 * watch stalls, looks at its peers every second, and loads the rules once. Active clients of this node's API
 * server need a reset: for 2 s after the members changed no node sends one (SETTLE_MS), and then a packet has
 * to come again. Without the rules, the server's packets have the wrong source, so the client ignores them
 * and gets no reset.
 */
const HEARD_MS = 8_000;

/** Nothing was removed, or not everything. The message says which, and what to do. */
class Refusal extends Error {}

function openNft(): Nft {
  return createNft(createNftables(() => Promise.resolve()));
}

/**
 * Resolves with the exit status: 0 when the rules are gone, 1 when something has to be done first, 2 for a
 * wrong configuration.
 */
export async function cleanup(deps: CleanupDeps): Promise<number> {
  const { env, hostname, rulesOnly, print, printError } = deps;
  try {
    const machine = thisMachine();
    refuseBesideAgent("Nothing was changed");
    if (!rulesOnly) {
      // The node's name, the Lease's name and the credentials are needed. The VIP, which only a candidate
      // must have, is not.
      const parsed = parseConfig({ ...env, [`${PREFIX}ROLE`]: "balancer" }, hostname);
      if (parsed.kind === "error") {
        printError(
          `leasehold: the configuration is wrong:\n${parsed.problems.map((problem) => `  ${problem}\n`).join("")}`,
        );
        return 2;
      }
      await leave(parsed.config, machine, deps);
      refuseBesideAgent("The rules were left");
    }
    await openNft().remove();
    refuseBesideAgent("The rules were removed, and it puts them back");
  } catch (error) {
    const hint = error instanceof LeaseholdError ? `\n${error.hint}` : "";
    printError(`leasehold: ${errorMessage(error)}${hint}\n`);
    return 1;
  }
  print(
    "The tables netdev, ip and ip6 leasehold are gone. Connections that they carried to other nodes end.\n",
  );
  return 0;
}

/**
 * Reads this machine's network.
 * @throws {Refusal} in a container without the host's network, whose rules are not the node's
 */
function thisMachine(): Machine {
  const machine = readNetwork();
  if (machine.links.some(({ loopback }) => !loopback)) return machine;
  throw new Refusal(
    "there is no interface but loopback here, so these are not the node's rules. Nothing was changed. Run this in the host's network: ctr's --net-host",
  );
}

/**
 * Checks that no agent runs here.
 * @throws {Refusal}
 */
function refuseBesideAgent(state: string): void {
  if (!agentIsPresent()) return;
  throw new Refusal(
    `an agent runs on this machine. ${state}.\n` +
      "Move its manifest out of /etc/kubernetes/manifests, wait until `crictl ps --name leasehold` shows none, and run this again.",
  );
}

/**
 * Resolves when the node is out of the Lease and every other agent has noticed, or when there is nothing to
 * remove.
 * @throws {Refusal}
 */
async function leave(
  config: Config,
  machine: Machine,
  { env, hostname, clock, print }: CleanupDeps,
): Promise<void> {
  await using connection = connect(config, clock);
  await connection.ready;
  const { lease } = connection;
  const { namespace, name } = lease;
  const before = await readLease(lease);
  if (before.kind === "failed") throw unreachable(before.message, config.nodeName, lease);
  if (before.kind === "unknown") {
    throw new Refusal(
      `there is no Lease ${namespace}/${name}, so nobody can be told, and the rules were left: other nodes may still send packets here.\n` +
        `If it has another name, set ${PREFIX}LEASE_NAME and ${PREFIX}LEASE_NAMESPACE as in the manifest. If it is gone for good: leasehold cleanup --rules-only`,
    );
  }
  const named = (env[`${PREFIX}NODE_NAME`] ?? "").trim() === "" ? undefined : config.nodeName;
  const leaver = findLeaver(before.record.annotations, machine, named, hostname.toLowerCase());
  switch (leaver.kind) {
    case "wrong-name":
      throw new Refusal(wrongName(leaver, lease));
    case "absent": {
      const others = leaver.names.length === 0 ? "It names nobody" : `It names ${leaver.names.join(", ")}`;
      const absent = `the Lease ${namespace}/${name} does not name ${leaver.node}, nor an address of this machine. ${others}`;
      if (await openNft().present()) {
        throw new Refusal(
          `${absent}.\nThe rules were left. If the node has left the Lease already (it has when this command was ended too soon): leasehold cleanup --rules-only\n` +
            `Otherwise set ${PREFIX}NODE_NAME to its name in the Lease.`,
        );
      }
      print(`T${absent.slice(1)}, and there are no rules here.\n`);
      return;
    }
    case "named":
      // This must be awaited here, because the connection is closed when this function ends.
      await withdrawn(leaver.node);
  }

  async function withdrawn(node: string): Promise<void> {
    const withdrawal = await withdraw({ ...lease, node });
    if (withdrawal.kind === "failed") throw unreachable(withdrawal.message, node, lease);
    print(`${node} has left the Lease. Waiting until the others have heard of it.\n`);
    await pause(clock, HEARD_MS);
    const after = await readLease(lease);
    if (after.kind === "failed") throw unreachable(after.message, node, lease);
    if (after.kind !== "lease" || after.record.annotations[`${CANDIDATE_PREFIX}${node}`] === undefined)
      return;
    throw new Refusal(
      `${node} is in the Lease again: an agent of that name runs, here or elsewhere. The rules were left.\n` +
        "Stop it (move its manifest out of /etc/kubernetes/manifests, wait until its pod is gone) and run this again.",
    );
  }
}

function wrongName(
  { node, ip, here, names }: Extract<Leaver, { kind: "wrong-name" }>,
  { namespace, name }: WhichLease,
): string {
  const whose =
    ip === undefined
      ? `the Lease ${namespace}/${name} does not name ${node}`
      : `${node} is another machine: the Lease ${namespace}/${name} gives it ${ip}, which is no address of this one`;
  const advice =
    here === undefined
      ? `Run this on ${node}, in the host's network. If this is that machine and its address has changed, from anywhere:\n  ${annotate(node, namespace, name)}\nand then: leasehold cleanup --rules-only`
      : `The Lease has this machine as ${here}: set ${PREFIX}NODE_NAME=${here}, or leave it unset`;
  return `${whose}. It names ${names.join(", ")}. Nothing was changed.\n${advice}`;
}

type WhichLease = Omit<WithdrawDeps, "node">;

function unreachable(message: string, node: string, { namespace, name }: WhichLease): Refusal {
  return new Refusal(
    `${node} could not be taken out of the Lease, and the rules were left: without them the packets that other nodes send here are lost.\n` +
      `  ${message}\n` +
      `Make /etc/kubernetes and, where this node's own API server is down, ${PREFIX}API_SERVERS known to this command; or, from anywhere,\n` +
      `  ${annotate(node, namespace, name)}\n` +
      "and then, as for a worker or a cluster that is no more: leasehold cleanup --rules-only",
  );
}

function annotate(node: string, namespace: string, name: string): string {
  return `kubectl annotate lease -n ${namespace} ${name} ${CANDIDATE_PREFIX}${node}-`;
}
