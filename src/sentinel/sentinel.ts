/**
 * Listens and asks on the VIP's wire: whether the holder's kernel is still there, whether another machine
 * claims the VIP, and whether anybody is there at all. The rules are in `proof-rules.ts`. One timer drains
 * the socket. Nothing here waits for a frame, so a late turn of this process finds the frames that came in
 * time.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import { PROBES, createAddressProbe } from "./address-probe.ts";
import { createArpBudget } from "./arp-budget.ts";
import { afterContradiction, isBackingOff } from "./back-off.ts";
import type { BackOff } from "./back-off.ts";
import { createClaimDedup } from "./claim-dedup.ts";
import type { Evidence, Sentinel, SentinelStatus, Watched } from "./evidence.ts";
import { createLinkPresence } from "./link-presence.ts";
import {
  ageOf,
  answersNow,
  initialProof,
  isBlind,
  isDue,
  isRecent,
  judgeTurn,
  missedOf,
  turnMs,
} from "./proof-rules.ts";
import type { ProofRules, ProofState, ProofTurn } from "./proof-rules.ts";
import type { Heard, HeardOnWire, Wire } from "./wire.ts";
import { createWitnesses } from "./witnesses.ts";

export interface SentinelDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Closed by {@link Sentinel.stop}. */
  readonly wire: Wire;
  /** Answers the MAC address of the VIP's interface, which may change. */
  readonly ownMac: () => string;
  /** Answers false while the VIP's interface has no ARP, so that nothing can be heard there. Default: it has. */
  readonly hasArp?: () => boolean;
  /** The VIP's addresses, of either family. The holder is silent on all of them or not at all. */
  readonly addresses: readonly IpAddress[];
  /** The length of a turn in milliseconds; 50 by default. */
  readonly intervalMs?: number;
  /** The misses in a row that prove a death; 3 by default. */
  readonly misses?: number;
  /** Answers a number from 0 to 1, as Math.random does. */
  readonly random: () => number;
}

/**
 * Milliseconds between two looks at the socket. Conflicts have to be noticed fast, whichever node is the
 * holder.
 */
const DRAIN_MS = 100;
/** Milliseconds after a lost answer in which the holder's silence is no proof, as far as the status goes. */
const ANSWERS_LOST_MS = 1_000;
/** Milliseconds for which the status says that frames were lost, and in which the log does not say it again. */
const FLOODED_MS = 60_000;

/** What one address has shown since the turn began. The turn's end reads it as {@link AddressSigns}. */
interface SignsSoFar {
  echo: "now" | "lately" | null;
  owner: boolean;
  unsent: boolean;
  unasked: boolean;
}

export function createSentinel({
  clock,
  log,
  wire,
  ownMac,
  hasArp = () => true,
  addresses,
  intervalMs = 50,
  misses = 3,
  random,
}: SentinelDeps): Sentinel {
  // The socket also receives replies to other programs' echoes, and another agent on this machine receives
  // ours.
  const identifier = Math.floor(random() * 0x1_0000) & 0xffff;
  const indexes: ReadonlyMap<string, number> = new Map(addresses.map(({ text }, index) => [text, index]));
  const arp = createArpBudget(clock, wire);
  const witnesses = createWitnesses(wire, arp, identifier);
  const claimDedup = createClaimDedup();
  const presence = createLinkPresence({
    nowMs: clock.now(),
    known: () => witnesses.known().addresses,
    ask: (neighbour) => arp.ask(neighbour),
    changed: (heard) => tell({ kind: "neighbours", heard }),
  });
  const probe = createAddressProbe({
    clock,
    random,
    // Each address is sent, also after one that could be sent.
    send: (as) => addresses.map((address) => arp.probe(address, as)).includes(true),
    drain: () => void drain(),
    done: (probed) => tell({ kind: "probed", ...probed }),
  });
  let watched: Watched = { holder: null, witnesses: [], pace: "fast" };
  let rules: ProofRules = { intervalMs, misses };
  /** It is null exactly when there is no holder to watch. */
  let proof: ProofState | null = null;
  let backOff: BackOff | null = null;
  let seen: readonly SignsSoFar[] = [];
  let witnessed = false;
  /** Answers were lost since the turn began. */
  let overrun = false;
  /** When an answer may have been lost for the last time. */
  let answersLostMs = Number.NEGATIVE_INFINITY;
  /** When more frames came than could be read, for the last time. */
  let floodedMs = Number.NEGATIVE_INFINITY;
  let listener: ((evidence: Evidence) => void) | undefined;
  let timer: Timer | undefined;
  let timerMs = 0;

  function tell(evidence: Evidence): void {
    listener?.(evidence);
  }

  /** Reads the frames that have come. Answers true when some were lost. */
  function drain(): boolean {
    const { heard: words, missing, flooded } = wire.drain();
    const lost = missing.answers || missing.claims;
    if (flooded) noteFlood(missing);
    if (missing.answers) {
      overrun = true;
      answersLostMs = clock.now();
    }
    // The owner's answer to a probe may be among them.
    if (lost) probe.overran();
    for (const heard of words) hear(heard);
    return lost;
  }

  function noteFlood(missing: HeardOnWire["missing"]): void {
    if (!isFlooded())
      log.warn(
        { missing },
        "Frames about the VIP are lost, because more come than this node can read: a host floods the VIP's network",
      );
    floodedMs = clock.now();
  }

  function isFlooded(): boolean {
    return clock.now() - floodedMs < FLOODED_MS;
  }

  /** The holder's and the witnesses' frames are kept apart from those of all other machines. */
  function listen(): void {
    const { addresses: others, macs } = witnesses.known();
    const holder = watched.holder === null ? [] : [watched.holder.mac];
    wire.listen({ identifier, macs: [...holder, ...macs], vips: addresses, others });
  }

  function hear(heard: Heard): void {
    const own = ownMac();
    if (heard.mac === own) return;
    presence.heard(clock.now());
    if (heard.kind === "host") return;
    const index = indexes.get(heard.address.text);
    const third = heard.mac !== watched.holder?.mac;
    switch (heard.kind) {
      case "echo": {
        if (proof === null || heard.identifier !== identifier) return;
        const age = ageOf(proof, heard.sequence);
        if (age === null) return;
        // Only the holder's own answer counts. A node that lost the VIP may forward the echo to a node that
        // has it.
        if (index !== undefined) {
          if (!third) sawEcho(index, age);
        } else if (third && witnesses.has(heard.address.text) && isRecent(proof.sequence, heard.sequence))
          witnessed = true;
        return;
      }
      case "owner": {
        if (index === undefined) {
          const asked = witnesses.owner(heard.address.text, heard.mac, proof?.sequence ?? 0);
          // What a third host asks or announces does not show that this node's frames arrive anywhere.
          if (asked && third && heard.reply) witnessed = true;
          return;
        }
        const target = seen[index];
        if (!third && target !== undefined) target.owner = true;
        probe.owner(heard.mac);
        if (third && claimDedup.isNew(heard.mac, clock.now())) tell({ kind: "claimed", mac: heard.mac });
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
    presence.tick(nowMs, lost);
    // The listener may have stopped the sentinel, or may have set another holder.
    if (timer === undefined) return;
    if (proof !== null && (isDue(proof, nowMs, rules) || contradicted(proof))) judge(proof, nowMs);
  }

  /**
   * True when the holder answers after it was found silent. This cannot wait for the end of the turn, because
   * another node may have taken the VIP on this evidence.
   */
  function contradicted(state: ProofState): boolean {
    return state.kind === "silent" && seen.some(({ echo, owner }) => owner || echo !== null);
  }

  function judge(state: ProofState, nowMs: number): void {
    const { holder } = watched;
    if (holder === null) return;
    const result = judgeTurn(
      state,
      { nowMs, targets: seen, witnessed, overrun, backingOff: isBackingOff(backOff, nowMs) },
      rules,
    );
    proof = result.state;
    forget();
    send(result, holder.mac);
    switch (result.found) {
      case null:
        return;
      case "silent":
        log.debug(
          { tenure: holder.tenure, mac: holder.mac, by: state.by },
          "The holder of the VIP is silent",
        );
        tell({ kind: "silent", tenure: holder.tenure });
        return;
      case "answering":
        backOff = afterContradiction(backOff, nowMs);
        log.debug(
          { tenure: holder.tenure, mac: holder.mac, notBeforeMs: backOff.lengthMs },
          "The holder of the VIP answers after all",
        );
        tell({ kind: "answering", tenure: holder.tenure });
        return;
    }
  }

  function send({ state, echo, ask, suspicious }: ProofTurn, mac: string): void {
    addresses.forEach((address, index) => {
      const target = seen[index];
      if (target === undefined) return;
      if (echo) target.unsent = !wire.echo(address, mac, identifier, state.sequence);
      if (ask.includes(index)) target.unasked = arp.ask(address) !== "sent";
    });
    if (!suspicious) return;
    // By ARP this turn's questions have been asked. By ICMP they may be due in the next turn.
    const reserve = state.by === "icmp" && ask.length === 0 ? addresses.length : 0;
    witnesses.ask({ sequence: state.sequence, not: [mac, ownMac()], answered: !isBlind(state), reserve });
  }

  /** Forgets what the last turn, or the last holder, has shown. */
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
    if (!hasArp()) return "no-arp";
    if (proof === null) return "none";
    if (proof.kind === "silent") return "silent";
    if (isBackingOff(backOff, clock.now())) return "backing-off";
    if (clock.now() - answersLostMs < ANSWERS_LOST_MS) return "flooded";
    // Witnesses are asked only when they are needed. One failure counts until the next calibration.
    if (witnesses.size === 0 || isBlind(proof)) return "no-witness";
    return proof.kind === "watching" ? "ready" : "calibrating";
  }

  return {
    start(onEvidence) {
      listener = onEvidence;
      listen();
      arm();
    },
    watch(next) {
      const { holder } = next;
      const sameMachine = holder?.mac === watched.holder?.mac;
      const same = sameMachine && holder?.tenure === watched.holder?.tenure;
      const goesOn = sameMachine && proof !== null && answersNow(proof);
      watched = next;
      rules = { intervalMs: turnMs(intervalMs, next.pace), misses };
      // The VIP itself is no third host, even if it is named as a witness.
      witnesses.set(next.witnesses.filter(({ address }) => !indexes.has(address.text)));
      listen();
      // A machine that claims its own Lease again, as a restarted agent does, has not stopped answering.
      if (!same && !goesOn) {
        proof = holder === null ? null : initialProof(clock.now(), addresses.length);
        forget();
      }
      arm();
    },
    probe(spread, claims = true, questions = PROBES) {
      if (listener !== undefined) probe.start(spread, claims, questions);
    },
    poll() {
      if (listener === undefined) return;
      drain();
      if (proof !== null && contradicted(proof)) judge(proof, clock.now());
    },
    status: () => ({
      proof: proofStatus(),
      by: proof?.by ?? "icmp",
      missed: proof === null ? 0 : missedOf(proof),
      neighbours: presence.state(),
      flooded: isFlooded(),
    }),
    stop() {
      listener = undefined;
      timer?.cancel();
      timer = undefined;
      probe.stop();
      wire.close();
    },
  };
}
