/**
 * Clusters for the model of packet-walk.ts: what each node believes of the others, what is true, and a
 * packet. Any of it may be wrong. Nodes are n1, n2, ... as in plans.ts.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { makePlan } from "../../../src/fastpath/plan.ts";
import type { PlanBackend, PlanPeer } from "../../../src/fastpath/plan.ts";
import { FAST_PATH_VERSION, ruleset } from "../../../src/fastpath/ruleset.ts";
import { ingressVipsSet, VIPS_SET } from "../../../src/fastpath/tables.ts";
import type { RulesetPlan, Table } from "../../../src/fastpath/tables.ts";
import type { SetElements } from "../../../src/fastpath/transaction.ts";
import type { Family } from "../../../src/net.ts";
import { EVERYBODY, parseRules } from "./packet-walk.ts";
import type { Cluster, Machine, Rules } from "./packet-walk.ts";
import {
  addressIn,
  fastPathNode,
  macOf,
  POD_INTERFACES,
  rulesetPlan,
  VIP4,
  VIP6,
  wirePlan,
} from "./plans.ts";
import { TCP_FLAGS } from "./rule-language.ts";
import type { Packet, Payload } from "./rule-language.ts";
import { rulesetOfVersion1 } from "./ruleset-v1.ts";

export const FAMILIES = [4, 6] as const;
const VIPS = [VIP4, VIP6];
export const CLIENT = { 4: "10.88.0.200", 6: "fd88::200" } as const;
/** A machine of the same network that only routes: a wrong neighbour entry may lead there. */
export const ROUTER = { name: "router", mac: "02:00:00:00:02:01" } as const;
/** The MAC address of nobody: a bond's other one, a network card that was replaced. */
const STRANGER = "02:00:00:00:02:ff";
export const ROUTER_NUMBER = 40;
const BROADCAST_NUMBER = 50;

/** Text of {@link addressIn}, which is asked for a hundred times in each case. */
const texts = new Map<string, string>();
export function textIn(n: number, family: Family): string {
  const key = `${n} ${family}`;
  const text = texts.get(key) ?? addressIn(n, family).text;
  texts.set(key, text);
  return text;
}

export const numbers = (size: number): readonly number[] =>
  Array.from({ length: size }, (_, index) => index + 1);

/** One in `rarity` is arbitrary. */
function mostly<T>(usual: T, unusual: fc.Arbitrary<T>, rarity: number): fc.Arbitrary<T> {
  return fc.oneof({ weight: rarity - 1, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: unusual });
}

/** Nodes 1 to `size`, and for wrong entries a router, a broadcast address and a number that nobody has. */
const anyNumber = (size: number): fc.Arbitrary<number> =>
  fc.constantFrom(...numbers(size), ROUTER_NUMBER, BROADCAST_NUMBER, 60);
const anyMac = (size: number): fc.Arbitrary<string> =>
  fc.constantFrom(...numbers(size).map(macOf), STRANGER, ROUTER.mac);

/**
 * What node `self` of `size` believes: any part of it may be wrong, and nothing of it need be what the others
 * believe.
 */
function anyBelief(self: number, size: number): fc.Arbitrary<RulesetPlan> {
  const others = numbers(size).filter((n) => n !== self);
  const peers = others.map((n) =>
    fc.record({
      member: mostly(true, fc.constant(false), 4),
      mac: mostly(macOf(n), anyMac(size), 4),
      address: mostly(n, anyNumber(size), 6),
      fresh: fc.boolean(),
    }),
  );
  const backends = numbers(size).map((n) =>
    fc.record({
      n: fc.constant(n),
      grade: fc.constantFrom<PlanBackend["grade"]>("UP", "UP", "DRAIN", "DOWN", "UNKNOWN"),
      serving: fc.boolean(),
    }),
  );
  return fc
    .record({
      peers: fc.tuple(...peers),
      backends: fc.tuple(...backends),
      unheard: fc.subarray(others.map(macOf), { maxLength: Math.min(1, others.length) }),
      address: mostly(self, anyNumber(size), 12),
      wildcardListener: fc.boolean(),
      hasIngress: mostly(true, fc.constant(false), 6),
    })
    .map(({ peers, backends, unheard, address, wildcardListener, hasIngress }) =>
      makePlan(
        {
          vips: VIPS,
          ports: [6443, 8443],
          podInterfaces: POD_INTERFACES,
          node: {
            name: `n${self}`,
            interfaceName: "eth0",
            interfaceIndex: 2,
            addresses: FAMILIES.map((family) => addressIn(address, family)),
            subnets: [],
            mac: macOf(self),
            backendPort: 6443,
            balancerPort: 8443,
            wildcardListener,
            hasIngress,
            shortConntrackTimeouts: true,
          },
        },
        {
          backends: backends.map(({ n, grade, serving }) => ({
            host: textIn(n, 4),
            port: 6443,
            grade,
            serving: serving && grade !== "DOWN",
            // A server that is UP and does not serve is drained.
            drained: !serving && grade === "UP",
            silent: false,
          })),
          peers: peers.flatMap(({ member, mac, address: known, fresh }, index): readonly PlanPeer[] =>
            member
              ? [
                  {
                    node: `n${others[index]}`,
                    mac,
                    fresh,
                    served: true,
                    said: "",
                    fastPath: {
                      version: FAST_PATH_VERSION,
                      addresses: FAMILIES.map((family) => textIn(known, family)),
                    },
                  },
                ]
              : [],
          ),
          unheard: new Set(unheard),
          unproven: new Set(),
        },
      ),
    );
}

/** Rules of node `self` of `size`, by the number of what it believes. */
export type RulesOf = (self: number, size: number, belief: number) => ReadTables;

interface ReadTables {
  readonly tables: readonly Table[];
  readonly rules: Rules;
}

/**
 * Beliefs are numbered, so that the rules of each are made and read once, and every run has the same under a
 * number.
 */
const BELIEFS = 50;

export function rulesMadeBy(make: (plan: RulesetPlan) => readonly Table[]): RulesOf {
  const made = new Map<string, ReadTables>();
  return (self, size, belief) => {
    const key = `${self} ${size} ${belief}`;
    const before = made.get(key);
    if (before !== undefined) return before;
    const [plan] = fc.sample(anyBelief(self, size), { seed: belief, numRuns: 1 });
    assert.ok(plan !== undefined);
    const tables = make({ ...plan, own: [] });
    const read: ReadTables = { tables, rules: parseRules(tables) };
    made.set(key, read);
    return read;
  };
}

export const anyPayload: fc.Arbitrary<Payload> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("tcp" as const),
      port: fc.constantFrom(6443, 8443),
      flags: fc.constantFrom(
        TCP_FLAGS.syn,
        TCP_FLAGS.ack,
        TCP_FLAGS.rst,
        TCP_FLAGS.fin | TCP_FLAGS.ack,
        TCP_FLAGS.syn | TCP_FLAGS.ack,
        0,
      ),
      slot: fc.integer({ min: 0, max: 1023 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "too big" as const }) },
);

/** With what a kernel has to be given. */
export interface CaseMachine extends Machine {
  /** None of a router. */
  readonly tables: readonly Table[];
  readonly neighbours: ReadonlyMap<string, string>;
}

export interface CaseCluster extends Cluster {
  readonly machines: readonly CaseMachine[];
}

export interface Case {
  /** For the message of a failed run: the rest is functions. */
  readonly [fc.toStringMethod]: () => string;
  readonly cluster: CaseCluster;
  readonly packet: Packet;
  readonly toMac: string;
  readonly size: number;
}

const everyAddress = (size: number): readonly [number, Family][] =>
  [...numbers(size), ROUTER_NUMBER].flatMap((n) => FAMILIES.map((family): [number, Family] => [n, family]));

function anyMachine(n: number, size: number, rulesOf: RulesOf, rarity: number): fc.Arbitrary<CaseMachine> {
  return fc
    .record({
      belief: fc.integer({ min: 0, max: BELIEFS - 1 }),
      mac: mostly(macOf(n), anyMac(size), rarity),
      address: mostly(n, anyNumber(size), 20),
      holdsVip: mostly(false, fc.constant(true), size + 1),
      vipAt: fc.integer({ min: 1, max: size }),
      wrong: mostly<readonly { address: string; mac: string }[]>(
        [],
        fc.array(
          fc.record({
            address: fc.constantFrom(...everyAddress(size)).map(([of, family]) => textIn(of, family)),
            mac: fc.oneof(anyMac(size), fc.constant(EVERYBODY)),
          }),
          { maxLength: 4 },
        ),
        rarity,
      ),
    })
    .map(({ belief, mac, address, holdsVip, vipAt, wrong }) => {
      const known = new Map<string, string>([
        ...everyAddress(size).map(([of, family]): [string, string] => [
          textIn(of, family),
          of === ROUTER_NUMBER ? ROUTER.mac : macOf(of),
        ]),
        [textIn(BROADCAST_NUMBER, 4), EVERYBODY],
        [textIn(BROADCAST_NUMBER, 6), EVERYBODY],
        [VIP4.text, macOf(vipAt)],
        [VIP6.text, macOf(vipAt)],
        ...wrong.map((entry): [string, string] => [entry.address, entry.mac]),
      ]);
      return {
        name: `n${n}`,
        mac: mac === ROUTER.mac ? macOf(n) : mac,
        addresses: FAMILIES.map((family) => textIn(address, family)),
        holdsVip,
        ...rulesOf(n, size, belief),
        neighbours: known,
        neighbour: (text) => known.get(text),
      };
    });
}

/** @param rarity one node in so many has wrong neighbour entries, or the MAC address of another */
export function anyCase(rulesOf: RulesOf, mostNodes: number, rarity = 6): fc.Arbitrary<Case> {
  return fc.integer({ min: 1, max: mostNodes }).chain((size) => anyCaseOf(size, rulesOf, rarity));
}

export function anyCaseOf(size: number, rulesOf: RulesOf, rarity: number): fc.Arbitrary<Case> {
  return fc
    .record({
      machines: fc.tuple(...numbers(size).map((n) => anyMachine(n, size, rulesOf, rarity))),
      routed: fc.integer({ min: 1, max: size }),
      tracksAll: fc.boolean(),
      family: fc.constantFrom<Family>(4, 6),
      payload: anyPayload,
      hops: fc.oneof(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 160, max: 205 })),
      sourceMac: anyMac(size),
      from: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: size })),
      toMac: fc.constantFrom(...numbers(size).map(macOf), ROUTER.mac),
    })
    .map(({ machines, routed, tracksAll, family, payload, hops, sourceMac, from, toMac }) => {
      const vip = family === 4 ? VIP4.text : VIP6.text;
      const neighbours = new Map(
        [VIP4.text, VIP6.text].map((text): [string, string] => [text, macOf(routed)]),
      );
      const router: CaseMachine = {
        ...ROUTER,
        addresses: FAMILIES.map((each) => textIn(ROUTER_NUMBER, each)),
        holdsVip: false,
        rules: undefined,
        tables: [],
        neighbours,
        neighbour: (text) => neighbours.get(text),
      };
      const source = from === 0 ? CLIENT[family] : textIn(from, family);
      return {
        cluster: { machines: [...machines, router], tracksAll },
        packet: { family, sourceMac, toOneHost: true, source, destination: vip, hops, payload },
        toMac,
        size,
        [fc.toStringMethod]: () =>
          `${size} nodes with the MAC addresses ${machines.map(({ mac }) => mac).join()}`,
      };
    });
}

/**
 * Nodes whose agents have been gone for so long that their rules take no packet without a count any more,
 * each of their tables for itself. Such a node is a router for that packet, so its neighbour table has the
 * VIP where a machine has it bound or takes its packets; a network of routers that all know the VIP elsewhere
 * is none of this product's.
 */
export function withIdle(cases: fc.Arbitrary<Case>): fc.Arbitrary<Case> {
  const anyIdle = fc.oneof(
    { weight: 2, arbitrary: fc.constant(new Set<Table["family"]>(["netdev", "ip", "ip6"])) },
    {
      weight: 1,
      arbitrary: fc
        .subarray<Table["family"]>(["netdev", "ip", "ip6"])
        .map((tables) => new Set<Table["family"]>(tables)),
    },
    { weight: 1, arbitrary: fc.constant(new Set<Table["family"]>()) },
  );
  return cases.chain((each) =>
    fc
      .record({
        idle: fc.array(anyIdle, { minLength: each.size, maxLength: each.size }),
        at: fc.nat({ max: 100 }),
      })
      .map(({ idle, at }): Case => {
        const vip = each.packet.destination;
        const asleep = each.cluster.machines.map((machine, index) => ({ ...machine, idle: idle[index] }));
        const serves = (machine: CaseMachine): boolean => machine.holdsVip || takes(machine, each.packet);
        const macs = [...new Set(asleep.map(({ mac }) => mac))].filter((mac) =>
          asleep.every((machine) => machine.mac !== mac || serves(machine)),
        );
        const vipMac = macs.length === 0 ? undefined : macs[at % macs.length];
        const machines = asleep.map((machine): CaseMachine => {
          if (machine.rules === undefined || takes(machine, each.packet)) return machine;
          const neighbours = new Map(machine.neighbours);
          neighbours.delete(vip);
          if (vipMac !== undefined) neighbours.set(vip, vipMac);
          return { ...machine, neighbours, neighbour: (text) => neighbours.get(text) };
        });
        return {
          ...each,
          cluster: { ...each.cluster, machines },
          [fc.toStringMethod]: () =>
            `${each.size} nodes, idle ${machines.map((machine) => [...(machine.idle ?? [])].join("+") || "-").join()}, MAC addresses ${machines.map(({ mac }) => mac).join()}, VIP at ${machines
              .filter(({ holdsVip }) => holdsVip)
              .map(({ name }) => name)
              .join()}`,
        };
      }),
  );
}

/** It takes such a packet without a count: TCP by its ingress, and either by its table `ip` or `ip6`. */
function takes({ rules, idle }: CaseMachine, { family, payload }: Packet): boolean {
  const fresh = (table: Table["family"]): boolean => idle?.has(table) !== true;
  const byIngress = payload.kind === "tcp" && rules?.ingress !== undefined && fresh("netdev");
  return rules !== undefined && (byIngress || fresh(family === 4 ? "ip" : "ip6"));
}

/** What the sets of VIPs of a machine hold. */
export function vipElements({ tables, idle }: Pick<CaseMachine, "tables" | "idle">): readonly SetElements[] {
  return tables.flatMap(({ family, sets }) =>
    VIPS.flatMap((vip): readonly SetElements[] => {
      const wanted =
        family === "netdev"
          ? ingressVipsSet(vip.family)
          : family === (vip.family === 4 ? "ip" : "ip6")
            ? VIPS_SET
            : undefined;
      return idle?.has(family) !== true && sets.some(({ name }) => name === wanted)
        ? [{ family, set: wanted ?? "", elements: [vip.text] }]
        : [];
    }),
  );
}

/**
 * A healthy cluster by the rules of the current version or of version 1, before something is wrong in it. The
 * VIP is at n1. Version 1 has IPv4 only.
 */
export function healthy(
  version: 1 | typeof FAST_PATH_VERSION,
  size: number,
  wrong: {
    /** What the others take for a node's MAC address. */ readonly believed?: ReadonlyMap<number, string>;
    /** What it is. */ readonly mac?: ReadonlyMap<number, string>;
  } = {},
): CaseCluster {
  const names = numbers(size).map((n) => `n${n}`);
  const trueMac = (n: number): string => wrong.mac?.get(n) ?? macOf(n);
  const machines = numbers(size).map((self): CaseMachine => {
    const peers = numbers(size)
      .filter((n) => n !== self)
      .map((n) => ({ ...fastPathNode(n, FAMILIES), mac: wrong.believed?.get(n) ?? macOf(n) }));
    const wire = wirePlan({ self: fastPathNode(self, FAMILIES), peers, inRing: names, acceptsNew: names });
    const tables =
      version === 1
        ? rulesetOfVersion1(wire, VIP4.text, 6443)
        : ruleset(rulesetPlan({ wire, own: [] }, FAMILIES));
    const neighbours = new Map([
      ...FAMILIES.flatMap((family) =>
        numbers(size).map((n): [string, string] => [textIn(n, family), trueMac(n)]),
      ),
      ...VIPS.map(({ text }): [string, string] => [text, trueMac(1)]),
    ]);
    return {
      name: `n${self}`,
      mac: trueMac(self),
      addresses: FAMILIES.map((family) => textIn(self, family)),
      holdsVip: self === 1,
      tables,
      rules: parseRules(tables),
      neighbours,
      neighbour: (text) => neighbours.get(text),
    };
  });
  return { machines, tracksAll: true };
}

export function fromClient(payload: Payload, changes: Partial<Packet> = {}): Packet {
  const { family = 4 } = changes;
  return {
    family,
    sourceMac: STRANGER,
    toOneHost: true,
    source: CLIENT[family],
    destination: family === 4 ? VIP4.text : VIP6.text,
    hops: 64,
    payload,
    ...changes,
  };
}
