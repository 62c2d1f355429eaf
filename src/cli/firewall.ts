/**
 * Says whether the machine's nftables rules let a packet in. Pure. It walks the rules that `nft --json list
 * ruleset` shows, as the kernel does (nft(8)), for the first packet of a connection. What a rule asks of such
 * a packet may not be known: a match of iptables that nft cannot show, or the address of a client. Then the
 * rule may apply or not, and the answer says so instead of guessing.
 */
import { isObject } from "../kube/record-codec.ts";
import type { JsonObject } from "../kube/record-codec.ts";
import { ipNumber, isInSubnet, parseIp } from "../net.ts";
import type { IpAddress } from "../net.ts";

/** The first packet of what somebody sends to this machine. */
export interface Packet {
  readonly family: 4 | 6;
  /** The interface that it comes in by. */
  readonly interface: string;
  readonly protocol: "tcp" | "icmp";
  /** undefined: from anywhere. */
  readonly source: string | undefined;
  readonly destination: string;
  /** With tcp; an icmp packet is an echo request. */
  readonly port: number | undefined;
}

export type Passing =
  | { readonly kind: "passes" }
  /** `by` names the chain, or the rule in it. */
  | { readonly kind: "dropped"; readonly by: string }
  /** Dropped, unless a rule accepts it that cannot be judged from here: `unless` names that one. */
  | { readonly kind: "unsure"; readonly by: string; readonly unless: string };

/** The tables of this project, which drop nothing that is meant for this machine. */
const OWN_TABLE = "leasehold";
/** The kernel's own limit of jumps is 16 (NFT_JUMP_STACK_SIZE). */
const DEEPEST = 16;
/** Most rules that are walked for one packet. The kernel has seen to it that there is no loop. */
const MOST_STEPS = 100_000;

type Truth = "yes" | "no" | "maybe";

interface Chain {
  readonly table: string;
  readonly name: string;
  readonly family: string;
  readonly hook: string | undefined;
  readonly type: string | undefined;
  readonly drops: boolean;
  readonly rules: { readonly handle: number; readonly statements: readonly JsonObject[] }[];
}

/** What `nft list ruleset` shows, as {@link judge} walks it. */
export interface Ruleset {
  readonly chains: ReadonlyMap<string, Chain>;
  /** The elements of named sets and maps. */
  readonly sets: ReadonlyMap<string, readonly unknown[]>;
}

/** The answer is not what nft writes. */
class Unreadable extends Error {}

/** @throws {Error} the text is not what `nft --json list ruleset` writes */
export function parseRuleset(text: string): Ruleset {
  const value: unknown = JSON.parse(text);
  const items = isObject(value) ? value["nftables"] : undefined;
  if (!Array.isArray(items)) throw new Unreadable("it has no list of rules");
  const chains = new Map<string, Chain>();
  const sets = new Map<string, readonly unknown[]>();
  for (const item of items) {
    if (!isObject(item)) continue;
    const { chain, rule } = item;
    const set = item["set"] ?? item["map"];
    if (isObject(chain)) {
      chains.set(keyOf(chain, chain["name"]), {
        table: `${textOf(chain["family"])} ${textOf(chain["table"])}`,
        name: textOf(chain["name"]),
        family: textOf(chain["family"]),
        hook: typeof chain["hook"] === "string" ? chain["hook"] : undefined,
        type: typeof chain["type"] === "string" ? chain["type"] : undefined,
        drops: chain["policy"] === "drop",
        rules: [],
      });
    } else if (isObject(rule) && Array.isArray(rule["expr"])) {
      const handle = typeof rule["handle"] === "number" ? rule["handle"] : 0;
      chains
        .get(keyOf(rule, rule["chain"]))
        ?.rules.push({ handle, statements: rule["expr"].filter((one) => isObject(one)) });
    } else if (isObject(set)) {
      sets.set(keyOf(set, `@${textOf(set["name"])}`), Array.isArray(set["elem"]) ? set["elem"] : []);
    }
  }
  return { chains, sets };
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
const keyOf = (object: JsonObject, name: unknown): string =>
  `${textOf(object["family"])} ${textOf(object["table"])} ${textOf(name)}`;

/** Names the program that made the rules, as far as the names of its tables and chains tell. */
export function makerOf({ chains }: Ruleset): string | null {
  const names = [...chains.values()].map(({ table, name }) => `${table} ${name}`);
  const makers = [
    ["firewalld", / firewalld /],
    ["ufw", / ufw6?-/],
    ["Calico", / cali-/],
  ] as const;
  return makers.find(([, pattern]) => names.some((name) => pattern.test(name)))?.[0] ?? null;
}

/** What the rules at the hooks before a local socket do with the packet. */
export function judge(rules: Ruleset, packet: Packet): Passing {
  const walker = new Walker(rules, packet);
  let unsure: Passing | undefined;
  for (const chain of rules.chains.values()) {
    // Translation neither accepts nor drops.
    if (chain.type !== "filter" || !["prerouting", "input"].includes(chain.hook ?? "")) continue;
    if (chain.table.endsWith(` ${OWN_TABLE}`) || !isFor(chain.family, packet)) continue;
    const passing = walker.base(chain);
    if (passing.kind === "dropped") return passing;
    if (passing.kind === "unsure") unsure ??= passing;
  }
  return unsure ?? { kind: "passes" };
}

const isFor = (family: string, packet: Packet): boolean =>
  family === "inet" || family === (packet.family === 4 ? "ip" : "ip6");

/** How a chain ended. `next`: it did not decide. */
type End = { readonly kind: "accept" | "next" } | { readonly kind: "drop"; readonly by: string };

/** A value that an expression has in this packet. `unknown`: it cannot be told. `none`: it has no such field. */
type Value = { readonly kind: "unknown" | "none" } | { readonly kind: "value"; readonly value: unknown };

const UNKNOWN: Value = { kind: "unknown" };
const NONE: Value = { kind: "none" };
const is = (value: unknown): Value => ({ kind: "value", value });

class Walker {
  readonly #rules: Ruleset;
  readonly #packet: Packet;
  #steps = 0;
  /** The first rule that may have accepted. */
  #mayAccept: string | undefined;

  constructor(rules: Ruleset, packet: Packet) {
    this.#rules = rules;
    this.#packet = packet;
  }

  base(chain: Chain): Passing {
    this.#mayAccept = undefined;
    const end = this.#chain(chain, 0);
    const by =
      end.kind === "drop"
        ? end.by
        : end.kind === "next" && chain.drops
          ? `the policy of chain ${chain.name} in table ${chain.table}`
          : undefined;
    if (by === undefined) return { kind: "passes" };
    return this.#mayAccept === undefined
      ? { kind: "dropped", by }
      : { kind: "unsure", by, unless: this.#mayAccept };
  }

  #chain(chain: Chain, depth: number): End {
    for (const { handle, statements } of chain.rules) {
      this.#steps += 1;
      if (this.#steps > MOST_STEPS || depth > DEEPEST) throw new Unreadable("there are too many rules");
      const name = `rule ${handle} of chain ${chain.name} in table ${chain.table}`;
      const end = this.#rule(chain, statements, name, depth);
      if (end !== undefined) return end === "return" ? { kind: "next" } : end;
    }
    return { kind: "next" };
  }

  /** undefined: the next rule is asked. */
  #rule(
    chain: Chain,
    statements: readonly JsonObject[],
    name: string,
    depth: number,
  ): End | "return" | undefined {
    let sure = true;
    for (const statement of statements) {
      const truth = this.#matches(chain, statement, statements);
      if (truth === "no") return undefined;
      if (truth === "maybe") sure = false;
      const verdict = this.#verdict(chain, statement);
      if (verdict === undefined) continue;
      if (verdict === "unknown") {
        this.#mayAccept ??= name;
        return undefined;
      }
      const end = this.#end(chain, verdict, name, depth);
      if (sure) {
        // A chain that was jumped to and did not decide leads back here.
        if (end !== "return" && end.kind === "next" && "jump" in verdict) continue;
        return end;
      }
      // A rule that may drop is a list of addresses or a limit, and as such no wall.
      if (end !== "return" && end.kind === "accept") this.#mayAccept ??= name;
      return undefined;
    }
    return undefined;
  }

  #end(chain: Chain, verdict: JsonObject, name: string, depth: number): End | "return" {
    if ("accept" in verdict) return { kind: "accept" };
    if ("drop" in verdict || "reject" in verdict) return { kind: "drop", by: name };
    if ("return" in verdict) return "return";
    const target = verdict["jump"] ?? verdict["goto"];
    const to = this.#rules.chains.get(`${chain.table} ${isObject(target) ? textOf(target["target"]) : ""}`);
    return to === undefined ? { kind: "next" } : this.#chain(to, depth + 1);
  }

  /** The verdict of a statement: undefined when it has none, `unknown` when it depends on what is not known. */
  #verdict(chain: Chain, statement: JsonObject): JsonObject | "unknown" | undefined {
    const { vmap, xt } = statement;
    if (isObject(vmap)) {
      const value = this.#value(vmap["key"]);
      if (value.kind === "none") return undefined;
      for (const pair of this.#elements(chain, vmap["data"])) {
        if (!Array.isArray(pair)) continue;
        const truth = this.#equals(chain, value, unwrap(pair[0]));
        if (truth === "yes" && isObject(pair[1])) return pair[1];
        if (truth === "maybe") return "unknown";
      }
      return undefined;
    }
    // Targets of iptables that nft shows by their names alone.
    if (isObject(xt) && xt["type"] === "target")
      return xt["name"] === "REJECT" ? { reject: null } : undefined;
    if ("queue" in statement) return "unknown";
    return ["accept", "drop", "reject", "return", "jump", "goto"].some((word) => word in statement)
      ? statement
      : undefined;
  }

  #matches(chain: Chain, statement: JsonObject, rule: readonly JsonObject[]): Truth {
    const { match, xt, limit } = statement;
    // One packet is within any limit, and not over it.
    if (isObject(limit)) return limit["inv"] === true ? "no" : "yes";
    if (isObject(xt) && xt["type"] === "match") return ofXtables(xt["name"], rule);
    if (!isObject(match)) return "yes";
    const left = this.#value(match["left"]);
    if (left.kind === "none") return "no";
    return this.#compare(chain, left, match["op"], match["right"]);
  }

  #compare(chain: Chain, left: Value, op: unknown, right: unknown): Truth {
    if (left.kind !== "value") return "maybe";
    if (op === "==" || op === "in") return this.#equals(chain, left, right);
    if (op === "!=") {
      const equal = this.#equals(chain, left, right);
      return equal === "maybe" ? equal : equal === "yes" ? "no" : "yes";
    }
    if (typeof left.value !== "number" || typeof right !== "number") return "maybe";
    const holds = {
      "<": left.value < right,
      ">": left.value > right,
      "<=": left.value <= right,
      ">=": left.value >= right,
    };
    return Object.entries(holds).find(([word]) => word === op)?.[1] === true ? "yes" : "no";
  }

  #elements(chain: Chain, data: unknown): readonly unknown[] {
    if (typeof data === "string" && data.startsWith("@"))
      return this.#rules.sets.get(`${chain.table} ${data}`) ?? [];
    if (isObject(data) && Array.isArray(data["set"])) return data["set"];
    return Array.isArray(data) ? data : [];
  }

  #equals(chain: Chain, left: Value, right: unknown): Truth {
    if (left.kind !== "value") return left.kind === "unknown" ? "maybe" : "no";
    const isSet =
      Array.isArray(right) ||
      (isObject(right) && "set" in right) ||
      (typeof right === "string" && right.startsWith("@"));
    if (!isSet) return this.#same(left.value, unwrap(right));
    let truth: Truth = "no";
    for (const element of this.#elements(chain, right)) {
      const one = this.#same(left.value, unwrap(element));
      if (one === "yes") return one;
      if (one === "maybe") truth = one;
    }
    return truth;
  }

  #same(value: unknown, wanted: unknown): Truth {
    if (wanted === "*") return "yes";
    if (Array.isArray(value)) {
      const parts = isObject(wanted) && Array.isArray(wanted["concat"]) ? wanted["concat"] : undefined;
      if (parts?.length !== value.length) return "maybe";
      const truths = value.map((part: Value, at) =>
        part.kind === "value"
          ? this.#same(part.value, unwrap(parts[at]))
          : part.kind === "none"
            ? "no"
            : "maybe",
      );
      return truths.includes("no") ? "no" : truths.includes("maybe") ? "maybe" : "yes";
    }
    if (isObject(wanted)) {
      const { range, prefix } = wanted;
      if (Array.isArray(range)) return within(value, range[0], range[1]);
      if (isObject(prefix)) return inPrefix(value, prefix["addr"], prefix["len"]);
      return "maybe";
    }
    if (typeof value === "string" && typeof wanted === "string") {
      if (wanted.endsWith("*")) return value.startsWith(wanted.slice(0, -1)) ? "yes" : "no";
      const [a, b] = [parseIp(value), parseIp(wanted)];
      return (a !== undefined && b !== undefined ? a.text === b.text : value === wanted) ? "yes" : "no";
    }
    return value === wanted ? "yes" : "no";
  }

  #value(expression: unknown): Value {
    if (!isObject(expression)) return UNKNOWN;
    const { meta, payload, ct, fib, concat } = expression;
    if (Array.isArray(concat)) return is(concat.map((part) => this.#value(part)));
    if (isObject(meta)) return this.#meta(textOf(meta["key"]));
    if (isObject(payload)) return this.#payload(textOf(payload["protocol"]), textOf(payload["field"]));
    if (isObject(ct)) {
      if (ct["key"] === "state") return is("new");
      return ct["key"] === "direction" ? is("original") : UNKNOWN;
    }
    if (isObject(fib) && fib["result"] === "type" && JSON.stringify(fib["flags"] ?? "").includes("daddr"))
      return is("local");
    return UNKNOWN;
  }

  #meta(key: string): Value {
    const { family, interface: name, protocol } = this.#packet;
    switch (key) {
      case "iif":
      case "iifname":
        return is(name);
      case "nfproto":
        return is(family === 4 ? "ipv4" : "ipv6");
      case "protocol":
        return is(family === 4 ? "ip" : "ip6");
      case "l4proto":
        return is(this.#protocol(protocol));
      case "pkttype":
        return is("host");
      case "mark":
        return is(0);
      default:
        return UNKNOWN;
    }
  }

  #protocol(protocol: Packet["protocol"]): string {
    return protocol === "icmp" && this.#packet.family === 6 ? "ipv6-icmp" : protocol;
  }

  #payload(protocol: string, field: string): Value {
    const { family, protocol: carried, source, destination, port } = this.#packet;
    switch (protocol) {
      case "ip":
      case "ip6":
        if ((protocol === "ip") !== (family === 4)) return NONE;
        if (field === "saddr") return source === undefined ? UNKNOWN : is(source);
        if (field === "daddr") return is(destination);
        return field === "protocol" || field === "nexthdr" ? is(this.#protocol(carried)) : UNKNOWN;
      case "tcp":
      case "th":
        if (carried !== "tcp") return NONE;
        return field === "dport" ? is(port) : UNKNOWN;
      case "icmp":
      case "icmpv6":
        if (carried !== "icmp" || (protocol === "icmp") !== (family === 4)) return NONE;
        return field === "type" ? is("echo-request") : UNKNOWN;
      case "udp":
      case "sctp":
      case "dccp":
      case "udplite":
        return NONE;
      default:
        return UNKNOWN;
    }
  }
}

/**
 * A match of iptables of which nft shows the name alone. `-m conntrack` accepts ESTABLISHED where it stands by
 * itself, as every firewall does, and NEW where the rule also names what is new. As a rule that drops, it is
 * about INVALID.
 */
function ofXtables(name: unknown, rule: readonly JsonObject[]): Truth {
  if (name === "comment") return "yes";
  if ((name !== "conntrack" && name !== "state") || !rule.some((statement) => "accept" in statement))
    return "maybe";
  return rule.some(({ match }) => isObject(match)) ? "yes" : "no";
}

/** The value of a set's element, which may have a time-out or a counter of its own. */
function unwrap(element: unknown): unknown {
  return isObject(element) && isObject(element["elem"]) ? element["elem"]["val"] : element;
}

const ipOf = (value: unknown): IpAddress | undefined =>
  typeof value === "string" ? parseIp(value) : undefined;

function within(value: unknown, from: unknown, to: unknown): Truth {
  if (typeof value === "number" && typeof from === "number" && typeof to === "number")
    return value >= from && value <= to ? "yes" : "no";
  const [a, b, c] = [ipOf(value), ipOf(from), ipOf(to)];
  if (a === undefined || b === undefined || c === undefined) return "maybe";
  return ipNumber(a) >= ipNumber(b) && ipNumber(a) <= ipNumber(c) ? "yes" : "no";
}

function inPrefix(value: unknown, base: unknown, length: unknown): Truth {
  const [ip, address] = [ipOf(value), ipOf(base)];
  if (ip === undefined || address === undefined || typeof length !== "number" || !Number.isInteger(length))
    return "maybe";
  return isInSubnet({ address, prefixLength: length }, ip) ? "yes" : "no";
}
