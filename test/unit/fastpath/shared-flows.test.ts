/** What the holder's agent tells the others of the connections by the VIP, and what they make of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { joinFlows, packFlows } from "../../../src/fastpath/flows.ts";
import type { Flow, FlowList } from "../../../src/fastpath/flows.ts";
import {
  createSharedFlows,
  messageOf,
  MOST_FLOWS,
  MOST_MESSAGE_BYTES,
  parseMessage,
} from "../../../src/fastpath/shared-flows.ts";
import type { SharedFlows, SharedFlowsDeps } from "../../../src/fastpath/shared-flows.ts";
import { macBytes } from "../../../src/linux/mac.ts";
import { silentLogger } from "../../../src/log.ts";
import { parseIp } from "../../../src/net.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { ip, VIP4, VIP6 } from "../../support/fastpath/plans.ts";
import { flow } from "./facts.ts";

const pause = async (): Promise<void> => {};

function keyOf({ mac, client, clientPort, vip, vipPort }: Flow): Uint8Array {
  const port = (value: number): number[] => [value >> 8, value & 0xff, 0, 0];
  return Uint8Array.from([
    ...(macBytes(mac) ?? []), 0, 0,
    ...ip(client).bytes, ...port(clientPort),
    ...ip(vip).bytes, ...port(vipPort),
  ]); // prettier-ignore
}

function packed(...flows: readonly Flow[]): FlowList {
  const lists = [packFlows(4), packFlows(6)] as const;
  for (const each of flows) lists[parseIp(each.vip)?.family === 4 ? 0 : 1].add(keyOf(each));
  return joinFlows(lists);
}

const portsOf = (list: FlowList | undefined): (number | undefined)[] =>
  Array.from({ length: list?.length ?? 0 }, (_, index) => list?.at(index)?.clientPort);

const all = (): boolean => true;

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

describe("a message", () => {
  test("brings the connections of both families, each once, whatever their order", async () => {
    const six = { client: "fd88::9", vip: VIP6.text };
    const text = await messageOf(packed(flow(1), flow(2), flow(1), flow(3, six)), pause);
    assert.deepEqual(portsOf(await parseMessage(text, all, pause)), [1, 2, 3]);
    assert.equal(text, await messageOf(packed(flow(3, six), flow(2), flow(1)), pause));
    assert.match(text, /^[^\n]+\n$/);
  });

  test("has its limit, below which forged connections do not displace those of others", async () => {
    const forged = Array.from({ length: MOST_FLOWS + 100 }, (_, n) =>
      flow((n % 60_000) + 1, { mac: "02:00:00:00:00:66", client: "fd88::66", vip: VIP6.text }),
    );
    const text = await messageOf(packed(...forged, flow(7, { client: "fd88::9", vip: VIP6.text })), pause);
    assert.ok(text.length < MOST_MESSAGE_BYTES, `${text.length} bytes`);
    const list = await parseMessage(text, all, pause);
    assert.equal(list?.length, MOST_FLOWS);
    assert.ok(
      Array.from({ length: MOST_FLOWS }, (_, n) => list?.at(n)?.client).includes("fd88::9"),
      "the client of another machine is among them",
    );
  });

  test("that is none, or has bytes of any kind, throws nothing and makes no more than its limit", async () => {
    for (const text of ["", "{", "null", "[]", "{}", '{"4":1,"6":""}', '{"4":""}'])
      assert.equal(await parseMessage(text, all, pause), undefined, text);
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.uint8Array({ maxLength: 200 }),
        async (four, six) => {
          const [a, b] = [Buffer.from(four).toString("base64"), Buffer.from(six).toString("base64")];
          const list = await parseMessage(JSON.stringify({ 4: a, 6: b }), all, pause);
          assert.equal(list?.length, Math.floor(four.length / 24) + Math.floor(six.length / 48));
        },
      ),
    );
    const many = Buffer.alloc(24 * (MOST_FLOWS + 5)).toString("base64");
    assert.equal((await parseMessage(JSON.stringify({ 4: many, 6: "" }), all, pause))?.length, MOST_FLOWS);
  });
});

interface Stream {
  readonly node: string;
  readonly onText: (text: string) => void;
  readonly onEnd: () => void;
  closed: boolean;
}

class Rig {
  readonly clock = new FakeClock();
  flows: readonly Flow[] = [];
  reads = 0;
  holder: string | null = null;
  readonly unknown = new Set<string>(["n1"]);
  readonly streams: Stream[] = [];
  readonly shared: SharedFlows;

  constructor(changes: Partial<SharedFlowsDeps> = {}) {
    this.shared = createSharedFlows({
      clock: this.clock,
      log: silentLogger,
      vips: [VIP4, VIP6],
      ports: [6443, 8443],
      flows: async (family) => {
        if (family === 4) this.reads += 1;
        return packed(...this.flows.filter(({ vip }) => ip(vip).family === family));
      },
      holder: () => this.holder,
      listen: (node, onText, onEnd) => {
        if (this.unknown.has(node)) return undefined;
        const stream: Stream = { node, onText, onEnd, closed: false };
        this.streams.push(stream);
        return { close: () => void (stream.closed = true) };
      },
      pause,
      ...changes,
    });
  }

  async pass(ms: number): Promise<void> {
    await settle();
    for (let left = ms; left > 0; left -= 1_000) {
      this.clock.advance(Math.min(1_000, left));
      await settle();
    }
  }

  look(): Stream | undefined {
    this.shared.look();
    return this.streams.at(-1);
  }
}

describe("the holder's agent", () => {
  test("tells a peer at once, then what has changed, and reads nothing while nobody listens", async () => {
    const rig = new Rig();
    await rig.pass(5_000);
    assert.equal(rig.reads, 0);
    rig.flows = [flow(1)];
    const told: string[] = [];
    const end = new AbortController();
    rig.shared.tell((text) => void told.push(text), end.signal);
    await rig.pass(3_000);
    assert.deepEqual(
      await Promise.all(told.map(async (text) => portsOf(await parseMessage(text, all, pause)))),
      [[1]],
    );
    rig.flows = [flow(1), flow(2)];
    await rig.pass(1_000);
    assert.deepEqual(portsOf(await parseMessage(told.at(-1) ?? "", all, pause)), [1, 2]);
    const second: string[] = [];
    rig.shared.tell((text) => void second.push(text), end.signal);
    assert.deepEqual(second, told.slice(-1), "who comes later has the same at once");
    end.abort();
    await rig.pass(2_000);
    const { reads } = rig;
    await rig.pass(10_000);
    assert.equal(rig.reads, reads);
    for (let n = 0; n < 100; n++) {
      const visit = new AbortController();
      rig.shared.tell(() => {}, visit.signal);
      await rig.pass(0);
      visit.abort();
    }
    assert.ok(rig.reads <= reads + 1, "who comes and goes makes it read no more often");
  });

  test("that cannot read the kernel's sets leaves what it has told as it is", async () => {
    let fail = false;
    const rig = new Rig({
      flows: async (family) => {
        if (fail) throw new Error("ENOBUFS");
        return family === 4 ? packed(flow(1)) : packed();
      },
    });
    const told: string[] = [];
    rig.shared.tell((text) => void told.push(text), new AbortController().signal);
    await rig.pass(2_000);
    fail = true;
    await rig.pass(5_000);
    assert.equal(told.length, 1);
  });

  test("reads less often when there is much to read, and goes on after a failure", async () => {
    let fail = true;
    const rig = new Rig({
      flows: async (family) => {
        if (family === 6) return packed();
        rig.reads += 1;
        if (fail) throw new Error("the kernel has no such set");
        return packed(...Array.from({ length: 50_000 }, (_, n) => flow(n + 1)));
      },
    });
    const told: string[] = [];
    rig.shared.tell((text) => void told.push(text), new AbortController().signal);
    await rig.pass(0);
    fail = false;
    rig.clock.advance(1_000);
    for (let turn = 0; turn < 2_000 && told.length === 0; turn++) await setImmediate();
    assert.equal(told.length, 1);
    const { reads } = rig;
    await rig.pass(4_000);
    assert.equal(rig.reads, reads, "five seconds for fifty thousand");
    await rig.pass(2_000);
    assert.equal(rig.reads, reads + 1);
  });
});

describe("another agent", () => {
  test("listens to the holder, keeps its word for two minutes after it has gone, and listens to the next", async () => {
    const rig = new Rig();
    assert.equal(rig.look(), undefined);
    rig.holder = "n3";
    const third = rig.look();
    third?.onText(await messageOf(packed(flow(1), flow(2)), pause));
    await settle();
    assert.deepEqual(portsOf(rig.shared.heard()), [1, 2]);
    await rig.pass(300_000);
    rig.look();
    assert.deepEqual(portsOf(rig.shared.heard()), [1, 2], "silence says that nothing has changed");
    rig.holder = null;
    rig.look();
    assert.equal(third?.closed, false, "the last holder may still have the VIP");
    rig.holder = "n2";
    const next = rig.look();
    assert.deepEqual([third?.closed, next?.node], [true, "n2"]);
    next?.onText(await messageOf(packed(flow(3)), pause));
    await settle();
    assert.deepEqual(portsOf(rig.shared.heard()), [1, 2, 3]);
    await rig.pass(121_000);
    rig.look();
    assert.deepEqual(portsOf(rig.shared.heard()), [3]);
    assert.equal(rig.streams.length, 2);
  });

  test("listens to nobody while its own node holds, and keeps the former holder's word", async () => {
    const rig = new Rig();
    rig.holder = "n2";
    const stream = rig.look();
    stream?.onText(await messageOf(packed(flow(1)), pause));
    await settle();
    rig.holder = "n1";
    rig.look();
    assert.deepEqual([stream?.closed, rig.streams.length], [true, 1]);
    assert.deepEqual(portsOf(rig.shared.heard()), [1]);
  });

  test("believes only what can be a client of the VIP", async () => {
    const rig = new Rig();
    rig.holder = "n2";
    const wrong: Partial<Flow>[] = [
      { vip: "10.88.0.11" },
      { vipPort: 22 },
      { clientPort: 0 },
      { client: VIP4.text },
      { client: "224.0.0.1" },
      { client: "255.255.255.255" },
      { client: "0.0.0.0" },
      { client: "127.0.0.1" },
      { mac: "ff:ff:ff:ff:ff:ff" },
      { mac: "01:00:5e:00:00:01" },
      { mac: "00:00:00:00:00:00" },
    ];
    rig.look()?.onText(await messageOf(packed(...wrong.map((each, n) => flow(n + 2, each)), flow(1)), pause));
    await settle();
    assert.deepEqual(portsOf(rig.shared.heard()), [1]);
    rig.streams[0]?.onText("no message");
    await settle();
    assert.deepEqual(portsOf(rig.shared.heard()), [1]);
  });

  test("asks again at once when a stream ends that told something, and ever later one that told nothing", async () => {
    const rig = new Rig();
    rig.holder = "n2";
    rig.look()?.onText(await messageOf(packed(), pause));
    await settle();
    rig.streams[0]?.onEnd();
    await rig.pass(1_000);
    rig.look();
    assert.equal(rig.streams.length, 2);
    for (let second = 0; second < 600; second++) {
      const before = rig.streams.length;
      await rig.pass(1_000);
      rig.look();
      if (rig.streams.length > before) rig.streams.at(-1)?.onEnd();
    }
    assert.equal(rig.streams.length, 2, "the second one goes on");
    rig.streams[1]?.onEnd();
    for (let second = 0; second < 600; second++) {
      await rig.pass(1_000);
      const before = rig.streams.length;
      rig.look();
      if (rig.streams.length > before) rig.streams.at(-1)?.onEnd();
    }
    const asked = rig.streams.length;
    assert.ok(asked > 50 && asked < 70, `${asked} streams in ten minutes`);
    rig.holder = "n3";
    assert.equal(rig.look()?.node, "n3", "another holder is asked at once");
  });

  test("keeps the word of three holders, and of none that only lets itself be connected to", async () => {
    const rig = new Rig();
    for (let n = 2; n < 8; n++) {
      rig.holder = `n${n}`;
      rig.look()?.onText(await messageOf(packed(flow(n)), pause));
      await settle();
    }
    assert.deepEqual(portsOf(rig.shared.heard()), [5, 6, 7]);
    rig.streams.at(-1)?.onEnd();
    for (let second = 0; second < 130; second++) {
      await rig.pass(1_000);
      rig.look();
    }
    assert.ok(rig.streams.length > 6, "it was asked again");
    assert.deepEqual(portsOf(rig.shared.heard()), []);
  });

  test("has no stream and begins none after its end", () => {
    const rig = new Rig();
    rig.holder = "n2";
    const stream = rig.look();
    rig.shared.stop();
    assert.equal(stream?.closed, true);
    rig.look();
    rig.shared.tell(() => assert.fail("told after the end"), new AbortController().signal);
    assert.deepEqual([rig.streams.length, rig.reads], [1, 0]);
  });
});
