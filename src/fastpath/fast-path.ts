/**
 * The fast path of one node: nftables rules that carry the packets to the VIP's ports. This module keeps the
 * rules as they should be. It makes a plan when something that the plan rests on has changed, loads it, puts
 * the rules back when another program changed them, and ends connections whose API server is gone, which
 * rules cannot do. The rules outlive the agent; `leasehold cleanup` removes them.
 */
import type { Clock, Timer } from "../clock.ts";
import type { FastPathOffer } from "../kube/record.ts";
import type { RulesetChange } from "../linux/nftables-monitor.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import { createDeaths } from "./deaths.ts";
import { createJournal } from "./journal.ts";
import { holds, modeOf, NOTHING_LOADED, planOf, textOf } from "./loaded.ts";
import type { Loaded } from "./loaded.ts";
import { createLoader, timedElements } from "./loader.ts";
import type { LeaseMembers, Members } from "./members.ts";
import { probesHeard } from "./network-check.ts";
import type { Counter, Nft } from "./nft.ts";
import { makePlan } from "./plan.ts";
import type { PlanBackend, PlanNode, PlanPeer } from "./plan.ts";
import { createProofs } from "./proofs.ts";
import { FAST_PATH_VERSION, OWN_TIMEOUT_S } from "./ruleset.ts";
import type { Sessions } from "./sessions.ts";
import type { SharedFlows } from "./shared-flows.ts";
import { fastPathStatus } from "./status.ts";
import type { FastPathStatus } from "./status.ts";
import type { FastPathNode, RulesetPlan } from "./tables.ts";

export interface FastPathDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly mode: "auto" | "on" | "off";
  readonly vips: readonly IpAddress[];
  readonly ports: readonly number[];
  /** The names of the interfaces by which this node's pods send; a `*` ends the beginning of a name. */
  readonly podInterfaces: readonly string[];
  /** Answers this control-plane node as it is now; undefined on a worker, or while its link is missing. */
  readonly node: () => Omit<PlanNode, "hasIngress" | "shortConntrackTimeouts"> | undefined;
  readonly isWorker: boolean;
  readonly backends: () => readonly PlanBackend[];
  /** Answers the Lease as it was last read; undefined before that. */
  readonly lease: () => LeaseMembers | undefined;
  readonly members: Members;
  /** True while the VIP is bound here. */
  readonly holdsVip: () => boolean;
  /** True while other software has the VIP, which the rules must leave to it. */
  readonly isIdle: () => boolean;
  /** Answers what this machine lacks for the fast path, in words; empty when it lacks nothing. */
  readonly missing: () => readonly string[];
  readonly nft: Nft;
  readonly watchRuleset: (onChange: (change: RulesetChange) => void) => { close(): void };
  readonly sessions: Sessions;
  readonly sharedFlows: Pick<SharedFlows, "look" | "stop">;
  /** The port of this node's API server while it is about to stop. The others give its slots to others then. */
  readonly stopping: () => number | undefined;
  /** Sends each peer a packet in the VIP's name, for its network check. */
  readonly probe: (peers: readonly FastPathNode[]) => void;
  /** Called when the offer of this node has changed. */
  readonly onChange: () => void;
}

export interface FastPath {
  start(): void;
  /** Tells the fast path that something its plan rests on may have changed. */
  update(): void;
  /** Tells the fast path that the VIP has just been unbound here. Synchronous. */
  released(): void;
  /**
   * Answers the offer for this node's annotation in the Lease. With null no packet may be forwarded to this
   * node. With undefined the node's last offer still holds.
   */
  offer(): FastPathOffer | null | undefined;
  status(): FastPathStatus;
  /** Stops the work and leaves the rules where they are. */
  stop(): void;
}

/** What should be loaded, and if not the whole fast path, why. */
type Want = { readonly kind: "whole" } | { readonly kind: "proxyOnly"; readonly reason: string };

/** What the plan rests on, read once a round, so that plan, proofs and deaths speak of the same moment. */
interface PlanInputs {
  readonly peers: readonly PlanPeer[] | undefined;
  readonly backends: readonly PlanBackend[];
}

const TICK_MS = 1_000;
/**
 * Milliseconds between two refreshes of the timed sets. The own clients' one lives for 30 s, so two refreshes
 * may fail.
 */
const REFRESH_MS = (OWN_TIMEOUT_S * 1_000) / 3;
/**
 * Milliseconds until the next try after a failure. Modules may be loaded, or nft may be installed meanwhile.
 */
const LOAD_RETRY_MS = 15_000;
/** The rules are put back at once, but not twice within so many milliseconds. */
const RESTORE_GAP_MS = 200;
/**
 * Milliseconds to wait at the start for the Lease, the disk or the first checks. What a predecessor loaded is
 * better than a plan that is made of nothing.
 */
const PATIENCE_MS = 5_000;

export function createFastPath(deps: FastPathDeps): FastPath {
  const { clock, log, nft, sessions } = deps;
  const startedMs = clock.now();
  const proofs = createProofs({ clock, log, enforce: deps.mode === "auto" });
  const loader = createLoader({ clock, log, nft });
  const journal = createJournal({ clock, log, demanded: deps.mode === "on" });
  const deaths = createDeaths({ clock, log, sessions, holdsVip: deps.holdsVip, addressesOf });
  let loaded = NOTHING_LOADED;
  /** `again`: something has changed while a round was running. */
  let rounds: "idle" | "running" | "again" = "idle";
  let restored = 0;
  let restoredMs = Number.NEGATIVE_INFINITY;
  let refreshedMs = Number.NEGATIVE_INFINITY;
  let counters: readonly Counter[] = [];
  let looking = false;
  let monitor: { close(): void } | undefined;
  let timer: Timer | undefined;
  let stopped = false;

  /** Runs rounds until nothing has changed during the last one. */
  async function converge(): Promise<void> {
    if (rounds !== "idle") {
      rounds = "again";
      return;
    }
    try {
      do {
        rounds = "running";
        await reconcile();
      } while (isDueAgain());
    } catch (error) {
      // Nobody waits for this promise. What could not be read now may be readable at the next tick.
      journal.roundFailed(error);
    } finally {
      rounds = "idle";
    }
  }

  function isDueAgain(): boolean {
    return rounds === "again";
  }

  /**
   * One round: reads what the plan rests on, decides what should be loaded, and loads it if it is not there.
   */
  async function reconcile(): Promise<void> {
    const inputs = readInputs();
    const want = wanted();
    const refused = await apply(inputs, want);
    if (refused !== undefined) await apply(inputs, { kind: "proxyOnly", reason: refused });
    await deaths.tell();
  }

  function readInputs(): PlanInputs {
    const backends = deps.backends();
    if (!deps.isWorker)
      deps.members.observe(
        deps.lease(),
        backends.map(({ host }) => host),
      );
    const inputs = { peers: deps.isWorker ? [] : deps.members.current(), backends };
    deaths.observe(inputs.backends);
    proofs.observe(inputs.peers ?? [], inputs.backends);
    return inputs;
  }

  function wanted(): Want {
    if (deps.mode === "off") return { kind: "proxyOnly", reason: "LEASEHOLD_FASTPATH=off" };
    const reason = deps.isWorker ? "" : deps.missing().join("; ");
    if (reason !== "") return { kind: "proxyOnly", reason };
    const { refusal } = loaded;
    if (refusal !== undefined && clock.now() < refusal.untilMs)
      return { kind: "proxyOnly", reason: refusal.why };
    return { kind: "whole" };
  }

  /**
   * Loads the plan for `want` unless it is loaded or a retry is not due. Answers why the kernel refused the
   * whole fast path, if it did.
   */
  async function apply(inputs: PlanInputs, want: Want): Promise<string | undefined> {
    if (clock.now() < loaded.retryAtMs) return undefined;
    const plan = planFor(inputs, want);
    if (plan === undefined || holds(loaded, plan)) return undefined;
    const restoredBefore = restored;
    const result = await loader.load(plan, planOf(loaded));
    if (result.kind === "loaded") {
      succeeded(want, result.plan, restored !== restoredBefore);
      return undefined;
    }
    // Only a refusal is a reason for fewer rules. Fewer rules would take the fast path, and the clients that
    // it remembers, out of the kernel.
    if (want.kind === "whole" && result.kind === "refused") {
      loaded = { ...loaded, refusal: { why: result.why, untilMs: clock.now() + LOAD_RETRY_MS } };
      return result.why;
    }
    failed(result.why, result.kind === "no-verdict");
    return undefined;
  }

  function succeeded(want: Want, plan: RulesetPlan, changedByOthers: boolean): void {
    const base = { plan, text: textOf(plan), retryAtMs: loaded.retryAtMs, changedByOthers };
    refreshedMs = clock.now();
    const { acceptsNew, inRing, leftOut = [] } = plan.wire ?? {};
    log.debug({ acceptsNew, inRing, own: plan.own.length }, "Rules loaded");
    journal.leftOut(leftOut);
    if (want.kind === "whole") enter({ ...base, kind: "whole", refusal: undefined });
    else enter({ ...base, kind: "proxyOnly", refusal: loaded.refusal, reason: want.reason });
  }

  /** The kernel has what it had before. */
  function failed(why: string, noVerdict: boolean): void {
    const { refusal, changedByOthers } = loaded;
    const plan = planOf(loaded);
    // Without rules every second counts. The time limit of nft keeps this from being too often.
    const retryAtMs = clock.now() + (noVerdict && changedByOthers ? TICK_MS : LOAD_RETRY_MS);
    if (plan === undefined || changedByOthers) {
      enter({ kind: "off", plan, reason: why, retryAtMs, refusal, changedByOthers });
      return;
    }
    // The old rules are out of date and work. Peers that were told otherwise would give up connections that
    // live here.
    loaded = { ...loaded, retryAtMs };
    log.warn({ reason: why }, "The agent could not change its nftables rules, the old ones stay");
  }

  function planFor({ peers, backends }: PlanInputs, want: Want): RulesetPlan | undefined {
    const node = deps.isWorker ? undefined : deps.node();
    const patient = clock.now() < startedMs + PATIENCE_MS;
    const unchecked = backends.length === 0 || backends.some((backend) => backend.grade === "UNKNOWN");
    if (patient && (peers === undefined || unchecked)) return undefined;
    if (!deps.isWorker && node === undefined) return undefined;
    const shortConntrackTimeouts = loader.wantsShortConntrackTimeouts();
    const planNode =
      node === undefined ? undefined : { ...node, hasIngress: want.kind === "whole", shortConntrackTimeouts };
    return makePlan(
      {
        vips: deps.vips,
        ports: deps.ports,
        podInterfaces: deps.podInterfaces,
        node: planNode,
        idle: deps.isIdle(),
      },
      { backends, peers: peers ?? [], unheard: proofs.unheard(), unproven: proofs.unproven() },
    );
  }

  /** Changes the state, and says so if the mode or the offer has changed. */
  function enter(next: Loaded): void {
    const before = modeOf(loaded);
    const offered = JSON.stringify(offerOf(loaded));
    loaded = next;
    const hasNewMode = journal.mode(before, modeOf(next));
    if (hasNewMode || JSON.stringify(offerOf(next)) !== offered) deps.onChange();
  }

  /**
   * Answers all addresses of the nodes of these API servers. An API server is known by one, and its node may
   * have two.
   */
  function addressesOf(hosts: readonly string[]): ReadonlySet<string> {
    const wire = planOf(loaded)?.wire;
    const nodes = wire === undefined ? [] : [wire.self, ...wire.peers];
    const known = nodes.map((node) => node.addresses.map((address) => address.text));
    return new Set(
      hosts.flatMap((host) => [host, ...(known.find((addresses) => addresses.includes(host)) ?? [])]),
    );
  }

  async function tick(): Promise<void> {
    if (loaded.kind === "whole") deps.sharedFlows.look();
    await converge();
    const plan = planOf(loaded);
    if (plan === undefined || stopped) return;
    if (loaded.kind === "whole" && plan.wire !== undefined) deps.probe(plan.wire.peers);
    // Another program's transaction may hold up the refresh for longer than a round.
    if (looking || clock.now() < refreshedMs + REFRESH_MS) return;
    refreshedMs = clock.now();
    looking = true;
    try {
      await look(plan);
    } finally {
      looking = false;
    }
  }

  /**
   * Refreshes the timed sets, reads what the kernel counts and has heard, and checks that the rules are
   * there. A failure of one of them does not keep the others from running.
   */
  async function look(plan: RulesetPlan): Promise<void> {
    const failures: unknown[] = [];
    const attempt = (work: () => Promise<void>): Promise<void> =>
      work().catch((error: unknown) => void failures.push(error));
    await attempt(() => nft.refresh(timedElements(plan)));
    await attempt(async () => void (counters = await nft.counters()));
    await attempt(() => listen(plan));
    // A notification may be missed.
    await attempt(checkRules);
    const [failure] = failures;
    if (failure === undefined) journal.read();
    else journal.unread(failure);
  }

  async function listen(plan: RulesetPlan): Promise<void> {
    if (loaded.kind !== "whole" || plan.wire === undefined) return;
    proofs.heard(await probesHeard(nft, plan), plan.wire.peers);
  }

  /** Puts the rules back when the kernel says that they are not those that were loaded. */
  async function checkRules(): Promise<void> {
    const plan = planOf(loaded);
    // A load that is running, or due, replaces what was found.
    const isSettled = (): boolean =>
      plan !== undefined &&
      planOf(loaded) === plan &&
      !loaded.changedByOthers &&
      rounds === "idle" &&
      !stopped;
    if (!isSettled() || (await nft.isIntact()) || !isSettled()) return;
    log.warn(
      {},
      "The nftables rules in the kernel are not those that the agent loaded, the agent puts them back",
    );
    putBack();
  }

  function putBack(): void {
    restored += 1;
    const nowMs = clock.now();
    // Two programs that undo each other's work must not take the machine with them.
    const retryAtMs = nowMs < restoredMs + RESTORE_GAP_MS ? nowMs + RESTORE_GAP_MS : loaded.retryAtMs;
    restoredMs = nowMs;
    loaded = { ...loaded, retryAtMs, changedByOthers: true };
    void converge();
  }

  function rulesetChanged(change: RulesetChange): void {
    const isLoading = rounds !== "idle";
    if (planOf(loaded) === undefined && !isLoading) return;
    // The kernel dropped notifications, as it does when a program changes some ten thousand rules at once.
    // The kernel can be asked whether ours are among them. While a load is running, the change may have come
    // just after it.
    if (change.lost && isLoading) putBack();
    else if (change.lost) void checkRules().catch(journal.unread);
    const ours = [...change.tables].some((table) => /^(?:netdev|ip|ip6) leasehold$/.test(table));
    if (!ours || nft.isOwn(change.port)) return;
    log.warn(
      { program: change.program, pid: change.pid },
      "Another program changed the agent's nftables rules, the agent puts them back",
    );
    putBack();
  }

  return {
    start() {
      monitor = deps.watchRuleset(rulesetChanged);
      // Sockets that a killed predecessor's VIP left without an address hang until somebody ends them.
      if (!deps.holdsVip()) sessions.vipGone();
      timer = clock.every(TICK_MS, () => void tick().catch(journal.roundFailed));
      void tick().catch(journal.roundFailed);
    },
    update: () => void (timer === undefined ? undefined : converge()),
    released: () => sessions.vipGone(),
    offer() {
      const offer = offerOf(loaded);
      const stopping = deps.stopping();
      return offer && { ...offer, ...(stopping === undefined ? {} : { stopping }) };
    },
    status() {
      const unheard = proofs.unheard();
      const figures = { counters, restored, told: sessions.told() };
      return fastPathStatus({
        mode: modeOf(loaded),
        plan: planOf(loaded),
        ports: deps.ports,
        unheard,
        ...figures,
      });
    },
    stop() {
      stopped = true;
      deaths.stop();
      deps.sharedFlows.stop();
      timer?.cancel();
      timer = undefined;
      monitor?.close();
      monitor = undefined;
    },
  };
}

/** What the node offers by what is loaded, as {@link FastPath.offer} answers it. */
function offerOf(loaded: Loaded): FastPathOffer | null | undefined {
  if (loaded.kind === "none") return undefined;
  const self = planOf(loaded)?.wire?.self;
  if (loaded.kind !== "whole" || self === undefined) return null;
  return { version: FAST_PATH_VERSION, addresses: self.addresses.map((address) => address.text) };
}
