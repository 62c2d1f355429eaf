/**
 * Listens on the VIP's wire and asks on it: is the holder's kernel still there, does anybody else claim the VIP, is anybody there at all. Rules in
 * `proof-rules.ts`. One timer drains the socket; nothing here waits for a frame, so a late turn of ours finds what came in time.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import { createAddressProbe } from "./address-probe.ts";
import { createAsks } from "./arp-budget.ts";
import { afterContradiction, isBackingOff } from "./back-off.ts";
import type { BackOff } from "./back-off.ts";
import { createClaims } from "./claims.ts";
import type { Evidence, Sentinel, SentinelStatus, Watched } from "./evidence.ts";
import { createNeighbours } from "./link-presence.ts";
import { ageOf, initialProof, isBlind, isDue, isRecent, missedOf, turn } from "./proof-rules.ts";
import type { ProofRules, ProofState, Turn } from "./proof-rules.ts";
import type { Heard, Wire } from "./wire.ts";
import { createWitnesses } from "./witnesses.ts";

export interface SentinelDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Closed by {@link Sentinel.stop}. */
  readonly wire: Wire;
  /** Of the VIP's interface; it may change. */
  readonly ownMac: () => string;
  /** The VIP's, of either family: silent together or not at all. */
  readonly addresses: readonly IpAddress[];
  /** Default 50. */
  readonly intervalMs?: number;
  /** Default 3. */
  readonly misses?: number;
  /** 0 to 1, as Math.random. */
  readonly random: () => number;
}

/** Conflicts are to be noticed fast, whoever holds. */
const DRAIN_MS = 100;
/** Where a false alarm costs connections: ten times as long. */
const SLOWER = 10;

/** Of one address, since the turn began: what becomes a {@link SeenTarget}. */
interface Seen {
  echo: "now" | "lately" | null;
  owner: boolean;
  unsent: boolean;
  unasked: boolean;
}

export function createSentinel({ clock, log, wire, ownMac, addresses, intervalMs = 50, misses = 3, random }: SentinelDeps): Sentinel {
  // Other programs' replies come to our socket as well, and ours to another agent's on this machine.
  const identifier = Math.floor(random() * 0x1_0000) & 0xffff;
  const indexes: ReadonlyMap<string, number> = new Map(addresses.map(({ text }, index) => [text, index]));
  const asks = createAsks(clock, wire);
  const witnesses = createWitnesses(wire, asks, identifier);
  const claims = createClaims();
  const neighbours = createNeighbours({
    nowMs: clock.now(),
    ask: () => {
      const address = witnesses.next();
      return address === undefined ? undefined : asks.ask(address);
    },
    known: () => witnesses.size,
    changed: (heard) => tell({ kind: "neighbours", heard }),
  });
  const probe = createAddressProbe({
    clock,
    random,
    // Every address, not only until the first that could be sent.
    send: () => addresses.map((address) => asks.probe(address)).includes(true),
    drain: () => void drain(),
    done: (probed) => tell({ kind: "probed", ...probed }),
  });
  let watched: Watched = { holder: null, witnesses: [], pace: "fast" };
  let rules: ProofRules = { intervalMs, misses };
  /** Null exactly when there is no holder to watch. */
  let proof: ProofState | null = null;
  let backOff: BackOff | null = null;
  let seen: readonly Seen[] = [];
  let witnessed = false;
  let overrun = false;
  let listener: ((evidence: Evidence) => void) | undefined;
  let timer: Timer | undefined;
  let timerMs = 0;

  function tell(evidence: Evidence): void {
    listener?.(evidence);
  }

  /** True when frames were lost. */
  function drain(): boolean {
    const drained = wire.drain();
    if (drained.overrun) {
      overrun = true;
      probe.overran();
    }
    for (const heard of drained.heard) hear(heard);
    return drained.overrun;
  }

  function hear(heard: Heard): void {
    const own = ownMac();
    if (heard.mac === own) return;
    neighbours.heard(clock.now());
    const index = indexes.get(heard.address.text);
    const third = heard.mac !== watched.holder?.mac;
    switch (heard.kind) {
      case "echo": {
        if (proof === null || heard.identifier !== identifier) return;
        const age = ageOf(proof, heard.sequence);
        if (age === null) return;
        // Only the holder's own word counts: one that no longer has the VIP may forward our echo to another one that has.
        if (index !== undefined) {
          if (!third) sawEcho(index, age);
        } else if (third && witnesses.has(heard.address.text) && isRecent(proof.sequence, heard.sequence)) witnessed = true;
        return;
      }
      case "owner": {
        if (index === undefined) {
          const asked = witnesses.owner(heard.address.text, heard.mac, proof?.sequence ?? 0);
          if (asked && third) witnessed = true;
          return;
        }
        const target = seen[index];
        if (!third && target !== undefined) target.owner = true;
        probe.owner(heard.mac);
        if (third && claims.isNew(heard.mac, clock.now())) tell({ kind: "claimed", mac: heard.mac });
        return;
      }
      case "probe":
        if (index !== undefined) probe.prober(heard.mac);
        return;
    }
  }

  function sawEcho(index: number, age: "now" | "lately"): void {
    const target = seen[index];
    if (target !== undefined && target.echo !== "now") target.echo = age;
  }

  function tick(): void {
    const lost = drain();
    const nowMs = clock.now();
    neighbours.tick(nowMs, lost);
    // Whom we told may have stopped us, or set us on somebody else.
    if (timer === undefined) return;
    if (proof !== null && (isDue(proof, nowMs, rules) || contradicted(proof))) judge(proof, nowMs);
  }

  /** Not to be kept until the turn has ended: somebody else may have taken the VIP because of us. */
  function contradicted(state: ProofState): boolean {
    return state.kind === "silent" && seen.some(({ echo, owner }) => owner || echo !== null);
  }

  function judge(state: ProofState, nowMs: number): void {
    const { holder } = watched;
    if (holder === null) return;
    const result = turn(state, { nowMs, targets: seen, witnessed, overrun, backingOff: isBackingOff(backOff, nowMs) }, rules);
    proof = result.state;
    forget();
    send(result, holder.mac);
    switch (result.found) {
      case null:
        return;
      case "silent":
        log.debug({ tenure: holder.tenure, mac: holder.mac, by: state.by }, "the holder of the VIP is silent");
        tell({ kind: "silent", tenure: holder.tenure });
        return;
      case "answering":
        backOff = afterContradiction(backOff, nowMs);
        log.debug({ tenure: holder.tenure, mac: holder.mac, notBeforeMs: backOff.lengthMs }, "the holder of the VIP answers after all");
        tell({ kind: "answering", tenure: holder.tenure });
        return;
    }
  }

  function send({ state, echo, ask, suspicious }: Turn, mac: string): void {
    addresses.forEach((address, index) => {
      const target = seen[index];
      if (target === undefined) return;
      if (echo) target.unsent = !wire.echo(address, mac, identifier, state.sequence);
      if (ask.includes(index)) target.unasked = asks.ask(address) !== "sent";
    });
    if (!suspicious) return;
    // By ARP the questions of this turn have been asked; by ICMP they may be those of the next one.
    const reserve = state.by === "icmp" && ask.length === 0 ? addresses.length : 0;
    witnesses.ask({ sequence: state.sequence, not: [mac, ownMac()], answered: !isBlind(state), reserve });
  }

  /** A new turn, or a new holder: what was seen before is of the last. */
  function forget(): void {
    seen = addresses.map(() => ({ echo: null, owner: false, unsent: false, unasked: false }));
    witnessed = false;
    overrun = false;
  }

  function arm(): void {
    const wantedMs = watched.holder !== null && watched.pace === "fast" ? intervalMs : DRAIN_MS;
    if (listener === undefined || (timer !== undefined && timerMs === wantedMs)) return;
    timer?.cancel();
    timerMs = wantedMs;
    timer = clock.every(wantedMs, tick);
  }

  function proofStatus(): SentinelStatus["proof"] {
    if (proof === null) return "none";
    if (proof.kind === "silent") return "silent";
    if (isBackingOff(backOff, clock.now())) return "backing-off";
    // Not known before they are needed, as they are not asked; after that they are on trial until the next calibration.
    if (witnesses.size === 0 || isBlind(proof)) return "no-witness";
    return proof.kind === "watching" ? "ready" : "calibrating";
  }

  return {
    start(onEvidence) {
      listener = onEvidence;
      arm();
    },
    watch(next) {
      const { holder } = next;
      const same = holder?.tenure === watched.holder?.tenure && holder?.mac === watched.holder?.mac;
      watched = next;
      rules = { intervalMs: next.pace === "fast" ? intervalMs : intervalMs * SLOWER, misses };
      // The VIP itself is the holder's word, whoever names it as a witness.
      witnesses.set(next.witnesses.filter(({ address }) => !indexes.has(address.text)));
      if (!same) {
        proof = holder === null ? null : initialProof(clock.now(), addresses.length);
        forget();
      }
      arm();
    },
    probe(spread) {
      if (listener !== undefined) probe.start(spread);
    },
    poll() {
      if (listener !== undefined) drain();
    },
    status: () => ({ proof: proofStatus(), by: proof?.by ?? "icmp", missed: proof === null ? 0 : missedOf(proof), neighbours: neighbours.state() }),
    stop() {
      listener = undefined;
      timer?.cancel();
      timer = undefined;
      probe.stop();
      wire.close();
    },
  };
}
