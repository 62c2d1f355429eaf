/**
 * Where a packet to the VIP can get to, by the rules of every machine: `visit` is a pure function from a
 * packet and one machine's rules to what that machine puts on the wire, and `worstCase` follows that through
 * a cluster whatever conntrack, sockets and sets may say. The rules are those of `ruleset()`, read by
 * rule-language.ts. What the kernel does between the rules is here: conntrack, routing, and who gets a frame.
 */
import type { Table } from "../../../src/fastpath/tables.ts";
import { conntrackState, oneLess, parseTable, runChain, TCP_FLAGS } from "./rule-language.ts";
import type { Ask, Idle, Packet, ParsedTable, Passage } from "./rule-language.ts";

/** Every machine takes what is sent there. */
export const EVERYBODY = "ff:ff:ff:ff:ff:ff";
export const WIRE = "eth0";
/** Interfaces of a node that lead to another network, and to its pods. */
export const OTHER_WIRE = "eth1";
export const POD_WIRE = "cali0123456789a";
const LOOPBACK = "lo";

export interface Rules {
  readonly ingress: ParsedTable | undefined;
  readonly routed: Readonly<Record<4 | 6, ParsedTable | undefined>>;
}

export interface Machine {
  readonly name: string;
  /** The true one, on its frames. Two machines may have the same. */
  readonly mac: string;
  readonly addresses: readonly string[];
  /** The VIP is bound here. */
  readonly holdsVip: boolean;
  /** Without rules it is a router, which sends on what is not for it. */
  readonly rules: Rules | undefined;
  /** See {@link Passage.idle}. */
  readonly idle?: Idle | undefined;
  /** Its neighbour table: the MAC address for an IP address. undefined: nobody answers for that. */
  readonly neighbour: (address: string) => string | undefined;
}

export interface Cluster {
  readonly machines: readonly Machine[];
  /**
   * Conntrack takes every SYN for one (its checksum is right), tracks all else, and has each connection with
   * its translation. False: it may say anything.
   */
  readonly tracksAll: boolean;
}

/** A packet that one machine gives to others. */
export interface Sent {
  /** undefined: to itself, by its loopback interface. */
  readonly toMac: string | undefined;
  readonly packet: Packet;
}

export interface Cost {
  /** Frames one after the other, the longest way. */
  readonly hops: number;
  /** All frames. */
  readonly copies: number;
}

export function parseRules(tables: readonly Table[]): Rules {
  const parse = (family: Table["family"]): ParsedTable | undefined => {
    const table = tables.find((candidate) => candidate.family === family);
    return table === undefined ? undefined : parseTable(table);
  };
  return { ingress: parse("netdev"), routed: { 4: parse("ip"), 6: parse("ip6") } };
}

/** What `machine` sends when it gets `packet`. */
export function visit(
  cluster: Cluster,
  machine: Machine,
  packet: Packet,
  interfaceIn: string,
  askAny: Ask,
): readonly Sent[] {
  const never = !cluster.tracksAll
    ? []
    : packet.payload.kind === "tcp" && packet.payload.flags === TCP_FLAGS.syn
      ? ["untracked", "invalid"]
      : ["untracked"];
  const ask: Ask = (question, answers) =>
    askAny(
      question,
      never.length === 0 ? answers : answers.filter((answer) => !never.some((each) => each === answer)),
    );
  const { idle } = machine;
  const passage: Passage = { packet, interfaceIn, ask, idle, hops: packet.hops, copies: [] };
  const ingress = machine.rules?.ingress;
  if (ingress !== undefined && interfaceIn === WIRE) {
    const verdict = runChain(ingress, "ingress", passage);
    if (verdict.kind === "forward")
      return sentTo(machine, verdict.to, { ...packet, hops: oneLess(passage.hops) });
    if (verdict.kind !== "accept") return [];
  }
  const table = machine.rules?.routed[packet.family];
  const routed = route(cluster, machine, passage, table);
  const copies = passage.copies.flatMap(({ to, hops }) => {
    const copy: Packet = { ...packet, hops };
    if (table !== undefined)
      runHook(table, "output", { packet: copy, interfaceIn: "", ask: asksForACopy, idle, hops, copies: [] });
    return sentTo(machine, to, copy);
  });
  return [...copies, ...routed];
}

/** A copy is untracked (nf_dup_ipv4), so nothing else matters of what an output chain could ask. */
const asksForACopy: Ask = (_, answers) =>
  answers.find((answer) => answer === "untracked" || answer === false) ?? answers[0] ?? fail("no answers");

function fail(message: string): never {
  throw new Error(message);
}

/**
 * What is left of the original: prerouting, translation, and where its destination is not here, the way on.
 */
function route(
  cluster: Cluster,
  machine: Machine,
  passage: Passage,
  table: ParsedTable | undefined,
): readonly Sent[] {
  const { packet, ask } = passage;
  if (table !== undefined && runHook(table, "prerouting", passage) !== "accept") return [];
  if (table !== undefined && translated(cluster, table, passage)) return [];
  if (machine.holdsVip) return [];
  // ip_forward and ip6_forward: not what came in a frame for everybody, nor what has no hop left; and one is
  // off before the forward hook.
  if (!packet.toOneHost || passage.hops <= 1) return [];
  passage.hops = oneLess(passage.hops);
  if (table !== undefined && runHook(table, "forward", passage) !== "accept") return [];
  if (table !== undefined && runNat(table, "postrouting", passage) === "masquerade")
    ask("its source is another now", [true]);
  return sentTo(machine, packet.destination, { ...packet, hops: passage.hops });
}

/**
 * Translated packets stay on this node, or go to a backend's own address: they are none to the VIP any more.
 */
function translated(cluster: Cluster, table: ParsedTable, passage: Passage): boolean {
  switch (conntrackState(passage)) {
    case "new":
      return runNat(table, "prerouting", passage) === "translate";
    case "established":
    case "related":
      return cluster.tracksAll || passage.ask("its connection is translated", [true, false]);
    case "invalid":
    case "untracked":
      return false;
  }
}

function runHook(table: ParsedTable, hook: string, passage: Passage): string {
  const chains = table.base
    .filter((chain) => chain.hook === hook && chain.type === "filter")
    .sort((a, b) => a.priority - b.priority);
  for (const { name } of chains) {
    const { kind } = runChain(table, name, passage);
    if (kind !== "accept") return kind;
  }
  return "accept";
}

/** Of the first packet of a connection alone (nf_nat_inet_fn). */
function runNat(table: ParsedTable, hook: string, passage: Passage): string {
  if (conntrackState(passage) !== "new") return "accept";
  const chains = table.base.filter((chain) => chain.hook === hook && chain.type === "nat");
  for (const { name } of chains) {
    const { kind } = runChain(table, name, passage);
    if (kind !== "accept") return kind;
  }
  return "accept";
}

/**
 * What the translation rules of one machine may do with the first packet of a connection from another host
 * that it routes, whatever is answered to what the rules ask.
 */
export function translations(
  table: ParsedTable,
  packet: Packet,
  interfaceIn: string,
): readonly { readonly to: string; readonly source: string }[] {
  const found = everyAnswer(
    (askAny) => {
      const ask: Ask = (question, answers) =>
        question === "the source is local"
          ? (answers.find((answer) => answer === false) ?? fail(question))
          : askAny(question, answers);
      const passage: Passage = { packet, interfaceIn, ask, idle: undefined, hops: packet.hops, copies: [] };
      return { to: runNat(table, "prerouting", passage), source: runNat(table, "postrouting", passage) };
    },
    ({ to, source }) => `${to} ${source}`,
  );
  return [...found];
}

/** `dup` to an address of the machine itself goes by its loopback interface. */
function sentTo(machine: Machine, address: string, packet: Packet): readonly Sent[] {
  if (machine.addresses.includes(address))
    return [{ toMac: undefined, packet: { ...packet, sourceMac: "00:00:00:00:00:00", toOneHost: true } }];
  const toMac = machine.neighbour(address);
  return toMac === undefined
    ? []
    : [{ toMac, packet: { ...packet, sourceMac: machine.mac, toOneHost: toMac !== EVERYBODY } }];
}

/**
 * The longest way and the most copies that `first` can make once it is on the wire to `toMac`, whatever is
 * answered to what the rules ask. The frame that brought it is not counted. Infinity: it can go round without
 * end.
 *
 * @param answer what is answered, where that is known
 * @param by the interface by which it comes in first
 */
export function worstCase(cluster: Cluster, first: Packet, toMac: string, answer?: Ask, by = WIRE): Cost {
  const known = new Map<string, Cost | "under way">();

  function after(machine: Machine, packet: Packet, interfaceIn: string): Cost {
    const key = `${machine.name} ${interfaceIn} ${packet.hops} ${packet.sourceMac} ${packet.toOneHost}`;
    const before = known.get(key);
    if (before === "under way") return { hops: Number.POSITIVE_INFINITY, copies: Number.POSITIVE_INFINITY };
    if (before !== undefined) return before;
    known.set(key, "under way");
    let cost: Cost = { hops: 0, copies: 0 };
    const visitWith = (ask: Ask): readonly Sent[] => visit(cluster, machine, packet, interfaceIn, ask);
    for (const sent of answer === undefined ? everyAnswer(visitWith, sameSent) : [visitWith(answer)]) {
      let hops = 0;
      let copies = 0;
      for (const each of sent) {
        const then =
          each.toMac === undefined
            ? after(machine, each.packet, LOOPBACK)
            : arriving(each.packet, each.toMac, machine);
        hops = Math.max(hops, 1 + then.hops);
        copies += 1 + then.copies;
      }
      cost = { hops: Math.max(cost.hops, hops), copies: Math.max(cost.copies, copies) };
    }
    known.set(key, cost);
    return cost;
  }

  /** A switch delivers to one of those who have the address, and may well deliver to the sender's twin. */
  function arriving(packet: Packet, mac: string, sender: Machine | undefined, interfaceIn = WIRE): Cost {
    const receivers = cluster.machines.filter((machine) =>
      mac === EVERYBODY ? machine !== sender : machine.mac === mac,
    );
    const costs = receivers.map((machine) => after(machine, packet, interfaceIn));
    const hops = Math.max(0, ...costs.map((cost) => cost.hops));
    const copies = costs.map((cost) => cost.copies);
    return {
      hops,
      copies: mac === EVERYBODY ? copies.reduce((sum, one) => sum + one, 0) : Math.max(0, ...copies),
    };
  }

  return arriving(first, toMac, undefined, by);
}

/**
 * Enough for any packet: more than ten questions with two answers each would mean rules that the model is not
 * made for.
 */
const MOST_ANSWERS = 4_096;

/** All results that `work` can have, without doubles: each question with each of its answers. */
function everyAnswer<T>(work: (ask: Ask) => T, key: (result: T) => string): Iterable<T> {
  const results = new Map<string, T>();
  let script: number[] = [];
  for (let round = 0; round < MOST_ANSWERS; round++) {
    const asked: { readonly question: string; readonly choice: number; readonly of: number }[] = [];
    const ask: Ask = (question, answers) => {
      const before = asked.find((each) => each.question === question);
      const choice = before?.choice ?? script[asked.length] ?? 0;
      if (before === undefined) asked.push({ question, choice, of: answers.length });
      return answers[choice] ?? fail(`no answer ${choice} to "${question}"`);
    };
    const result = work(ask);
    results.set(key(result), result);
    // Count up, the last question first.
    const last = asked.findLastIndex(({ choice, of }) => choice + 1 < of);
    if (last < 0) return results.values();
    script = [...asked.slice(0, last).map(({ choice }) => choice), (asked[last]?.choice ?? 0) + 1];
  }
  throw new Error(`more than ${MOST_ANSWERS} answers`);
}

function sameSent(sent: readonly Sent[]): string {
  return sent.map(({ toMac, packet }) => `${toMac} ${packet.hops}`).join();
}
