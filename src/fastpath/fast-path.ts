/**
 * The kernel's data plane of one node, kept as it should be: makes the plan when something it rests on has changed, loads it, puts it back when
 * somebody removed it, and does what rules cannot: tells clients whose server is gone. The rules outlive the agent; `leasehold cleanup` removes them.
 */
import type { Clock, Timer } from "../clock.ts";
import type { FastPathOffer } from "../kube/record.ts";
import type { RulesetChange } from "../linux/nftables-monitor.ts";
import type { Logger } from "../log.ts";
import type { Family, IpAddress } from "../net.ts";
import { NoVerdict } from "./nft.ts";
import type { Counter, Nft } from "./nft.ts";
import { createDeaths } from "./deaths.ts";
import { makePlan } from "./plan.ts";
import type { PlanBackend, PlanNode, PlanPeer } from "./plan.ts";
import { DATA_PLANE_VERSION, MOST_MEMBERS, OWN_TIMEOUT_S, ruleset } from "./ruleset.ts";
import { OWN_SET, SETTLING_SET, heardSet } from "./tables.ts";
import type { FastPathNode, RulesetPlan } from "./tables.ts";
import { fastPathStatus } from "./status.ts";
import type { FastPathStatus, Mode } from "./status.ts";
import type { SetElements, TableFamily } from "./transaction.ts";
import { createProofs } from "./proofs.ts";
import type { Sessions } from "./sessions.ts";

export interface FastPathDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly mode: "auto" | "on" | "off";
  readonly vips: readonly IpAddress[];
  readonly ports: readonly number[];
  /** This control-plane node as of now; undefined on a worker, or while its link is missing. */
  readonly node: () => Omit<PlanNode, "spreads" | "forgets"> | undefined;
  readonly isWorker: boolean;
  readonly backends: () => readonly PlanBackend[];
  /** The other nodes, as the Lease (or, before it could be read, the disk) knows them; undefined while neither does. */
  readonly peers: () => readonly PlanPeer[] | undefined;
  /** The VIP is bound here. */
  readonly holdsVip: () => boolean;
  /** What is missing on this machine, in words. */
  readonly missing: () => readonly string[];
  readonly nft: Nft;
  readonly watchRuleset: (onChange: (change: RulesetChange) => void) => { close(): void };
  readonly sessions: Sessions;
  /** Sends each peer a packet in the VIP's name, for its network check. */
  readonly probe: (peers: readonly FastPathNode[]) => void;
  /** What the node may offer to the others has changed. */
  readonly onChange: () => void;
}

export interface FastPath {
  start(): void;
  /** Something that the plan rests on may have changed. */
  update(): void;
  /** The VIP has just been unbound here. Synchronous. */
  released(): void;
  /** For this node's annotation in the Lease; null: no packet may be forwarded to it; undefined: what it said last still holds. */
  offer(): FastPathOffer | null | undefined;
  status(): FastPathStatus;
  /** Leaves the rules where they are. */
  stop(): void;
}

/** Of the others, read once a round: plan, proofs and deaths speak of the same moment. */
type Facts = { readonly [Name in "peers" | "backends"]: ReturnType<FastPathDeps[Name]> };

const TICK_MS = 1_000;
/** The own clients' set lives 30 s; two refreshes may fail. */
const REFRESH_MS = (OWN_TIMEOUT_S * 1_000) / 3;
/** After a failure; modules may be loaded, nft may be installed meanwhile. */
const RETRY_MS = 15_000;
/** The failure may have had another cause; where it had not, a transaction in vain and the rules once more are the price. */
const FORGETS_RETRY_MS = 600_000;
/** The rules are put back at once, but not twice within this time. */
const RESTORE_GAP_MS = 200;
/** A read that fails for the same reason again is told no more often than this. */
const SAY_AGAIN_MS = 600_000;
/** What a predecessor left is better than a plan made of nothing: wait this long for the Lease, the disk or the first checks. */
const PATIENCE_MS = 5_000;

export function createFastPath(deps: FastPathDeps): FastPath {
  const { clock, log, nft, sessions } = deps;
  const startedMs = clock.now();
  const proofs = createProofs({ clock, log, enforce: deps.mode === "auto" });
  let mode: Mode = { kind: "starting" };
  let loaded: { readonly text: string; readonly plan: RulesetPlan } | undefined;
  /** False when somebody else has been at the rules since `loaded` was. The plan of old stays: it is what the others still count on. */
  let intact = true;
  let loading = false;
  let again = false;
  /** conntrack has taken time-outs of our own, so no failure is for lack of them. */
  let forgets = false;
  /** It has not: not asked again before. */
  let forgetsAtMs = Number.NEGATIVE_INFINITY;
  let retryAtMs = Number.NEGATIVE_INFINITY;
  /** The kernel did not take the whole data plane: not asked again before. */
  let refused: { readonly why: string; readonly untilMs: number } | undefined;
  let refreshedMs = Number.NEGATIVE_INFINITY;
  let counters: readonly Counter[] = [];
  let restored = 0;
  let restoredMs = Number.NEGATIVE_INFINITY;
  let monitor: { close(): void } | undefined;
  let timer: Timer | undefined;
  let stopped = false;
  let complaint = "";
  /** The last read of the kernel that failed, until all succeed again. */
  let unread: { readonly text: string; readonly saidMs: number } | undefined;
  let looking = false;
  /** Names that the log has told. */
  let leftOut = "";
  const deaths = createDeaths({ clock, log, sessions, holdsVip: deps.holdsVip, addressesOf });

  function wantedPlan({ peers, backends }: Facts, spreads: boolean): RulesetPlan | undefined {
    const node = deps.isWorker ? undefined : deps.node();
    const patient = clock.now() < startedMs + PATIENCE_MS;
    if (patient && (peers === undefined || backends.length === 0 || backends.some((backend) => backend.grade === "UNKNOWN"))) return undefined;
    if (!deps.isWorker && node === undefined) return undefined;
    return makePlan(
      { vips: deps.vips, ports: deps.ports, node: node === undefined ? undefined : { ...node, spreads, forgets: clock.now() >= forgetsAtMs } },
      { backends, peers: peers ?? [], unheard: proofs.unheard(), unproven: proofs.unproven() },
    );
  }

  async function converge(): Promise<void> {
    if (loading) {
      again = true;
      return;
    }
    loading = true;
    try {
      do {
        again = false;
        await loadOnce();
      } while (again);
    } catch (error) {
      // Nobody waits for this promise. What could not be read now may be at the next tick.
      complain(error);
    } finally {
      loading = false;
    }
  }

  /** Once for each reason: it comes again with each tick. */
  function complain(error: unknown): void {
    const text = String(error);
    if (text !== complaint) log.warn({ err: error }, "The data plane cannot be looked after");
    complaint = text;
  }

  async function loadOnce(): Promise<void> {
    const facts: Facts = { peers: deps.isWorker ? [] : deps.peers(), backends: deps.backends() };
    deaths.observe(facts.backends);
    proofs.observe(facts.peers ?? [], facts.backends);
    const missing = deps.isWorker || deps.mode === "off" ? [] : deps.missing();
    const reason = deps.mode === "off" ? "LEASEHOLD_FASTPATH=off" : missing.join("; ");
    if (reason === "" && refused !== undefined && clock.now() < refused.untilMs) await tryLoad(facts, false, refused.why);
    else await tryLoad(facts, reason === "", reason);
    await deaths.tell();
  }

  /** The whole data plane; where the kernel does not take it, the translation to the proxy alone; else nothing. */
  async function tryLoad(facts: Facts, spreads: boolean, reason: string): Promise<void> {
    if (clock.now() < retryAtMs) return;
    const wanted = wantedPlan(facts, spreads);
    if (wanted === undefined) return;
    if (loaded?.text === JSON.stringify(wanted, planText) && intact) return;
    const before = intact;
    intact = true;
    let plan: RulesetPlan;
    try {
      plan = await load(wanted);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      // What was is untouched.
      intact &&= before;
      // Only a refusal is a reason for fewer rules: those would take the fast path's, and the clients that it
      // remembers, out of the kernel.
      if (spreads && !(error instanceof NoVerdict)) {
        refused = { why, untilMs: clock.now() + RETRY_MS };
        return tryLoad(facts, false, why);
      }
      // Without rules every second counts; nft's own time limit keeps this from being too often.
      retryAtMs = clock.now() + (error instanceof NoVerdict && !intact ? TICK_MS : RETRY_MS);
      if (loaded === undefined || !intact) return become({ kind: "off", reason: why });
      // They are out of date and work; peers that were told otherwise would give up connections that live here.
      log.warn({ reason: why }, "The rules could not be changed, the old ones stay");
      return;
    }
    loaded = { text: JSON.stringify(plan, planText), plan };
    if (spreads) refused = undefined;
    refreshedMs = clock.now();
    log.debug({ takers: plan.wire?.takers, walkable: plan.wire?.walkable, own: plan.own.length }, "Rules loaded");
    tellLeftOut(plan.wire?.leftOut ?? []);
    become(spreads ? { kind: "fast-path" } : { kind: "proxy", reason });
  }

  /** Once for each change of the names. */
  function tellLeftOut(names: readonly string[]): void {
    const text = names.join(" ");
    if (text === leftOut) return;
    leftOut = text;
    if (names.length === 0) log.info({}, "All nodes that have the rules take part again");
    else log.warn({ leftOut: names, most: MOST_MEMBERS }, "Too many nodes have the rules: these take no part, and get no connections by the fast path. Set LEASEHOLD_FASTPATH=off on nodes that need not be members");
  }

  /** Answers what is loaded: a kernel without conntrack's time-outs takes all the rest. @throws {LeaseholdError} LH_NFT */
  async function load(plan: RulesetPlan): Promise<RulesetPlan> {
    const elements = [...ownElements(plan), ...settlingElements(plan)];
    const put = (of: RulesetPlan): Promise<void> => nft.load(ruleset(of), elements);
    try {
      await put(plan);
      if (plan.wire?.forgets === true) forgets = true;
      return plan;
    } catch (error) {
      if (plan.wire?.forgets !== true || forgets || error instanceof NoVerdict) throw error;
      const rest: RulesetPlan = { ...plan, wire: { ...plan.wire, forgets: false } };
      await put(rest);
      const first = forgetsAtMs === Number.NEGATIVE_INFINITY;
      forgetsAtMs = clock.now() + FORGETS_RETRY_MS;
      if (first) log.info({ err: error }, "No time-outs of conntrack for the VIP's connections alone: those that have ended are known for as long as all others");
      return rest;
    }
  }

  function become(next: Mode): void {
    const same = JSON.stringify(mode) === JSON.stringify(next);
    mode = next;
    if (same) return;
    switch (next.kind) {
      case "fast-path":
        log.info({ mode: next.kind }, "Data plane");
        break;
      case "proxy":
        if (deps.mode === "on") log.error({ mode: next.kind, reason: next.reason }, "Data plane");
        else log.info({ mode: next.kind, reason: next.reason }, "Data plane");
        break;
      case "off":
        log.warn({ mode: next.kind, reason: next.reason }, "Data plane");
        break;
      case "starting":
        break;
    }
    deps.onChange();
  }

  /** Members came or went: for a moment nobody resets what only a node with the other list knows. Grades make no such doubt, hops are counted by members. */
  function settlingElements(plan: RulesetPlan): readonly SetElements[] {
    const members = (of: RulesetPlan | undefined): string => JSON.stringify(of?.wire?.peers.map((peer) => [peer.name, peer.mac]) ?? null);
    if (plan.wire === undefined || loaded === undefined || members(plan) === members(loaded.plan)) return [];
    return familiesOf(deps.vips).map((family) => ({ family, set: SETTLING_SET, elements: deps.ports.map(String) }));
  }

  function ownElements(plan: RulesetPlan): readonly SetElements[] {
    return familiesOf(deps.vips).flatMap((family) => {
      const version = family === "ip" ? 4 : 6;
      if (!plan.own.some((target) => target.address.family === version)) return [];
      return [{ family, set: OWN_SET, elements: deps.vips.filter((vip) => vip.family === version).map((vip) => vip.text) }];
    });
  }

  /** An API server is known by one address, and its node may be reached by another family's as well. */
  function addressesOf(hosts: readonly string[]): ReadonlySet<string> {
    const wire = loaded?.plan.wire;
    const nodes = wire === undefined ? [] : [wire.self, ...wire.peers].map((node) => node.addresses.map((address) => address.text));
    return new Set(hosts.flatMap((host) => [host, ...(nodes.find((addresses) => addresses.includes(host)) ?? [])]));
  }

  async function tick(): Promise<void> {
    await converge();
    if (loaded === undefined || stopped) return;
    const { plan } = loaded;
    if (mode.kind === "fast-path" && plan.wire !== undefined) deps.probe(plan.wire.peers);
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
   * Refreshes the own clients' set, reads what the kernel counts and has heard, and sees whether the rules
   * are there. None stands in another's way.
   */
  async function look(plan: RulesetPlan): Promise<void> {
    const failures: unknown[] = [];
    const attempt = (work: () => Promise<void>): Promise<void> => work().catch((error: unknown) => void failures.push(error));
    await attempt(() => nft.refresh(ownElements(plan)));
    await attempt(async () => void (counters = await nft.counters()));
    await attempt(() => listen(plan));
    // A notification may be missed, and an empty set of own addresses is refreshed by nothing.
    await attempt(checkRules);
    const [failure] = failures;
    if (failure === undefined) unread = undefined;
    else sayUnread(failure);
  }

  /** A failed read is no failed rule: what is in the kernel stays, and so does what was last read. */
  function sayUnread(error: unknown): void {
    const text = String(error);
    if (unread?.text === text && clock.now() < unread.saidMs + SAY_AGAIN_MS) return;
    unread = { text, saidMs: clock.now() };
    log.warn({ err: error }, "The kernel could not be asked about the rules, they stay as they are");
  }

  /** Puts the rules back when the kernel says that they are not those that were loaded. */
  async function checkRules(): Promise<void> {
    const asked = loaded;
    // A load that is under way, or due, replaces what was found.
    const settled = (): boolean => asked !== undefined && loaded === asked && intact && !loading && !stopped;
    if (!settled() || (await nft.isIntact()) || !settled()) return;
    log.warn({}, "The rules in the kernel are not those that were loaded, putting them back");
    putBack();
  }

  async function listen(plan: RulesetPlan): Promise<void> {
    const { wire } = plan;
    if (mode.kind !== "fast-path" || wire === undefined) return;
    const heard = new Set<string>();
    for (const family of heardFamilies(plan)) {
      const macs = await nft.heard(family);
      // Without the set nobody can have been heard, and nobody is silent either.
      if (macs === undefined) throw new Error(`the set ${heardSet(family)} is missing`);
      for (const mac of macs) heard.add(mac);
    }
    proofs.heard(heard, wire.peers);
  }

  function putBack(): void {
    restored += 1;
    // Two programs that undo each other's work must not take the machine with them.
    if (clock.now() < restoredMs + RESTORE_GAP_MS) retryAtMs = clock.now() + RESTORE_GAP_MS;
    restoredMs = clock.now();
    intact = false;
    void converge();
  }

  function rulesetChanged(change: RulesetChange): void {
    if (loaded === undefined && !loading) return;
    // The kernel dropped notifications, as it does when somebody changes some ten thousand rules at once:
    // whether ours are among them it can be asked. Where a load was under way, the change may have come just
    // after it.
    if (change.lost && loading) putBack();
    else if (change.lost) void checkRules().catch(sayUnread);
    const ours = [...change.tables].some((table) => /^(?:netdev|ip|ip6) leasehold$/.test(table));
    if (!ours || nft.isOwn(change.port)) return;
    log.warn({ program: change.program, pid: change.pid }, "Somebody changed the rules, putting them back");
    putBack();
  }

  return {
    start() {
      monitor = deps.watchRuleset(rulesetChanged);
      // Sockets that a killed predecessor's VIP left without an address hang until somebody tells them.
      if (!deps.holdsVip()) sessions.vipGone();
      timer = clock.every(TICK_MS, () => void tick().catch(complain));
      void tick().catch(complain);
    },
    update: () => void (timer === undefined ? undefined : converge()),
    released: () => sessions.vipGone(),
    offer() {
      const self = loaded?.plan.wire?.self;
      if (mode.kind === "starting") return undefined;
      if (mode.kind !== "fast-path" || self === undefined) return null;
      return { version: DATA_PLANE_VERSION, addresses: self.addresses.map((address) => address.text) };
    },
    status: () => fastPathStatus({ mode, plan: loaded?.plan, counters, restored, ports: deps.ports, unheard: proofs.unheard(), told: sessions.told() }),
    stop() {
      stopped = true;
      deaths.stop();
      timer?.cancel();
      timer = undefined;
      monitor?.close();
      monitor = undefined;
    },
  };
}

/** The families in which peers' probes can be noted: those of the VIPs in which this node has an address. */
function heardFamilies(plan: RulesetPlan): readonly Family[] {
  const { wire } = plan;
  if (wire === undefined || wire.peers.length === 0) return [];
  const has = (addresses: readonly IpAddress[], family: Family): boolean => addresses.some((address) => address.family === family);
  return ([4, 6] as const).filter((family) => has(plan.vips, family) && has(wire.self.addresses, family));
}

function familiesOf(vips: readonly IpAddress[]): readonly TableFamily[] {
  return [...new Set(vips.map((vip): TableFamily => (vip.family === 4 ? "ip" : "ip6")))];
}

/** Addresses by their text. */
function planText(_: string, value: unknown): unknown {
  return typeof value === "object" && value !== null && "bytes" in value && "text" in value ? value.text : value;
}
