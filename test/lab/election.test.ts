import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { splitCommand } from "../../src/config/command-line.ts";
import { blockOf } from "../support/guide/guide.ts";
import type { ArpCapture } from "../support/lab/capture.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import { ClientProbe, describeAttempts, longestGap, longestPauseMs } from "../support/lab/probe.ts";
import type { Attempt } from "../support/lab/probe.ts";
import type { LabProcess } from "../support/lab/process.ts";
import { createCluster, LEASE } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { FENCE_MS, provable } from "./on-the-wire.ts";

const ROUNDS = 4;
const LEASE_MS = 10_000;
const RENEW_DEADLINE_MS = 4_000;
/**
 * From a holder's end, as its wire tells it, until another one has the VIP: measured in proof.test.ts; here,
 * with room for a slow machine.
 */
const TAKEN_MS = 2_000;

let cluster: Cluster;
let arp: ArpCapture;
let ownership: OwnershipSampler;

before(async () => {
  cluster = await createCluster();
  arp = await cluster.lab.captureArp();
  ownership = await cluster.lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => cluster.reset());

/** The VIP of VIP:8443 as a client sees it: a new connection every 5 ms. */
function probe(): Promise<ClientProbe> {
  return ClientProbe.start(
    cluster.client,
    { host: cluster.vip, port: 8443, timeoutMs: 1_000 },
    `probe-${(serial += 1)}`,
  );
}
let serial = 0;

/**
 * The longest gap that a client saw, less what it slept through itself: its process may have had to wait for
 * a processor.
 */
function gapMs(attempts: readonly Attempt[]): number {
  const paused = longestPauseMs(attempts);
  return longestGap(attempts).ms - (paused > 50 ? paused : 0);
}

function since(fromMs: number) {
  return ownership.timeline(cluster.vip).between(fromMs);
}

/** One of them has the VIP no later than `limitMs` after `fromMs`. */
async function takenBy(nodes: readonly ClusterNode[], fromMs: number, limitMs: number): Promise<void> {
  const first = (): number | undefined =>
    since(fromMs).samples.find(({ holders }) => nodes.some(({ name }) => holders.includes(name)))?.atMs;
  const atMs = await cluster.lab.until(first, 20_000, `another node has ${cluster.vip}`);
  assert.ok(atMs - fromMs <= limitMs, `after ${atMs - fromMs} ms\n${cluster.history()}`);
}

describe("cold start", () => {
  test("the highest priority wins, whoever starts first", async () => {
    const fromMs = monotonicMs();
    // The Lease comes when all run and look out for it: which process a busy machine starts a second later
    // than the others does not matter here, nor does an API server that has just started and turns requests
    // away for a moment, after which an agent reads again within 2 s. Ten seconds without a Lease, and one
    // makes it.
    await cluster.kubectl(["delete", ...LEASE]);
    await Promise.all(
      cluster.nodes.map((node, index) =>
        node.startAgent({ LEASEHOLD_PRIORITY: ["100", "120", "110"][index] ?? "" }),
      ),
    );
    await cluster.lab.until(
      async () =>
        (await Promise.all(cluster.nodes.map((node) => node.state()))).every((state) => state === "BACKUP"),
      10_000,
      "all are BACKUP",
    );
    await sleep(3_000);
    await cluster.plane.applyRbac();
    const master = await cluster.settled();
    assert.equal(master.name, "n2", cluster.history());
    assert.deepEqual(await cluster.bound(), ["n2"]);
    await cluster.lab.until(
      () => arp.announcers(cluster.vip, fromMs).length > 0,
      5_000,
      "the capture shows an announcement",
    );
    assert.deepEqual(arp.announcers(cluster.vip, fromMs), ["n2"]);
  });

  test(
    `equal priorities: exactly one GARP source in each of ${ROUNDS} rounds`,
    { timeout: 600_000 },
    async () => {
      for (let round = 1; round <= ROUNDS; round += 1) {
        const fromMs = monotonicMs();
        const master = await cluster.startAgents();
        await cluster.lab.until(
          () => arp.announcers(cluster.vip, fromMs).length > 0,
          5_000,
          "the capture shows an announcement",
        );
        assert.deepEqual(
          arp.announcers(cluster.vip, fromMs),
          [master.name],
          `round ${round}: ${cluster.history()}`,
        );
        assert.ok(since(fromMs).maxSimultaneous() <= 1, `round ${round}: ${since(fromMs).describe()}`);
        // All at once, so that no round ends in a hand-over, which is another scenario.
        await Promise.all(cluster.nodes.map((node) => node.endAgent("SIGKILL")));
        await cluster.reset();
      }
    },
  );
});

describe("the holder stops or dies", () => {
  test("SIGTERM: another takes over, the longest gap is 150 ms at most", async () => {
    const old = await cluster.startAgents();
    await using client = await probe();
    await sleep(1_000);
    const fromMs = monotonicMs();
    await old.endAgent("SIGTERM");
    assert.deepEqual(old.agent?.exit?.code, 0);
    const next = await cluster.settled();
    await sleep(1_000);
    const attempts = await client.stop();
    assert.ok(
      gapMs(attempts.filter((attempt) => attempt.sentMs > fromMs - 500)) <= 150,
      describeAttempts(attempts),
    );
    assert.deepEqual(await cluster.bound(), [next.name]);
    assert.ok(since(fromMs).longestDualMs() <= 1_000, since(fromMs).describe());
  });

  test("SIGKILL for good: the kernel takes the VIP away before another binds it, and that at once", async () => {
    const old = await cluster.startAgents();
    await provable(cluster, old);
    const fromMs = monotonicMs();
    await old.endAgent("SIGKILL");
    await cluster.lab.until(
      async () => (await cluster.bound()).length === 0,
      5_000,
      "the kernel removes the address",
    );
    const goneMs = monotonicMs() - fromMs;
    assert.ok(goneMs <= 4_500, `the address lived ${goneMs} ms`);
    await takenBy(cluster.others(old), fromMs, goneMs + TAKEN_MS);
    const next = await cluster.settled();
    assert.notEqual(next, old);
    assert.deepEqual(await cluster.bound(), [next.name]);
    assert.equal(since(fromMs).dualMs(), 0, since(fromMs).describe());
  });

  test("SIGKILL and a restart in time: the VIP never moves", async () => {
    const holder = await cluster.startAgents();
    const fromMs = monotonicMs();
    await holder.endAgent("SIGKILL");
    await sleep(1_000);
    await holder.startAgent();
    await sleep(12_000);
    assert.equal(await cluster.settled(), holder);
    assert.deepEqual(
      since(fromMs)
        .intervals()
        .map((interval) => interval.holders),
      [[holder.name]],
    );
  });

  test("SIGSTOP past the lease, then SIGCONT: it sends nothing and has no address", async () => {
    const old = await cluster.startAgents();
    await provable(cluster, old);
    const fromMs = monotonicMs();
    old.agent?.stop();
    await takenBy(cluster.others(old), fromMs, FENCE_MS + TAKEN_MS);
    const next = await cluster.successorOf(old);
    // It sleeps on until its Lease would have run out, had nobody taken it.
    await sleep(Math.max(0, fromMs + LEASE_MS + 1_000 - monotonicMs()));
    const continuedMs = monotonicMs();
    old.agent?.cont();
    assert.equal(await cluster.settled(), next);
    await sleep(2_000);
    assert.ok(
      !arp.announcers(cluster.vip, continuedMs).includes(old.name),
      "a frozen holder announced after it woke up",
    );
    assert.deepEqual(await cluster.bound(), [next.name]);
    assert.equal(since(fromMs).dualMs(), 0, since(fromMs).describe());
  });
});

describe("the network", () => {
  test("link cut: another node takes over at once, and the old one comes back as BACKUP, when it has been calm", async () => {
    const old = await cluster.startAgents();
    await provable(cluster, old);
    const fromMs = monotonicMs();
    await old.host.link.down();
    await takenBy(cluster.others(old), fromMs, TAKEN_MS);
    const next = await cluster.successorOf(old);
    await old.host.link.up();
    assert.equal(await cluster.settled(), next);
    assert.ok(since(fromMs).longestDualMs() <= 1_000, since(fromMs).describe());
  });

  test("partition: another node takes over at once; the cut-off holder, whom nobody hears, lets go at its deadline and never meets it", async () => {
    const old = await cluster.startAgents();
    await provable(cluster, old);
    const fromMs = monotonicMs();
    const fault = await cluster.lab.isolate(old.host);
    await takenBy(cluster.others(old), fromMs, TAKEN_MS);
    const next = await cluster.successorOf(old);
    await cluster.lab.until(
      async () => (await cluster.bound()).join() === next.name,
      6_000,
      `${old.name} lets go`,
    );
    const gone = monotonicMs() - fromMs;
    assert.ok(gone <= RENEW_DEADLINE_MS + 1_000, `it had it for ${gone} ms`);
    const healedMs = monotonicMs();
    await fault.heal();
    assert.equal(await cluster.settled(), next);
    assert.deepEqual(
      since(healedMs)
        .intervals()
        .map(({ holders }) => holders),
      [[next.name]],
    );
  });

  test("a VIP deleted by hand is back within 1 s, and announced", async () => {
    const master = await cluster.startAgents();
    const deletedMs = monotonicMs();
    await master.host.run(["ip", "addr", "del", `${cluster.vip}/32`, "dev", "eth0"]);
    await cluster.lab.until(
      async () => (await cluster.bound()).includes(master.name),
      1_000,
      "the VIP is back",
    );
    await cluster.lab.until(
      () => arp.announcements(cluster.vip, deletedMs).length > 0,
      2_000,
      "it is announced",
    );
  });
});

describe("preemption", () => {
  const low = { n1: { LEASEHOLD_PRIORITY: "50" }, n2: { LEASEHOLD_PRIORITY: "50" } };

  async function startLow(): Promise<void> {
    await Promise.all([cluster.node("n1").startAgent(low.n1), cluster.node("n2").startAgent(low.n2)]);
    await cluster.settled();
  }

  test("nopreempt, the default: a better node that comes later leaves the holder alone", async () => {
    await startLow();
    const holder = await cluster.settled();
    await cluster.node("n3").startAgent({ LEASEHOLD_PRIORITY: "200" });
    await sleep(5_000);
    assert.equal(await cluster.settled(), holder);
  });

  test("preempt: a better node takes over without a gap", async () => {
    await startLow();
    await using client = await probe();
    await sleep(500);
    const fromMs = monotonicMs();
    await cluster.node("n3").startAgent({ LEASEHOLD_PRIORITY: "200", LEASEHOLD_NOPREEMPT: "false" });
    await cluster.lab.until(async () => (await cluster.settled()).name === "n3", 15_000, "n3 preempts");
    await sleep(500);
    const attempts = await client.stop();
    assert.ok(gapMs(attempts) <= 150, describeAttempts(attempts));
    assert.ok(since(fromMs).longestGapMs() <= 100, since(fromMs).describe());
  });

  test("preempt delay: the better node waits that long", async () => {
    await startLow();
    const holder = await cluster.settled();
    await cluster
      .node("n3")
      .startAgent({ LEASEHOLD_PRIORITY: "200", LEASEHOLD_NOPREEMPT: "false", LEASEHOLD_PREEMPT_DELAY: "6s" });
    await cluster.lab.until(
      async () => (await cluster.node("n3").state()) === "BACKUP",
      10_000,
      "n3 is BACKUP",
    );
    await sleep(3_000);
    assert.equal(await cluster.settled(), holder, "before the delay is over");
    await cluster.lab.until(
      async () => (await cluster.settled()).name === "n3",
      15_000,
      "n3 preempts after the delay",
    );
  });

  test("move-to: the named node takes over, whatever its priority, and the runbook's hooks tell the node", async () => {
    const target = cluster.node("n3");
    const told = hooksOf(target);
    await using _reader = told.startReader();
    const first = cluster.node("n1");
    const holder = await cluster.startAgentsAfter(first, {
      n1: { LEASEHOLD_PRIORITY: "200" },
      n3: told.settings,
    });
    assert.equal(holder, first);
    await cluster.kubectl(["annotate", ...LEASE, `leasehold.dev/move-to=${target.name}`]);
    await cluster.lab.until(
      async () => (await cluster.settled()).name === target.name,
      10_000,
      "the named node holds",
    );
    await target.endAgent();
    // Between MASTER and STOP it may be BACKUP, which a hook that is behind is not told.
    const course = ["BACKUP 100", "MASTER 100", "STOP 100"];
    const isTold = (lines: readonly string[], lead: string): boolean =>
      [lines[0], lines[1], lines.at(-1)].join() === course.map((text) => lead + text).join();
    await cluster.lab.until(
      () => {
        if (isTold(told.byPipe(), "") && isTold(told.byNsenter(), "INSTANCE leasehold ")) return true;
        throw new Error(`${told.byPipe().join()}; ${told.byNsenter().join()}`);
      },
      5_000,
      "the node's program was called",
    );
  });
});

/**
 * The two ways of docs/operations.md by which a hook reaches the node, word for word, but for the paths of the
 * node's program and of the pipe.
 */
function hooksOf({ host }: ClusterNode) {
  const path = (name: string): string => join(host.directory, name);
  const program = (name: string, condition = "true"): string => {
    const text = `#!/bin/sh\n${condition} && echo "$@" >> ${path(`${name}.out`)}\n`;
    writeFileSync(path(name), text, { mode: 0o755 });
    return path(name);
  };
  const lines = (name: string): readonly string[] =>
    existsSync(path(name)) ? readFileSync(path(name), "utf8").trim().split("\n") : [];
  const text = (has: string, onVip: string): string =>
    blockOf("docs/operations.md", { heading: "Notify hooks", has })
      .text.replaceAll("/usr/local/sbin/on-vip", onVip)
      .replaceAll("/var/lib/leasehold/notify", path("notify"));
  const unit = text("ExecStart=", program("by-pipe"));
  // systemd splits a command as a shell does, and `$$` is a dollar (systemd.service(5)).
  const [, command = ""] = /^ExecStart=(.*)$/m.exec(unit) ?? [];
  const argv = (splitCommand(command) ?? []).map((word) => word.replaceAll("$$", "$"));
  // Process 1 is in another network namespace than the agent, as it is on a node without hostNetwork.
  const onTheNode = `test "$(readlink /proc/self/ns/net)" = "$(readlink /proc/1/ns/net)"`;
  // The lab has one UTS and one IPC namespace, which are not its own.
  const script = text("nsenter", program("by-nsenter", onTheNode)).replace("--uts --ipc ", "");
  writeFileSync(path("notify.sh"), script, { mode: 0o755 });
  return {
    settings: { LEASEHOLD_NOTIFY: path("notify.sh"), LEASEHOLD_NOTIFY_FIFO: path("notify") },
    byPipe: () => lines("by-pipe.out"),
    byNsenter: () => lines("by-nsenter.out"),
    /** Starts the reader again when it has ended, as systemd does with `Restart=always`. */
    startReader() {
      assert.match(unit, /^Restart=always$/m);
      assert.match(unit, /^StartLimitIntervalSec=0$/m);
      const end = new AbortController();
      let running: LabProcess | undefined;
      const loop = (async () => {
        while (!end.signal.aborted) {
          running = await host.spawn(argv, { name: "reader" });
          await running.exited;
          await sleep(200);
        }
      })();
      return {
        async [Symbol.asyncDispose]() {
          end.abort();
          await running?.terminate();
          await loop;
        },
      };
    },
  };
}

describe("people edit the Lease", () => {
  test("deleted: the holder writes it again, the VIP stays", async () => {
    const holder = await cluster.startAgents();
    const fromMs = monotonicMs();
    await cluster.kubectl(["delete", ...LEASE]);
    await cluster.lab.until(
      async () => (await cluster.lease()).spec["holderIdentity"] === holder.name,
      5_000,
      "the Lease is back",
    );
    await sleep(2_000);
    assert.deepEqual(
      since(fromMs)
        .intervals()
        .map((interval) => interval.holders),
      [[holder.name]],
    );
  });

  test("emptied: the holder takes it up again, the VIP stays", async () => {
    const holder = await cluster.startAgents();
    const fromMs = monotonicMs();
    await cluster.kubectl(["patch", ...LEASE, "--type=merge", "-p", '{"spec":{"holderIdentity":""}}']);
    await cluster.lab.until(
      async () => (await cluster.lease()).spec["holderIdentity"] === holder.name,
      5_000,
      "the Lease names the holder again",
    );
    await sleep(2_000);
    assert.deepEqual(
      since(fromMs)
        .intervals()
        .map((interval) => interval.holders),
      [[holder.name]],
    );
  });

  test("a stranger written into it holds nothing: the VIP is back after the lease duration", async () => {
    await cluster.startAgents();
    await cluster.kubectl([
      "patch",
      ...LEASE,
      "--type=merge",
      "-p",
      '{"spec":{"holderIdentity":"nobody-knows","renewTime":"2099-01-01T00:00:00.000000Z"}}',
    ]);
    await cluster.lab.until(async () => (await cluster.bound()).length === 0, 5_000, "the holder lets go");
    await cluster.settled(20_000);
  });
});

describe("refusals", () => {
  test("a VIP that is a node's own address ends the agent with exit status 2", async () => {
    const [node] = cluster.nodes;
    assert.ok(node !== undefined);
    await node.startAgent({ LEASEHOLD_VIP: cluster.node("n1").host.ipv4, LEASEHOLD_INTERFACE: "eth0" });
    const exit = await node.agent?.exited;
    assert.equal(exit?.code, 2);
    assert.match(node.agent?.log() ?? "", /LH_ADDRESS_OWNER|NODE_IP/);
  });

  for (const [whose, prefix] of [
    ["a lease of the machine's, with its subnet", 24],
    ["a lease of the machine's, as clouds give it", 32],
  ] as const) {
    test(`a VIP that is ${whose}, ends the agent with exit status 2 and stays`, async () => {
      const [node] = cluster.nodes;
      assert.ok(node !== undefined);
      const { host } = node;
      await host.run([
        "ip",
        "addr",
        "add",
        `${cluster.vip}/${prefix}`,
        "dev",
        "eth0",
        "valid_lft",
        "3600",
        "preferred_lft",
        "3600",
      ]);
      try {
        await node.startAgent();
        const exit = await node.agent?.exited;
        assert.equal(exit?.code, 2);
        assert.match(node.agent?.log() ?? "", /LH_ADDRESS_OWNER/);
        assert.ok(
          node.agent
            ?.log()
            .includes(
              `LEASEHOLD_VIP=\\"${cluster.vip}\\" is this machine's own address (${cluster.vip}/${prefix} on eth0`,
            ),
        );
        assert.match(
          await host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0"]),
          new RegExp(` ${cluster.vip}/${prefix} .*valid_lft 3[56]`),
        );
      } finally {
        await host.run(["ip", "addr", "del", `${cluster.vip}/${prefix}`, "dev", "eth0"]);
      }
    });
  }

  test("a VIP that DHCP gives to a standby's machine while its agent runs: the address and its routes outlive the agent", async () => {
    const holder = await cluster.startAgents();
    const [node] = cluster.others(holder);
    assert.ok(node !== undefined);
    const { host } = node;
    await host.run([
      "ip",
      "addr",
      "add",
      `${cluster.vip}/24`,
      "dev",
      "eth0",
      "valid_lft",
      "3600",
      "preferred_lft",
      "3600",
    ]);
    try {
      await cluster.lab.until(
        async () => (await node.status()).election?.faults.join() === "vip",
        10_000,
        "the agent is in FAULT vip",
      );
      assert.match((await node.status()).vip?.failure ?? "", /is this machine's own address/);
      const routes = await host.run(["ip", "-4", "route", "show", "table", "all"]);
      await node.endAgent();
      assert.match(
        await host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0"]),
        new RegExp(` ${cluster.vip}/24 .*valid_lft 3[56]`),
      );
      assert.equal(await host.run(["ip", "-4", "route", "show", "table", "all"]), routes);
    } finally {
      await host.run(["ip", "addr", "del", `${cluster.vip}/24`, "dev", "eth0"]);
    }
  });

  test("a second machine of the same node name is refused while the first one lives", async () => {
    const master = await cluster.startAgents();
    const [twin] = cluster.others(master);
    assert.ok(twin !== undefined);
    await twin.endAgent();
    await twin.startAgent({ LEASEHOLD_NODE_NAME: master.name });
    await cluster.lab.until(
      async () => (await twin.status()).election?.faults.includes("duplicate-node-name"),
      10_000,
      "the twin is in FAULT",
    );
    assert.match(twin.agent?.log() ?? "", /LH_DUPLICATE_NODE/);
    assert.equal(await master.state(), "MASTER");
    assert.deepEqual(await cluster.bound(), [master.name]);
  });
});
