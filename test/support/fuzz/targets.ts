/** Every parser of bytes that come from outside the agent, with good inputs and with what it promises. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readRemembered } from "../../../src/backends/remembered.ts";
import { parseAgentFacts, parsePeerList } from "../../../src/cli/agent-facts.ts";
import { judge, makerOf, parseRuleset } from "../../../src/cli/firewall.ts";
import { importFiles, importText } from "../../../src/cli/import.ts";
import { pagePicture } from "../../../src/cli/page-picture.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { readPeers } from "../../../src/fastpath/remembered-peers.ts";
import { parseFlow } from "../../../src/fastpath/flows.ts";
import type { ExchangeHandlers } from "../../../src/kube/connections.ts";
import { drainedServers } from "../../../src/kube/drain.ts";
import { parseEndpointSlices } from "../../../src/kube/endpoints.ts";
import { readKubeconfig } from "../../../src/kube/kubeconfig.ts";
import { parseCandidate, parseLease, statusMessage } from "../../../src/kube/record-codec.ts";
import { openWatch, parseBody } from "../../../src/kube/watch-stream.ts";
import { arpAnnouncement, arpRequest, parseArp } from "../../../src/linux/arp.ts";
import { internetChecksum } from "../../../src/linux/checksum.ts";
import { parseConntrack } from "../../../src/linux/conntrack.ts";
import { echoRequestFrame, parseEchoReplyFrame } from "../../../src/linux/echo-frame.ts";
import { parseIcmpv6, pseudoHeader } from "../../../src/linux/ip-header.ts";
import { neighbourSolicitation, parseNeighbour, unsolicitedAdvertisement } from "../../../src/linux/ndp.ts";
import { classifyReply, encodeMessage, parseMessages } from "../../../src/linux/netlink.ts";
import { parseCounter, parseKeys, parseRule, parseTable } from "../../../src/linux/nftables.ts";
import { createCollector, parseRulesetEvent } from "../../../src/linux/nftables-monitor.ts";
import { parseDefaultRoute, parseLinkRoute } from "../../../src/linux/routes.ts";
import { parseAddress, parseLink } from "../../../src/linux/rtnetlink.ts";
import { destroyTcpSocket, parseTcpSocket } from "../../../src/linux/sock-diag.ts";
import { silentLogger } from "../../../src/log.ts";
import { parseIp } from "../../../src/net.ts";
import { createAccess } from "../../../src/ops/access.ts";
import { sampleOf } from "../../../src/ops/history.ts";
import { parseMoves, parsePageFacts } from "../../../src/ops/page-facts.ts";
import { keyIdOf } from "../../../src/peers/certificate.ts";
import { createRecorder } from "../../../src/recorder/recorder.ts";
import { formatRecording, NoRecording, parseRecording, replay } from "../../../src/recorder/recording.ts";
import { candidate, held, Subject } from "../../unit/election/harness.ts";
import { lease } from "../../unit/kube/lease-fixture.ts";
import { kubeconfigText } from "../../unit/kube/kubeconfig-fixture.ts";
import { exampleStatus } from "../../unit/ops/example.ts";
import { authority, issue } from "../backends/pki.ts";
import { FakeClock } from "../fake-clock.ts";
import type { Target } from "./fuzz.ts";

const bytes = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const utf8 = (text: string): Uint8Array => Buffer.from(text);
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const textOf = (input: Uint8Array): string => Buffer.from(input).toString("utf8");
const ip = (text: string) => parseIp(text) ?? assert.fail(text);
const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;
const MAC = bytes("02000000000a");
const OTHER_MAC = bytes("02000000000b");

const scratch = mkdtempSync(join(tmpdir(), "leasehold-fuzz-"));
process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));

/** The same frame with its checksums put right, so that what is behind them is read too. */
function repaired(frame: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(frame);
  const view = new DataView(copy.buffer);
  const isV4 = copy.length >= 42 && view.getUint16(12) === 0x0800;
  const at = isV4 ? 34 : 54;
  if (copy.length < at + 4) return copy;
  if (isV4) {
    view.setUint16(24, 0);
    view.setUint16(24, internetChecksum([copy.subarray(14, 34)]));
  }
  const length = isV4 ? view.getUint16(16) - 20 : view.getUint16(18);
  const message = copy.subarray(at, at + Math.max(0, length));
  if (message.length < 4) return copy;
  view.setUint16(at + 2, 0);
  const pseudo = isV4 ? [] : [pseudoHeader(copy.subarray(22, 38), copy.subarray(38, 54), 58, message.length)];
  view.setUint16(at + 2, internetChecksum([...pseudo, message]));
  return copy;
}

function isEvidence(
  frame: { readonly ip: Uint8Array; readonly mac: Uint8Array } | undefined,
  size: number,
): void {
  if (frame === undefined) return;
  assert.equal(frame.ip.length, size);
  assert.equal(frame.mac.length, 6);
  assert.equal((frame.mac[0] ?? 1) & 1, 0, "the MAC address is not one machine's");
}

const vip4 = ip("192.0.2.100");
const vip6 = ip("2001:db8::100");

const frames: readonly Target[] = [
  {
    name: "ARP frames",
    inputs: [
      arpAnnouncement("request", MAC, vip4.bytes),
      arpAnnouncement("reply", MAC, vip4.bytes),
      arpRequest(MAC, undefined, vip4.bytes),
      arpRequest(MAC, ip("192.0.2.1").bytes, vip4.bytes),
    ],
    read: (frame) => isEvidence(parseArp(frame), 4),
  },
  {
    name: "neighbour discovery",
    inputs: [
      unsolicitedAdvertisement(MAC, vip6.bytes, true),
      neighbourSolicitation(MAC, undefined, vip6.bytes),
      neighbourSolicitation(MAC, ip("2001:db8::1").bytes, vip6.bytes),
    ],
    read(frame) {
      for (const each of [frame, repaired(frame)]) {
        isEvidence(parseNeighbour(each), 16);
        const message = parseIcmpv6(each);
        if (message !== undefined) assert.ok(message.message.length <= each.length - 54);
      }
    },
  },
  {
    name: "echo replies",
    inputs: [
      bytes(
        "02000000000a 02000000000b 0800 45 00 001c 0000 0000 40 01 f67b c0000264 c0000201 00 00 edc6 1234 0005",
        "00".repeat(18),
      ),
      bytes(
        "02000000000a 02000000000b 86dd 60000000 0008 3a 40 20010db8000000000000000000000100",
        "20010db8000000000000000000000001 81 00 1011 1234 0005",
      ),
      echoRequestFrame({
        sourceMac: MAC,
        destinationMac: OTHER_MAC,
        source: ip("192.0.2.1"),
        destination: vip4,
        identifier: 1,
        sequence: 2,
      }),
    ],
    read(frame) {
      for (const each of [frame, repaired(frame)]) {
        const reply = parseEchoReplyFrame(each);
        if (reply !== undefined)
          isEvidence({ ip: reply.ip, mac: reply.sourceMac }, reply.ip.length === 4 ? 4 : 16);
      }
    },
  },
];

const NAME = "0e0001006c65617365686f6c64000000";
const TABLE = { family: "netdev", name: "leasehold" } as const;
/** Messages as a kernel (6.18) gave them: type and payload. */
const MESSAGES: readonly (readonly [type: number, payload: string])[] = [
  // An address, a link's error, and the end of a dump.
  [
    20,
    "0220200003000000 08000100c0000264 08000200c0000264 0a00030076303a6c68000000 1400060000000000030000003647060036470600",
  ],
  [
    16,
    "0000010003000000 4310010000000000 0900030065746830 00000000 0a00010002000000000a0000 0500100006000000 08000d00e8030000",
  ],
  [2, "00000000 00000000 00000000 00000000 00000000"],
  [3, "00000000"],
  // Routes: default, by several hops, and to a network.
  [24, "02000000fe03000100000000 08000f00fe000000 080006000a000000 08000500c00002fe 0800040003000000"],
  [
    24,
    "02000000fe03000100000000 08000f00fe000000 24000900 1000000003000000 08000500c00002fd 1000000005000000 08000500c63364fe",
  ],
  [24, "02180000fe02fd0100000000 08000f00fe000000 08000100c0000200 0800040003000000"],
  // A socket of sock_diag.
  [
    20,
    `02010000 9c41192bc0000201${"00".repeat(12)}c0000264${"00".repeat(12)} 000000000810000000000000 ${"00".repeat(16)}93be1c00 0500080000000000`,
  ],
  // A connection of ctnetlink.
  [
    0x100,
    "02000000 34000180 14000180 08000100c0000201 08000200c0000264 1c000280 0500010006000000 060002009c410000 06000300192b0000 34000280 14000180 08000100c0000201 08000200c0000201 1c000280 0500010006000000 06000200192c0000 060003009c410000",
  ],
  // Counter, rule, table and elements of nf_tables.
  [
    0xa12,
    `05000024 ${NAME} 0900020068657265 00000000 08000300 00000001 1c000400 0c000100 0000000000000102 0c000200 000000012a05f200`,
  ],
  [0xa06, `05000024 ${NAME} 090002006d696e65 00000000 0c000300 0000000000000099`],
  [0xa00, `05000024 ${NAME} 08000300 00000011 0c000400 0000000000000002 08000200 00000000`],
  [
    0xa0c,
    `05000024 ${NAME} 0b000200 666c6f77733400 00 34000300 30000100 20000100 1c000100 02000000000900000a5800099c4000000a580064192b0000 0c000500 000000000036edf4`,
  ],
  [0xa0f, "00000005 0800010000000005 080002000000418a 080003006e667400"],
];

function readMessages(datagram: Uint8Array): void {
  const messages = parseMessages(datagram) ?? [];
  createCollector(() => {})(messages);
  for (const message of messages) {
    assert.ok(message.payload.length <= datagram.length - 16);
    classifyReply(message);
    parseAddress(message);
    parseLink(message);
    for (const hop of parseDefaultRoute(message, 3) ?? []) assert.ok([4, 16].includes(hop.bytes.length));
    const route = parseLinkRoute(message);
    if (route !== undefined) assert.ok(route.prefixLength <= 8 * route.network.bytes.length);
    const socket = parseTcpSocket(message);
    if (socket !== undefined) destroyTcpSocket(socket);
    const entry = parseConntrack(message);
    if (entry !== undefined) assert.equal(entry.reply.destination.family, entry.family);
    const counter = parseCounter(message, TABLE);
    if (counter !== undefined) assert.ok(counter.packets >= 0 && counter.bytes >= 0);
    parseRule(message, TABLE);
    parseTable(message, TABLE);
    parseRulesetEvent(message);
    for (const key of parseKeys(message, TABLE, "flows4")) {
      parseFlow(4, key);
      parseFlow(6, key);
    }
  }
}

const kernel: readonly Target[] = [
  {
    name: "netlink and nfnetlink messages",
    inputs: MESSAGES.map(([type, payload]) => encodeMessage({ type, flags: 2, payload: bytes(payload) }, 1)),
    read: readMessages,
  },
];

const CANDIDATE = candidate("n2", { ip: "192.0.2.12", mac: "02:00:00:00:00:0b" });
const { node: _, ...annotation } = CANDIDATE;
const LEASE = lease(
  {
    holderIdentity: "n1",
    leaseDurationSeconds: 10,
    acquireTime: "2026-01-01T00:00:00.000000Z",
    renewTime: "2026-01-01T00:00:00.000000Z",
    leaseTransitions: 3,
  },
  {
    "leasehold.dev/candidate.n2": JSON.stringify(annotation),
    "leasehold.dev/drain.192.0.2.11-6443": "true",
  },
);
const SLICES = {
  kind: "EndpointSliceList",
  metadata: { resourceVersion: "7" },
  items: [
    {
      metadata: { name: "kubernetes" },
      addressType: "IPv4",
      ports: [{ name: "https", port: 6443, protocol: "TCP" }],
      endpoints: [{ addresses: ["192.0.2.11", "192.0.2.12"], conditions: { ready: true } }],
    },
  ],
};
const STATUS = {
  kind: "Status",
  status: "Failure",
  message: "leases is forbidden",
  reason: "Forbidden",
  code: 403,
};

const api: readonly Target[] = [
  {
    name: "answers of the API",
    inputs: [json(LEASE), json(SLICES), json(STATUS), json({ ...LEASE, spec: {} })],
    read(input) {
      const body = parseBody(Buffer.from(input));
      assert.ok(statusMessage(body).length <= 2_000);
      for (const { host, port } of parseEndpointSlices(body)) {
        assert.ok(parseIp(host) !== undefined && isPort(port), `${host} ${port}`);
      }
      const record = parseLease(body);
      if (record === undefined) return;
      assert.ok(record.leaseDurationMs >= 0 && Number.isFinite(record.leaseDurationMs));
      drainedServers(record);
      for (const [key, value] of Object.entries(record.annotations)) {
        assert.equal(typeof value, "string");
        parseCandidate(key.slice(key.lastIndexOf(".") + 1), value);
      }
    },
  },
  {
    name: "candidates' annotations",
    inputs: [json(annotation)],
    read(input) {
      const parsed = parseCandidate("n2", textOf(input));
      if (parsed === undefined) return;
      assert.ok(parsed.base >= 0 && parsed.base <= 255 && parsed.effective >= 0 && parsed.effective <= 255);
      assert.ok(parseIp(parsed.ip) !== undefined, parsed.ip);
      for (const address of parsed.fastPath?.addresses ?? [])
        assert.ok(parseIp(address) !== undefined, address);
    },
  },
  {
    name: "lines of a watch",
    inputs: [
      utf8(
        `${JSON.stringify({ type: "MODIFIED", object: LEASE })}\n${JSON.stringify({ type: "ADDED", object: LEASE })}\n`,
      ),
      utf8(`${JSON.stringify({ type: "ERROR", object: STATUS })}\n`),
    ],
    read(input) {
      let ends = 0;
      let isAborted = false;
      let handlers: ExchangeHandlers | undefined;
      openWatch("192.0.2.1:6443", {
        clock: new FakeClock(),
        onAnswer: () => {},
        onEvent: (type, object) => {
          assert.equal(ends, 0);
          assert.equal(typeof type, "string");
          parseLease(object);
        },
        onEnd: () => void (ends += 1),
        request(given) {
          handlers = given;
          return { abort: () => void (isAborted = true) };
        },
      });
      handlers?.onSent();
      handlers?.onStatus(200);
      // Cut where no character and no line ends. Nothing is called after an abort.
      for (let at = 0; at < input.length; at += 997) {
        if (isAborted) break;
        handlers?.onData(Buffer.from(input.subarray(at, at + 997)));
      }
      if (!isAborted) handlers?.onEnd();
      assert.equal(ends, 1);
    },
  },
];

const ca = authority("kubernetes-ca");
const member = issue(ca, "leasehold");
const KUBECONFIG = kubeconfigText(ca, member);
const kubeconfigFile = join(scratch, "kubeconfig");
const der = (pem: string): Uint8Array => new X509Certificate(pem).raw;

const credentials: readonly Target[] = [
  {
    name: "kubeconfig",
    inputs: [
      utf8(KUBECONFIG),
      utf8(KUBECONFIG.replace(/client-certificate-data: .*\n.*client-key-data: .*/, "token: abc")),
      utf8("kind: Config\nusers:\n- name: a\n  user: {tokenFile: token}\n"),
    ],
    async read(input) {
      writeFileSync(kubeconfigFile, input);
      const read = await readKubeconfig(kubeconfigFile);
      if (read.kind === "ok") assert.ok(read.credentials.ca !== "" && read.credentials.servername !== "");
      if (read.kind === "broken") assert.equal(read.error.code, "LH_KUBECONFIG");
    },
  },
  {
    name: "certificates (DER)",
    inputs: [der(ca.cert), der(member.cert)],
    async read(input) {
      let certificate: X509Certificate;
      try {
        certificate = new X509Certificate(input);
      } catch {
        // TLS ends such a handshake itself.
        return;
      }
      assert.match(keyIdOf(certificate) ?? "0".repeat(64), /^[0-9a-f]{64}$/);
      const access = createAccess({
        clock: new FakeClock(),
        clusterCa: () => ca.cert,
        review: async () => undefined,
      });
      const { kind } = await access.judge({ certificate, token: undefined }, "/metrics");
      // The CA's own certificate is no client's, and no change of a client's keeps its signature. What follows a
      // certificate is no part of it.
      if (!certificate.raw.equals(der(member.cert))) assert.equal(kind, "unauthenticated");
    },
  },
  {
    name: "reviews of the API, and the cluster's CA (PEM)",
    inputs: [
      json({
        status: {
          authenticated: true,
          user: { username: "prom", uid: "7", groups: ["scrapers"] },
          allowed: true,
        },
      }),
      utf8(ca.cert),
    ],
    async read(input) {
      const access = createAccess({
        clock: new FakeClock(),
        clusterCa: () => textOf(input),
        review: async () => ({ status: 201, body: parseBody(Buffer.from(input)) }),
      });
      const certificate = new X509Certificate(member.cert);
      await access.judge({ certificate, token: "x" }, "/metrics");
    },
  },
];

const IMPORTS = new URL("../../unit/cli/import/", import.meta.url);
const imported = (name: string): Uint8Array => readFileSync(new URL(name, IMPORTS));

const foreign: readonly Target[] = [
  {
    name: "configurations of keepalived and HAProxy",
    inputs: [
      imported("kubeadm-keepalived.conf"),
      imported("kubeadm-haproxy.cfg"),
      utf8(
        'global_defs {\n  router_id x ! a\n}\nvrrp_script a {\n  script "/bin/b c"\n  interval 2\n  weight -20\n}\n' +
          "vrrp_instance V {\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority 101\n  nopreempt\n" +
          "  virtual_ipaddress {\n    192.0.2.10/24 dev eth0 label eth0:1\n  }\n  track_script {\n    a\n  }\n}\n",
      ),
    ],
    read(input) {
      const answer = importFiles([{ name: "a.conf", text: textOf(input) }]);
      if (answer.kind === "ok") importText(answer.imported, answer.warnings);
      else for (const problem of answer.problems) assert.ok(problem.startsWith("a.conf"), problem);
    },
  },
];

/** What `nft --json list ruleset` tells of a host's firewall, with a statement of each kind. */
const FIREWALL = {
  nftables: [
    { metainfo: { version: "1.0.6" } },
    {
      set: {
        family: "inet",
        table: "f",
        name: "s",
        elem: [22, { range: [6440, 6450] }, { elem: { val: 6443 } }],
      },
    },
    { chain: { family: "inet", table: "f", name: "in", hook: "input", type: "filter", policy: "drop" } },
    { chain: { family: "inet", table: "f", name: "sub" } },
    ...[
      [
        { match: { op: "in", left: { ct: { key: "state" } }, right: ["established", "new"] } },
        { jump: { target: "sub" } },
      ],
      [
        { match: { op: "==", left: { fib: { result: "type", flags: ["daddr"] } }, right: "local" } },
        { counter: null },
      ],
      [
        { match: { op: "==", left: { meta: { key: "iifname" } }, right: "eth0" } },
        { xt: { name: "conntrack" } },
      ],
      [
        {
          match: {
            op: "==",
            left: { payload: { protocol: "ip", field: "saddr" } },
            right: { prefix: { addr: "192.0.2.0", len: 24 } },
          },
        },
        { goto: { target: "sub" } },
      ],
      [
        { match: { op: "==", left: { "&": [{ meta: { key: "mark" } }, 1] }, right: 0 } },
        { vmap: { key: { meta: { key: "l4proto" } }, data: { set: [["tcp", { accept: null }]] } } },
      ],
    ].map((expr, handle) => ({ rule: { family: "inet", table: "f", chain: "in", handle, expr } })),
    {
      rule: {
        family: "inet",
        table: "f",
        chain: "sub",
        handle: 9,
        expr: [
          { match: { op: "==", left: { payload: { protocol: "tcp", field: "dport" } }, right: "@s" } },
          { accept: null },
        ],
      },
    },
  ],
};

/** The kernel refuses rules that jump in a circle. Rules that the kernel did not write are walked to a bound. */
function unlessEndless(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof Error && error.message === "there are too many rules")) throw error;
  }
}

const firewall: readonly Target[] = [
  {
    name: "firewalls' rules",
    inputs: [json(FIREWALL)],
    read(input) {
      let rules;
      try {
        rules = parseRuleset(textOf(input));
      } catch {
        // Its caller says that the answer cannot be read.
        return;
      }
      makerOf(rules);
      for (const family of [4, 6] as const) {
        const [source, destination] =
          family === 4 ? ["192.0.2.1", "192.0.2.100"] : ["2001:db8::1", "2001:db8::100"];
        for (const [protocol, port] of [
          ["tcp", 6443],
          ["icmp", undefined],
        ] as const)
          unlessEndless(() =>
            judge(rules, { family, interface: "eth0", protocol, source, destination, port }),
          );
      }
    },
  },
];

function recording(): string {
  const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });
  const self = candidate("n1", { base: 120, effective: 120 });
  const subject = new Subject({ base: 120 }).healthy({}).sees(held("n2", 1, [self, CANDIDATE, n3]));
  subject.to(300);
  const { acquireTime, leaseTransitions } = held("n2", 1);
  subject.hears({ kind: "silent", tenure: ["n2", acquireTime, leaseTransitions].join("/") });
  subject.to(5_000);
  const recorder = createRecorder();
  for (const taken of subject.taken) recorder.note(taken);
  return formatRecording(
    { node: "n1", agent: "0.1.0", cause: "holder-dead", wall: new Date(0), nowMs: subject.nowMs },
    recorder.settings(),
    recorder.decisions(),
  );
}

/** @throws what is no {@link NoRecording} */
function unlessNone(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof NoRecording)) throw error;
  }
}

const parsedConfig = parseConfig({ LEASEHOLD_VIP: "192.0.2.10" }, "n1");
assert.ok(parsedConfig.kind === "ok");
const { config } = parsedConfig;
const RECORDING = recording();
const AGENT_STATUS = exampleStatus({ agent: { api: { lastRefusal: null } } });

const peers: readonly Target[] = [
  {
    name: "recordings",
    inputs: [utf8(RECORDING)],
    read(input) {
      const text = textOf(input);
      unlessNone(() => parseRecording(text));
      unlessNone(() => replay(text));
    },
  },
  {
    name: "peers' answers",
    inputs: [
      json(AGENT_STATUS),
      json({ peers: [{ node: "n2", address: "192.0.2.12:10085" }] }),
      json({ moves: [{ at: "2026-01-01T00:00:00Z", from: "BACKUP", to: "MASTER", reason: "claimed" }] }),
      json({ samples: [], settings: [{ section: "Lease", name: "A", value: "1", isSet: true, doc: "a" }] }),
    ],
    read(input) {
      const text = textOf(input);
      parseAgentFacts(text);
      for (const { node } of parsePeerList(text)) assert.match(node, /^[a-z0-9.-]+$/);
      for (const { at } of parseMoves(text) ?? []) assert.match(at, /^\d{4}-/);
      parsePageFacts(text);
      sampleOf(parseBody(Buffer.from(input)), 0);
      const picture = pagePicture(config, {
        at: new Date(0),
        node: "n1",
        statuses: new Map([
          ["n1", { kind: "ok", text: JSON.stringify(AGENT_STATUS) }],
          ["n2", { kind: "ok", text }],
        ]),
        places: new Map(),
      });
      JSON.stringify(picture);
    },
  },
  {
    name: "remembered files",
    inputs: [
      json({ version: 1, backends: [{ host: "192.0.2.11", port: 6443 }] }),
      json({
        version: 1,
        peers: [
          {
            node: "n2",
            mac: "02:00:00:00:00:0b",
            fastPath: { version: 2, addresses: ["192.0.2.12"] },
            served: true,
          },
        ],
      }),
    ],
    read(input) {
      const file = join(scratch, "remembered.json");
      writeFileSync(file, input);
      for (const { host, port } of readRemembered(file, silentLogger))
        assert.ok(parseIp(host) !== undefined && isPort(port));
      readPeers(file, silentLogger);
    },
  },
];

/** All of them. Their names are those of docs/verification.md. */
export const TARGETS: readonly Target[] = [
  ...frames,
  ...kernel,
  ...api,
  ...credentials,
  ...foreign,
  ...firewall,
  ...peers,
];
