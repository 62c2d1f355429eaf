/** Looks at this machine, for `leasehold doctor`. It changes nothing and judges nothing. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { release } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { refuseVips } from "../agent/node-network.ts";
import { agentIsPresent } from "../agent/presence.ts";
import type { Config } from "../config/config.ts";
import { errorMessage, LeaseholdError } from "../errors.ts";
import { missingRequirements } from "../fastpath/requirements.ts";
import { chooseInterface, ownAddress, readNetwork } from "../linux/links.ts";
import type { Network } from "../linux/links.ts";
import type { LinkEntry } from "../linux/rtnetlink.ts";
import { gateways, linkRoutes } from "../linux/routes.ts";
import type { IpAddress } from "../net.ts";
import { ownerOf } from "../vip/owner.ts";
import type { Asking } from "./ask.ts";
import type { Complaint, Examined, KubeletFacts, OtherSoftware, PeerFacts } from "./examined.ts";
import { makerOf, parseRuleset } from "./firewall.ts";
import { firewallVerdicts } from "./firewall-needs.ts";
import { nodeIpOf, nodeIpOfEnvironment } from "./kubelet-address.ts";
import { hasVrrpSocket, namedIn, softwareOfManifest, softwareOfProcess } from "./other-software.ts";

const run = promisify(execFile);

const NFT_MS = 10_000;
const READYZ_MS = 2_000;
/** The rules of a node with ten thousand Services have some 20 MB. */
const MOST_RULESET_BYTES = 64 * 1024 * 1024;
/** Most bytes of a file that are looked at. */
const MOST_BYTES = 1 << 20;
/** Most processes that are looked at. */
const MOST_PROCESSES = 32_768;
const MANIFESTS = "/etc/kubernetes/manifests";
const KEEPALIVED_CONF = "/etc/keepalived/keepalived.conf";
/** Files with variables for the kubelet, which systemd reads. The later one counts. */
const KUBELET_FILES = [
  "/var/lib/kubelet/kubeadm-flags.env",
  "/etc/default/kubelet",
  "/etc/sysconfig/kubelet",
];

export const NO_INTERFACE = "the VIP's interface is not known";

export const failed = (where: string, error: unknown) =>
  ({ kind: "failed", where, why: errorMessage(error) }) as const;

/** The text of a file, bounded; undefined when it cannot be read. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").slice(0, MOST_BYTES);
  } catch {
    return undefined;
  }
}

export async function agentOf({ healthPort }: Config): Promise<Examined["agent"]> {
  try {
    if (!agentIsPresent()) return { kind: "none" };
  } catch {
    return { kind: "none" };
  }
  const url = `http://127.0.0.1:${healthPort}/readyz?verbose`;
  return new Promise((resolve) => {
    const silent = (why: string): void => resolve({ kind: "silent", port: healthPort, why });
    const sent = get(url, { agent: false, signal: AbortSignal.timeout(READYZ_MS) }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        if (text.length < MOST_BYTES) text += part;
      });
      response.on("error", (error) => silent(error.message));
      response.on("end", () => {
        if (!/^readyz check (?:passed|failed)$/m.test(text)) return silent("another program answers there");
        const failing = [...text.matchAll(/^\[-\](.*)$/gm)].map(([, line = ""]) => line);
        return resolve({ kind: "answers", failing });
      });
    });
    sent.on("error", (error) => silent(error.message));
  });
}

export function machineNetwork(): Asking<Network> {
  try {
    return { kind: "ok", value: { ...readNetwork(), routes: linkRoutes([4, 6]) } };
  } catch (error) {
    return failed("this machine's network", error);
  }
}

/** The VIP's interface, and the network around it. */
export interface Place {
  readonly network: Network;
  readonly link: LinkEntry;
}

export function placeOf(config: Config, network: Asking<Network>): Place | Complaint {
  if (network.kind === "failed")
    return { code: "LH_NATIVE", message: network.why, hint: "Run this as root in the host's network." };
  try {
    refuseVips(config.vips, { readNetwork: () => network.value, gateways }, config.takeOver);
    const link = chooseInterface(network.value, config.vips, config.interface);
    return { network: network.value, link };
  } catch (error) {
    if (error instanceof LeaseholdError)
      return { code: error.code, message: error.message, hint: error.hint };
    throw error;
  }
}

export function foreignOn({ vips, takeOver }: Config, network: Asking<Network>): Examined["foreign"] {
  if (network.kind === "failed") return network;
  const { addresses, links } = network.value;
  const value = addresses
    .filter(({ address, ours }) => !ours && vips.some(({ text }) => text === address.text))
    .map((entry) => ({
      text: `${entry.address.text}/${entry.prefixLength} on ${links.find(({ index }) => index === entry.linkIndex)?.name ?? entry.linkIndex}`,
      ofMachine: ownerOf(entry, takeOver) === "machine",
    }));
  return { kind: "ok", value };
}

export async function tryPorts({
  balancerPort,
  opsHost,
  opsPort,
  healthPort,
  peerPort,
}: Config): Promise<Examined["ports"]> {
  const wanted: readonly (readonly [setting: string, host: string, port: number])[] = [
    ["LEASEHOLD_BALANCER_PORT", "::", balancerPort],
    ["LEASEHOLD_OPS_ADDRESS", opsHost, opsPort],
    ["LEASEHOLD_HEALTH_PORT", "127.0.0.1", healthPort],
    ...(peerPort === undefined ? [] : [["LEASEHOLD_PEER_PORT", "::", peerPort] as const]),
  ];
  return Promise.all(
    wanted.map(async ([setting, host, port]) => ({ setting, port, error: await tryPort(host, port) })),
  );
}

function tryPort(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", (error) => resolve(error.message));
    server.listen({ host, port }, () => server.close(() => resolve(null)));
  });
}

export function sysctls({ vips }: Config, place: Place | Complaint): Examined["sysctls"] {
  if ("code" in place) return failed("the kernel's settings", NO_INTERFACE);
  return { kind: "ok", value: missingRequirements(place.link.name, vips) };
}

const PREROUTING = "type filter hook prerouting priority 0;";

/**
 * What the rules of the fast path are made of: the kernel's module, the table's family, the chain's head and
 * its rule. DEVICE stands for the VIP's interface.
 */
export const STATEMENTS = [
  // jhash gives a number, which something has to be done with.
  ["nf_tables, nft_hash", "ip", PREROUTING, "tcp dport 6443 jhash ip saddr mod 2 vmap { 0 : accept }"],
  [
    "nft_fwd_netdev",
    "netdev",
    'type filter hook ingress device "DEVICE" priority 0;',
    'fwd ip to 192.0.2.1 device "DEVICE"',
  ],
  ["nft_dup_ipv4", "ip", PREROUTING, 'dup to 192.0.2.1 device "DEVICE"'],
  ["nft_ct, nf_conntrack", "ip", PREROUTING, "ct state new accept"],
  ["nft_fib", "ip", PREROUTING, "fib daddr type local accept"],
  ["nft_socket", "ip", "type filter hook prerouting priority -150;", "socket wildcard 0 accept"],
  ["nft_nat", "ip", "type nat hook prerouting priority -101;", "tcp dport 6443 dnat to 192.0.2.1"],
  ["nft_masq", "ip", "type nat hook postrouting priority 101;", "masquerade"],
  ["nft_reject_ipv4", "ip", PREROUTING, "meta l4proto tcp reject with tcp reset"],
  ["nft_limit", "ip", PREROUTING, "limit rate over 1/second burst 5 packets drop"],
] as const;

/** Asks nft and the kernel whether they can do what the rules need. Nothing is loaded (nft --check). */
export async function tryNft(place: Place | Complaint): Promise<Examined["nft"]> {
  const kernel = release();
  let version: string;
  try {
    const { stdout } = await run("nft", ["--version"], { timeout: NFT_MS });
    version = /v(\d+(?:\.\d+)+)/.exec(stdout)?.[1] ?? "";
    await run("nft", ["list", "tables"], { timeout: NFT_MS });
  } catch (error) {
    return { version: "", kernel, lacks: [firstLine(error)] };
  }
  const device = "code" in place ? "lo" : place.link.name;
  const tried = await Promise.all(
    STATEMENTS.map(async ([module, family, head, rule]) => {
      const script = `table ${family} leasehold_doctor { chain c { ${head} ${rule}; }; }`;
      const why = await checked(script.replaceAll("DEVICE", () => device));
      return why === null ? [] : [`${module}: ${why}`];
    }),
  );
  return { version, kernel, lacks: tried.flat() };
}

function checked(script: string): Promise<string | null> {
  return new Promise((resolve) => {
    const child = execFile("nft", ["--check", "--file", "-"], { timeout: NFT_MS }, (error) =>
      resolve(error === null ? null : firstLine(error, 1)),
    );
    // nft that cannot be started tells it by the callback.
    child.stdin?.on("error", () => {});
    child.stdin?.end(script);
  });
}

/** @param skip lines of an error of execFile that only say which command failed */
function firstLine(error: unknown, skip = 0): string {
  const lines = errorMessage(error)
    .split("\n")
    .filter((text) => text !== "");
  return lines[skip] ?? lines[0] ?? "nft failed";
}

/** Walks this machine's rules for the packets that have to come in. */
export async function firewallOf(
  config: Config,
  place: Place | Complaint,
  peers: readonly PeerFacts[],
): Promise<Examined["firewall"]> {
  const legacy = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"].some((path) =>
    (textOf(path) ?? "").split("\n").includes("filter"),
  );
  const where = "this machine's rules";
  if ("code" in place) return { verdicts: failed(where, NO_INTERFACE), by: null, legacy };
  const { network, link } = place;
  try {
    const { stdout } = await run("nft", ["--json", "list", "ruleset"], {
      timeout: NFT_MS,
      maxBuffer: MOST_RULESET_BYTES,
    });
    const rules = parseRuleset(stdout);
    const own = (family: 4 | 6): IpAddress | undefined => ownAddress(network, link, config.vips, family);
    const value = firewallVerdicts(rules, config, { interface: link.name, own, peers });
    return { verdicts: { kind: "ok", value }, by: makerOf(rules), legacy };
  } catch (error) {
    return { verdicts: failed(where, firstLine(error)), by: null, legacy };
  }
}

/** The processes that can be seen from here. */
export interface Processes {
  /** The words of each one's command line. */
  readonly commands: readonly (readonly string[])[];
  /** They are the machine's, and not this container's alone. */
  readonly ofMachine: boolean;
}

export function machineProcesses(): Processes {
  // The script of `leasehold manifest cli` mounts the machine's whole /proc at the first one.
  const whole = ["/host/proc", "/proc"].find((proc) => textOf(join(proc, "2/comm")) === "kthreadd\n");
  return { commands: commandsIn(whole ?? "/proc"), ofMachine: whole !== undefined };
}

function commandsIn(proc: string): Processes["commands"] {
  try {
    return readdirSync(proc)
      .filter((name) => /^\d+$/.test(name))
      .slice(0, MOST_PROCESSES)
      .flatMap((pid) => {
        const text = textOf(join(proc, pid, "cmdline"));
        return text === undefined || text === "" ? [] : [text.split("\0").filter((arg) => arg !== "")];
      });
  } catch {
    return [];
  }
}

/** The file that a keepalived was started with. It may lie where this container does not see it. */
function configurationOf(args: readonly string[]): string {
  const at = args.findIndex((arg) => arg === "-f" || arg === "--use-file");
  const joined = args.find((arg) => arg.startsWith("--use-file="))?.slice("--use-file=".length);
  return joined ?? (at < 0 ? KEEPALIVED_CONF : (args[at + 1] ?? KEEPALIVED_CONF));
}

/** Software on this machine that binds or answers for addresses. */
export function otherSoftware(
  { vips }: Config,
  { commands, ofMachine }: Processes,
): Pick<Examined, "others" | "othersUnseen"> {
  const texts = vips.map(({ text }) => text);
  const found: OtherSoftware[] = staticPods().flatMap(({ file, text }) =>
    softwareOfManifest(text).map((software) => ({
      software,
      where: `the static pod ${file}`,
      hasVip: namedIn(text, texts),
    })),
  );
  const running = commands.flatMap((args) => {
    const software = softwareOfProcess(args);
    return software === undefined ? [] : [{ software, configuration: textOf(configurationOf(args)) ?? "" }];
  });
  for (const software of new Set(running.map((one) => one.software)))
    found.push({
      software,
      where: "it runs on this machine",
      hasVip: running.some((one) => one.software === software && namedIn(one.configuration, texts)),
    });
  const sockets = ["/proc/net/raw", "/proc/net/raw6"].some((path) => hasVrrpSocket(textOf(path) ?? ""));
  if (sockets && !running.some(({ software }) => software === "keepalived"))
    found.push({
      software: "VRRP",
      where: "a program has a socket for VRRP (IP protocol 112) in this machine's network",
      hasVip: namedIn(textOf(KEEPALIVED_CONF) ?? "", texts),
    });
  return {
    others: found,
    othersUnseen: ofMachine ? null : "from this container no other process of the machine can be seen",
  };
}

function staticPods(): readonly { readonly file: string; readonly text: string }[] {
  try {
    return readdirSync(MANIFESTS, { withFileTypes: true }).flatMap((entry) => {
      const file = join(MANIFESTS, entry.name);
      const text = entry.isFile() ? textOf(file) : undefined;
      return text === undefined ? [] : [{ file, text }];
    });
  } catch {
    // Before kubeadm there is no such directory, and a container may not see it.
    return [];
  }
}

/** The kubelet's `--node-ip`: of the running kubelet, or of the files that it would be started with. */
export function kubeletNodeIp({ commands }: Processes): KubeletFacts["nodeIp"] {
  const kubelet = commands.find(([program = ""]) => /(?:^|\/)kubelet$/.test(program));
  if (kubelet !== undefined) {
    const addresses = nodeIpOf(kubelet);
    return { kind: "ok", value: addresses === undefined ? null : { addresses, from: "the running kubelet" } };
  }
  const files = KUBELET_FILES.flatMap((file) => {
    const text = textOf(file);
    return text === undefined ? [] : [{ file, addresses: nodeIpOfEnvironment(text) }];
  });
  if (files.length === 0)
    return failed("the kubelet", "neither its process nor its files can be seen from here");
  const set = files.toReversed().find(({ addresses }) => addresses !== undefined);
  return {
    kind: "ok",
    value: set?.addresses === undefined ? null : { addresses: set.addresses, from: set.file },
  };
}
