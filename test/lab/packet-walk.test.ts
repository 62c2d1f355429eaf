/**
 * The model of test/support/fastpath in the kernel: the same clusters with the same mistakes, made of network
 * namespaces, and as many frames as the model says. The switch is a hub, so every node sees every frame, as
 * in promiscuous mode.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { removal, transaction } from "../../src/fastpath/transaction.ts";
import { FAST_PATH_VERSION, ruleset } from "../../src/fastpath/ruleset.ts";
import { internetChecksum } from "../../src/linux/checksum.ts";
import { ICMP, ICMPV6, ipFrame, pseudoHeader } from "../../src/linux/ip-header.ts";
import { macBytes } from "../../src/linux/mac.ts";
import {
  anyCaseOf,
  CLIENT,
  FAMILIES,
  fromClient,
  healthy,
  ROUTER,
  ROUTER_NUMBER,
  rulesMadeBy,
  textIn,
  vipElements,
  withIdle,
} from "../support/fastpath/clusters.ts";
import type { Case, CaseCluster } from "../support/fastpath/clusters.ts";
import { slotOf } from "../support/fastpath/jhash.ts";
import { worstCase } from "../support/fastpath/packet-walk.ts";
import { ip, macOf, VIP4, VIP6 } from "../support/fastpath/plans.ts";
import { TCP_FLAGS } from "../support/fastpath/rule-language.ts";
import type { Ask, Packet } from "../support/fastpath/rule-language.ts";
import { sleep } from "../support/lab/clock.ts";
import type { Host } from "../support/lab/host.ts";
import { createLab } from "../support/lab/lab.ts";
import type { Lab } from "../support/lab/lab.ts";

const SENDER = fileURLToPath(new URL("children/send-frames.ts", import.meta.url));
const MACHINES = 4;
const SAMPLES = 24;

let lab: Lab;
let client: Host;
const hosts = new Map<string, Host>();
/** Another for each packet, so that no conntrack entry of an earlier one has a say. */
let port = 20_000;

before(async () => {
  lab = await createLab();
  for (let n = 1; n <= MACHINES; n++)
    hosts.set(`n${n}`, await lab.node(`n${n}`, { ipv4: textIn(n, 4), ipv6: textIn(n, 6) }));
  hosts.set(
    ROUTER.name,
    await lab.node(ROUTER.name, { ipv4: textIn(ROUTER_NUMBER, 4), ipv6: textIn(ROUTER_NUMBER, 6) }),
  );
  client = await lab.client("client", { ipv4: CLIENT[4], ipv6: CLIENT[6] });
  await lab.forgetAddresses();
});
after(async () => lab[Symbol.asyncDispose]());

function mac(text: string): Uint8Array {
  return macBytes(text) ?? assert.fail(text);
}

function frameOf({ packet, toMac, sourcePort }: Shot): Uint8Array {
  const ends = {
    source: ip(packet.source),
    destination: ip(packet.destination),
    sourceMac: mac(packet.sourceMac),
    destinationMac: mac(toMac),
  };
  if (packet.payload.kind === "tcp") {
    const header = Buffer.alloc(20);
    header.writeUInt16BE(sourcePort, 0);
    header.writeUInt16BE(packet.payload.port, 2);
    header.writeUInt32BE(4_711, 4);
    header.writeUInt8(5 << 4, 12);
    header.writeUInt8(packet.payload.flags, 13);
    header.writeUInt16BE(0xffff, 14);
    header.writeUInt16BE(
      internetChecksum([pseudoHeader(ends.source.bytes, ends.destination.bytes, 6, header.length), header]),
      16,
    );
    return ipFrame(ends, 6, packet.hops, [header]);
  }
  // RFC 792 and RFC 4443: what was too big comes after the header, its IP header and the first bytes of TCP.
  const tooBig = ipFrame(
    { ...ends, source: ends.destination, destination: ip(CLIENT[packet.family]) },
    6,
    64,
    [Buffer.alloc(20)],
  ).subarray(14);
  const header =
    packet.family === 4
      ? Buffer.from([3, 4, 0, 0, 0, 0, 1_300 >> 8, 1_300 & 0xff])
      : Buffer.from([2, 0, 0, 0, 0, 0, 1_300 >> 8, 1_300 & 0xff]);
  const pseudo =
    packet.family === 4
      ? []
      : [pseudoHeader(ends.source.bytes, ends.destination.bytes, ICMPV6, header.length + tooBig.length)];
  header.writeUInt16BE(internetChecksum([...pseudo, header, tooBig]), 2);
  return ipFrame(ends, packet.family === 4 ? ICMP : ICMPV6, packet.hops, [header, tooBig]);
}

/** Makes the namespaces what the model's machines are. */
async function build({ machines }: CaseCluster): Promise<void> {
  for (const [name, host] of hosts) {
    const machine = machines.find((each) => each.name === name);
    const lines = [
      // One that is not in this cluster has an address that nobody sends to.
      `link set eth0 address ${machine?.mac ?? (name === ROUTER.name ? ROUTER.mac : `02:00:00:00:03:0${name.slice(1)}`)}`,
      ...[...(machine?.neighbours ?? [])]
        .filter(([address]) => !machine?.addresses.includes(address))
        .map(([address, lladdr]) => `neigh replace ${address} lladdr ${lladdr} dev eth0 nud permanent`),
      ...[VIP4, VIP6].flatMap(({ text, family }) =>
        machine?.holdsVip === true
          ? [`addr replace ${text}/${family === 4 ? 32 : 128} dev eth0${family === 4 ? "" : " nodad"}`]
          : [],
      ),
    ];
    const gone = [VIP4, VIP6].map(
      ({ text, family }) => `addr del ${text}/${family === 4 ? 32 : 128} dev eth0`,
    );
    await host
      .run(["ip", "-force", "-batch", "-"], {
        input: `neigh flush dev eth0 nud permanent\n${gone.join("\n")}\n`,
      })
      .catch(() => "what is not there cannot be taken away");
    await host.run(["ip", "-batch", "-"], { input: `${lines.join("\n")}\n` });
    await host.run(["nft", "-f", "-"], {
      input:
        removal() +
        (machine === undefined || machine.tables.length === 0
          ? ""
          : transaction(machine.tables, [], vipElements(machine))),
    });
  }
}

/** One packet of the client. */
interface Shot {
  readonly packet: Packet;
  readonly toMac: string;
  readonly sourcePort: number;
}

/** With a port of its own, and the slot that the kernel will find for it. */
function shot(packet: Packet, toMac: string): Shot {
  port += 1;
  const { payload } = packet;
  return {
    packet:
      payload.kind === "tcp"
        ? { ...packet, payload: { ...payload, slot: slotOf(ip(packet.source), port) } }
        : packet,
    toMac,
    sourcePort: port,
  };
}

/**
 * Not all that goes to the VIP: a router that is in the way of a reset tells its sender, the VIP, of a
 * shorter one.
 */
function matchOf({ family, payload }: Packet): string {
  const toVip = family === 4 ? `ip daddr ${VIP4.text}` : `ip6 daddr ${VIP6.text}`;
  if (payload.kind === "tcp") return `${toVip} tcp dport { 6443, 8443 }`;
  return `${toVip} ${family === 4 ? "icmp type destination-unreachable icmp code frag-needed" : "icmpv6 type packet-too-big"}`;
}

/**
 * How many frames to the VIP the nodes have sent when no more come. Bounded in time: a loop would be seen as
 * too many.
 */
async function played(shots: readonly Shot[]): Promise<number> {
  const [link]: readonly { readonly ifindex: number }[] = JSON.parse(
    await client.run(["ip", "-json", "link", "show", "dev", "eth0"]),
  );
  const frames = shots.map((each) => Buffer.from(frameOf(each)).toString("hex"));
  const count = await lab.count(matchOf(shots[0]?.packet ?? assert.fail("nothing to send")));
  const sent = async (): Promise<number> =>
    [...(await count.read())].reduce((sum, [name, packets]) => sum + (name === client.name ? 0 : packets), 0);
  await client.run([process.execPath, SENDER, String(link?.ifindex)], { input: `${frames.join("\n")}\n` });
  let before = -1;
  let now = await sent();
  for (let look = 0; look < 20 && now !== before; look++) {
    await sleep(60);
    before = now;
    now = await sent();
  }
  return now;
}

/**
 * What kernels say that have seen nothing before: nobody listens, and no message belongs to anything. Of TCP,
 * a SYN and an ACK alone make a connection, the latter with nf_conntrack_tcp_loose=1 (tcp_conntracks in
 * nf_conntrack_proto_tcp.c).
 */
function freshKernel({ payload }: Packet): Ask {
  const isNew =
    payload.kind === "tcp" && (payload.flags === TCP_FLAGS.syn || payload.flags === TCP_FLAGS.ack);
  return (_, answers) =>
    answers.find((answer) => answer === (isNew ? "new" : "invalid")) ??
    answers.find((answer) => answer === false) ??
    assert.fail();
}

async function assertPlayedAs(cluster: CaseCluster, shots: readonly Shot[], what: string): Promise<number> {
  const expected = shots.reduce(
    (sum, { packet, toMac }) => sum + worstCase(cluster, packet, toMac, freshKernel(packet)).copies,
    0,
  );
  const counted = await played(shots);
  assert.equal(counted, expected, `${JSON.stringify(shots[0])}: ${what}`);
  return counted;
}

/** Where anything may be wrong, a kernel may drop what the model sends on. It never sends more. */
async function assertPlayedWithin(
  cluster: CaseCluster,
  { packet, toMac, sourcePort }: Shot,
  what: string,
): Promise<{ readonly counted: number; readonly isEqual: boolean }> {
  const { copies } = worstCase(cluster, packet, toMac, freshKernel(packet));
  const counted = await played([{ packet, toMac, sourcePort }]);
  assert.ok(
    counted <= copies,
    `${counted} frames, ${copies} in the model, ${JSON.stringify(packet)}: ${what}`,
  );
  return { counted, isEqual: counted === copies };
}

describe("in the kernel", () => {
  const strayAck = { kind: "tcp", port: 6443, flags: TCP_FLAGS.ack, slot: 0 } as const;
  const CHANGED = "02:00:00:00:00:33";

  for (const family of FAMILIES) {
    test(`IPv${family}: 105 stray ACKs in a cluster with one changed MAC address end, each within n + 2 hops`, async () => {
      const cluster = healthy(FAST_PATH_VERSION, 3, { mac: new Map([[3, CHANGED]]) });
      await build(cluster);
      const counted = await assertPlayedAs(
        cluster,
        Array.from({ length: 105 }, () => shot(fromClient(strayAck, { family }), macOf(1))),
        "a changed MAC",
      );
      assert.ok(counted > 105 && counted <= 105 * 5, `${counted} frames`);
    });

    test(`IPv${family}: a peer's MAC address and any TTL make no more than n + 2 copies`, async () => {
      const cluster = healthy(FAST_PATH_VERSION, 3);
      await build(cluster);
      for (const hops of [255, 201, 200, 199, 198, 167, 166, 165, 64, 1]) {
        assert.ok(
          (await assertPlayedAs(
            cluster,
            [shot(fromClient(strayAck, { family, sourceMac: macOf(2), hops }), macOf(1))],
            "a peer's MAC",
          )) <= 5,
        );
      }
    });

    test(`IPv${family}: one message that a packet was too big, to two nodes that have each other's MAC address wrong`, async () => {
      const cluster = healthy(FAST_PATH_VERSION, 2, {
        believed: new Map([
          [1, CHANGED],
          [2, CHANGED],
        ]),
      });
      await build(cluster);
      for (const hops of [255, 200, 199, 166, 165, 64]) {
        for (const n of [1, 2])
          assert.ok(
            (await assertPlayedAs(
              cluster,
              [shot(fromClient({ kind: "too big" }, { family, hops }), macOf(n))],
              "too big",
            )) <= 4,
          );
      }
    });
  }

  test("the model is as the kernel was with version 1, too: a peer's MAC address and TTL 255", async () => {
    const cluster = healthy(1, 3);
    await build(cluster);
    const { packet, toMac, sourcePort } = shot(
      fromClient(strayAck, { sourceMac: macOf(2), hops: 255 }),
      macOf(1),
    );
    const counted = await played([{ packet, toMac, sourcePort }]);
    const { copies } = worstCase(cluster, packet, toMac, freshKernel(packet));
    // Version 1 spread what it saw of others' frames, too: n2 does not know its own MAC address for a peer's,
    // and spreads a copy of its own.
    assert.ok(
      copies >= 194 && counted >= copies && counted <= copies + 4,
      `${counted} frames, ${copies} in the model`,
    );
  });

  for (const areIdle of [false, true]) {
    const which = areIdle ? ", and whose agents have been gone for long," : "";
    test(`${SAMPLES} clusters in which anything may be wrong${which} send no more than the model says, and nearly always as many`, async () => {
      const usable = ({ cluster, cluster: { machines }, packet, toMac }: Case): boolean =>
        new Set(machines.map((each) => each.mac)).size === machines.length &&
        worstCase(cluster, packet, toMac, freshKernel(packet)).copies > 1 &&
        machines.every(
          (each) => each.name === ROUTER.name || each.addresses[0] === textIn(Number(each.name.slice(1)), 4),
        ) &&
        machines.every(
          (each) =>
            ![...each.neighbours.values()].includes(each.mac) ||
            [...each.neighbours].every(
              ([address, lladdr]) => lladdr !== each.mac || each.addresses.includes(address),
            ),
        );
      const seed = randomInt(2 ** 31);
      const cases = fc.sample(
        fc
          .integer({ min: 2, max: MACHINES })
          .chain((size) => {
            const any = anyCaseOf(size, rulesMadeBy(ruleset), 2);
            return areIdle ? withIdle(any) : any;
          })
          .filter(usable),
        { seed, numRuns: SAMPLES },
      );
      let walked = 0;
      let equal = 0;
      const where = (cluster: CaseCluster): string =>
        `seed ${seed}, ${JSON.stringify(cluster.machines.map((each) => [each.name, each.mac, each.holdsVip, [...(each.idle ?? [])], [...each.neighbours], each.tables])).slice(0, 40_000)}`;
      for (const { cluster, packet, toMac } of cases) {
        await build(cluster);
        // An own address as the source is a martian where the packet would be routed; the model does not know
        // that.
        const isRouted = areIdle || packet.payload.kind !== "tcp";
        const source = isRouted ? CLIENT[packet.family] : packet.source;
        const { counted, isEqual } = await assertPlayedWithin(
          cluster,
          shot({ ...packet, source }, toMac),
          where(cluster),
        );
        walked += counted;
        if (isEqual) equal += 1;
      }
      assert.ok(equal >= SAMPLES - 2, `the model was right about ${equal} of ${SAMPLES} clusters`);
      assert.ok(walked > SAMPLES, "hardly a packet walked");
    });
  }
});
