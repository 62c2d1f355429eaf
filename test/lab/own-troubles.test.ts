/** What is wrong with the agents' own means and not with the cluster: the VIP is served all the same. */
import assert from "node:assert/strict";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import { HeldConnections } from "../support/lab/hold.ts";
import { ClientProbe, describeAttempts, failures } from "../support/lab/probe.ts";
import { IMAGE_ENV, IMAGE_NODE_FLAGS } from "../support/lab/image-start.ts";
import { BUNDLE } from "./cluster.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

/** Longer than a Lease, so that whoever could not renew it has lost the VIP by then. */
const LEASE_AND_MORE_MS = 12_000;

let cluster: EmbeddedCluster;
let ownership: OwnershipSampler;

before(async () => {
  cluster = await createEmbeddedCluster();
  ownership = await cluster.lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  await Promise.all(cluster.nodes.map((node) => node.endAgent()));
});

function holdersSince(fromMs: number): readonly (readonly string[])[] {
  return ownership
    .timeline(cluster.lab.vip4)
    .between(fromMs)
    .intervals()
    .map(({ holders }) => holders);
}

function startAll(env: Readonly<Record<string, string>> = {}): Promise<unknown> {
  return Promise.all(cluster.nodes.map((node) => node.startAgent(env)));
}

async function everyAgent(what: string, condition: (node: EmbeddedNode) => Promise<boolean>): Promise<void> {
  await cluster.lab.until(
    async () => (await Promise.all(cluster.nodes.map(condition))).every(Boolean),
    20_000,
    what,
  );
}

function usesFile(kind: "admin" | "agent"): (node: EmbeddedNode) => Promise<boolean> {
  return async (node) =>
    (await node.status()).credentials.source === cluster.api.kubeconfigs.get(node.name)?.[kind];
}

describe("the cluster gets another CA, and the agents' own kubeconfigs are of the old one", () => {
  let writeAgents: () => Promise<void>;

  test("the holder goes on by admin.conf, and the VIP never leaves it", async () => {
    await startAll();
    const holder = await cluster.holder(20_000);
    await sleep(2_000);
    const fromMs = monotonicMs();
    writeAgents = await cluster.api.changeAuthority();
    await sleep(LEASE_AND_MORE_MS);
    assert.equal((await cluster.holder(5_000)).name, holder.name);
    assert.deepEqual(holdersSince(fromMs), [[holder.name]]);
    await everyAgent("all use admin.conf", usesFile("admin"));
    for (const node of cluster.nodes) {
      const log = node.agent?.log() ?? "";
      const own = cluster.api.kubeconfigs.get(node.name)?.agent ?? "";
      assert.match(
        log,
        new RegExp(
          `"level":"warn".*"path":"${own}","reason":"[^"]*its CA does not vouch for the server's certificate \\([A-Z_]+\\)`,
          "u",
        ),
        node.name,
      );
      assert.match(
        log,
        /"level":"warn".*The agent uses admin\.conf in place of its own kubeconfig/u,
        node.name,
      );
    }
    await everyAgent("every backend is UP", async (node) =>
      (await node.status()).balancer.backends.every(({ grade }) => grade === "UP"),
    );
  });

  test("a fresh start with them has the VIP in seconds", async () => {
    const fromMs = monotonicMs();
    await startAll();
    await cluster.holder(20_000);
    const tookMs = monotonicMs() - fromMs;
    // Three agents start on a busy machine, and the Lease of the ended ones was released. It took 31 s.
    assert.ok(tookMs < 15_000, `${Math.round(tookMs)} ms`);
  });

  test("their own kubeconfigs are renewed: they go back to them, and the VIP does not notice", async () => {
    await startAll();
    const holder = await cluster.holder(20_000);
    await everyAgent("all use admin.conf", usesFile("admin"));
    const fromMs = monotonicMs();
    await writeAgents();
    await everyAgent("all use their own", usesFile("agent"));
    await sleep(3_000);
    assert.deepEqual(holdersSince(fromMs), [[holder.name]]);
  });
});

describe("another program has the balancer's port on every node", () => {
  for (const fastPath of ["auto", "off"]) {
    test(`fast path ${fastPath}: a node has the VIP, VIP:6443 answers, and the agents take the port when it is free`, async () => {
      const thieves = await Promise.all(
        cluster.nodes.map(({ host }) =>
          host.spawn(
            [process.execPath, "-e", 'require("net").createServer((s)=>s.destroy()).listen(8443,"::")'],
            { name: "thief" },
          ),
        ),
      );
      await sleep(1_000);
      await startAll({ LEASEHOLD_FASTPATH: fastPath });
      // Until everything has been checked for the first time nothing is known against a balancer.
      await everyAgent(
        "every balancer is at fault",
        async (node) => (await node.status()).election?.faults.join() === "balancer",
      );
      const holder = await cluster.holder(20_000);
      for (const node of cluster.nodes) {
        assert.equal(node.agent?.running, true, node.name);
        const { election, balancer, checks } = await node.status();
        assert.deepEqual(election?.faults, ["balancer"], node.name);
        assert.match(balancer.listenFailure ?? "", /^port 8443 cannot be opened: .*EADDRINUSE/u);
        assert.match(checks.find(({ name }) => name === "balancer")?.detail ?? "", /port 8443/u);
        assert.match(
          (await node.get("/readyz?verbose")).body,
          /\[-\]listener failed: port 8443 cannot be opened/u,
        );
        assert.equal((await node.get("/livez")).status, 200);
        assert.match(node.agent?.log() ?? "", /"level":"error".*"code":"LH_LISTEN"/u);
      }
      const fromMs = monotonicMs();
      await using client = await ClientProbe.start(
        cluster.client,
        { host: cluster.lab.vip4, port: 6443, intervalMs: 50, timeoutMs: 2_000, tls: {}, path: "/readyz" },
        `taken-${fastPath}`,
      );
      await sleep(5_000);
      const attempts = await client.stop();
      assert.ok(attempts.length > 50, describeAttempts(attempts));
      assert.equal(failures(attempts).length, 0, describeAttempts(attempts));
      assert.deepEqual(holdersSince(fromMs), [[holder.name]]);
      for (const thief of thieves) thief.kill("SIGKILL");
      await everyAgent("every agent has the port", async (node) => (await node.status()).balancer.listening);
      await everyAgent(
        "nobody is in FAULT",
        async (node) => (await node.status()).election?.faults.length === 0,
      );
    });
  }
});

describe("settings that the machine shows to be wrong", () => {
  const settings = (): readonly (readonly [what: string, env: Record<string, string>, says: RegExp])[] => {
    const network = cluster.lab.vip4.replace(/\d+$/u, "");
    return [
      ["the broadcast address", { LEASEHOLD_VIP: `${network}255` }, /LH_VIP_RESERVED.*broadcast address/u],
      ["the network's address", { LEASEHOLD_VIP: `${network}0` }, /LH_VIP_RESERVED.*network's own address/u],
      [
        "the gateway",
        { LEASEHOLD_VIP: `${network}254` },
        /LH_VIP_RESERVED.*gateway of eth0's default route/u,
      ],
      ["the loopback", { LEASEHOLD_INTERFACE: "lo" }, /LEASEHOLD_INTERFACE=.*loopback/u],
      ["another node's address", { LEASEHOLD_NODE_IP: `${network}77` }, /LH_NODE_IP.*is no address of/u],
    ];
  };

  async function exitOf(node: EmbeddedNode, env: Record<string, string>): Promise<number | null | undefined> {
    await node.startAgent(env);
    return (await node.agent?.exited)?.code;
  }

  test("end the agent with exit status 2, and the log says what would be right", async () => {
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    const gateway = cluster.lab.vip4.replace(/\d+$/u, "254");
    await node.host.run(["ip", "route", "add", "default", "via", gateway, "dev", "eth0"]);
    try {
      for (const [what, env, says] of settings()) {
        assert.equal(await exitOf(node, env), 2, what);
        assert.match(node.agent?.log() ?? "", says, what);
      }
    } finally {
      await node.host.run(["ip", "route", "del", "default"]);
    }
  });

  test("do not end an agent whose interface may still come: it says what it waits for, and goes on", async () => {
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    await node.startAgent({ LEASEHOLD_INTERFACE: "late0" });
    await cluster.lab.until(
      async () => (await node.status()).waiting?.startsWith("there is no interface late0; this machine has "),
      10_000,
      "the agent says what it waits for",
    );
    assert.match(
      (await node.get("/readyz?verbose")).body,
      /^\[-\]network failed: waiting for the VIP's interface: there is no interface late0;/mu,
    );
    assert.equal((await node.get("/livez")).status, 200);
    await node.host.run(["ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1"]);
    try {
      await node.host.run(["ip", "addr", "add", "198.51.100.9/24", "dev", "late0"]);
      await node.host.run(["ip", "link", "set", "late0", "up"]);
      await cluster.lab.until(
        async () => {
          const { waiting, election } = await node.status();
          return waiting === null && election !== null;
        },
        10_000,
        "the agent takes part",
      );
    } finally {
      await node.endAgent();
      await node.host.run(["ip", "link", "del", "late0"]);
    }
  });
});

describe("one node has another LEASEHOLD_VIP than the others", () => {
  const wrongVip = (): string => cluster.lab.vip4.replace(/\d+$/u, "150");

  test("it is the best one, and becomes no holder: its log names both lists; with the right VIP it takes part", async () => {
    const [first, ...others] = cluster.nodes;
    assert.ok(first !== undefined);
    await Promise.all([
      first.startAgent({
        LEASEHOLD_VIP: wrongVip(),
        LEASEHOLD_PRIORITY: "250",
        LEASEHOLD_NOPREEMPT: "false",
      }),
      ...others.map((node) => node.startAgent()),
    ]);
    await cluster.lab.until(
      async () => (await first.status()).election?.faults.includes("vip-mismatch") === true,
      30_000,
      "the fault is found",
    );
    // Where it was alone at first, it hands over now.
    const holder = await cluster.lab.until(
      async () => {
        const found = await cluster.holder(20_000);
        return found === first ? undefined : found;
      },
      30_000,
      "another node holds",
    );
    await sleep(3_000);
    assert.equal((await cluster.holder(5_000)).name, holder.name);
    const { election } = await first.status();
    assert.deepEqual([election?.state, election?.eligible], ["FAULT", false]);
    const line =
      (first.agent?.log() ?? "").split("\n").find((each) => each.includes("LH_VIP_MISMATCH")) ?? "";
    assert.match(line, /"level":"error"/u);
    for (const part of [wrongVip(), cluster.lab.vip4])
      assert.ok(line.includes(part), `${part} is not in: ${line}`);
    // All three started at one time: the holder decides, and the third may not have written itself down yet.
    assert.ok(
      others.some(({ name }) => line.includes(name)),
      line,
    );
    assert.equal(ownership.timeline(wrongVip()).intervals().at(-1)?.holders.join() ?? "", "");

    await first.endAgent();
    await first.startAgent({ LEASEHOLD_PRIORITY: "250", LEASEHOLD_NOPREEMPT: "false" });
    await cluster.lab.until(
      async () => (await cluster.holder(20_000)).name === first.name,
      40_000,
      "the best one holds",
    );
  });
});

describe("LEASEHOLD_MAX_CONNECTIONS is above the file descriptors that there are", () => {
  test("3,000 clients take their share and no more: the Lease, the state file, nft and the ops port go on", async () => {
    const [node, from] = cluster.nodes;
    assert.ok(node !== undefined && from !== undefined);
    node.agent = await node.host.spawn(
      ["sh", "-c", 'ulimit -n 2048; exec "$@"', "-", process.execPath, ...IMAGE_NODE_FLAGS, BUNDLE, "run"],
      { name: "agent", env: { ...IMAGE_ENV, ...node.commandEnvironment() } },
    );
    const isMaster = async (): Promise<boolean> => (await node.status()).election?.state === "MASTER";
    await cluster.lab.until(
      async () => (await isMaster()) && (await node.status()).fastPath?.mode === "fast-path",
      30_000,
      "it is MASTER, with its rules",
    );
    assert.match(
      node.agent.log(),
      /"level":"warn".*"wanted":20000,"connections":512,"openFiles":2048.*LEASEHOLD_MAX_CONNECTIONS/u,
    );
    const fromMs = monotonicMs();
    const held = cluster.lab.own(
      await HeldConnections.start(
        from.host,
        { host: node.host.ipv4, port: 8443, count: 3_000, mode: "listen" },
        "crowd",
      ),
    );
    await cluster.lab.until(
      () => held.all().every(({ openedMs, closedBy }) => openedMs !== undefined || closedBy !== ""),
      60_000,
      "every client has tried",
    );
    await cluster.lab.until(
      async () => (await node.status()).balancer.connections === 512,
      20_000,
      "the balancer is full",
    );
    // Another program takes the rules away: putting them back takes a run of nft.
    const { restored = 0 } = (await node.status()).fastPath ?? {};
    await node.host.run(["nft", "delete", "table", "netdev", "leasehold"]);
    await cluster.lab.until(
      async () => ((await node.status()).fastPath?.restored ?? 0) > restored,
      10_000,
      "the rules are back",
    );
    const noted = (): number => statSync(join(node.host.stateDirectory, "state.json")).mtimeMs;
    const before = noted();
    await sleep(LEASE_AND_MORE_MS);
    assert.ok(noted() - before > LEASE_AND_MORE_MS - 4_000, "the state file is written");
    assert.ok(await isMaster());
    assert.deepEqual(holdersSince(fromMs), [[node.name]]);
    assert.doesNotMatch(node.agent.log(), /EMFILE/u);
    await held[Symbol.asyncDispose]();
  });
});

describe("standard output is a pipe that nobody reads", () => {
  test("the pipe is full, and the agent holds the VIP and renews the Lease all the same", async () => {
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    const pipe = join(node.host.directory, "stdout");
    // The agent has the reading end as well and does not read. The pipe is full from the start.
    const script = `rm -f ${pipe}; mkfifo ${pipe}; exec 3<>${pipe}; head -c 65536 /dev/zero >&3; exec "$@" > ${pipe}`;
    node.agent = await node.host.spawn(
      ["sh", "-c", script, "-", process.execPath, ...IMAGE_NODE_FLAGS, BUNDLE, "run"],
      { name: "agent", env: { ...IMAGE_ENV, ...node.commandEnvironment(), LEASEHOLD_LOG_LEVEL: "debug" } },
    );
    const isMaster = async (): Promise<boolean> => (await node.status()).election?.state === "MASTER";
    await cluster.lab.until(isMaster, 30_000, "it is MASTER");
    const fromMs = monotonicMs();
    await sleep(LEASE_AND_MORE_MS);
    assert.ok(await isMaster());
    assert.deepEqual(holdersSince(fromMs), [[node.name]]);
  });
});

describe("the VIP's interface has no ARP", () => {
  const CARDS = [
    [
      "an Ethernet with `arp off`",
      "link add card0 type veth peer name card1\nlink set card0 arp off\nlink set card1 up\n",
      "MASTER",
    ],
    // No program has opened the tunnel, so it has no carrier.
    ["a tunnel, without a MAC address", "tuntap add dev card0 mode tun\n", "FAULT"],
  ] as const;

  for (const [what, commands, state] of CARDS)
    test(`${what}: the agent runs, announces nothing and counts nothing, and says what is lost`, async () => {
      const [node] = cluster.nodes;
      assert.ok(node !== undefined);
      await node.host.run(["ip", "-batch", "-"], {
        input: `${commands}addr add 10.77.0.1/24 dev card0\nlink set card0 up\n`,
      });
      try {
        const env = { LEASEHOLD_INTERFACE: "card0", LEASEHOLD_ANNOUNCE_REFRESH: "1s" };
        await node.startAgent(env);
        const status = await cluster.lab.until(
          async () => {
            const found = await node.status();
            const said = found.election?.candidates.find((one) => one.node === node.name);
            const isThere = found.election?.state === state && found.fastPath?.mode === "proxy";
            return isThere && said?.mac === "" ? found : undefined;
          },
          20_000,
          `${state} in mode proxy, and the Lease says that it has no MAC address`,
        );
        assert.match(status.fastPath?.reason ?? "", /^LH_LINK_TYPE: card0: it is not an Ethernet interface/u);
        assert.equal(status.wire?.proof, "no-arp");
        await sleep(2_500);
        assert.equal((await node.status()).vip?.announcements, 0);
        assert.match((await node.get("/metrics")).body, /leasehold_announcement_errors_total 0/u);
        assert.match(node.agent?.log() ?? "", /LH_LINK_TYPE.*the VIP's interface is card0/u);
      } finally {
        await node.endAgent();
        await node.host.run(["ip", "link", "del", "card0"]);
      }
    });
});

describe("the machine's network changes while the agents run", () => {
  /** Every agent sends new connections to each node, at that address. */
  async function everyNodeTakes(addresses: readonly string[]): Promise<void> {
    await everyAgent(`slots for ${addresses.join()}`, async (node) => {
      const { fastPath } = await node.status();
      const takers = fastPath?.nodes.filter(({ slots }) => slots > 0).flatMap((one) => one.addresses) ?? [];
      return fastPath?.mode === "fast-path" && addresses.every((address) => takers.includes(address));
    });
  }

  const addresses = (): readonly string[] => cluster.nodes.map(({ host }) => host.ipv4);

  test("a node gets another address: it is known by that one, and keeps its priority", async () => {
    await startAll();
    const holder = await cluster.holder(20_000);
    await everyNodeTakes(addresses());
    const node = cluster.nodes.find((one) => one !== holder) ?? assert.fail();
    const before = node.host.ipv4;
    const after = before.replace(/\d+$/u, "77");
    // The embedded API server listens on the node's first address alone.
    const translate = (hook: string): string =>
      `chain ${hook} { type nat hook ${hook} priority -110; ip daddr ${after} tcp dport 6443 dnat to ${before}; }`;
    await node.host.run(["nft", "-f", "-"], {
      input: `table ip renumbered {\n${translate("output")}\n${translate("prerouting")}\n}\n`,
    });
    const fromMs = monotonicMs();
    const change = (to: string, from: string, more: string): Promise<string> =>
      node.host.run(["ip", "-batch", "-"], {
        input: `addr del ${from}/24 dev eth0\naddr add ${to}/24 dev eth0\naddr ${more} ${before}/32 dev lo\n`,
      });
    await change(after, before, "add");
    try {
      await everyNodeTakes(addresses().map((address) => (address === before ? after : address)));
      const { election, balancer, listeners } = await node.status();
      assert.equal(election?.effectivePriority, 100);
      assert.deepEqual(
        balancer.backends.filter(({ local }) => local).map(({ id, grade }) => [id, grade]),
        [[`${after}:6443`, "UP"]],
      );
      assert.ok(
        listeners.some(
          ({ name, address, listening }) => name === "peers" && address === `${after}:10085` && listening,
        ),
        JSON.stringify(listeners),
      );
      const ip = (await holder.status()).election?.candidates.find((one) => one.node === node.name)?.ip;
      assert.equal(ip, after);
      const lines = (node.agent?.log() ?? "").split("\n").filter((line) => /has another address/u.test(line));
      assert.equal(lines.length, 1, node.agent?.log());
      assert.deepEqual(holdersSince(fromMs), [[holder.name]]);
    } finally {
      await node.endAgent();
      await change(before, after, "del");
      await node.host.run(["nft", "delete", "table", "ip", "renumbered"]);
    }
  });

  for (const [what, named] of [
    ["every node by an address that all machines have, as in Vagrant", ["10.0.2.15"]],
    ["no API server, as with --endpoint-reconciler-type=none", []],
  ] as const)
    test(`the cluster names ${what}: the candidates' addresses are used`, async () => {
      const publish = (hosts: readonly string[]): void => {
        const { status } = cluster.api.store.handle({
          method: "PATCH",
          path: "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
          contentType: "application/merge-patch+json",
          body: JSON.stringify({ endpoints: hosts.map((host) => ({ addresses: [host] })) }),
        });
        assert.equal(status, 200);
      };
      publish(named);
      for (const node of cluster.nodes)
        rmSync(join(node.host.directory, "lib", "api-servers.json"), { force: true });
      try {
        await startAll();
        await cluster.holder(20_000);
        await everyNodeTakes(addresses());
        await everyAgent("the other nodes' addresses are proven, and there are no others", async (node) => {
          const { backends } = (await node.status()).balancer;
          const found = backends.map(({ host, claimed, unproven }) => `${host} ${claimed} ${unproven}`);
          const wanted = addresses().map(
            (host) => `${host} ${host === node.host.ipv4 ? undefined : true} undefined`,
          );
          return found.toSorted().join() === wanted.toSorted().join();
        });
      } finally {
        publish(addresses());
      }
    });
});
