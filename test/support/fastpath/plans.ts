/** Plans for the fast path: nodes n1, n2, ... with 10.88.0.11, fd88::11 and 02:00:00:00:00:01 on. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { FastPathNode, OwnTarget, RulesetPlan, WirePlan } from "../../../src/fastpath/tables.ts";
import { parseIp } from "../../../src/net.ts";
import type { Family, IpAddress } from "../../../src/net.ts";

export function ip(text: string): IpAddress {
  const address = parseIp(text);
  assert.ok(address !== undefined, text);
  return address;
}

export const VIP4 = ip("10.88.0.100");
export const VIP6 = ip("fd88::100");

export function addressIn(n: number, family: Family): IpAddress {
  return ip(family === 4 ? `10.88.0.${10 + n}` : `fd88::${10 + n}`);
}

/** Of the bridge plugin, and of Calico. */
export const POD_INTERFACES = ["cni0", "cali*"];

export const macOf = (n: number): string => `02:00:00:00:00:0${n}`;

export function fastPathNode(n: number, families: readonly Family[] = [4]): FastPathNode {
  return { name: `n${n}`, addresses: families.map((family) => addressIn(n, family)), mac: macOf(n) };
}

/** That of n1, whose peers are n2 and n3, all well. */
export function wirePlan(changes: Partial<WirePlan> = {}, families: readonly Family[] = [4]): WirePlan {
  return {
    interfaceName: "eth0",
    interfaceIndex: 2,
    self: fastPathNode(1, families),
    peers: [fastPathNode(2, families), fastPathNode(3, families)],
    leftOut: [],
    inRing: ["n1", "n2", "n3"],
    acceptsNew: ["n1", "n2", "n3"],
    passesOn: false,
    deliverTo: 6443,
    listener: 6443,
    hasIngress: true,
    shortConntrackTimeouts: true,
    ...changes,
  };
}

export function ownTargets(families: readonly Family[] = [4]): readonly OwnTarget[] {
  return families.flatMap((family) => [1, 2, 3].map((n) => ({ address: addressIn(n, family), port: 6443 })));
}

export function rulesetPlan(
  changes: Partial<RulesetPlan> = {},
  families: readonly Family[] = [4],
): RulesetPlan {
  return {
    vips: families.map((family) => (family === 4 ? VIP4 : VIP6)),
    ports: [6443, 8443],
    podInterfaces: POD_INTERFACES,
    wire: wirePlan({}, families),
    own: ownTargets(families),
    ...changes,
  };
}

const someFamilies = fc.subarray<Family>([4, 6], { minLength: 1 });
const someNames = fc.subarray(["n1", "n2", "n3", "n4", "n5"]);

/** Any plan that types allow, sensible or not: what the Lease says is not ours to choose. */
export const anyPlan: fc.Arbitrary<RulesetPlan> = fc
  .record({
    vips: someFamilies,
    ports: fc.subarray([6443, 8443, 443], { minLength: 1 }),
    podInterfaces: fc.subarray(["cni0", "cali*", "veth*", "eth*"]),
    worker: fc.boolean(),
    self: fc.subarray<Family>([4, 6]),
    peers: fc.array(fc.subarray<Family>([4, 6]), { maxLength: 4 }),
    inRing: someNames,
    acceptsNew: someNames,
    passesOn: fc.boolean(),
    deliverTo: fc.constantFrom(6443, 8443),
    listener: fc.constantFrom(undefined, 6443, 7443),
    hasIngress: fc.boolean(),
    shortConntrackTimeouts: fc.boolean(),
    own: fc.array(
      fc.record({
        n: fc.integer({ min: 1, max: 5 }),
        family: fc.constantFrom<Family>(4, 6),
        port: fc.constantFrom(6443, 8443),
      }),
      { maxLength: 5 },
    ),
  })
  .map(({ vips, ports, podInterfaces, worker, self, peers, own, ...wire }) => ({
    vips: vips.map((family) => (family === 4 ? VIP4 : VIP6)),
    ports,
    podInterfaces,
    wire: worker
      ? undefined
      : {
          interfaceName: "eth0",
          interfaceIndex: 2,
          self: fastPathNode(1, self),
          peers: peers.map((families, index) => fastPathNode(index + 2, families)),
          leftOut: [],
          ...wire,
        },
    own: own.map(({ n, family, port }) => ({ address: addressIn(n, family), port })),
  }));
