/**
 * `leasehold forget NODE` takes a node that is gone for good out of the Lease, where `cleanup` never ran on
 * it. The holder does the same by itself, an hour after the node and its API server were last seen (ADR
 * 0015).
 *
 * The command refuses a node that may be alive. Other nodes would send that node no more packets, although
 * its rules and its API server are in order.
 */
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { parseConfig } from "../config/config.ts";
import { PREFIX } from "../config/settings.ts";
import { suggest } from "../config/suggest.ts";
import { SILENCE_MS } from "../election/lease-view.ts";
import type { ApiClient } from "../kube/api.ts";
import { readApiServers } from "../kube/endpoints.ts";
import { candidateNames, parseCandidate } from "../kube/record-codec.ts";
import { CANDIDATE_PREFIX, MOVE_TO } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { readLease, withdraw } from "../kube/withdraw.ts";
import { connect } from "./connection.ts";

export interface ForgetDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  readonly clock: Clock;
  /** The name of the node that is gone. */
  readonly node: string;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
}

/** What {@link forgetNode} needs of the world. */
export interface ForgetNodeDeps {
  readonly api: Pick<ApiClient, "call">;
  readonly clock: Pick<Clock, "now" | "after">;
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly print: (text: string) => void;
}

/** Milliseconds between two looks at the Lease. A living agent writes every 10 s. */
const LOOK_MS = 2_000;
/**
 * Milliseconds after which the command no longer waits for others to write. The holder writes every second,
 * so longer silence means that no agent can write.
 */
const GIVE_UP_MS = SILENCE_MS + 15_000;

/** The node stays in the Lease. The message says why, and what to do. */
class Refusal extends Error {}

/**
 * Resolves with the exit status: 0 when the Lease does not name the node, 1 when the node stays in it, 2 for
 * a wrong configuration.
 */
export async function forget({ env, hostname, clock, node, print, printError }: ForgetDeps): Promise<number> {
  // The Lease's name and the credentials are needed. The VIP, which only a candidate must have, is not.
  const parsed = parseConfig({ ...env, [`${PREFIX}ROLE`]: "balancer" }, hostname);
  if (parsed.kind === "error") {
    printError(
      `leasehold: the configuration is wrong:\n${parsed.problems.map((problem) => `  ${problem}\n`).join("")}`,
    );
    return 2;
  }
  await using connection = connect(parsed.config, clock);
  await connection.ready;
  try {
    await forgetNode({ ...connection.lease, clock, node, print });
    return 0;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    printError(`leasehold: ${error.message}\n`);
    return 1;
  }
}

/**
 * Removes the node's annotation, after it has not changed for {@link SILENCE_MS} while others wrote. Resolves
 * when the Lease does not name the node.
 * @throws {Error} when the node stays in the Lease; the message says why
 */
export async function forgetNode(deps: ForgetNodeDeps): Promise<void> {
  const { api, clock, namespace, name, node, print } = deps;
  const lease = { api, namespace, name };
  const which = `the Lease ${namespace}/${name}`;
  const key = `${CANDIDATE_PREFIX}${node}`;
  const byHand = `To take it out in any case:\n  kubectl annotate lease -n ${namespace} ${name} ${key}-`;

  const first = await look();
  const text = first.annotations[key];
  if (text === undefined) return print(notNamed(first));
  const addresses = addressesOf(first, key);
  refuseHolder(first);
  await refuseServer(first, first);
  const last = addresses[0] === undefined ? "" : `, last at ${addresses[0]}`;
  print(
    `${which.replace("the", "The")} names ${node}${last}. Watching for ${SILENCE_MS / 1_000} s whether its agent writes.\n`,
  );

  const watched = await watch(first, text);
  if (watched === undefined) return print(`${node} has left ${which} meanwhile. Nothing is left to do.\n`);
  await refuseServer(first, watched);
  const withdrawal = await withdraw({ ...lease, node, expected: text });
  switch (withdrawal.kind) {
    case "changed":
      throw alive();
    case "failed":
      throw new Refusal(`${node} could not be taken out of ${which}: ${withdrawal.message}`);
    case "unknown":
    case "withdrawn":
      print(summary(watched));
  }

  async function look(): Promise<LeaseRecord> {
    const read = await readLease(lease);
    if (read.kind === "lease") return read.record;
    throw new Refusal(
      read.kind === "unknown"
        ? `there is no Lease ${namespace}/${name}. If it has another name, set ${PREFIX}LEASE_NAME and ${PREFIX}LEASE_NAMESPACE as in the manifest`
        : `the Lease ${namespace}/${name} could not be read, so nothing was changed: ${read.message}\n` +
            `Run this on a control-plane node, with /etc/kubernetes, and where its own API server is down with ${PREFIX}API_SERVERS`,
    );
  }

  /**
   * Waits until the node has been silent long enough. Answers the Lease then, or undefined if it is out of
   * it.
   */
  async function watch(before: LeaseRecord, said: string): Promise<LeaseRecord | undefined> {
    const startedMs = clock.now();
    let latest = before;
    let writtenMs = startedMs;
    while (writtenMs - startedMs < SILENCE_MS) {
      if (clock.now() - startedMs > GIVE_UP_MS)
        throw new Refusal(
          `nobody has written ${which} for a while, so the silence of ${node} proves nothing. Nothing was changed.\n` +
            `Look at the API servers and the other agents first. ${byHand}`,
        );
      await pause(clock, LOOK_MS);
      const read = await readLease(lease);
      if (read.kind === "unknown") throw new Refusal(`${which} was deleted meanwhile. Nothing was changed`);
      // A server may be starting. GIVE_UP_MS bounds this.
      if (read.kind === "failed") continue;
      const now = read.record.annotations[key];
      if (now === undefined) return undefined;
      if (now !== said) throw alive();
      refuseHolder(read.record);
      if (read.record.resourceVersion !== latest.resourceVersion) writtenMs = clock.now();
      latest = read.record;
    }
    return latest;
  }

  function alive(): Refusal {
    return new Refusal(
      `${node} is alive: its agent has just written ${which}. Nothing was changed.\n` +
        "To take it out of the cluster, stop its agent and run `leasehold cleanup` on that node.",
    );
  }

  function refuseHolder({ holder }: LeaseRecord): void {
    if (holder !== node) return;
    throw new Refusal(
      `${node} holds ${which}. Nothing was changed.\n` +
        "If that node is lost, another one takes the Lease when it has run out. Then run this again.",
    );
  }

  /** An API server that the cluster still names gets packets by the rules, which outlive an agent. */
  async function refuseServer(before: LeaseRecord, now: LeaseRecord): Promise<void> {
    const read = await readApiServers(api);
    if (read.kind === "failed")
      throw new Refusal(
        `the API servers of the cluster are not known, so ${node} may still be one of them. Nothing was changed.\n` +
          `  ${read.message}\n${byHand}`,
      );
    const named = addresses.find((address) => read.servers.some(({ host }) => host === address));
    if (named === undefined) return;
    const successor = Object.entries(now.annotations).find(
      ([other]) =>
        other !== key && other.startsWith(CANDIDATE_PREFIX) && addressesOf(now, other).includes(named),
    );
    // A machine that was replaced under another name has the address of the new one. The node that writes is
    // right, and the watch shows which one that is.
    if (successor !== undefined && (before === now || before.annotations[successor[0]] !== successor[1]))
      return;
    throw new Refusal(
      `the cluster still names the API server of ${node}, ${named} (kubectl get endpointslices -n default). Nothing was changed.\n` +
        "If that node is to leave, stop its agent and run `leasehold cleanup` there. If it is lost, the cluster no longer\n" +
        `names it after a minute: then run this again. ${byHand}`,
    );
  }

  function notNamed({ annotations }: LeaseRecord): string {
    const names = candidateNames(annotations).toSorted();
    const near = suggest(node, names);
    return (
      `${which.replace("the", "The")} does not name ${node}. Nothing was changed. ` +
      `It names ${names.length === 0 ? "no node" : names.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}\n`
    );
  }

  function summary({ annotations }: LeaseRecord): string {
    const others = candidateNames(annotations)
      .filter((other) => other !== node)
      .toSorted();
    const moved =
      annotations[MOVE_TO] === node
        ? `The annotation ${MOVE_TO} still asks for it: kubectl annotate lease -n ${namespace} ${name} ${MOVE_TO}-\n`
        : "";
    return (
      `${node} was taken out of ${which}. It names ${others.length === 0 ? "no node" : others.join(", ")} now.\n` +
      `If ${node} comes back, its agent joins again by itself. If it is gone for good, etcd and Kubernetes have to forget it too\n` +
      `(etcdctl member remove, kubectl delete node ${node}): see "A dead node" in docs/operations.md.\n${moved}`
    );
  }
}

/** Answers the addresses that an annotation names; none where it cannot be read. */
function addressesOf({ annotations }: LeaseRecord, key: string): readonly string[] {
  const candidate = parseCandidate(key.slice(CANDIDATE_PREFIX.length), annotations[key] ?? "");
  return candidate === undefined ? [] : [candidate.ip, ...(candidate.fastPath?.addresses ?? [])];
}
