/** The lab's own tests: what it claims about faults and measures is seen to be so. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import { HeldConnections } from "../support/lab/hold.ts";
import type { Host } from "../support/lab/host.ts";
import { createLab } from "../support/lab/lab.ts";
import { ClientProbe, describeAttempts, failures, longestGap } from "../support/lab/probe.ts";
import type { LabProcess } from "../support/lab/process.ts";

const ECHO_SERVER = fileURLToPath(new URL("../support/lab/children/echo-server.ts", import.meta.url));

async function echoServer(host: Host, port: number, mode: "echo" | "push" = "echo"): Promise<LabProcess> {
  return host.spawn([process.execPath, ECHO_SERVER, JSON.stringify({ port, mode })], {
    name: `${mode}-${port}`,
  });
}

/** One echo request; false when it stays unanswered for a second. */
async function reaches(from: Host, address: string): Promise<boolean> {
  const family = address.includes(":") ? "::" : "0.0.0.0";
  const script = `
    const s = require("node:net").connect({ host: "${address}", port: 1, localAddress: "${family}" });
    s.on("error", (e) => process.exit(e.code === "ECONNREFUSED" ? 0 : 1)); setTimeout(() => process.exit(1), 500);`;
  return from.run([process.execPath, "-e", script]).then(
    () => true,
    () => false,
  );
}

describe("the lab", { timeout: 60_000 }, () => {
  test("makes three nodes and a client in less than a second, on both families", async () => {
    const startMs = monotonicMs();
    await using lab = await createLab();
    const [n1, , n3, client] = await Promise.all([
      lab.node("n1"),
      lab.node("n2"),
      lab.node("n3"),
      lab.client("c1"),
    ]);
    const tookMs = monotonicMs() - startMs;
    assert.ok(tookMs < 1000, `took ${tookMs.toFixed(0)} ms`);
    assert.equal(await reaches(client, n1.ipv4), true);
    assert.equal(await reaches(client, n3.ipv6), true);
    assert.equal((await n1.run(["cat", "/proc/sys/net/ipv4/ip_forward"])).trim(), "1");
    assert.equal((await client.run(["cat", "/proc/sys/net/ipv4/ip_forward"])).trim(), "0");
  });

  test("removes its namespaces and processes when it ends", async () => {
    const lab = await createLab();
    const n1 = await lab.node("n1");
    const sleeper = await n1.spawn(["sleep", "1000"]);
    assert.equal(sleeper.running, true);
    const cleaned = await lab.stop();
    assert.deepEqual(cleaned, { namespaces: 2, processes: 1 });
    assert.equal((await sleeper.exited).signal, "SIGKILL");
    await assert.rejects(n1.run(["true"]), /No such file|cannot open/);
  });

  test("cuts one way, both ways, one machine from all, and heals", async () => {
    await using lab = await createLab();
    const [n1, n2, n3] = await Promise.all([lab.node("n1"), lab.node("n2"), lab.node("n3")]);
    {
      await using cut = await lab.cut(n1, n2);
      assert.equal(await reaches(n1, n2.ipv4), false, "n1 to n2 while cut");
      assert.equal(await reaches(n1, n3.ipv4), true, "n1 to n3 beside the cut");
      void cut;
    }
    assert.equal(await reaches(n1, n2.ipv4), true, "n1 to n2 after the cut");

    await lab.isolate(n3);
    assert.equal(await reaches(n2, n3.ipv6), false, "n2 to isolated n3");
    assert.match(await n3.run(["ip", "link", "show", "eth0"]), /LOWER_UP/, "carrier of the isolated");
    await lab.heal();
    assert.equal(await reaches(n2, n3.ipv6), true, "n2 to healed n3");
  });

  test("drops only one direction and one kind of frame when told so", async () => {
    await using lab = await createLab();
    const [n1, n2] = await Promise.all([lab.node("n1"), lab.node("n2")]);
    const capture = await lab.captureArp();
    await lab.cut(n1, n2, { oneWay: true });
    await reaches(n2, n1.ipv4);
    // The question goes through, n1's answer is on the wire, and never arrives.
    await lab.until(
      () => capture.arp().some((frame) => frame.node === "n1" && frame.op === "reply"),
      2000,
      "n1's ARP answer on the wire",
    );
    assert.doesNotMatch(await n2.run(["ip", "neigh", "show", n1.ipv4]), new RegExp(n1.mac));
    await lab.heal();

    await lab.drop({ from: "n1", match: "tcp dport 4444" });
    await echoServer(n2, 4444);
    await echoServer(n2, 4445);
    await using open = await ClientProbe.start(n1, { host: n2.ipv4, port: 4445, intervalMs: 20 });
    await using shut = await ClientProbe.start(n1, {
      host: n2.ipv4,
      port: 4444,
      intervalMs: 20,
      timeoutMs: 200,
    });
    await lab.until(() => open.attempts().some((attempt) => attempt.ok), 3000, "answers on 4445");
    await lab.until(() => failures(shut.attempts()).length > 3, 3000, "failures on 4444");
    assert.deepEqual(
      shut.attempts().filter((attempt) => attempt.ok),
      [],
    );
  });

  test("pulls a cable: the carrier goes, the addresses stay", async () => {
    await using lab = await createLab();
    const n1 = await lab.node("n1");
    await n1.link.down();
    const state = await n1.run(["ip", "addr", "show", "eth0"]);
    assert.match(state, /NO-CARRIER/);
    assert.match(state, /inet 10\.77\.0\.11/);
    await n1.link.up();
    await lab.until(
      async () => /LOWER_UP/.test(await n1.run(["ip", "link", "show", "eth0"])),
      1000,
      "carrier back",
    );
  });

  test("delays frames where the kernel can, and says so where it cannot", async () => {
    await using lab = await createLab();
    const [n1, n2] = await Promise.all([lab.node("n1"), lab.node("n2")]);
    const fault = await lab.delay(n1, 100).catch((error: unknown) => error);
    if (fault instanceof Error) {
      assert.match(fault.message, /sch_netem/);
      return;
    }
    await echoServer(n1, 5000);
    await using probe = await ClientProbe.start(n2, { host: n1.ipv4, port: 5000, intervalMs: 50 });
    await lab.until(() => probe.attempts().some((attempt) => attempt.ok), 3000, "an answer");
    assert.ok(
      probe
        .attempts()
        .filter((attempt) => attempt.ok)
        .every((attempt) => attempt.ms >= 99),
    );
  });

  test("sees who holds an address, when two do, and when nobody does", async () => {
    await using lab = await createLab();
    const [n1, n2] = await Promise.all([lab.node("n1"), lab.node("n2")]);
    const sampler = await lab.ownership(20);
    const vip = lab.vip4;
    await sleep(100);
    await n1.run(["ip", "addr", "add", `${vip}/32`, "dev", "eth0"]);
    assert.deepEqual(await sampler.holders(vip), ["n1"]);
    await sleep(200);
    await n2.run(["ip", "addr", "add", `${vip}/32`, "dev", "lo"]);
    await sleep(200);
    await n1.run(["ip", "addr", "del", `${vip}/32`, "dev", "eth0"]);
    assert.deepEqual(await sampler.holders(vip), ["n2"]);
    const timeline = sampler.timeline(vip);
    assert.deepEqual(
      timeline.intervals().map((interval) => interval.holders.join("+")),
      ["", "n1", "n1+n2", "n2"],
    );
    assert.equal(timeline.maxSimultaneous(), 2);
    assert.ok(timeline.dualMs() >= 150 && timeline.dualMs() < 400, timeline.describe());
    assert.ok(timeline.longestGapMs() >= 60 && timeline.longestGapMs() < 300, timeline.describe());
    assert.equal(
      sampler.timeline("10.77.0.10").maxSimultaneous(),
      0,
      "a prefix of another address is not that address",
    );
  });

  test("captures gratuitous ARP with time and true sender", async () => {
    await using lab = await createLab();
    const [n1] = await Promise.all([lab.node("n1"), lab.node("n2")]);
    const capture = await lab.captureArp();
    await n1.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_notify"]);
    await n1.run(["ip", "addr", "add", `${lab.vip4}/32`, "dev", "eth0"]);
    const fromMs = monotonicMs();
    // arp_notify: the kernel announces its addresses when the interface's MAC address changes.
    const stranger = "02:99:00:00:00:01";
    await n1.run(["ip", "link", "set", "eth0", "address", stranger]);
    await lab.until(() => capture.announcers(lab.vip4).length === 1, 3000, "an announcement");
    assert.deepEqual(capture.announcers(lab.vip4), [stranger]);
    await n1.run(["ip", "link", "set", "eth0", "address", n1.mac]);
    await lab.until(() => capture.announcers(lab.vip4).length === 2, 3000, "a second announcer");
    assert.deepEqual(capture.announcers(lab.vip4), [stranger, "n1"]);
    const frame = capture.announcements(lab.vip4)[0];
    assert.ok(
      frame !== undefined && frame.timeMs > fromMs - 50 && frame.timeMs < monotonicMs() + 50,
      JSON.stringify(frame),
    );
    assert.equal(frame.srcMac, stranger);
  });

  test("measures the gap that new connections see and the life of held ones", async () => {
    await using lab = await createLab();
    const [n1, client] = await Promise.all([lab.node("n1"), lab.client("c1")]);
    const [server] = await Promise.all([echoServer(n1, 7000), echoServer(n1, 7001, "push")]);
    await lab.until(() => server.log().includes("listening"), 3000, "the echo server listens");
    await using probe = await ClientProbe.start(client, { host: n1.ipv4, port: 7000 });
    await using held = await HeldConnections.start(client, {
      host: n1.ipv6,
      port: 7000,
      mode: "echo",
      everyMs: 50,
    });
    await using listening = await HeldConnections.start(client, {
      host: n1.ipv4,
      port: 7001,
      mode: "listen",
      count: 5,
    });
    await lab.until(
      () => held.alive().length === 60 && listening.alive().length === 5,
      3000,
      "65 connections",
    );
    await lab.until(() => probe.attempts().length > 50, 3000, "50 probes");
    assert.deepEqual(failures(probe.attempts()), []);
    assert.ok(longestGap(probe.attempts()).ms < 100, describeAttempts(probe.attempts()));

    const pausedMs = monotonicMs();
    const fault = await lab.isolate(n1);
    await sleep(300);
    await fault.heal();
    await lab.until(
      () => probe.attempts().some((attempt) => attempt.ok && attempt.sentMs > pausedMs + 350),
      5000,
      "answers again",
    );
    await lab.until(() => held.longestSilenceMs(monotonicMs()) > 250, 3000, "the silence is seen");
    // A probe sent into the cut is answered late, by the retransmission of its SYN after a second.
    const late = (): number =>
      probe.attempts().filter((attempt) => attempt.ok && attempt.sentMs > pausedMs && attempt.ms > 250)
        .length;
    await lab.until(() => late() > 20, 3000, "late answers to probes sent into the cut");

    server.kill("SIGKILL");
    await lab.until(() => held.lost().length === 60, 3000, "60 lost connections");
    await lab.until(
      () => failures(probe.attempts()).some((attempt) => attempt.error === "ECONNREFUSED"),
      3000,
      "refusals",
    );
    assert.equal(held.alive().length, 0);
    assert.equal(listening.alive().length, 5);
    assert.deepEqual(held.outOfSequence(), []);
    assert.deepEqual(listening.outOfSequence(), []);
    assert.ok(held.worstAnswerMs() > 200, "an answer was late over the cut");
    await sleep(100);
    const attempts = await probe.stop();
    assert.ok(longestGap(attempts).ms >= 90, describeAttempts(attempts));
  });

  test("stops and continues a process, and tells how it ended", async () => {
    await using lab = await createLab();
    const n1 = await lab.node("n1");
    const counter = await n1.spawn(
      ["sh", "-c", "trap 'exit 7' TERM; while :; do echo tick; sleep 0.02; done"],
      { name: "counter" },
    );
    await lab.until(() => counter.lastLines(100).length > 3, 2000, "ticks");
    counter.stop();
    await sleep(50);
    const before = counter.lastLines(1e6).length;
    await sleep(150);
    assert.equal(counter.lastLines(1e6).length, before, "silent while stopped");
    counter.cont();
    await lab.until(() => counter.lastLines(1e6).length > before, 2000, "ticks again");
    assert.equal((await counter.terminate()).code, 7);
    assert.equal(counter.running, false);
  });

  test("says what it waited for, and shows the logs, when it waits in vain", async () => {
    await using lab = await createLab();
    const n1 = await lab.node("n1");
    const speaker = await n1.spawn(["sh", "-c", "echo last words; exit 3"], { name: "speaker" });
    await speaker.exited;
    await assert.rejects(
      lab.until(() => false, 60, "the moon"),
      (error: Error) =>
        /not within 60 ms: the moon/.test(error.message) &&
        /n1\/speaker \(ended: exit 3\)\nlast words/.test(error.message),
    );
  });
});
