import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makePlan } from "../../../src/fastpath/plan.ts";
import type { PlanBackend, PlanFacts, PlanNode, PlanPeer } from "../../../src/fastpath/plan.ts";
import { FAST_PATH_VERSION, MOST_MEMBERS } from "../../../src/fastpath/ruleset.ts";
import type { RulesetPlan, WirePlan } from "../../../src/fastpath/tables.ts";
import type { Family } from "../../../src/net.ts";
import { addressIn, macOf, VIP4, VIP6 } from "../../support/fastpath/plans.ts";
import { backend, dead, peer } from "./facts.ts";

const node: PlanNode = {
  name: "n1",
  interfaceName: "eth0",
  interfaceIndex: 2,
  addresses: [addressIn(1, 4)],
  subnets: [
    { address: addressIn(1, 4), prefixLength: 24 },
    { address: addressIn(1, 6), prefixLength: 64 },
  ],
  mac: macOf(1),
  backendPort: 6443,
  balancerPort: 8443,
  wildcardListener: true,
  hasIngress: true,
  shortConntrackTimeouts: true,
};

interface Case {
  readonly node?: Partial<PlanNode>;
  readonly backends?: readonly PlanBackend[];
  readonly peers?: readonly PlanPeer[];
  readonly unheard?: readonly string[];
  readonly unproven?: readonly string[];
  readonly families?: readonly Family[];
}

function planOf({
  node: changes = {},
  backends = [backend(1), backend(2), backend(3)],
  peers = [peer(2), peer(3)],
  unheard = [],
  unproven = [],
  families = [4],
}: Case): RulesetPlan {
  const facts: PlanFacts = { backends, peers, unheard: new Set(unheard), unproven: new Set(unproven) };
  return makePlan(
    {
      vips: families.map((family) => (family === 4 ? VIP4 : VIP6)),
      ports: [6443],
      podInterfaces: [],
      node: { ...node, ...changes },
    },
    facts,
  );
}

function wireOf(what: Case): WirePlan {
  const { wire } = planOf(what);
  assert.ok(wire !== undefined);
  return wire;
}

const names = (wire: WirePlan): readonly string[] => wire.peers.map(({ name }) => name);
const own = (plan: RulesetPlan): readonly string[] =>
  plan.own.map(({ address, port }) => `${address.text} ${port}`);

describe("who takes part", () => {
  test("everyone who says in the Lease that it has the rules, in one order whatever that of the Lease", () => {
    for (const peers of [
      [peer(2), peer(3)],
      [peer(3), peer(2)],
    ]) {
      const wire = wireOf({ peers });
      assert.deepEqual(names(wire), ["n2", "n3"]);
      assert.deepEqual(
        [wire.inRing, wire.acceptsNew, wire.deliverTo, wire.listener],
        [["n1", "n2", "n3"], ["n1", "n2", "n3"], 6443, 6443],
      );
    }
  });

  const strangers: readonly (readonly [string, PlanPeer])[] = [
    ["one without rules", peer(2, { fastPath: null })],
    [
      "one whose rules are of another version",
      peer(2, { fastPath: { version: FAST_PATH_VERSION + 1, addresses: ["10.88.0.12"] } }),
    ],
    ["this node itself", peer(2, { node: "n1" })],
    ["one with this node's MAC: its packets would look like ours", peer(2, { mac: macOf(1) })],
    ["one that does not know its MAC yet", peer(2, { mac: "" })],
    [
      "one that claims the VIP as its own address",
      peer(2, { fastPath: { version: FAST_PATH_VERSION, addresses: [VIP4.text] } }),
    ],
    ["one of the version before", peer(2, { fastPath: { version: 1, addresses: ["10.88.0.12"] } })],
    [
      "one that claims this node's address",
      peer(2, { fastPath: { version: FAST_PATH_VERSION, addresses: ["10.88.0.11"] } }),
    ],
    ["one that has the address of no API server", peer(4, { served: false })],
    ...[
      "255.255.255.255",
      "10.88.0.255",
      "10.88.0.0",
      "10.88.1.12",
      "224.0.0.1",
      "127.0.0.1",
      "0.0.0.0",
      "fd88::",
      "fd89::12",
      "ff02::1",
      "::1",
      "::",
      "::ffff:10.88.0.12",
    ].map((text): readonly [string, PlanPeer] => [
      `one that offers ${text} next to the address of an API server`,
      peer(2, { fastPath: { version: FAST_PATH_VERSION, addresses: ["10.88.0.12", text] } }),
    ]),
    ["one that has left: silent, and no API server of the cluster", peer(4, { fresh: false })],
  ];
  for (const [what, stranger] of strangers)
    test(`not ${what}`, () => assert.deepEqual(names(wireOf({ peers: [stranger] })), []));

  test("of two with one MAC only one", () =>
    assert.deepEqual(names(wireOf({ peers: [peer(2), peer(3, { mac: macOf(2) })] })), ["n2"]));

  test("of two with one address the one whose agent writes: the other was replaced by it", () => {
    const replaced = peer(3, { node: "n0", mac: macOf(9), fresh: false });
    assert.deepEqual(names(wireOf({ peers: [replaced, peer(2), peer(3)] })), ["n2", "n3"]);
  });

  test("of two living ones with one address or one MAC the one that was known first", () => {
    const newcomer = peer(3, { node: "a", mac: macOf(9) });
    assert.deepEqual(names(wireOf({ peers: [peer(2), peer(3), newcomer] })), ["n2", "n3"]);
    const sameMac = peer(5, { node: "a", mac: macOf(3) });
    const backends = [1, 2, 3, 5].map((n) => backend(n));
    assert.deepEqual(names(wireOf({ peers: [peer(2), peer(3), sameMac], backends })), ["n2", "n3"]);
  });

  test("one that any subnet may have, where the VIP is reached by a route alone", () => {
    const far = peer(2, { fastPath: { version: FAST_PATH_VERSION, addresses: ["192.0.2.12"] } });
    const backends = [backend(1), backend(2, { host: "192.0.2.12" })];
    assert.deepEqual(names(wireOf({ node: { subnets: [] }, peers: [far], backends })), ["n2"]);
    assert.deepEqual(names(wireOf({ peers: [far], backends })), []);
  });

  test("one whose agent is silent, while its API server is in the list: rules outlive an agent", () => {
    assert.deepEqual(names(wireOf({ peers: [peer(2, { fresh: false })] })), ["n2"]);
  });

  test("one whose API server has left the list for a restart: as a part of the ring", () => {
    const wire = wireOf({ peers: [peer(4)] });
    assert.deepEqual(
      [names(wire), wire.inRing.includes("n4"), wire.acceptsNew.includes("n4")],
      [["n4"], true, false],
    );
  });
});

describe("more than 16 nodes", () => {
  const everyone = Array.from({ length: 20 }, (_, index) => index + 1);
  const name = (n: number): string => `n${n}`;
  const mac = (n: number): string => `02:00:00:00:01:${n.toString(16).padStart(2, "0")}`;
  /** All 20 have rules; `servers` are API servers of the cluster. */
  const seenFrom = (self: number, servers: readonly number[], changes: Partial<PlanBackend> = {}): WirePlan =>
    wireOf({
      node: { name: name(self), addresses: [addressIn(self, 4)], mac: mac(self) },
      peers: everyone.filter((n) => n !== self).map((n) => peer(n, { mac: mac(n) })),
      backends: servers.map((n) => backend(n, changes)),
    });
  const membersOf = (wire: WirePlan, self: number): readonly string[] =>
    [...names(wire), ...(wire.leftOut.includes(name(self)) ? [] : [name(self)])].sort();

  test("have the same 16 members whoever asks, the cluster's API servers before others", () => {
    const servers = [3, 17, 18, 19, 20];
    const wanted = [...servers, 1, 10, 11, 12, 13, 14, 15, 16, 2, 4, 5].map(name).sort();
    assert.equal(wanted.length, MOST_MEMBERS);
    for (const self of everyone) {
      const wire = seenFrom(self, servers);
      assert.deepEqual(membersOf(wire, self), wanted, `seen from ${name(self)}`);
      assert.deepEqual(wire.leftOut, ["n6", "n7", "n8", "n9"]);
    }
  });

  test("are chosen whatever the grades: one that goes DOWN does not make room for another", () => {
    const [up, down] = [{}, { grade: "DOWN", serving: false }] as const;
    assert.deepEqual(seenFrom(1, [3, 17, 20], down).leftOut, seenFrom(1, [3, 17, 20], up).leftOut);
  });

  test("of which one is left out: as holder it gives everything to the members, and nobody gives it anything", () => {
    const wire = seenFrom(9, everyone);
    assert.deepEqual(
      [wire.peers.length, wire.acceptsNew.includes("n9"), wire.acceptsNew.length],
      [MOST_MEMBERS, false, MOST_MEMBERS],
    );
    assert.deepEqual([wire.inRing.includes("n9"), wire.deliverTo], [true, 6443]);
    assert.deepEqual(seenFrom(1, everyone).leftOut.includes("n9"), true);
  });

  test("are not displaced by new names, however many a client writes into the Lease", () => {
    const peers = everyone.slice(1, 16).map((n) => peer(n, { mac: mac(n) }));
    const backends = everyone.slice(0, 16).map((n) => backend(n));
    const forged = everyone.map((n) =>
      peer(n + 40, {
        node: `a${n}`,
        mac: `02:00:00:00:02:${n.toString(16).padStart(2, "0")}`,
        served: false,
      }),
    );
    const names16 = names(wireOf({ peers, backends }));
    assert.equal(names16.length, 15);
    const wire = wireOf({ peers: [...peers, ...forged], backends });
    assert.deepEqual([names(wire), wire.leftOut], [names16, []]);
  });

  test("are no more than 16 when there are 16: nobody is left out", () => {
    const wire = wireOf({ peers: everyone.slice(1, 16).map((n) => peer(n, { mac: mac(n) })) });
    assert.deepEqual([wire.peers.length, wire.leftOut], [15, []]);
  });
});

describe("who takes new connections", () => {
  test("not one that drains; it stays in the ring with its old ones", () => {
    const wire = wireOf({
      backends: [backend(1), backend(2, { grade: "DRAIN", serving: false }), backend(3)],
    });
    assert.deepEqual(
      [wire.acceptsNew, wire.inRing],
      [
        ["n1", "n3"],
        ["n1", "n2", "n3"],
      ],
    );
  });

  test("not one that is drained; it stays in the ring, and passes on what another node sends it all the same", () => {
    const drained = { serving: false, drained: true };
    const wire = wireOf({ backends: [backend(1), backend(2, drained), backend(3)] });
    assert.deepEqual(wire.acceptsNew, ["n1", "n3"]);
    assert.deepEqual(wire.inRing, ["n1", "n2", "n3"]);
    assert.equal(wire.passesOn, false);
    const own = wireOf({ backends: [backend(1, drained), backend(2), backend(3)] });
    assert.deepEqual([own.acceptsNew, own.passesOn, own.deliverTo], [["n2", "n3"], true, 6443]);
  });

  test("a drained one that serves, because no other one is UP, and that keeps what comes", () => {
    const wire = wireOf({
      backends: [backend(1, { drained: true }), backend(2, { ...dead }), backend(3, { ...dead })],
    });
    assert.deepEqual([wire.acceptsNew, wire.passesOn], [["n1"], false]);
  });

  test("not one that is DOWN, which is not in the ring either but stays a member", () => {
    const wire = wireOf({
      backends: [backend(1), backend(2, { grade: "DOWN", serving: false }), backend(3)],
    });
    assert.deepEqual(
      [wire.acceptsNew, wire.inRing, names(wire)],
      [
        ["n1", "n3"],
        ["n1", "n3"],
        ["n2", "n3"],
      ],
    );
  });

  test("not one whose packets in the VIP's name do not arrive, nor one that may have lost its rules; both stay in the ring", () => {
    const wire = wireOf({ unheard: [macOf(2)], unproven: ["n3"] });
    assert.deepEqual([wire.acceptsNew, wire.inRing], [["n1"], ["n1", "n2", "n3"]]);
  });

  test("this node's proxy, when nobody else is left and an API server elsewhere serves", () => {
    const wire = wireOf({
      backends: [backend(1, { serving: false, grade: "DRAIN" }), backend(7)],
      peers: [],
    });
    assert.deepEqual([wire.acceptsNew, wire.deliverTo], [[], 8443]);
  });

  test("this node's API server itself, when none serves: there the kernel says that it is away", () => {
    const down = { serving: false, grade: "DOWN" } as const;
    assert.equal(wireOf({ backends: [backend(1, down), backend(2, down)] }).deliverTo, 6443);
  });

  test("others, while this node's own is DOWN; what comes to it in spite goes to its proxy", () => {
    const wire = wireOf({
      backends: [backend(1, { grade: "DOWN", serving: false }), backend(2)],
      peers: [peer(2)],
    });
    assert.deepEqual([wire.acceptsNew, wire.deliverTo], [["n2"], 8443]);
  });

  test("the proxy, where the kernel does not spread", () => {
    const wire = wireOf({ node: { hasIngress: false } });
    assert.deepEqual([wire.acceptsNew, wire.deliverTo, wire.hasIngress], [[], 8443, false]);
  });

  test("not the proxy's port while another program has it: the API server of this node is the better guess", () => {
    const taken = { balancerPort: undefined };
    assert.equal(wireOf({ node: { ...taken, hasIngress: false } }).deliverTo, 6443);
    assert.equal(
      wireOf({
        node: taken,
        backends: [backend(1, { grade: "DOWN", serving: false }), backend(2)],
        peers: [peer(2)],
      }).deliverTo,
      6443,
    );
    assert.deepEqual(
      own(
        planOf({
          families: [6],
          node: { ...taken, addresses: [addressIn(1, 6)] },
          backends: [backend(2)],
          peers: [],
        }),
      ),
      [],
    );
  });

  test("without asking the kernel, where the API server does not listen on a wildcard address", () => {
    assert.equal(wireOf({ node: { wildcardListener: false } }).listener, undefined);
  });
});

describe("where a node's own clients go", () => {
  test("to every API server that serves, with rules on the other side or without", () => {
    assert.deepEqual(
      own(planOf({ peers: [], backends: [backend(1), backend(2, { serving: false }), backend(3)] })),
      ["10.88.0.11 6443", "10.88.0.13 6443"],
    );
  });

  test("nowhere while none serves: the wire is as good", () =>
    assert.deepEqual(own(planOf({ backends: [backend(1, { serving: false })] })), []));

  test("to the other family's addresses of the same nodes, this one's own among them", () => {
    const both = { version: FAST_PATH_VERSION, addresses: ["10.88.0.12", "fd88::12"] };
    const plan = planOf({
      families: [4, 6],
      node: { addresses: [addressIn(1, 4), addressIn(1, 6)] },
      peers: [peer(2, { fastPath: both })],
    });
    assert.deepEqual(own(plan), [
      "10.88.0.11 6443",
      "10.88.0.12 6443",
      "10.88.0.13 6443",
      "fd88::11 6443",
      "fd88::12 6443",
    ]);
  });

  test("not to an address that a node offers next to an API server's and that is not in the VIP's subnet", () => {
    const both = { version: FAST_PATH_VERSION, addresses: ["10.88.0.12", "2001:db8::66"] };
    const plan = planOf({
      families: [4, 6],
      node: { addresses: [addressIn(1, 4), addressIn(1, 6)] },
      peers: [peer(2, { fastPath: both })],
    });
    assert.ok(!own(plan).some((target) => target.includes("2001:db8::66")));
  });

  test("to the own proxy for a family in which no API server has an address", () => {
    const plan = planOf({
      families: [6],
      node: { addresses: [addressIn(1, 6)] },
      backends: [backend(2)],
      peers: [],
    });
    assert.deepEqual(own(plan), ["fd88::11 8443"]);
  });

  test("of a worker: to all API servers, and nothing is left to the wire", () => {
    const plan = makePlan(
      { vips: [VIP4, VIP6], ports: [6443], podInterfaces: [], node: undefined },
      { backends: [backend(1), backend(2)], peers: [peer(2)], unheard: new Set(), unproven: new Set() },
    );
    assert.deepEqual([plan.wire, own(plan)], [undefined, ["10.88.0.11 6443", "10.88.0.12 6443"]]);
  });
});
