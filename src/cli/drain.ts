/** `leasehold drain` and `undrain`: store the wish in the Lease or end it, and wait until the agents obey. */
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { drainKey } from "../kube/drain.ts";
import { readApiServers } from "../kube/endpoints.ts";
import { drain as storeDrain, undrain as endDrain } from "../kube/pin.ts";
import { leasePath } from "../kube/record-codec.ts";
import { readLease } from "../kube/withdraw.ts";
import { hostPort } from "../net.ts";
import { duration } from "../recorder/explain.ts";
import { candidateHosts, vipsOf } from "./agent-facts.ts";
import type { AgentFacts } from "./agent-facts.ts";
import type { Command } from "./args.ts";
import { askAgents, askLocal } from "./ask.ts";
import type { Asking } from "./ask.ts";
import { connect } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { judgeDrain, judgeUndrain } from "./drains.ts";
import type { KnownServer } from "./drains.ts";
import { commandConfig } from "./inspect.ts";
import type { CommandDeps } from "./inspect.ts";
import { failureOf, nameOf, refuse, unreadable } from "./wish.ts";

type DrainCommand = Extract<Command, { kind: "drain" | "undrain" }>;

/** What keeps new connections from an API server without the API. */
const STOP_THE_SERVER =
  "To keep new connections from an API server then, stop it, on its node:\n  mv /etc/kubernetes/manifests/kube-apiserver.yaml /etc/kubernetes/";

const DONE = 0;
const FAILED = 1;
/** Milliseconds between two questions to the agents. */
const LOOK_MS = 250;
/** Milliseconds that the API servers may take to answer, while no agent says which of them are fit. */
const SURVEY_MS = 3_000;

/** Resolves with the exit status. */
export async function drain(command: DrainCommand, deps: CommandDeps): Promise<number> {
  const config = commandConfig(deps);
  if (config === undefined) return 2;
  const local = await askLocal(config);
  await using connection = connect(config, deps.clock, candidateHosts(local));
  await connection.ready;
  const { lease } = connection;
  const before = await readLease(lease);
  if (before.kind !== "lease") {
    deps.printError(unreadable(before, config, connection.problem(), STOP_THE_SERVER));
    return FAILED;
  }
  const servers = local === undefined ? await survey(connection, config, deps.clock) : serversOf(local);
  if (servers.kind === "failed") {
    deps.printError(
      `leasehold: the API servers of the cluster are not known: ${servers.message}. Nothing was changed.\n`,
    );
    return FAILED;
  }
  const vips = vipsOf(config, local);
  const judge = command.kind === "drain" ? judgeDrain : judgeUndrain;
  const verdict = judge(before.record, command.server, servers.list, vips);
  switch (verdict.kind) {
    case "refused":
      return refuse(deps, verdict.message);
    case "nothing":
      deps.print(`${verdict.message}\n`);
      return DONE;
    case "drain": {
      const { server, name, note } = verdict;
      const stored = await storeDrain(lease, server);
      if (stored.kind !== "lease") {
        deps.printError(
          `leasehold: the wish could not be stored: ${failureOf(stored)}. Nothing was changed.\n`,
        );
        return FAILED;
      }
      deps.print(
        `${note === "" ? "" : `${note}\n`}The wish is stored in the Lease ${nameOf(config)}, as the annotation ${drainKey(server)}=${server}.\n` +
          `No node sends new connections to ${server} from now on, and workers within 10 s. Open connections live on.\n` +
          `That ends with \`leasehold undrain ${name}\`, or when its node leaves the Lease. While no other API server is UP, it gets connections all the same.\n`,
      );
      break;
    }
    case "undrain": {
      const { server, keys } = verdict;
      const removed = await endDrain(lease, keys);
      if (removed.kind !== "lease") {
        deps.printError(
          `leasehold: the annotation ${drainKey(server)} could not be removed: ${failureOf(removed)}\n`,
        );
        return FAILED;
      }
      deps.print(
        `The annotation ${drainKey(server)}=${server} was removed from the Lease ${nameOf(config)}. ${server} gets new connections while it is UP.\n`,
      );
    }
  }
  if (!command.wait) return DONE;
  const isObeyed = command.kind === "drain" ? drainIsObeyed : undrainIsObeyed;
  return waitFor(deps, command.timeoutMs, verdict.server, () => askAgents(config), isObeyed);
}

function factsOf(agents: ReadonlyMap<string, Asking<AgentFacts>>): readonly AgentFacts[] {
  return [...agents.values()].flatMap((asked) => (asked.kind === "ok" ? [asked.value] : []));
}

type Servers =
  | { readonly kind: "ok"; readonly list: readonly KnownServer[] }
  | { readonly kind: "failed"; readonly message: string };

function serversOf({ apiServers }: AgentFacts): Servers {
  return {
    kind: "ok",
    list: apiServers.map(({ server, grade, reason }) => ({
      server,
      fit: grade === "UP",
      why: `${grade} (${reason})`,
    })),
  };
}

/** While no agent answers, the cluster names its API servers, and each is asked whether it answers. */
async function survey({ api }: Pick<Connection, "api">, config: Config, clock: Clock): Promise<Servers> {
  const read = await readApiServers(api);
  if (read.kind === "failed") return read;
  await using all = connect(
    config,
    clock,
    read.servers.map(({ host }) => host),
  );
  await all.ready;
  const { servers } = await all.api.survey(leasePath(config.leaseNamespace, config.leaseName), SURVEY_MS);
  const states = new Map(servers.map(({ server, state }) => [server, state]));
  const list = read.servers.map(({ host, port }) => {
    const server = hostPort(host, port);
    const state = states.get(server) ?? "not asked";
    return { server, fit: state === "alive", why: `it is ${state}` };
  });
  return { kind: "ok", list };
}

const seenBy = ({ apiServers }: AgentFacts, server: string) =>
  apiServers.find((one) => one.server === server);

/** An agent that does not know the server sends it nothing. */
function drainIsObeyed(facts: AgentFacts, server: string): boolean {
  const seen = seenBy(facts, server);
  return seen === undefined || (seen.drained && !seen.serving);
}

function undrainIsObeyed(facts: AgentFacts, server: string): boolean {
  const seen = seenBy(facts, server);
  return seen !== undefined && !seen.drained && (seen.serving || seen.grade !== "UP");
}

/** Resolves with the exit status, when every agent that answers obeys, or time is over. */
async function waitFor(
  { clock, print, printError }: CommandDeps,
  timeoutMs: number,
  server: string,
  agents: () => Promise<ReadonlyMap<string, Asking<AgentFacts>>>,
  isObeyed: (facts: AgentFacts, server: string) => boolean,
): Promise<number> {
  const sinceMs = clock.now();
  let asked: ReadonlyMap<string, Asking<AgentFacts>> = new Map();
  do {
    asked = await agents();
    const facts = factsOf(asked);
    if (facts.length > 0 && facts.every((one) => isObeyed(one, server))) {
      const silent = [...asked].filter(([, one]) => one.kind === "failed").map(([node]) => node);
      const missing = silent.length === 0 ? "" : ` ${silent.join(", ")} did not answer.`;
      const open = facts.reduce((total, one) => total + (seenBy(one, server)?.active ?? 0), 0);
      print(
        `${facts.map(({ node }) => node).join(", ")} ${facts.length === 1 ? "obeys" : "obey"} after ${duration(clock.now() - sinceMs)}.` +
          `${missing} Connections to ${server} that are open through ${facts.length === 1 ? "its proxy" : "their proxies"}: ${open}.\n`,
      );
      return DONE;
    }
    await pause(clock, LOOK_MS);
  } while (clock.now() - sinceMs < timeoutMs);
  const nodes = [...asked].map(
    ([node, one]) =>
      `${node}${one.kind === "failed" ? " did not answer" : isObeyed(one.value, server) ? " obeys" : " does not obey"}`,
  );
  printError(`leasehold: not every agent obeys after ${duration(timeoutMs)}: ${nodes.join(", ")}.\n`);
  return FAILED;
}
