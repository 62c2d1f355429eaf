import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createFastPath } from "../../../src/fastpath/fast-path.ts";
import type { FastPath, FastPathDeps } from "../../../src/fastpath/fast-path.ts";
import { NoVerdict } from "../../../src/fastpath/nft.ts";
import type { PlanBackend, PlanPeer } from "../../../src/fastpath/plan.ts";
import { FAST_PATH_VERSION } from "../../../src/fastpath/ruleset.ts";
import type { FastPathNode, Table } from "../../../src/fastpath/tables.ts";
import type { SetElements } from "../../../src/fastpath/transaction.ts";
import type { RulesetChange } from "../../../src/linux/nftables-monitor.ts";
import { silentLogger } from "../../../src/log.ts";
import type { IpAddress } from "../../../src/net.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { addressIn, macOf, VIP4 } from "../../support/fastpath/plans.ts";
import { backend, dead, peer } from "./facts.ts";

interface Load {
  readonly tables: readonly string[];
  readonly elements: readonly SetElements[];
}

interface Told {
  readonly hosts: readonly string[];
  readonly holder: boolean;
  readonly afterLoads: number;
}

const FOREIGN: RulesetChange = {
  pid: 77,
  program: "nft",
  tables: new Set(["ip leasehold"]),
  lost: false,
  port: 77,
};
const OWN_PORT = 4242;

/** One node and its machine; tests change the fields. */
class Bench {
  readonly clock = new FakeClock();
  backends: readonly PlanBackend[] = [backend(1), backend(2), backend(3)];
  peers: readonly PlanPeer[] | undefined = [peer(2), peer(3)];
  missing: readonly string[] = [];
  holder = false;
  link: { index: number } | undefined = { index: 2 };
  unreadable: Error | undefined;
  /** What the kernel refuses. */
  refuses: (tables: readonly Table[]) => boolean = () => false;
  /** Why the kernel answers nothing to that question; without one it answers. */
  readonly silent: Partial<Record<"refresh" | "counters" | "heard" | "isIntact", Error>> = {};
  /** What the kernel says of the rules, and of the set of peers heard. */
  intact = true;
  hasHeardSet = true;
  packets = 9;
  /** nft comes to no verdict. */
  verdictless = false;
  /** Runs while nft is at work. */
  during: (() => void) | undefined;
  readonly loads: Load[] = [];
  tries = 0;
  /** Another program's transaction holds up a refresh until then. */
  held: Promise<void> | undefined;
  refreshesAsked = 0;
  addresses: readonly IpAddress[] = [addressIn(1, 4)];
  readonly refreshes: (readonly SetElements[])[] = [];
  readonly heard = new Set([macOf(2), macOf(3)]);
  readonly told: Told[] = [];
  listed = 0;
  readonly log: string[] = [];
  stopping: number | undefined;
  readonly probes: (readonly FastPathNode[])[] = [];
  vipGone = 0;
  looks = 0;
  changes = 0;
  /** Other software has the VIP. */
  idle = false;
  onRuleset: ((change: RulesetChange) => void) | undefined;
  readonly fastPath: FastPath;

  constructor(changes: Partial<FastPathDeps> = {}) {
    const say =
      (level: string) =>
      (fields: Readonly<Record<string, unknown>>, message: string): void =>
        void this.log.push([level, message, fields["mode"]].filter(Boolean).join(" "));
    this.fastPath = createFastPath({
      clock: this.clock,
      log: { ...silentLogger, info: say("info"), warn: say("warn"), error: say("error") },
      mode: "auto",
      vips: [VIP4],
      ports: [6443, 8443],
      podInterfaces: ["cni0", "cali*"],
      isWorker: false,
      node: () => {
        if (this.unreadable !== undefined) throw this.unreadable;
        if (this.link === undefined) return undefined;
        return {
          name: "n1",
          interfaceName: "eth0",
          interfaceIndex: this.link.index,
          addresses: this.addresses,
          subnets: [],
          mac: macOf(1),
          backendPort: 6443,
          balancerPort: 8443,
          wildcardListener: true,
        };
      },
      backends: () => this.backends,
      lease: () => undefined,
      members: { observe: () => {}, current: () => this.peers },
      holdsVip: () => this.holder,
      isIdle: () => this.idle,
      missing: () => this.missing,
      nft: {
        load: (tables, elements) => this.load(tables, elements),
        refresh: async (elements) => {
          this.ask("refresh");
          this.refreshesAsked += 1;
          await this.held;
          this.refreshes.push(elements);
        },
        remove: async () => assert.fail("the rules outlive the agent"),
        present: async () => assert.fail("an agent needs no such question"),
        isIntact: async () => {
          this.ask("isIntact");
          return this.intact;
        },
        counters: async () => {
          this.ask("counters");
          return [{ family: "netdev", name: "here", packets: this.packets, bytes: 900 }];
        },
        flows: async () => [],
        heard: async () => {
          this.ask("heard");
          return this.hasHeardSet ? [...this.heard] : undefined;
        },
        isOwn: (port) => port === OWN_PORT,
      },
      watchRuleset: (onChange) => {
        this.onRuleset = onChange;
        return { close: () => void (this.onRuleset = undefined) };
      },
      sessions: {
        vipGone: () => void (this.vipGone += 1),
        clients: async () => {
          this.listed += 1;
          return [];
        },
        backendsDied: async (hosts, clients) =>
          void this.told.push({ hosts: [...hosts], holder: clients !== null, afterLoads: this.loads.length }),
        told: () => ({ kicked: 0, destroyed: 0 }),
      },
      sharedFlows: { look: () => void (this.looks += 1), stop: () => {} },
      stopping: () => this.stopping,
      probe: (nodes) => void this.probes.push(nodes),
      onChange: () => void (this.changes += 1),
      ...changes,
    });
  }

  async start(): Promise<this> {
    this.fastPath.start();
    await settle();
    return this;
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      this.clock.advance(Math.min(500, left));
      await settle();
    }
  }

  async update(): Promise<void> {
    this.fastPath.update();
    await settle();
  }

  ask(what: keyof Bench["silent"]): void {
    const error = this.silent[what];
    if (error !== undefined) throw error;
  }

  async load(tables: readonly Table[], elements: readonly SetElements[]): Promise<void> {
    this.tries += 1;
    await Promise.resolve();
    this.during?.();
    if (this.verdictless) throw new NoVerdict("nft -f -: SIGKILL: ");
    if (this.refuses(tables)) throw new Error("refused");
    this.intact = true;
    this.loads.push({ tables: tables.map(({ family }) => family), elements });
  }

  settled(): readonly string[] {
    return (
      this.loads
        .at(-1)
        ?.elements.filter(({ set }) => set === "settling")
        .flatMap(({ elements }) => elements) ?? []
    );
  }
}

/** Fakes answer within some turns of the promise queue. */
const settle = async (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const spreading = (tables: readonly Table[]): boolean => tables.some(({ family }) => family === "netdev");

test("while other software has the VIP its rules leave it alone; then they take it, and give it back", async () => {
  const bench = new Bench();
  bench.idle = true;
  await bench.start();
  const elements = (): readonly string[] =>
    bench.loads
      .at(-1)
      ?.elements.filter(({ set }) => set !== "settling")
      .flatMap((set) => (set.elements.length === 0 ? [`${set.set} emptied`] : set.elements)) ?? [];
  const emptied = ["vips emptied", "vips4 emptied", "own emptied"];
  assert.deepEqual(elements(), emptied);
  assert.equal(bench.fastPath.status().mode, "fast-path", "the others may count on this node");
  await bench.pass(30_000);
  assert.ok(bench.refreshes.every((sets) => sets.every((set) => set.elements.length === 0)));
  for (const [idle, expected] of [
    [false, [VIP4.text, VIP4.text, VIP4.text]],
    [true, emptied],
  ] as const) {
    bench.idle = idle;
    await bench.update();
    assert.deepEqual(elements(), expected);
  }
});

describe("at the start", () => {
  test("loads at once when everything is known, and then offers itself", async () => {
    const bench = new Bench();
    assert.equal(bench.fastPath.offer(), undefined, "what a predecessor said still holds");
    await bench.start();
    assert.deepEqual(
      bench.loads.map(({ tables }) => tables),
      [["netdev", "ip"]],
    );
    assert.deepEqual(bench.fastPath.offer(), { version: FAST_PATH_VERSION, addresses: ["10.88.0.11"] });
    bench.stopping = 6443;
    assert.deepEqual(bench.fastPath.offer(), {
      version: FAST_PATH_VERSION,
      addresses: ["10.88.0.11"],
      stopping: 6443,
    });
    assert.equal(bench.fastPath.status().mode, "fast-path");
    assert.equal(bench.changes, 1, "the others are to be told");
  });

  test("and tells the others when the node has another address", async () => {
    const bench = await new Bench().start();
    bench.addresses = [addressIn(7, 4)];
    await bench.update();
    assert.deepEqual(bench.fastPath.offer(), { version: FAST_PATH_VERSION, addresses: ["10.88.0.17"] });
    assert.equal(bench.changes, 2);
    await bench.pass(10_000);
    assert.equal(bench.changes, 2);
  });

  const unknown: readonly (readonly [string, (bench: Bench) => void])[] = [
    ["the Lease nor the disk has been read", (bench) => (bench.peers = undefined)],
    ["no API server is known", (bench) => (bench.backends = [])],
    [
      "one has not been checked",
      (bench) => (bench.backends = [backend(1), backend(2, { grade: "UNKNOWN", serving: false })]),
    ],
  ];
  for (const [what, prepare] of unknown) {
    test(`leaves what a predecessor loaded for up to 5 s while ${what}`, async () => {
      const bench = new Bench();
      prepare(bench);
      await bench.start();
      await bench.pass(4_500);
      assert.deepEqual([bench.tries, bench.fastPath.status().mode], [0, "starting"]);
      await bench.pass(500);
      assert.equal(bench.loads.length, 1);
    });
  }

  test("ends the sockets that a killed predecessor's VIP left, not those of a VIP that was adopted", async () => {
    const bench = await new Bench().start();
    assert.equal(bench.vipGone, 1);
    const holder = new Bench();
    holder.holder = true;
    await holder.start();
    assert.equal(holder.vipGone, 0);
  });

  test("is not before start(): updates of the balancer come earlier", async () => {
    const bench = new Bench();
    await bench.update();
    assert.equal(bench.tries, 0);
  });
});

describe("a change", () => {
  test("is loaded once, and without one nothing is", async () => {
    const bench = await new Bench().start();
    await bench.pass(30_000);
    await bench.update();
    assert.equal(bench.tries, 1);
    bench.backends = [backend(1), backend(2, { grade: "DRAIN", serving: false }), backend(3)];
    await bench.update();
    await bench.pass(5_000);
    assert.equal(bench.tries, 2);
  });

  test("that comes while another is loaded is loaded after it", async () => {
    const bench = await new Bench().start();
    bench.backends = [backend(1), backend(2)];
    bench.during = () => {
      bench.during = undefined;
      bench.backends = [backend(1)];
      bench.fastPath.update();
    };
    await bench.update();
    assert.equal(bench.loads.length, 3);
    assert.deepEqual(
      bench.fastPath.status().own.map((own) => own.backend),
      ["10.88.0.11:6443"],
    );
  });

  test("of the members has the last of the ring drop what nobody knows; one of grades has not", async () => {
    const bench = await new Bench().start();
    assert.deepEqual(bench.settled(), [], "the first load knows of no other members");
    bench.backends = [backend(1), backend(2, { grade: "DOWN", serving: false }), backend(3)];
    await bench.update();
    assert.deepEqual(bench.settled(), []);
    bench.peers = [peer(2)];
    await bench.update();
    assert.deepEqual(bench.settled(), ["6443", "8443"]);
  });

  test("of the link under its name is one: ingress is bound to the old one", async () => {
    const bench = await new Bench().start();
    bench.link = undefined;
    await bench.pass(2_000);
    assert.equal(bench.tries, 1, "no link, no plan");
    bench.link = { index: 3 };
    await bench.update();
    assert.equal(bench.tries, 2);
  });
});

describe("more than 16 nodes", () => {
  test("are 16 members: a warning names the others once for each change, and the status all the time", async () => {
    const warnings: unknown[] = [];
    const many = (count: number): readonly PlanPeer[] =>
      Array.from({ length: count - 1 }, (_, index) =>
        peer(index + 2, { mac: `02:00:00:00:01:${(index + 16).toString(16)}` }),
      );
    const bench = new Bench({
      log: { ...silentLogger, warn: (fields) => void warnings.push(fields["leftOut"]) },
    });
    bench.peers = many(16);
    await bench.start();
    assert.deepEqual([warnings, bench.fastPath.status().leftOut], [[], []]);
    bench.peers = many(18);
    for (let round = 0; round < 3; round++) {
      bench.backends = [backend(1), backend(2), backend(3, { serving: round % 2 === 0 })];
      await bench.update();
    }
    assert.deepEqual([warnings, bench.fastPath.status().leftOut], [[["n8", "n9"]], ["n8", "n9"]]);
    assert.deepEqual([bench.fastPath.status().nodes.length, bench.fastPath.status().mode], [16, "fast-path"]);
    bench.peers = many(17);
    await bench.update();
    bench.peers = many(16);
    await bench.update();
    assert.deepEqual([warnings, bench.fastPath.status().leftOut], [[["n8", "n9"], ["n9"]], []]);
  });
});

describe("a kernel that does not take it all", () => {
  test("gets the translation to the proxy, with the reason; asked again after 15 s, not at each tick", async () => {
    const bench = new Bench();
    bench.refuses = spreading;
    await bench.start();
    const { mode, reason } = bench.fastPath.status();
    assert.deepEqual([mode, reason, bench.fastPath.offer()], ["proxy", "refused", null]);
    // With conntrack's time-outs, without them, and to the proxy.
    assert.deepEqual([bench.tries, bench.loads.map(({ tables }) => tables)], [3, [["ip"]]]);
    await bench.pass(14_500);
    assert.equal(bench.tries, 3);
    bench.refuses = () => false;
    await bench.pass(1_500);
    assert.equal(bench.fastPath.status().mode, "fast-path");
    assert.deepEqual(bench.log, [
      "info The fast path has another mode now proxy",
      "info The fast path has another mode now fast-path",
    ]);
  });

  test("gets all but conntrack's time-outs where it knows none, and is not asked for them again for ten minutes", async () => {
    const bench = new Bench();
    bench.refuses = (tables) => tables.some(({ timeouts = [] }) => timeouts.length > 0);
    await bench.start();
    assert.deepEqual([bench.fastPath.status().mode, bench.tries, bench.log.length], ["fast-path", 2, 2]);
    assert.match(bench.log[0] ?? "", /^info The kernel has no conntrack time-outs/);
    bench.backends = [backend(1)];
    await bench.update();
    assert.deepEqual([bench.tries, bench.loads.length], [3, 2]);
    await bench.pass(599_000);
    assert.equal(bench.tries, 3);
    await bench.pass(2_000);
    assert.deepEqual(
      [bench.tries, bench.loads.length, bench.log.length],
      [5, 3, 2],
      "in vain again, and said once",
    );
    bench.refuses = () => false;
    await bench.pass(600_000);
    assert.deepEqual([bench.tries, bench.loads.length], [6, 4]);
    bench.refuses = (tables) => tables.some(({ timeouts = [] }) => timeouts.length > 0);
    bench.backends = [backend(2)];
    await bench.update();
    assert.equal(bench.fastPath.status().mode, "fast-path", "the old rules stay");
  });

  test("still gets changes of the proxy's rules while it waits", async () => {
    const bench = new Bench();
    bench.refuses = spreading;
    await bench.start();
    bench.backends = [backend(1)];
    await bench.update();
    assert.deepEqual([bench.tries, bench.loads.length], [4, 2]);
  });

  test("gets nothing where it takes nothing, with the reason; tried again after 15 s", async () => {
    const bench = new Bench();
    bench.refuses = () => true;
    await bench.start();
    assert.deepEqual(
      [bench.fastPath.status().mode, bench.fastPath.status().reason, bench.fastPath.offer()],
      ["off", "refused", null],
    );
    assert.deepEqual(bench.log, ["warn The fast path has another mode now off"]);
    const { tries } = bench;
    await bench.pass(14_500);
    assert.equal(bench.tries, tries);
    bench.refuses = () => false;
    await bench.pass(1_000);
    assert.equal(bench.fastPath.status().mode, "fast-path");
    assert.equal(bench.changes, 2);
  });

  test("that fails now and worked before leaves the old rules, and the offer", async () => {
    const bench = await new Bench().start();
    const offer = bench.fastPath.offer();
    bench.refuses = () => true;
    bench.backends = [backend(1)];
    await bench.update();
    assert.deepEqual([bench.fastPath.status().mode, bench.fastPath.offer()], ["fast-path", offer]);
    assert.equal(bench.log.at(-1), "warn The agent could not change its nftables rules, the old ones stay");
    bench.refuses = () => false;
    await bench.pass(16_000);
    assert.equal(bench.loads.length, 2);
  });

  test("is not even tried where a requirement is missing, until it is there", async () => {
    const bench = new Bench();
    bench.missing = ["a is 0, set it to 1", "b"];
    await bench.start();
    assert.deepEqual(
      [bench.tries, bench.fastPath.status().mode, bench.fastPath.status().reason],
      [1, "proxy", "a is 0, set it to 1; b"],
    );
    bench.missing = [];
    await bench.pass(1_000);
    assert.equal(bench.fastPath.status().mode, "fast-path");
  });

  test("is an error where the fast path was demanded", async () => {
    const bench = new Bench({ mode: "on" });
    bench.missing = ["a"];
    await bench.start();
    assert.deepEqual(bench.log, ["error The fast path has another mode now proxy"]);
  });

  test("is as good as one that was told not to", async () => {
    const bench = await new Bench({ mode: "off" }).start();
    assert.deepEqual(
      [bench.loads[0]?.tables, bench.fastPath.status().reason, bench.fastPath.offer()],
      [["ip"], "LEASEHOLD_FASTPATH=off", null],
    );
  });

  test("loses nothing else: what cannot be read now is looked at again, and said once", async () => {
    const bench = new Bench();
    bench.unreadable = new Error("ENOENT");
    await bench.start();
    await bench.pass(5_000);
    assert.deepEqual(bench.log, ["warn The agent cannot look after the fast path, and tries again"]);
    bench.unreadable = undefined;
    await bench.pass(1_000);
    assert.equal(bench.fastPath.status().mode, "fast-path");
  });
});

describe("rules that somebody changed", () => {
  test("are put back at once, and this node goes on offering itself meanwhile", async () => {
    const bench = await new Bench().start();
    const offer = bench.fastPath.offer();
    bench.during = () =>
      assert.deepEqual(bench.fastPath.offer(), offer, "the others would take it out of their ring");
    bench.onRuleset?.(FOREIGN);
    await settle();
    assert.deepEqual([bench.loads.length, bench.fastPath.status().restored], [2, 1]);
    assert.deepEqual(bench.log.slice(1), [
      "warn Another program changed the agent's nftables rules, the agent puts them back",
    ]);
    await bench.pass(5_000);
    assert.equal(bench.loads.length, 2);
  });

  test("while they were being loaded are loaded once more: the change may have come after ours", async () => {
    for (const first of [true, false]) {
      const bench = new Bench();
      const meddle = (): void => {
        bench.during = () => {
          bench.during = undefined;
          bench.onRuleset?.(FOREIGN);
        };
      };
      if (first) meddle();
      await bench.start();
      if (!first) {
        meddle();
        bench.backends = [backend(1)];
        await bench.update();
      }
      assert.equal(bench.loads.length, first ? 2 : 3);
    }
  });

  test("are looked at when notifications were lost, and put back where they differ", async () => {
    const bench = await new Bench().start();
    const lost = async (): Promise<void> => {
      bench.onRuleset?.({ ...FOREIGN, tables: new Set(), lost: true });
      await settle();
    };
    await lost();
    assert.deepEqual(
      [bench.loads.length, bench.fastPath.status().restored],
      [1, 0],
      "another's ten thousand rules are no change of ours",
    );
    bench.silent.isIntact = new Error("ENOBUFS");
    await lost();
    assert.equal(bench.loads.length, 1);
    delete bench.silent.isIntact;
    bench.intact = false;
    await lost();
    assert.deepEqual([bench.loads.length, bench.fastPath.status().restored], [2, 1]);
  });

  test("are loaded once more when notifications were lost while they were being loaded", async () => {
    const bench = new Bench();
    bench.during = () => {
      bench.during = undefined;
      bench.onRuleset?.({ ...FOREIGN, tables: new Set(), lost: true });
    };
    await bench.start();
    assert.equal(bench.loads.length, 2);
  });

  const others: readonly (readonly [string, RulesetChange])[] = [
    ["it was us", { ...FOREIGN, port: OWN_PORT }],
    [
      "they are another's",
      { ...FOREIGN, tables: new Set(["ip kube-proxy", "inet leasehold", "ip leasehold2"]) },
    ],
  ];
  for (const [why, change] of others) {
    test(`are left alone when ${why}`, async () => {
      const bench = await new Bench().start();
      bench.onRuleset?.(change);
      await settle();
      assert.deepEqual([bench.loads.length, bench.fastPath.status().restored], [1, 0]);
    });
  }

  test("are not ours while we have none", async () => {
    const bench = new Bench();
    bench.refuses = () => true;
    await bench.start();
    bench.onRuleset?.(FOREIGN);
    await settle();
    assert.deepEqual([bench.tries, bench.fastPath.status().restored], [4, 0]);
  });

  test("without a notification are found within 10 s", async () => {
    const bench = await new Bench().start();
    bench.intact = false;
    await bench.pass(10_000);
    assert.deepEqual([bench.loads.length, bench.fastPath.status().restored], [2, 1]);
    assert.equal(
      bench.log.at(-1),
      "warn The nftables rules in the kernel are not those that the agent loaded, the agent puts them back",
    );
    assert.notEqual(bench.fastPath.offer(), null);
    await bench.pass(30_000);
    assert.equal(bench.loads.length, 2);
  });

  test("are found twice at once and put back once", async () => {
    const bench = await new Bench().start();
    bench.intact = false;
    for (let i = 0; i < 3; i++) bench.onRuleset?.({ ...FOREIGN, tables: new Set(), lost: true });
    await settle();
    await bench.pass(1_000);
    assert.deepEqual([bench.loads.length, bench.fastPath.status().restored], [2, 1]);
  });

  test("are not put back after the end", async () => {
    const bench = await new Bench().start();
    bench.intact = false;
    bench.onRuleset?.({ ...FOREIGN, tables: new Set(), lost: true });
    bench.fastPath.stop();
    await settle();
    assert.equal(bench.loads.length, 1);
  });
});

describe("a failed read is no failed rule:", () => {
  for (const what of ["refresh", "counters", "heard", "isIntact"] as const) {
    test(`${what}: rules, offer and last values stay, it is said once, and the others are asked all the same`, async () => {
      const bench = await new Bench().start();
      await bench.pass(20_000);
      const offer = bench.fastPath.offer();
      const { nodes } = bench.fastPath.status();
      bench.silent[what] = new Error("EINTR");
      const before = { refreshes: bench.refreshes.length };
      if (what === "counters") bench.packets = 11;
      if (what === "heard") bench.heard.clear();
      await bench.pass(60_000);
      assert.deepEqual(
        [bench.loads.length, bench.fastPath.status().restored, bench.fastPath.offer()],
        [1, 0, offer],
      );
      assert.deepEqual(bench.fastPath.status().nodes, nodes);
      assert.equal(bench.refreshes.length - before.refreshes, what === "refresh" ? 0 : 6);
      const said = "warn The kernel did not answer about the agent's nftables rules, they stay as they are";
      assert.deepEqual(bench.log.slice(1), [said]);
      await bench.pass(600_000);
      assert.deepEqual(bench.log.slice(1), [said, said], "again after ten minutes");
      delete bench.silent[what];
      for (const n of [2, 3]) bench.heard.add(macOf(n));
      await bench.pass(10_000);
      assert.equal(bench.fastPath.status().nodes[0]?.packets, bench.packets);
      bench.silent[what] = new Error("EINTR");
      await bench.pass(10_000);
      assert.equal(bench.log.length, 4, "and when it fails after it went well");
    });
  }

  test("a set of heard peers that is missing makes nobody silent", async () => {
    const bench = await new Bench().start();
    bench.hasHeardSet = false;
    await bench.pass(60_000);
    assert.deepEqual(
      bench.fastPath.status().nodes.map(({ unheard }) => unheard),
      [false, false, false],
    );
  });

  test("one that takes long is not asked a second time meanwhile, and keeps nothing else from its turn", async () => {
    const bench = await new Bench().start();
    const { promise, resolve } = Promise.withResolvers<void>();
    bench.held = promise;
    await bench.pass(40_000);
    assert.equal(bench.refreshesAsked, 1);
    bench.backends = [backend(1)];
    await bench.update();
    assert.equal(bench.loads.length, 2);
    resolve();
    await bench.pass(10_000);
    assert.equal(bench.refreshesAsked, 2);
  });
});

describe("an nft that comes to no verdict", () => {
  test("is no reason for fewer rules: the old ones stay, and it is asked again after 15 s", async () => {
    const bench = await new Bench().start();
    const offer = bench.fastPath.offer();
    bench.verdictless = true;
    bench.backends = [backend(1)];
    await bench.update();
    assert.deepEqual(
      [bench.tries, bench.fastPath.status().mode, bench.fastPath.offer()],
      [2, "fast-path", offer],
      "with all of them, once",
    );
    await bench.pass(14_000);
    assert.equal(bench.tries, 2);
    bench.verdictless = false;
    await bench.pass(2_000);
    assert.deepEqual([bench.loads.length, bench.loads.at(-1)?.tables], [2, ["netdev", "ip"]]);
  });

  test("is asked again within a second or two where the rules are missing", async () => {
    const bench = await new Bench().start();
    bench.verdictless = true;
    bench.onRuleset?.(FOREIGN);
    await settle();
    assert.deepEqual([bench.loads.length, bench.fastPath.offer()], [1, null]);
    bench.verdictless = false;
    await bench.pass(2_000);
    assert.deepEqual([bench.loads.length, bench.fastPath.status().mode], [2, "fast-path"]);
  });
});

describe("while it runs", () => {
  test("the timed sets are refreshed every 10 s, a third of the shorter life, and figures are read then", async () => {
    const bench = await new Bench().start();
    const elements = ["10.88.0.100"];
    const timed = [
      { family: "ip", set: "vips", elements },
      { family: "netdev", set: "vips4", elements },
      { family: "ip", set: "own", elements },
    ];
    assert.deepEqual(bench.loads[0]?.elements, timed);
    await bench.pass(9_500);
    assert.deepEqual(bench.refreshes, []);
    await bench.pass(30_000);
    assert.deepEqual(bench.refreshes, [timed, timed, timed]);
    assert.equal(bench.fastPath.status().nodes[0]?.packets, 9);
  });

  test("the own clients' set is left to end when there is no API server to send them to", async () => {
    const bench = await new Bench().start();
    bench.backends = bench.backends.map((one) => ({ ...one, grade: "DOWN", serving: false }));
    await bench.pass(12_500);
    const sets = (elements: readonly { readonly set: string }[]) => elements.map(({ set }) => set);
    assert.deepEqual(sets(bench.loads.at(-1)?.elements ?? []), ["vips", "vips4"]);
    assert.deepEqual(sets(bench.refreshes.flat()), ["vips", "vips4"]);
  });

  test("without ingress there is one set of VIPs", async () => {
    const bench = await new Bench({ mode: "off" }).start();
    await bench.pass(10_500);
    assert.deepEqual(
      bench.refreshes.flat().map(({ family, set }) => [family, set]),
      [
        ["ip", "vips"],
        ["ip", "own"],
      ],
    );
  });

  test("a peer that is not heard for long enough gets no connections", async () => {
    const bench = await new Bench().start();
    bench.heard.delete(macOf(2));
    await bench.pass(40_000);
    assert.deepEqual(
      bench.fastPath.status().nodes.map(({ node, slots, unheard }) => [node, slots > 0, unheard]),
      [
        ["n1", true, false],
        ["n2", false, true],
        ["n3", true, false],
      ],
    );
  });

  test("peers are probed every second, on the fast path only", async () => {
    const bench = await new Bench().start();
    await bench.pass(3_000);
    assert.deepEqual(
      bench.probes.map((nodes) => nodes.map(({ name }) => name)),
      Array.from({ length: 4 }, () => ["n2", "n3"]),
    );
    const proxy = await new Bench({ mode: "off" }).start();
    await proxy.pass(3_000);
    assert.deepEqual(proxy.probes, []);
  });

  test("when an API server dies, its sockets here end at once and idle clients are asked three times, after the rules lead elsewhere", async () => {
    const bench = await new Bench().start();
    bench.holder = true;
    bench.backends = [backend(1), backend(2, dead), backend(3)];
    await bench.update();
    const told = (holder: boolean): Told => ({ hosts: ["10.88.0.12"], holder, afterLoads: 2 });
    assert.deepEqual(
      [bench.told, bench.listed],
      [[told(false)], 1],
      "the list is made while the others' verdict is waited for",
    );
    await bench.pass(1_000);
    assert.deepEqual(bench.told, [told(false), told(true), told(true)]);
    await bench.pass(10_000);
    assert.deepEqual(bench.told, [told(false), told(true), told(true), told(true)]);
  });

  test("clients are asked no more when it is back, or when the VIP is elsewhere, and again at its next death", async () => {
    const bench = await new Bench().start();
    bench.holder = true;
    bench.backends = [backend(1), backend(2, dead), backend(3)];
    await bench.update();
    bench.backends = [backend(1), backend(2), backend(3)];
    await bench.update();
    await bench.pass(10_000);
    assert.equal(bench.told.length, 1);
    bench.holder = false;
    bench.backends = [backend(1), backend(2, dead), backend(3)];
    await bench.update();
    await bench.pass(10_000);
    assert.deepEqual(
      bench.told.map((each) => each.holder),
      [false, false],
    );
  });

  test("a node that gets the VIP after another's death asks that one's clients too, for a minute", async () => {
    const bench = await new Bench().start();
    bench.backends = [backend(1), backend(2, dead), backend(3)];
    await bench.update();
    await bench.pass(20_000);
    const holders = (): boolean[] => bench.told.map((each) => each.holder);
    assert.deepEqual(holders(), [false]);
    bench.holder = true;
    await bench.pass(7_000);
    assert.deepEqual(holders(), [false, true, true, true]);
    bench.holder = false;
    await bench.pass(40_000);
    bench.holder = true;
    await bench.pass(7_000);
    assert.deepEqual(holders(), [false, true, true, true], "its clients have found out by themselves");
  });

  test("the other agents' word is asked for while the whole fast path is loaded", async () => {
    const bench = await new Bench().start();
    await bench.pass(3_000);
    assert.ok(bench.looks >= 3);
    bench.missing = ["nf_dup_netdev"];
    await bench.update();
    const { looks } = bench;
    await bench.pass(5_000);
    assert.equal(bench.looks, looks);
  });

  test("clients of a node of two families are told by both its addresses", async () => {
    const bench = new Bench();
    bench.peers = [
      peer(2, { fastPath: { version: FAST_PATH_VERSION, addresses: ["10.88.0.12", "fd88::12"] } }),
    ];
    await bench.start();
    bench.backends = [backend(1), backend(2, dead)];
    await bench.update();
    assert.deepEqual(bench.told[0]?.hosts, ["10.88.0.12", "fd88::12"]);
  });

  test("one that was DOWN when first seen has told its clients itself, long ago", async () => {
    const bench = new Bench();
    bench.backends = [backend(1), backend(2, dead)];
    await bench.start();
    assert.deepEqual(bench.told, []);
  });

  test("the VIP's going is passed on at once", async () => {
    const bench = await new Bench().start();
    bench.fastPath.released();
    assert.equal(bench.vipGone, 2);
  });

  test("stop leaves the rules and nothing else", async () => {
    const bench = await new Bench().start();
    bench.fastPath.stop();
    assert.deepEqual([bench.clock.pendingTimers, bench.onRuleset], [0, undefined]);
    bench.backends = [backend(1)];
    await bench.update();
    assert.equal(bench.tries, 1);
  });
});

test("a worker needs neither peers nor a link, offers nothing and probes nobody", async () => {
  const bench = new Bench({ isWorker: true });
  bench.peers = undefined;
  bench.link = undefined;
  bench.missing = ["ip_forward"];
  await bench.start();
  await bench.pass(2_000);
  assert.deepEqual(
    [
      bench.loads.map(({ tables }) => tables),
      bench.fastPath.status().mode,
      bench.fastPath.offer(),
      bench.probes,
    ],
    [[["ip"]], "fast-path", null, []],
  );
});
