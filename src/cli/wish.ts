/** `leasehold move`, `unpin` and `resign`: store a wish in the Lease, and wait until it has come true. */
import { agentIsPresent } from "../agent/presence.ts";
import { pause } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { plainText } from "../kube/plain-text.ts";
import { pin, unpin } from "../kube/pin.ts";
import { candidateNames } from "../kube/record-codec.ts";
import { CANDIDATE_PREFIX, MOVE_TO } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { readLease } from "../kube/withdraw.ts";
import type { LeaseRead, WithdrawDeps } from "../kube/withdraw.ts";
import { duration } from "../recorder/explain.ts";
import type { Command } from "./args.ts";
import { askLocal } from "./ask.ts";
import { candidateHosts, vipsOf } from "./agent-facts.ts";
import { connect } from "./connection.ts";
import { commandConfig } from "./inspect.ts";
import type { CommandDeps } from "./inspect.ts";
import { seen, seenText } from "./gaps.ts";
import { startProbes } from "./probes.ts";
import { judgeMove, judgeResign } from "./wishes.ts";
import type { WishVerdict } from "./wishes.ts";

export type WishCommand = Extract<Command, { kind: "move" | "unpin" | "resign" }>;

/** The Lease that is written, and the way to it. */
type Lease = Omit<WithdrawDeps, "node">;

/** Milliseconds between two looks at the Lease. */
const LOOK_MS = 250;

/** What moves the VIP without the API. */
const STOP_THE_AGENT =
  "To move the VIP then, stop the holder's agent:\n  mv /etc/kubernetes/manifests/leasehold.yaml /etc/kubernetes/";

const DONE = 0;
const FAILED = 1;
const REFUSED = 3;

/** Resolves with the exit status. */
export async function wish(command: WishCommand, deps: CommandDeps): Promise<number> {
  const config = commandConfig(deps);
  if (config === undefined) return 2;
  const local = await askLocal(config);
  const known = local?.election?.candidates ?? [];
  await using connection = connect(config, deps.clock, candidateHosts(local));
  await connection.ready;
  const { lease } = connection;
  const before = await readLease(lease);
  if (before.kind !== "lease") {
    deps.printError(unreadable(before, config, connection.problem(), STOP_THE_AGENT));
    return FAILED;
  }
  const vips = vipsOf(config, local);
  const session: Session = { ...deps, lease, config, vips };
  const silent =
    local?.election === undefined || local.election === null
      ? await silentNow(session, before.record, command)
      : new Set(known.filter(({ fresh }) => fresh === false).map(({ node }) => node));
  switch (command.kind) {
    case "unpin":
      // This must be awaited here, because the connection is closed when this function ends.
      return await removeWish(session, before.record);
    case "move": {
      const verdict = judgeMove(before.record, command.to, command.force, silent);
      if (verdict.kind === "refused") return refuse(session, verdict.message);
      await using watch = command.wait ? watchClients(session) : null;
      await watch?.ready;
      const stored = await store(session, verdict.to);
      if (!stored) return FAILED;
      if (verdict.note !== "") session.print(`${verdict.note}\n`);
      session.print(
        `The wish is stored in the Lease ${nameOf(config)}, as the annotation ${MOVE_TO}=${verdict.to}.\n` +
          `The VIP stays on ${verdict.to} while that node is fit, until \`leasehold unpin\` or another move.\n`,
      );
      if (!command.wait) return DONE;
      const moved = await waitFor(session, verdict.to, command.timeoutMs);
      await watch?.tell();
      return moved ? DONE : FAILED;
    }
    case "resign": {
      const verdict = judgeResign(before.record, silent);
      if (verdict.kind === "refused") return refuse(session, verdict.message);
      await using watch = watchClients(session);
      await watch.ready;
      if (!(await store(session, verdict.to))) return FAILED;
      session.print(`${plainText(before.record.holder)} resigns, and ${verdict.to} shall have the VIP.\n`);
      const moved = await waitFor(session, verdict.to, command.timeoutMs);
      await watch.tell();
      const removed = await unpin(lease, verdict.to);
      if (removed.kind === "lease") {
        session.print("The wish was removed from the Lease, so nothing pins the VIP.\n");
        return moved ? DONE : FAILED;
      }
      session.printError(
        `leasehold: the annotation ${MOVE_TO} could not be removed (${failureOf(removed)}). Run \`leasehold unpin\`.\n`,
      );
      return FAILED;
    }
  }
}

interface Session extends CommandDeps {
  readonly lease: Lease;
  readonly config: Config;
  /** The VIPs, as far as they are known here. */
  readonly vips: readonly string[];
}

/** An agent writes its annotation every 10 s, and may be late. */
const ANNOTATION_MS = 13_000;

/**
 * The nodes whose agents are silent, while no agent on this machine says so: those whose annotation does not change for as
 * long as an agent takes to write it again. It ends as soon as the node that matters has written.
 */
async function silentNow(
  { clock, lease, print }: Session,
  before: LeaseRecord,
  command: WishCommand,
): Promise<ReadonlySet<string>> {
  const others = candidateNames(before.annotations).filter((node) => node !== before.holder);
  const judge = (silent: ReadonlySet<string>): WishVerdict =>
    command.kind === "move"
      ? judgeMove(before, command.to, command.force, silent)
      : judgeResign(before, silent);
  if (command.kind === "unpin") return new Set();
  const best = judge(new Set());
  // What is refused or possible anyhow needs no watch.
  if (best.kind === "refused" || judge(new Set(others)).kind === "go") return new Set();
  print(
    `No agent on this machine says which nodes are alive, so this waits until they write the Lease, for ${ANNOTATION_MS / 1_000} s at most.\n`,
  );
  const sinceMs = clock.now();
  const silent = new Set(others);
  while (clock.now() - sinceMs < ANNOTATION_MS && silent.has(best.to)) {
    await pause(clock, LOOK_MS);
    const read = await readLease(lease);
    if (read.kind !== "lease") continue;
    for (const node of others) {
      const key = `${CANDIDATE_PREFIX}${node}`;
      if (read.record.annotations[key] !== before.annotations[key]) silent.delete(node);
    }
  }
  return silent;
}

/** Milliseconds of probes before the wish is stored, and after it has come true. */
const BEFORE_MS = 300;
const AFTER_MS = 700;
const PROBE_MS = 20;

/** Probes that tell what clients on this machine saw of the move. */
function watchClients({ clock, config, vips, print }: Session): {
  /** Resolves when the probes run. */
  readonly ready: Promise<void>;
  tell(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
} {
  const probes = startProbes(vips, config.vipPorts[0] ?? config.backendPort, PROBE_MS, clock);
  const beganMs = clock.now();
  return {
    ready: probes.length === 0 ? Promise.resolve() : pause(clock, BEFORE_MS),
    async tell() {
      if (probes.length === 0) return;
      await pause(clock, AFTER_MS);
      const all = probes.map((probe) =>
        seen(probe.name, probe.attempts(beganMs), beganMs + BEFORE_MS, clock.now()),
      );
      print(`What a client on this machine saw:\n${seenText(all)}`);
    },
    async [Symbol.asyncDispose]() {
      for (const probe of probes) probe.stop();
    },
  };
}

export const nameOf = ({ leaseNamespace, leaseName }: Config): string => `${leaseNamespace}/${leaseName}`;

export const failureOf = (read: Exclude<LeaseRead, { kind: "lease" }>): string =>
  read.kind === "unknown" ? "the Lease is gone" : plainText(read.message);

/** @param instead what a person can do without the API */
export function unreadable(
  read: Exclude<LeaseRead, { kind: "lease" }>,
  config: Config,
  problem: string | null,
  instead: string,
): string {
  const what =
    read.kind === "unknown"
      ? `there is no Lease ${nameOf(config)}. The first agent that reaches the API creates it.`
      : `the Lease ${nameOf(config)} could not be read: ${plainText(read.message)}${problem === null ? "" : `. ${plainText(problem)}`}.`;
  const agent = agentIsPresent() ? "" : " No agent runs on this machine.";
  return `leasehold: ${what}${agent} Nothing was changed.\nWithout the API no wish can be stored. ${instead}\n`;
}

export function refuse({ printError }: Pick<CommandDeps, "printError">, message: string): number {
  printError(`leasehold: refused: ${message}\n`);
  return REFUSED;
}

async function store({ lease, printError }: Session, to: string): Promise<boolean> {
  const stored = await pin(lease, to);
  if (stored.kind === "lease") return true;
  printError(`leasehold: the wish could not be stored: ${failureOf(stored)}. Nothing was changed.\n`);
  return false;
}

async function removeWish(
  { lease, config, print, printError }: Session,
  record: LeaseRecord,
): Promise<number> {
  const node = record.annotations[MOVE_TO];
  if (node === undefined) {
    print(`The Lease ${nameOf(config)} has no annotation ${MOVE_TO}: nothing pins the VIP.\n`);
    return DONE;
  }
  const removed = await unpin(lease, node);
  if (removed.kind !== "lease") {
    printError(
      `leasehold: the annotation ${MOVE_TO}=${plainText(node)} could not be removed: ${failureOf(removed)}\n`,
    );
    return FAILED;
  }
  print(
    `The annotation ${MOVE_TO}=${plainText(node)} was removed from the Lease ${nameOf(config)}.\n` +
      `The VIP stays on ${plainText(record.holder) || "its holder"}, unless a node with a higher priority preempts.\n`,
  );
  return DONE;
}

/** Resolves with true when `node` holds the Lease, and with false, after a message, when time is over. */
async function waitFor(session: Session, node: string, timeoutMs: number): Promise<boolean> {
  const { clock, lease, print, printError } = session;
  const sinceMs = clock.now();
  let last: LeaseRead = { kind: "unknown" };
  while (clock.now() - sinceMs < timeoutMs) {
    last = await readLease(lease);
    if (last.kind === "lease" && last.record.holder === node) {
      print(`${node} holds the VIP after ${duration(clock.now() - sinceMs)}.\n`);
      return true;
    }
    await pause(clock, LOOK_MS);
  }
  const found =
    last.kind === "lease" ? `${plainText(last.record.holder) || "no node"} holds the Lease` : failureOf(last);
  printError(
    `leasehold: ${node} does not hold the VIP after ${duration(timeoutMs)}: ${found}. \`leasehold why ${node}\` says why.\n`,
  );
  return false;
}
