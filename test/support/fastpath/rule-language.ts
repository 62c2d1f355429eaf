/**
 * Reads nftables rules as `ruleset()` writes them and does with a packet what the kernel would. It knows the
 * expressions that the ruleset uses and no others: one that it does not know throws, so a rule that nobody
 * taught the model cannot pass for proven. What a rule asks of the kernel and the packet does not tell
 * (conntrack's state, a listener, a set) is asked of the caller, who may answer anything.
 */
import { SLOTS } from "../../../src/fastpath/slots.ts";
import { ingressVipsSet, VIPS_SET } from "../../../src/fastpath/tables.ts";
import type { Table } from "../../../src/fastpath/tables.ts";
import { parseIp } from "../../../src/net.ts";

const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

export const TCP_FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

export type Payload =
  | {
      readonly kind: "tcp";
      readonly port: number;
      readonly flags: number;
      /** Of the hash over source address and port. */ readonly slot: number;
    }
  | { readonly kind: "too big" };

export interface Packet {
  readonly family: 4 | 6;
  readonly sourceMac: string;
  /** False: its link-layer destination is a group, to which every machine listens. */
  readonly toOneHost: boolean;
  readonly source: string;
  /** Before any translation. */
  readonly destination: string;
  /** TTL or hop limit. */
  readonly hops: number;
  readonly payload: Payload;
}

/**
 * Gives one of `answers`, and the same one when it is asked again while the same packet is on the same
 * machine.
 */
export type Ask = <T extends string | boolean>(question: string, answers: readonly T[]) => T;

export const CONNTRACK_STATES = ["new", "established", "related", "invalid", "untracked"] as const;
export type ConntrackState = (typeof CONNTRACK_STATES)[number];
/** What conntrack can say of a packet; of ICMP errors it makes no new connections. */
export function conntrackStates({ kind }: Payload): readonly ConntrackState[] {
  return CONNTRACK_STATES.filter((state) => state !== (kind === "tcp" ? "related" : "new"));
}

/** Tables whose set of VIPs is empty. */
export type Idle = ReadonlySet<Table["family"]>;

/** One packet on its way through one machine's chains. */
export interface Passage {
  readonly packet: Packet;
  readonly interfaceIn: string;
  readonly ask: Ask;
  /** The tables whose set of VIPs has timed out, because no agent has refreshed it. Default: none. */
  readonly idle?: Idle | undefined;
  /** As it is now: rules change it. */
  hops: number;
  readonly copies: { readonly to: string; readonly hops: number }[];
}

export type Verdict =
  | { readonly kind: "accept" | "drop" | "reject" | "masquerade" }
  | { readonly kind: "goto"; readonly chain: string }
  | { readonly kind: "forward" | "translate"; readonly to: string };

/** A match that fails ends its rule: false. */
type Step = (passage: Passage) => boolean | Verdict;
type Rule = readonly Step[];

export interface BaseChain {
  readonly name: string;
  readonly type: "filter" | "nat";
  readonly hook: string;
  readonly priority: number;
}

export interface ParsedTable {
  readonly family: Table["family"];
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
  readonly base: readonly BaseChain[];
}

/** @throws {Error} for what the model does not know */
export function parseTable(table: Table): ParsedTable {
  const sets = new Set(table.sets.map(({ name }) => name));
  const chains = new Map(
    table.chains.map(({ name, rules }) => [name, rules.map((rule) => parseRule(rule, sets, table.family))]),
  );
  return {
    family: table.family,
    chains,
    base: table.chains.flatMap(({ name, hook }) => (hook === undefined ? [] : [parseHook(name, hook)])),
  };
}

/** The TTL is a byte, and neither `dup` nor `fwd` looks at what is left of it: after 0 comes 255. */
export function oneLess(hops: number): number {
  return (hops + 255) % 256;
}

/** The verdict of a base chain; its policy is to accept. */
export function runChain(
  table: ParsedTable,
  name: string,
  passage: Passage,
): Exclude<Verdict, { kind: "goto" }> {
  let current = name;
  // A chain that goes to itself would never end; the kernel refuses it.
  for (let depth = 0; depth < 16; depth++) {
    const rules = table.chains.get(current);
    if (rules === undefined) throw new Error(`no chain ${current} in ${table.family}`);
    const verdict = runRules(rules, passage);
    if (verdict?.kind !== "goto") return verdict ?? { kind: "accept" };
    current = verdict.chain;
  }
  throw new Error(`chain ${name} does not end`);
}

function runRules(rules: readonly Rule[], passage: Passage): Verdict | undefined {
  for (const rule of rules) {
    for (const step of rule) {
      const result = step(passage);
      if (result === false) break;
      if (result !== true) return result;
    }
  }
  return undefined;
}

const PRIORITIES: Readonly<Record<string, number>> = { mangle: -150, filter: 0 };

function parseHook(name: string, hook: string): BaseChain {
  const match = /^type (filter|nat) hook (\w+) (?:device "[^"]+" )?priority (\S+); policy accept;$/.exec(
    hook,
  );
  const [, type, at = "", priority = ""] = match ?? [];
  const number = PRIORITIES[priority] ?? Number(priority);
  if ((type !== "filter" && type !== "nat") || Number.isNaN(number))
    throw new Error(`the model does not know the hook: ${hook}`);
  return { name, type, hook: at, priority: number };
}

const TOKEN = /"[^"]*"|[{}(),|&]|[^\s{}(),|&"]+/g;
/** Long, and like nothing else: not taken apart word by word. */
const HASH = /^jhash (ip6?) saddr \. tcp sport mod (\d+) seed 0x[0-9a-f]{8} vmap \{ (.*) \}$/;

function parseRule(text: string, sets: ReadonlySet<string>, table: Table["family"]): Rule {
  const map = HASH.exec(text);
  if (map !== null) return [spreadBySlot(text, Number(map[2]), map[3] ?? "")];
  const words = new Words(text, text.match(TOKEN) ?? [], sets, table);
  const steps: Step[] = [];
  while (!words.done) steps.push(parseStep(words));
  return steps;
}

function spreadBySlot(rule: string, slots: number, body: string): Step {
  const chains = body.split(", ").map((entry, index) => {
    const [, number, chain] = /^(\d+) : goto (\w+)$/.exec(entry) ?? [];
    if (Number(number) !== index || chain === undefined)
      throw new Error(`the model does not know "${entry}" in: ${rule.slice(0, 120)}`);
    return chain;
  });
  if (slots !== SLOTS || chains.length !== SLOTS)
    throw new Error(`not ${SLOTS} slots: ${rule.slice(0, 120)}`);
  const verdicts = chains.map((chain): Verdict => ({ kind: "goto", chain }));
  return ({ packet: { payload } }) => payload.kind === "tcp" && (verdicts[payload.slot] ?? false);
}

class Words {
  readonly #rule: string;
  readonly #words: readonly string[];
  readonly #sets: ReadonlySet<string>;
  /** The table that the rule is in. */
  readonly table: Table["family"];
  #at = 0;

  constructor(rule: string, words: readonly string[], sets: ReadonlySet<string>, table: Table["family"]) {
    this.table = table;
    this.#rule = rule;
    this.#words = words;
    this.#sets = sets;
  }

  get done(): boolean {
    return this.#at >= this.#words.length;
  }

  next(): string {
    return this.#words[this.#at++] ?? this.unknown("the end");
  }

  /** Takes the words if they come next. */
  takes(...wanted: readonly string[]): boolean {
    if (wanted.some((word, index) => this.#words[this.#at + index] !== word)) return false;
    this.#at += wanted.length;
    return true;
  }

  expect(...wanted: readonly string[]): void {
    if (!this.takes(...wanted)) this.unknown(this.#words[this.#at] ?? "the end");
  }

  /** `{ a, b }` or `a`. */
  list(): readonly string[] {
    if (!this.takes("{")) return [this.next()];
    const items = [this.next()];
    while (this.takes(",")) items.push(this.next());
    this.expect("}");
    return items;
  }

  number(): number {
    return this.#numberOf(this.next());
  }

  numbers(): ReadonlySet<number> {
    return new Set(this.list().map((word) => this.#numberOf(word)));
  }

  /** MAC or IP addresses; no prefixes, ranges or named sets. */
  addresses(): ReadonlySet<string> {
    const listed = this.list();
    for (const word of listed) if (!MAC.test(word) && parseIp(word) === undefined) this.unknown(word);
    return new Set(listed);
  }

  #numberOf(word: string): number {
    return /^\d+$/.test(word) ? Number(word) : this.unknown(word);
  }

  /** `syn`, `(syn | ack)`, `rst | ack` or `0x0`, as bits. */
  flags(): number {
    const bracket = this.takes("(");
    let bits = 0;
    do {
      const word = this.next();
      bits |= /^0(?:x0)?$/.test(word)
        ? 0
        : (Object.entries(TCP_FLAGS).find(([name]) => name === word)?.[1] ?? this.unknown(word));
    } while (this.takes("|"));
    if (bracket) this.expect(")");
    return bits;
  }

  /** `@name`, if that comes next, of a set that the table has. */
  takesSet(): string | undefined {
    const word = this.#words[this.#at] ?? "";
    if (!word.startsWith("@")) return undefined;
    const name = word.slice(1);
    if (!this.#sets.has(name)) this.unknown(word);
    this.#at += 1;
    return name;
  }

  unknown(word: string): never {
    throw new Error(`the model does not know "${word}" in the rule: ${this.#rule.slice(0, 200)}`);
  }
}

const ACCEPT: Verdict = { kind: "accept" };
const DROP: Verdict = { kind: "drop" };
const REJECT: Verdict = { kind: "reject" };
const MASQUERADE: Verdict = { kind: "masquerade" };

/** One match or one statement. */
function parseStep(words: Words): Step {
  const word = words.next();
  switch (word) {
    case "accept":
      return () => ACCEPT;
    case "drop":
      return () => DROP;
    case "reject":
      words.expect("with", "tcp", "reset");
      return () => REJECT;
    case "masquerade":
      return () => MASQUERADE;
    case "goto": {
      const verdict: Verdict = { kind: "goto", chain: words.next() };
      return () => verdict;
    }
    case "fwd":
      return parseForward(words);
    case "dup":
      return parseDuplicate(words);
    case "dnat": {
      words.expect("to");
      const verdict: Verdict = { kind: "translate", to: words.next() };
      return () => verdict;
    }
    case "counter":
      words.expect("name");
      words.next();
      return () => true;
    case "add":
    case "update":
      return parseNote(words);
    case "iifname":
      return parseInterface(words);
    case "meta":
      return parseMeta(words);
    case "ether":
      words.expect("saddr");
      if (words.takes(".")) return parseFlow(words);
      return equals(words, ({ packet }) => packet.sourceMac);
    case "ip":
    case "ip6":
      return parseIpMatch(words, word === "ip" ? 4 : 6);
    case "tcp":
      return parseTcp(words);
    case "udp":
      // No packet of the model is one.
      words.expect("dport");
      words.number();
      return () => false;
    case "icmp":
    case "icmpv6":
      return parseTooBig(words, word);
    case "ct":
      return parseConntrack(words);
    case "socket":
      words.expect("wildcard", "{", "0", ",", "1", "}");
      return ({ ask }) => ask("somebody listens", [true, false]);
    case "fib":
      words.expect("saddr", "type", "local");
      return ({ ask }) => ask("the source is local", [true, false]);
    default:
      return words.unknown(word);
  }
}

/** Takes one off the TTL (ip_decrease_ttl in nft_fwd_neigh_eval), and the packet is gone from here. */
function parseForward(words: Words): Step {
  if (!words.takes("ip")) words.expect("ip6");
  words.expect("to");
  const verdict: Verdict = { kind: "forward", to: words.next() };
  words.expect("device");
  words.next();
  return () => verdict;
}

/** Takes one off the copy's TTL (nf_dup_ipv4 and nf_dup_ipv6, at prerouting); the original goes on. */
function parseDuplicate(words: Words): Step {
  words.expect("to");
  const to = words.next();
  words.expect("device");
  words.next();
  return (passage) => {
    passage.copies.push({ to, hops: oneLess(passage.hops) });
    return true;
  };
}

/**
 * `add @flows4 { ... }`: remembers something, and the rule goes on, or ends where the set is full. With
 * `limit rate over` the rule goes on for what is over the limit alone.
 */
function parseNote(words: Words): Step {
  const set = words.takesSet() ?? words.unknown("no set");
  words.expect("{");
  let limited = false;
  while (!words.takes("}")) limited = words.next() === "limit" || limited;
  return asked(limited ? `${set} is over its limit` : `${set} has room`);
}

/** `ether saddr . ... @flows4`: the set has the connection. */
function parseFlow(words: Words): Step {
  const rest = Array.from({ length: 3 }, () => [words.next(), words.next(), words.next()]);
  const [client = [], port = [], vip = []] = rest;
  const ip = client[0] ?? "";
  const written = [...client, ...port, ...vip, words.next(), words.next()].join(" ");
  if (!/^ip6?$/.test(ip) || written !== `${ip} saddr . tcp sport . ${ip} daddr . tcp dport`)
    words.unknown(written);
  const negated = words.takes("!=");
  const step = asked(`the set ${words.takesSet() ?? words.unknown("no set")} has the connection`);
  return (passage) => passage.packet.payload.kind === "tcp" && step(passage) !== negated;
}

function parseInterface(words: Words): Step {
  const negated = words.takes("!=");
  const name = words.next().replaceAll('"', "");
  const matches = name.endsWith("*")
    ? (interfaceIn: string) => interfaceIn.startsWith(name.slice(0, -1))
    : (interfaceIn: string) => interfaceIn === name;
  return ({ interfaceIn }) => matches(interfaceIn) !== negated;
}

function parseMeta(words: Words): Step {
  if (words.takes("l4proto", "tcp")) return ({ packet }) => packet.payload.kind === "tcp";
  words.expect("pkttype");
  const negated = words.takes("!=");
  words.expect("host");
  return ({ packet }) => packet.toOneHost !== negated;
}

function equals(words: Words, value: (passage: Passage) => string): Step {
  const negated = words.takes("!=");
  const wanted = words.addresses();
  return (passage) => wanted.has(value(passage)) !== negated;
}

function parseIpMatch(words: Words, family: 4 | 6): Step {
  const field = words.next();
  if (field === "saddr" || field === "daddr") {
    const set = words.takesSet();
    if (set !== undefined && field === "saddr" && !isVipsSet(set, family)) words.unknown(`@${set}`);
    const step =
      set !== undefined
        ? isVipsSet(set, family)
          ? refreshed(words.table, ({ packet }) => (field === "saddr" ? packet.source : packet.destination))
          : asked(`the set ${set} has it`)
        : equals(words, ({ packet }) => (field === "saddr" ? packet.source : packet.destination));
    return (passage) => passage.packet.family === family && step(passage);
  }
  if (field !== (family === 4 ? "ttl" : "hoplimit")) return words.unknown(field);
  if (words.takes("set")) {
    const hops = words.number();
    return (passage) => {
      passage.hops = hops;
      return true;
    };
  }
  const test = parseRange(words);
  return ({ packet, hops }) => packet.family === family && test(hops);
}

function isVipsSet(name: string, family: 4 | 6): boolean {
  return name === VIPS_SET || name === ingressVipsSet(family);
}

/** The set has the VIPs while an agent refreshes it. No rule of the model is about another address. */
function refreshed(table: Table["family"], address: (passage: Passage) => string): Step {
  return (passage) => passage.idle?.has(table) !== true && address(passage) === passage.packet.destination;
}

function asked(question: string): Step {
  return ({ ask }) => ask(question, [true, false]);
}

/** `<= 5`, `4-7` or `!= 4-7`. */
function parseRange(words: Words): (value: number) => boolean {
  if (words.takes("<=")) {
    const most = words.number();
    return (value) => value <= most;
  }
  const negated = words.takes("!=");
  const range = words.next();
  const [, from, to] = /^(\d+)-(\d+)$/.exec(range) ?? words.unknown(range);
  return (value) => (value >= Number(from) && value <= Number(to)) !== negated;
}

function parseTcp(words: Words): Step {
  const field = words.next();
  switch (field) {
    case "dport": {
      const set = words.takesSet();
      if (set !== undefined) return asked(`the set ${set} has it`);
      const ports = words.numbers();
      return ({ packet: { payload } }) => payload.kind === "tcp" && ports.has(payload.port);
    }
    case "flags": {
      words.expect("&");
      const mask = words.flags();
      const negated = words.takes("!=");
      if (!negated) words.expect("==");
      const value = words.flags();
      return ({ packet: { payload } }) =>
        payload.kind === "tcp" && ((payload.flags & mask) === value) !== negated;
    }
    case "sequence":
      words.expect("0");
      return ({ ask, packet }) =>
        packet.payload.kind === "tcp" && ask("its sequence number is 0", [true, false]);
    default:
      return words.unknown(field);
  }
}

function parseTooBig(words: Words, protocol: "icmp" | "icmpv6"): Step {
  if (protocol === "icmpv6") words.expect("type", "packet-too-big");
  else if (words.takes("type")) words.expect("destination-unreachable");
  else words.expect("code", "frag-needed");
  const family = protocol === "icmp" ? 4 : 6;
  return ({ packet }) => packet.family === family && packet.payload.kind === "too big";
}

function parseConntrack(words: Words): Step {
  const field = words.next();
  switch (field) {
    case "state": {
      const states = new Set(words.list());
      for (const state of states)
        if (!CONNTRACK_STATES.some((known) => known === state)) words.unknown(state);
      return (passage) => states.has(conntrackState(passage));
    }
    case "timeout":
      words.expect("set");
      words.next();
      return () => true;
    case "direction": {
      const direction = words.next();
      if (direction !== "original" && direction !== "reply") words.unknown(direction);
      return (passage) =>
        known(passage) &&
        passage.ask("its direction is the original", [true, false]) === (direction === "original");
    }
    case "original": {
      const what = words.next();
      if (what === "proto-dst") {
        const ports = words.numbers();
        return (passage) =>
          known(passage) && passage.packet.payload.kind === "tcp" && ports.has(passage.packet.payload.port);
      }
      if (what !== "ip" && what !== "ip6") words.unknown(what);
      words.expect("daddr");
      const set = words.takesSet();
      if (set !== undefined) {
        if (!isVipsSet(set, what === "ip" ? 4 : 6)) words.unknown(`@${set}`);
        const step = refreshed(words.table, ({ packet }) => packet.destination);
        return (passage) => known(passage) && step(passage);
      }
      const addresses = words.addresses();
      return (passage) => known(passage) && addresses.has(passage.packet.destination);
    }
    default:
      return words.unknown(field);
  }
}

export function conntrackState({ ask, packet }: Pick<Passage, "ask" | "packet">): ConntrackState {
  return ask("conntrack's state", conntrackStates(packet.payload));
}

/** Conntrack has an entry for it: else expressions about the entry match nothing. */
function known(passage: Passage): boolean {
  return !["invalid", "untracked"].includes(conntrackState(passage));
}
