import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { diagnose, diagnosisExit, diagnosisText } from "../../../src/cli/diagnose.ts";
import type { Examined } from "../../../src/cli/examined.ts";
import { failed, ok } from "./answers.ts";

const AT = new Date("2026-01-01T00:00:00Z");
const LATER = new Date("2026-12-01T00:00:00Z");
const EARLIER = new Date("2025-01-05T00:00:00Z");
const SOON = new Date("2026-01-05T00:00:00Z");

const SERVER = { server: "192.0.2.11:6443", missing: [], startsAt: EARLIER, expiresAt: LATER, skewMs: 400 };
const PEER = {
  node: "n2",
  ip: "192.0.2.12",
  mac: "02:00:00:00:00:02",
  heard: "02:00:00:00:00:02",
  echo: true,
  ports: [
    { port: 6443, answer: "open" },
    { port: 8443, answer: "open" },
  ],
} as const;
const CANDIDATES = ["n1", "n2"].map((node) => ({
  node,
  version: "0.1.0",
  fastPath: 1,
  vips: ["192.0.2.10"],
}));

const WELL: Examined = {
  at: AT,
  node: "n1",
  version: "0.1.0",
  vips: ["192.0.2.10"],
  isWorker: false,
  takeOver: false,
  agent: { kind: "none" },
  network: { interface: "eth0" },
  foreign: ok([]),
  wire: [{ vip: "192.0.2.10", owner: ok(null) }],
  ports: [
    { setting: "LEASEHOLD_BALANCER_PORT", port: 8443, error: null },
    { setting: "LEASEHOLD_OPS_ADDRESS", port: 10081, error: null },
  ],
  disks: [
    { setting: "LEASEHOLD_DATA_DIR", path: "/var/lib/leasehold", freeBytes: 2 ** 30, freeInodes: 1_000 },
    { setting: "LEASEHOLD_STATE_DIR", path: "/run/leasehold", freeBytes: 2 ** 30, freeInodes: null },
  ],
  sysctls: ok([]),
  nft: { version: "1.0.6", kernel: "6.1.0-13-amd64", lacks: [] },
  firewall: {
    verdicts: ok([
      {
        what: "TCP from clients to 192.0.2.11:6443",
        port: 6443,
        isNeeded: true,
        passing: { kind: "passes" },
      },
    ]),
    by: null,
    legacy: false,
  },
  kubelet: {
    nodeIp: ok({ addresses: ["192.0.2.11"], from: "the running kubelet" }),
    node: ok(["192.0.2.11"]),
  },
  others: [],
  othersUnseen: null,
  own: {
    path: "/etc/kubernetes/leasehold/kubeconfig",
    problem: null,
    isMissing: false,
    startsAt: EARLIER,
    expiresAt: LATER,
  },
  admin: {
    path: "/etc/kubernetes/admin.conf",
    problem: "no such file",
    isMissing: true,
    startsAt: null,
    expiresAt: null,
  },
  rights: ok([]),
  servers: [ok(SERVER)],
  ownServers: ["127.0.0.1:6443", "192.0.2.11:6443"],
  unnamed: ok(null),
  holderClock: { node: "n2", skewMs: -900 },
  candidates: ok(CANDIDATES),
  peers: ok([PEER]),
  changed: null,
};

const SIX: Partial<Examined> = { vips: ["2001:db8::10"], candidates: ok([]) };
const BOUND = { text: "192.0.2.10/32 on eth0", ofMachine: false };
const TO_CLIENTS = { what: "TCP from clients to 192.0.2.11:6443", port: 6443, isNeeded: true };
const ECHO = { what: "ICMP echo requests to 192.0.2.10", port: null, isNeeded: false };
const DROPPED = { kind: "dropped", by: "the policy of chain INPUT in table ip filter" } as const;
const MISSING = { path: "/k", problem: "no such file", isMissing: true, startsAt: null, expiresAt: null };

/** What was found, the check that must see it, its verdict, and what the line must say. */
const CASES: readonly (readonly [string, Partial<Examined>, string, string, RegExp, RegExp])[] = [
  ["an agent that is ready", { agent: { kind: "answers", failing: [] } }, "agent", "ok", /ready/, /^$/],
  [
    "an agent that is not ready",
    { agent: { kind: "answers", failing: ["election failed: FAULT: vip"] } },
    "agent",
    "FAIL",
    /FAULT: vip/,
    /leasehold why/,
  ],
  [
    "an agent that is silent",
    { agent: { kind: "silent", port: 10084, why: "ECONNREFUSED" } },
    "agent",
    "FAIL",
    /127\.0\.0\.1:10084/,
    /LeaseholdHealthPort/,
  ],
  [
    "no interface",
    { network: { code: "LH_INTERFACE", message: "no interface", hint: "Set LEASEHOLD_INTERFACE" } },
    "interface",
    "FAIL",
    /LH_INTERFACE/,
    /LEASEHOLD_INTERFACE/,
  ],
  ["a foreign address", { foreign: ok([BOUND]) }, "address", "FAIL", /eth0/, /LH_VIP_FOREIGN/],
  [
    "an interface without ARP",
    {
      network: {
        interface: "wg0",
        problem: {
          code: "LH_LINK_TYPE",
          message: "the VIP's interface is wg0",
          hint: "Set LEASEHOLD_INTERFACE",
        },
      },
    },
    "interface",
    "warn",
    /LH_LINK_TYPE: the VIP's interface is wg0/,
    /LEASEHOLD_INTERFACE/,
  ],
  [
    "API servers that the cluster does not name",
    { unnamed: ok({ code: "LH_ENDPOINTS", message: "name 10.0.2.15", hint: "--advertise-address" }) },
    "endpoints",
    "warn",
    /LH_ENDPOINTS: name 10\.0\.2\.15/,
    /--advertise-address/,
  ],
  [
    "a list of API servers that cannot be read",
    { unnamed: { kind: "failed", where: "the list", why: "403" } },
    "endpoints",
    "unknown",
    /the list: 403/,
    /again/,
  ],
  ["no netlink", { foreign: failed("the network", "EPERM") }, "address", "unknown", /EPERM/, /root/],
  [
    "a stranger",
    { wire: [{ vip: "192.0.2.10", owner: ok({ mac: "02:00:00:00:00:09", node: null, byAgent: false }) }] },
    "wire",
    "FAIL",
    /02:00:00:00:00:09/,
    /LH_VIP_CONFLICT/,
  ],
  [
    "the holder",
    { wire: [{ vip: "192.0.2.10", owner: ok({ mac: "02:00:00:00:00:02", node: "n2", byAgent: true }) }] },
    "wire",
    "ok",
    /^n2 /,
    /^$/,
  ],
  [
    "a foreign address during a take-over",
    { takeOver: true, foreign: ok([{ ...BOUND, text: "192.0.2.10/24 on eth0" }]) },
    "address",
    "ok",
    /192\.0\.2\.10\/24 on eth0|the agents stand by for it \(LEASEHOLD_TAKE_OVER\)/,
    /^$/,
  ],
  [
    "the machine's own address, also during a take-over",
    { takeOver: true, foreign: ok([{ ...BOUND, ofMachine: true }]) },
    "address",
    "FAIL",
    /this machine's own address/,
    /LH_ADDRESS_OWNER/,
  ],
  [
    "a stranger during a take-over",
    {
      takeOver: true,
      wire: [{ vip: "192.0.2.10", owner: ok({ mac: "02:00:00:00:00:09", node: null, byAgent: false }) }],
    },
    "wire",
    "ok",
    /02:00:00:00:00:09 has 192\.0\.2\.10, and the agents stand by/,
    /^$/,
  ],
  [
    "other software on another node's machine during a take-over",
    {
      takeOver: true,
      wire: [{ vip: "192.0.2.10", owner: ok({ mac: "02:00:00:00:00:02", node: "n2", byAgent: false }) }],
    },
    "wire",
    "ok",
    /^other software on n2 \(02:00:00:00:00:02\) has 192\.0\.2\.10, and the agents stand by/,
    /^$/,
  ],
  [
    "what goes on during a take-over from another node's machine",
    {
      takeOver: true,
      wire: [{ vip: "192.0.2.10", owner: ok({ mac: "02:00:00:00:00:02", node: "n2", byAgent: false }) }],
    },
    "take-over",
    "ok",
    /goes first/,
    /^$/,
  ],
  [
    "another program on another node's machine, without a take-over",
    { wire: [{ vip: "192.0.2.10", owner: ok({ mac: "02:00:00:00:00:02", node: "n2", byAgent: false }) }] },
    "wire",
    "FAIL",
    /^another program on n2 \(02:00:00:00:00:02\) has 192\.0\.2\.10/,
    /leasehold doctor` on n2.*LH_VIP_FOREIGN/,
  ],
  [
    "keepalived with the VIP during a take-over",
    { takeOver: true, others: [{ software: "keepalived", where: "it runs on this machine", hasVip: true }] },
    "software",
    "ok",
    /it has the VIP, and the agents stand by/,
    /^$/,
  ],
  [
    "keepalived, whose configuration cannot be seen, during a take-over",
    { takeOver: true, others: [{ software: "keepalived", where: "it runs on this machine", hasVip: false }] },
    "software",
    "ok",
    /the agents stand by/,
    /^$/,
  ],
  [
    "MetalLB with the VIP during a take-over",
    { takeOver: true, others: [{ software: "metallb", where: "the pool p", hasVip: true }] },
    "software",
    "FAIL",
    /metallb/,
    /take the VIP out/,
  ],
  [
    "what goes on during a take-over",
    { takeOver: true, foreign: ok([BOUND]) },
    "take-over",
    "ok",
    /goes first .* step 3 of docs\/guides\/take-over\.md/,
    /^$/,
  ],
  [
    "a take-over that is over",
    { takeOver: true },
    "take-over",
    "warn",
    /no other software was found/,
    /take it out of the manifest/,
  ],
  [
    "a firewall that keeps the other nodes' agents out",
    {
      firewall: {
        verdicts: ok([
          { what: "TCP from n2 to 192.0.2.11:10085", port: 10085, isNeeded: true, passing: DROPPED },
        ]),
        by: "firewalld",
        legacy: false,
      },
    },
    "firewall",
    "FAIL",
    /n2 to 192\.0\.2\.11:10085/,
    /--add-port=10085\/tcp/,
  ],
  ...(
    [
      [
        "the policy of chain input in table inet filter",
        /nft insert rule inet filter input tcp dport 6443 accept$/,
      ],
      ["rule 7 of chain INPUT in table ip filter", /: iptables -I INPUT -p tcp --dport 6443 -j ACCEPT$/],
      [
        "the policy of chain INPUT in table ip6 filter",
        /: ip6tables -I INPUT -p tcp --dport 6443 -j ACCEPT$/,
      ],
    ] as const
  ).map(([culprit, todo]): (typeof CASES)[number] => [
    `a port that is closed by ${culprit}, which no known program made`,
    {
      firewall: {
        verdicts: ok([
          {
            what: "TCP from clients to 192.0.2.11:6443",
            port: 6443,
            isNeeded: true,
            passing: { kind: "dropped", by: culprit },
          },
        ]),
        by: null,
        legacy: false,
      },
    },
    "firewall",
    "FAIL",
    /dropped by/,
    todo,
  ]),
  [
    "a stranger on the second of two VIPs",
    {
      wire: [
        { vip: "192.0.2.10", owner: ok(null) },
        { vip: "192.0.2.20", owner: ok({ mac: "02:00:00:00:00:09", node: null, byAgent: false }) },
      ],
    },
    "wire",
    "FAIL",
    /192\.0\.2\.20/,
    /LH_VIP_CONFLICT/,
  ],
  [
    "no raw sockets",
    { wire: [{ vip: "192.0.2.10", owner: failed("the wire", "EPERM") }] },
    "wire",
    "unknown",
    /EPERM/,
    /NET_RAW/,
  ],
  [
    "a taken port",
    { ports: [{ setting: "LEASEHOLD_BALANCER_PORT", port: 8443, error: "listen EADDRINUSE" }] },
    "ports",
    "FAIL",
    /8443/,
    /ss -ltnp/,
  ],
  [
    "a port that the running agent lacks",
    { agent: { kind: "answers", failing: ["ops-port failed: cannot listen on 127.0.0.1:10081"] } },
    "ports",
    "FAIL",
    /10081/,
    /ss -ltnp/,
  ],
  [
    "a sysctl",
    { sysctls: ok(["net.ipv4.ip_forward is 0, set it to 1"]) },
    "sysctl",
    "FAIL",
    /ip_forward/,
    /sysctl -w/,
  ],
  [
    "no nft",
    { nft: { version: "", kernel: "6.1", lacks: ["spawn nft ENOENT"] } },
    "nft",
    "FAIL",
    /ENOENT/,
    /LH_NFT/,
  ],
  [
    "an old kernel",
    { nft: { version: "1.0.6", kernel: "5.9.16", lacks: [] } },
    "nft",
    "FAIL",
    /Linux is 5\.9\.16/,
    /LH_NFT/,
  ],
  [
    "an old nft",
    { nft: { version: "1.0.5", kernel: "5.10", lacks: [] } },
    "nft",
    "FAIL",
    /nft is 1\.0\.5/,
    /LH_NFT/,
  ],
  [
    "the oldest of both",
    { nft: { version: "1.0.6", kernel: "5.10.0", lacks: [] } },
    "nft",
    "ok",
    /1\.0\.6/,
    /^$/,
  ],
  ["newer ones", { nft: { version: "1.1", kernel: "6.0", lacks: [] } }, "nft", "ok", /1\.1/, /^$/],
  [
    "a missing module",
    { nft: { version: "1.0.6", kernel: "6.1", lacks: ["nft_fib: No such file"] } },
    "nft",
    "FAIL",
    /nft_fib/,
    /modprobe/,
  ],
  [
    "a firewall that drops the API",
    {
      firewall: {
        verdicts: ok([{ ...TO_CLIENTS, passing: DROPPED }]),
        by: "ufw",
        legacy: false,
      },
    },
    "firewall",
    "FAIL",
    /INPUT/,
    /ufw allow/,
  ],
  [
    "a firewall that drops echoes alone",
    {
      firewall: {
        verdicts: ok([{ ...ECHO, passing: DROPPED }]),
        by: null,
        legacy: false,
      },
    },
    "firewall",
    "warn",
    /ICMP/,
    /Let ICMP/,
  ],
  [
    "a firewall that may let the API in",
    {
      firewall: {
        verdicts: ok([
          { ...TO_CLIENTS, passing: { kind: "unsure", by: "the policy", unless: "rule 5 of chain INPUT" } },
        ]),
        by: null,
        legacy: false,
      },
    },
    "firewall",
    "warn",
    /unless rule 5/,
    /iptables -S/,
  ],
  [
    "a firewall that may let echoes in",
    {
      firewall: {
        verdicts: ok([
          {
            ...ECHO,
            passing: { kind: "unsure", by: "the policy", unless: "rule 5 of chain INPUT" },
          },
        ]),
        by: null,
        legacy: false,
      },
    },
    "firewall",
    "ok",
    /let clients/,
    /^$/,
  ],
  [
    "rules of iptables-legacy",
    { firewall: { verdicts: ok([]), by: null, legacy: true } },
    "firewall",
    "unknown",
    /legacy/,
    /iptables-legacy -S/,
  ],
  [
    "rules that cannot be listed",
    { firewall: { verdicts: failed("the rules", "EPERM"), by: null, legacy: false } },
    "firewall",
    "unknown",
    /EPERM/,
    /nft list ruleset/,
  ],
  [
    "a Node that has the VIP",
    { kubelet: { ...WELL.kubelet, node: ok(["192.0.2.10"]) } },
    "kubelet",
    "FAIL",
    /192\.0\.2\.10/,
    /kubeadm-flags\.env/,
  ],
  [
    "an IPv6 VIP and no --node-ip",
    { ...SIX, kubelet: { nodeIp: ok(null), node: failed("/a", "no such file") } },
    "kubelet",
    "warn",
    /stands first/,
    /--node-ip/,
  ],
  [
    "an IPv6 VIP and --node-ip=::",
    { ...SIX, kubelet: { nodeIp: ok({ addresses: ["::"], from: "f" }), node: failed("/a", "no such file") } },
    "kubelet",
    "warn",
    /--node-ip=::/,
    /kubeadm-flags/,
  ],
  [
    "an IPv4 VIP and no --node-ip",
    { kubelet: { nodeIp: ok(null), node: failed("/a", "no such file") } },
    "kubelet",
    "ok",
    /not set/,
    /^$/,
  ],
  [
    "--node-ip with the VIP",
    { kubelet: { ...WELL.kubelet, nodeIp: ok({ addresses: ["192.0.2.10"], from: "f" }) } },
    "kubelet",
    "FAIL",
    /--node-ip is the VIP/,
    /restart the kubelet/,
  ],
  [
    "neither the kubelet nor the Node",
    { kubelet: { nodeIp: failed("the kubelet", "unseen"), node: failed("/a", "no such file") } },
    "kubelet",
    "unknown",
    /unseen/,
    /grep/,
  ],
  [
    "keepalived in a static pod",
    { others: [{ software: "keepalived", where: "the static pod /k.yaml", hasVip: false }] },
    "software",
    "warn",
    /k\.yaml/,
    /stop it on every node/,
  ],
  [
    "keepalived with the VIP",
    { others: [{ software: "keepalived", where: "it runs on this machine", hasVip: true }] },
    "software",
    "FAIL",
    /has the VIP/,
    /Stop keepalived/,
  ],
  ["a container", { othersUnseen: "from this container" }, "software", "unknown", /container/, /pgrep/],
  [
    "a certificate that ends soon",
    { own: { ...WELL.own, expiresAt: SOON } },
    "kubeconfig",
    "warn",
    /valid until/,
    /LH_KUBECONFIG/,
  ],
  [
    "no kubeconfig before the installation",
    { own: MISSING },
    "kubeconfig",
    "warn",
    /neither/,
    /as it must be/,
  ],
  [
    "no kubeconfig",
    { own: MISSING, agent: { kind: "answers", failing: [] } },
    "kubeconfig",
    "FAIL",
    /no such file/,
    /LH_KUBECONFIG/,
  ],
  [
    "a damaged kubeconfig",
    { own: { ...MISSING, isMissing: false, problem: "it is empty" } },
    "kubeconfig",
    "FAIL",
    /empty/,
    /LH_KUBECONFIG/,
  ],
  [
    "a disk without room",
    {
      disks: [
        { setting: "LEASEHOLD_DATA_DIR", path: "/var/lib/leasehold", freeBytes: 4_096, freeInodes: 99 },
      ],
    },
    "disk",
    "FAIL",
    /^the disk of \/var\/lib\/leasehold \(LEASEHOLD_DATA_DIR\) has 4 KiB left$/,
    /df -h \/var\/lib\/leasehold.*may be deleted/,
  ],
  [
    "a disk without inodes",
    { disks: [{ setting: "LEASEHOLD_DATA_DIR", path: "/d", freeBytes: 2 ** 30, freeInodes: 0 }] },
    "disk",
    "FAIL",
    /and 0 inodes left/,
    /df -i/,
  ],
  [
    "a disk that is nearly full",
    { disks: [{ setting: "LEASEHOLD_DATA_DIR", path: "/d", freeBytes: 2 ** 21, freeInodes: null }] },
    "disk",
    "warn",
    /2048 KiB left/,
    /may be deleted/,
  ],
  ["no directories yet", { disks: [] }, "disk", "unknown", /not there yet/, /installation/],
  [
    "a machine with the VIP while the Lease cannot be read",
    {
      wire: [{ vip: "192.0.2.10", owner: ok({ mac: "02:00:00:00:00:02", node: null, byAgent: false }) }],
      candidates: failed("the Lease", "401"),
    },
    "wire",
    "unknown",
    /02:00:00:00:00:02 answers for 192\.0\.2\.10; whether it is a node is not known/,
    /ip -br link/,
  ],
  [
    "admin.conf alone",
    { own: MISSING, admin: { ...WELL.own, path: "/a" } },
    "kubeconfig",
    "warn",
    /no such file/,
    /LH_KUBECONFIG/,
  ],
  [
    "no kubeconfig, and admin.conf is switched off",
    { own: MISSING, admin: null, agent: { kind: "answers", failing: [] } },
    "kubeconfig",
    "FAIL",
    /no such file/,
    /LH_KUBECONFIG/,
  ],
  [
    "an expired kubeconfig",
    { own: { ...WELL.own, expiresAt: new Date("2025-01-01") } },
    "kubeconfig",
    "FAIL",
    /expired/,
    /LH_KUBECONFIG/,
  ],
  [
    "a missing right that is needed",
    { rights: ok([{ right: "patch leases/leasehold in kube-system", needed: true }]) },
    "rights",
    "FAIL",
    /patch leases/,
    /manifest rbac/,
  ],
  [
    "a missing right that is not needed",
    { rights: ok([{ right: "patch events in kube-system", needed: false }]) },
    "rights",
    "warn",
    /patch events/,
    /manifest rbac/,
  ],
  [
    "no rights to ask for",
    { rights: failed("/k", "no such file") },
    "rights",
    "unknown",
    /no such file/,
    /Mend/,
  ],
  [
    "an API server without the VIP",
    { servers: [ok({ ...SERVER, missing: ["192.0.2.10"] })] },
    "certificate",
    "FAIL",
    /192\.0\.2\.10/,
    /certSANs/,
  ],
  [
    "an API server's certificate that ends",
    { servers: [ok({ ...SERVER, expiresAt: SOON })] },
    "certificate",
    "warn",
    /ends on/,
    /kubeadm certs renew/,
  ],
  [
    "an API server's certificate that has ended",
    { servers: [ok({ ...SERVER, expiresAt: EARLIER })] },
    "certificate",
    "FAIL",
    /ends on/,
    /kubeadm certs renew/,
  ],
  [
    "an API server's certificate of the future",
    { servers: [ok({ ...SERVER, startsAt: LATER })] },
    "certificate",
    "FAIL",
    /valid from/,
    /clock/,
  ],
  ["no API server", { servers: [] }, "certificate", "unknown", /no API server/, /kubeadm init/],
  [
    "a silent API server",
    { servers: [failed("s", "no answer")] },
    "certificate",
    "unknown",
    /no answer/,
    /crictl/,
  ],
  [
    "a clock that is off",
    { servers: [ok({ ...SERVER, skewMs: -12_000 })] },
    "clock",
    "warn",
    /12 s behind/,
    /NTP/,
  ],
  [
    "a clock that is far off",
    { servers: [ok({ ...SERVER, skewMs: 90_000 })] },
    "clock",
    "FAIL",
    /90 s ahead/,
    /NTP/,
  ],
  [
    "a holder's clock",
    { holderClock: { node: "n2", skewMs: 20_000 } },
    "clock",
    "warn",
    /n2, by its last/,
    /NTP/,
  ],
  [
    "no clock",
    { servers: [ok({ ...SERVER, skewMs: null })], holderClock: null },
    "clock",
    "unknown",
    /told a time/,
    /timedatectl/,
  ],
  [
    "a Lease with a holder that no agent has written",
    { changed: { holder: "policy", writer: "n1" } },
    "lease",
    "FAIL",
    /names policy, and n1 has written it/,
    /mutatingwebhookconfigurations/,
  ],
  ["no other node", { peers: ok([]) }, "peers", "unknown", /no other node/, /installation/],
  ["a Lease that cannot be read", { peers: failed("the Lease", "403") }, "peers", "unknown", /403/, /Mend/],
  [
    "a peer that is dead",
    { peers: ok([{ ...PEER, heard: null, echo: false, ports: [{ port: 6443, answer: "silent" }] }]) },
    "peers",
    "FAIL",
    /does not answer ARP/,
    /cable/,
  ],
  [
    "a peer behind a router",
    { peers: ok([{ ...PEER, heard: null }]) },
    "peers",
    "FAIL",
    /a router/,
    /layer-2/,
  ],
  [
    "a peer with another MAC address",
    { peers: ok([{ ...PEER, heard: "02:00:00:00:00:99" }]) },
    "peers",
    "FAIL",
    /02:00:00:00:00:99/,
    /Two machines/,
  ],
  [
    "a peer's firewall that drops",
    { peers: ok([{ ...PEER, ports: [{ port: 6443, answer: "silent" }] }]) },
    "peers",
    "FAIL",
    /drops TCP .* port 6443/,
    /Open the port/,
  ],
  [
    "a peer's firewall that rejects",
    { peers: ok([{ ...PEER, ports: [{ port: 8443, answer: "rejected" }] }]) },
    "peers",
    "FAIL",
    /rejects TCP .* port 8443/,
    /Open the port/,
  ],
  [
    "a peer without an API server",
    { peers: ok([{ ...PEER, ports: [{ port: 6443, answer: "refused" }] }]) },
    "peers",
    "warn",
    /nothing listens on port 6443/,
    /crictl/,
  ],
  [
    "a peer that drops echoes",
    { peers: ok([{ ...PEER, echo: false }]) },
    "peers",
    "warn",
    /ICMP/,
    /Let ICMP/,
  ],
  [
    "another version",
    { candidates: ok(CANDIDATES.map((one, at) => (at === 0 ? one : { ...one, version: "0.2.0" }))) },
    "versions",
    "warn",
    /n2 0\.2\.0/,
    /upgrade/,
  ],
  [
    "another fast path",
    { candidates: ok(CANDIDATES.map((one, at) => (at === 0 ? one : { ...one, fastPath: 2 }))) },
    "versions",
    "warn",
    /different fast paths/,
    /upgrade/,
  ],
  [
    "a command of another version",
    { version: "0.3.0" },
    "versions",
    "warn",
    /this command is 0\.3\.0/,
    /upgrade/,
  ],
  ["no Lease", { candidates: ok([]) }, "versions", "unknown", /names no node/, /installation/],
  ["no API", { candidates: failed("the Lease", "no answer") }, "versions", "unknown", /no answer/, /API/],
  [
    "other VIPs",
    { candidates: ok(CANDIDATES.map((one, at) => (at === 0 ? one : { ...one, vips: ["192.0.2.99"] }))) },
    "vips",
    "FAIL",
    /n2 has 192\.0\.2\.99/,
    /LH_VIP_MISMATCH/,
  ],
  [
    "agents that do not say their VIPs",
    { candidates: ok(CANDIDATES.map((one) => ({ ...one, vips: null }))) },
    "vips",
    "unknown",
    /no node has said/,
    /installation/,
  ],
];

describe("doctor", () => {
  test("finds nothing on a machine that is well", () => {
    const diagnoses = diagnose(WELL);
    assert.deepEqual(
      diagnoses.filter(({ verdict }) => verdict !== "ok").map(({ check, verdict }) => [check, verdict]),
      [["agent", "warn"]],
    );
    assert.equal(diagnosisExit(diagnoses), 0);
    const lines = diagnosisText(diagnoses).split("\n");
    assert.match(lines[2] ?? "", /^ +-> After the installation/);
    assert.match(lines[3] ?? "", /^interface +ok +eth0 has the subnet of 192\.0\.2\.10$/);
  });

  for (const [what, change, check, verdict, found, todo] of CASES) {
    test(`finds ${what}, and says what to do`, () => {
      const diagnoses = diagnose({ ...WELL, ...change });
      const lines = diagnoses.filter((one) => one.check === check);
      // Of several lines of one check the worst is meant.
      const line = lines.find((one) => one.verdict === verdict);
      assert.ok(line !== undefined, JSON.stringify(lines));
      assert.match(line.found, found);
      assert.match(line.todo, todo);
      assert.equal(diagnosisExit(diagnoses), diagnoses.some((one) => one.verdict === "FAIL") ? 3 : 0);
      if (verdict === "ok") assert.ok(lines.every((one) => one.verdict === "ok"));
    });
  }

  test("calls nothing well that depends on a VIP which is not set", () => {
    const diagnoses = diagnose({ ...WELL, vips: [], wire: [] });
    for (const check of [
      "interface",
      "address",
      "wire",
      "sysctl",
      "firewall",
      "kubelet",
      "certificate",
      "vips",
    ]) {
      const lines = diagnoses.filter((one) => one.check === check);
      assert.deepEqual([...new Set(lines.map(({ verdict }) => verdict))], ["unknown"], check);
      for (const { found, todo } of lines) {
        assert.match(found, /LEASEHOLD_VIP is not set/);
        assert.match(todo, /Set it, as the pod has it/);
      }
    }
  });

  test("asks nothing of a worker that only a machine with the VIP needs", () => {
    const bare: Examined = {
      ...WELL,
      isWorker: true,
      network: { code: "LH_INTERFACE", message: "no interface", hint: "" },
      sysctls: failed("x", "y"),
      peers: failed("x", "y"),
      rights: ok([{ right: "list endpointslices in default", needed: true }]),
    };
    const diagnoses = diagnose(bare);
    assert.deepEqual(
      [...new Set(diagnoses.map(({ check }) => check))],
      [
        "agent",
        "interface",
        "address",
        "software",
        "ports",
        "disk",
        "nft",
        "kubeconfig",
        "rights",
        "certificate",
        "clock",
        "versions",
        "vips",
      ],
    );
    assert.deepEqual(
      diagnoses.filter(({ verdict }) => verdict === "FAIL").map(({ check }) => check),
      ["rights"],
    );
    assert.match(diagnoses.find(({ check }) => check === "rights")?.todo ?? "", /manifest worker-rbac/);
    const owner = diagnose({ ...bare, network: { code: "LH_ADDRESS_OWNER", message: "own", hint: "h" } });
    assert.equal(owner.find(({ check }) => check === "interface")?.verdict, "FAIL");
  });

  test("says for each line that is not well what to do", () => {
    for (const [what, change] of CASES)
      for (const { verdict, check, todo } of diagnose({ ...WELL, ...change }))
        assert.equal(verdict === "ok", todo === "", `${what}: ${check}`);
  });

  test("does not send a person to LH_KUBECONFIG for admin.conf, which its commands do not make", () => {
    const lines = diagnose({ ...WELL, own: MISSING, agent: { kind: "answers", failing: [] } }).filter(
      ({ check }) => check === "kubeconfig",
    );
    assert.deepEqual(
      lines.map(({ verdict }) => verdict),
      ["FAIL", "FAIL"],
    );
    assert.match(lines[0]?.todo ?? "", /LH_KUBECONFIG/);
    const ended = { ...WELL.own, path: "/etc/kubernetes/admin.conf", expiresAt: EARLIER };
    const [, expired] = diagnose({ ...WELL, own: MISSING, admin: ended }).filter(
      ({ check }) => check === "kubeconfig",
    );
    assert.match(
      expired?.todo ?? "",
      /^It is only the fallback\. Renew it with `kubeadm certs renew admin\.conf`\.$/,
    );
    assert.match(lines[1]?.found ?? "", /admin\.conf: no such file/);
    assert.match(lines[1]?.todo ?? "", /^It is only the fallback\. Mend the other one first\.$/);
  });

  test("tells the worst first, and a wrong VIP before what follows from it", () => {
    const diagnoses = diagnose({
      ...WELL,
      vips: ["192.0.2.110"],
      servers: [ok({ ...SERVER, missing: ["192.0.2.110"] })],
      candidates: ok(CANDIDATES.map((one) => (one.node === "n1" ? { ...one, vips: ["192.0.2.110"] } : one))),
    });
    const rows = diagnosisText(diagnoses).split("\n").slice(1);
    assert.match(
      rows[0] ?? "",
      /^vips +FAIL +LEASEHOLD_VIP of this node is 192\.0\.2\.110, and n2 has 192\.0\.2\.10$/,
    );
    assert.match(rows[1] ?? "", /LH_VIP_MISMATCH/);
    assert.match(rows[2] ?? "", /^certificate +FAIL .*192\.0\.2\.110/);
    assert.match(rows[3] ?? "", /-> Mend the line `vips` first/);
    const verdicts = rows.flatMap((row) => / (FAIL|warn|unknown|ok) /.exec(row.slice(0, 40))?.[1] ?? []);
    assert.deepEqual(
      verdicts,
      verdicts.toSorted(
        (a, b) => "FWUO".indexOf(a.toUpperCase()[0] ?? "") - "FWUO".indexOf(b.toUpperCase()[0] ?? ""),
      ),
    );
  });

  test("with a wrong LEASEHOLD_VIP, withdraws the advice on certificates that lack it, and no other", () => {
    const ended = ok({ ...SERVER, server: "192.0.2.11:6443", expiresAt: new Date(0) });
    const without = ok({ ...SERVER, server: "192.0.2.12:6443", missing: ["192.0.2.1"] });
    // The VIP's text is a part of the first server's address.
    const vips = ["192.0.2.1"];
    const candidates = ok(CANDIDATES.map((one) => (one.node === "n1" ? { ...one, vips } : one)));
    const advice = diagnose({ ...WELL, vips, candidates, servers: [ended, without] })
      .filter(({ check }) => check === "certificate")
      .map(({ todo }) => todo);
    assert.match(advice[0] ?? "", /^kubeadm certs renew/);
    assert.match(advice[1] ?? "", /^Mend the line `vips` first/);
  });

  test("says that the API server of this node hangs or has ended, and of no machine that has none", () => {
    const told = (why: string, change: Partial<Examined> = {}) =>
      diagnose({
        ...WELL,
        agent: { kind: "answers", failing: [] },
        servers: [failed("127.0.0.1:6443", why)],
        ...change,
      })
        .filter(({ check }) => check === "api-server")
        .map(({ verdict, found, todo }) => `${verdict} ${found} -> ${todo}`)
        .join();
    assert.match(told("no answer"), /^FAIL .*it hangs.* -> .*crictl stop/);
    assert.match(told("connect ECONNREFUSED"), /^FAIL .*ECONNREFUSED\) -> .*its log/);
    assert.equal(told("no answer", { agent: { kind: "none" } }), "");
    assert.equal(told("no answer", { isWorker: true }), "");
    assert.equal(told("no answer", { servers: [failed("192.0.2.12:6443", "no answer")] }), "");
    const bound = ok({ ...SERVER, server: "192.0.2.11:6443" });
    const servers = [failed("127.0.0.1:6443", "connect ECONNREFUSED"), bound];
    assert.equal(told("", { servers }), "", "it listens on the node's address alone");
  });

  test("does not try the ports that the agent itself has", () => {
    const taken = { setting: "LEASEHOLD_BALANCER_PORT", port: 8443, error: "listen EADDRINUSE" };
    const diagnoses = diagnose({ ...WELL, agent: { kind: "answers", failing: [] }, ports: [taken] });
    assert.equal(diagnosisExit(diagnoses), 0);
  });
});
