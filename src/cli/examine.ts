/** Looks at this machine and asks the API, for `leasehold doctor`. It changes nothing and judges nothing. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { listBackends, unnamedError } from "../backends/sources.ts";
import { VIP_FAULT } from "../election/types.ts";
import type { LeaseholdError } from "../errors.ts";
import { readApiServers } from "../kube/endpoints.ts";
import { candidatesIn, changedHolder } from "../kube/record-codec.ts";
import { linkTypeProblem, ownAddress, subnetsOf } from "../linux/links.ts";
import type { LinkEntry } from "../linux/rtnetlink.ts";
import type { Candidate } from "../kube/record.ts";
import { readLease } from "../kube/withdraw.ts";
import type { LeaseRead } from "../kube/withdraw.ts";
import { hostPort } from "../net.ts";
import { VERSION } from "../version.ts";
import type { Asking } from "./ask.ts";
import { disks } from "./agent-disks.ts";
import { connect } from "./connection.ts";
import { askNode, askRights, askServer, askSoftware, kubeconfig } from "./examine-api.ts";
import {
  NO_INTERFACE,
  agentOf,
  failed,
  firewallOf,
  foreignOn,
  kubeletNodeIp,
  machineNetwork,
  machineProcesses,
  otherSoftware,
  placeOf,
  sysctls,
  tryNft,
  tryPorts,
} from "./examine-machine.ts";
import type { Place } from "./examine-machine.ts";
import { askPeers, askWire } from "./examine-peers.ts";
import type { Complaint, Examined, KubeconfigFacts } from "./examined.ts";

/** Never rejects. Takes some 10 s at most. */
export async function examine(config: Config, clock: Clock): Promise<Examined> {
  const { vips } = config;
  const worker = isWorker(config);
  const network = machineNetwork();
  const place = vips.length === 0 ? NO_VIP : placeOf(config, network);
  const onWire: Asking<Place> =
    "code" in place
      ? failed("the wire", network.kind === "failed" ? network.why : NO_INTERFACE)
      : { kind: "ok", value: place };
  const [agent, nft, own, admin] = await Promise.all([
    agentOf(config),
    tryNft(place),
    kubeconfig(config.kubeconfig),
    config.adminKubeconfig === null ? null : kubeconfig(config.adminKubeconfig),
  ]);
  await using connection = connect(config, clock);
  await connection.ready;
  const lease = await readLease(connection.lease);
  const candidates = candidatesOf(lease);
  const known = candidates.kind === "ok" ? candidates.value : [];
  const [wire, peers, rights, servers, asAdmin, named] = await Promise.all([
    Promise.all(
      vips.map(async (vip) => ({
        vip: vip.text,
        owner: ownerNamed(await askWire(config, vip, clock, onWire), known, (one) =>
          hasVipByAgent(config, lease, one, clock.wall()),
        ),
      })),
    ),
    worker ? NOT_ASKED : candidates.kind === "failed" ? candidates : askPeers(config, known, clock, onWire),
    rightsOf(config, own, clock),
    Promise.all(connection.servers().map((server) => askServer(server, config, clock))),
    askAsAdmin(config, admin, clock),
    readApiServers(connection.api),
  ]);
  const processes = machineProcesses();
  const software = otherSoftware(config, processes);
  return {
    at: clock.wall(),
    node: config.nodeName,
    version: VERSION,
    vips: vips.map(({ text }) => text),
    isWorker: worker,
    takeOver: config.takeOver,
    agent,
    network: "code" in place ? place : interfaceFacts(place.link),
    foreign: foreignOn(config, network),
    wire,
    ports: agent.kind === "none" ? await tryPorts(config) : [],
    disks: disks(config),
    sysctls: worker ? NOT_ASKED : sysctls(config, place),
    nft,
    firewall: worker
      ? { verdicts: NOT_ASKED, by: null, legacy: false }
      : await firewallOf(config, place, peers.kind === "ok" ? peers.value : []),
    kubelet: { nodeIp: worker ? NOT_ASKED : kubeletNodeIp(processes), node: asAdmin.node },
    others: [...software.others, ...asAdmin.software],
    othersUnseen: software.othersUnseen,
    own,
    admin,
    rights,
    servers,
    ownServers: ["127.0.0.1", ...("code" in place ? [] : ownTexts(place, vips))].map((host) =>
      hostPort(host, config.backendPort),
    ),
    unnamed: unnamedOf(config, place, { peers, known, named }),
    // The probes of the wire have taken a second, in which the holder has renewed.
    holderClock: holderClock(lease, await readLease(connection.lease), clock.wall()),
    candidates:
      candidates.kind === "failed"
        ? candidates
        : {
            kind: "ok",
            value: known.map(({ node, version, fastPath, vips: theirs }) => ({
              node,
              version,
              fastPath: fastPath?.version ?? null,
              vips: theirs,
            })),
          },
    peers,
    changed: lease.kind === "lease" ? changedHolder(lease.record) : null,
  };
}

/** Without a VIP a command has the role of a worker, whatever machine this is: see commandConfig. */
const isWorker = ({ role, vips }: Config): boolean => role === "balancer" && vips.length > 0;

/** What concerns only a machine that may have the VIP: diagnose leaves it out on a worker. */
const NOT_ASKED = failed("a worker", "it binds no VIP");

const NO_VIP = {
  code: "LH_CONFIG",
  message: "LEASEHOLD_VIP is not set",
  hint: "Set it, as the pod has it.",
} as const;

function interfaceFacts(link: LinkEntry): Examined["network"] {
  const problem = linkTypeProblem(link);
  return { interface: link.name, ...(problem === undefined ? {} : { problem: complaint(problem) }) };
}

const complaint = ({ code, message, hint }: LeaseholdError): Complaint => ({ code, message, hint });

/** As the agent finds it. A node has an API server where its port is open. */
function unnamedOf(
  { vips, backends, backendPort: port, nodeName }: Config,
  place: Place | Complaint,
  {
    peers,
    known,
    named,
  }: {
    readonly peers: Examined["peers"];
    readonly known: readonly Candidate[];
    readonly named: Awaited<ReturnType<typeof readApiServers>>;
  },
): Examined["unnamed"] {
  if (named.kind === "failed") return failed("the API servers' list", named.message);
  if ("code" in place) return failed("the API servers' list", place.message);
  if (peers.kind === "failed") return peers;
  const open = peers.value.filter(({ ports }) =>
    ports.some((one) => one.port === port && one.answer === "open"),
  );
  const nodeIp = ownAddress(place.network, place.link, vips, vips[0]?.family ?? 4);
  const { unnamed } = listBackends({
    configured: backends,
    discovered: named.servers,
    answered: named.servers,
    remembered: [],
    own: nodeIp && { ip: nodeIp.text, all: ownTexts(place, vips) },
    candidates: known
      .filter(({ node }) => node !== nodeName)
      .map(({ ip, fastPath }) => ({ ip, all: fastPath?.addresses ?? [] })),
    subnets: subnetsOf(place.network, place.link, vips),
    vips,
    port,
    isProven: (host) => open.some(({ ip }) => ip === host),
  });
  const found =
    unnamed.length === 0
      ? null
      : unnamedError({ named: named.servers.map(({ host }) => host), servers: unnamed });
  return { kind: "ok", value: found && complaint(found) };
}

function ownTexts({ network, link }: Place, vips: Config["vips"]): readonly string[] {
  return ([4, 6] as const).flatMap((family) => ownAddress(network, link, vips, family)?.text ?? []);
}

function candidatesOf(lease: LeaseRead): Asking<readonly Candidate[]> {
  if (lease.kind === "failed") return failed("the Lease", lease.message);
  // Before the installation there is no Lease, and nobody is in it.
  if (lease.kind === "unknown") return { kind: "ok", value: [] };
  return { kind: "ok", value: candidatesIn(lease.record) };
}

function ownerNamed(
  owner: Asking<string | null>,
  candidates: readonly Candidate[],
  byAgent: (candidate: Candidate) => boolean,
): Examined["wire"][number]["owner"] {
  if (owner.kind === "failed" || owner.value === null)
    return owner.kind === "failed" ? owner : { kind: "ok", value: null };
  const mac = owner.value;
  const candidate = candidates.find((one) => one.mac === mac);
  return {
    kind: "ok",
    value: { mac, node: candidate?.node ?? null, byAgent: candidate !== undefined && byAgent(candidate) },
  };
}

/** Milliseconds by which a Lease must have expired by this machine's clock, because the clocks may differ. */
const CLOCKS_MS = 5_000;

/**
 * Says whether it is its agent by which that candidate's machine has the VIP. The candidate may say that it is not.
 * During a take-over an agent that was killed says nothing, and the Lease does not name its node, or has expired.
 */
function hasVipByAgent({ takeOver }: Config, lease: LeaseRead, candidate: Candidate, at: Date): boolean {
  if (candidate.faults.includes(VIP_FAULT)) return false;
  if (!takeOver || lease.kind !== "lease") return true;
  const { holder, renewTime, leaseDurationMs } = lease.record;
  const renewedMs = Date.parse(renewTime ?? "");
  const expired = at.getTime() > renewedMs + leaseDurationMs + CLOCKS_MS;
  return holder === candidate.node && !expired;
}

/** Asks with the agent's own kubeconfig and no other: admin.conf may do everything. */
async function rightsOf(config: Config, own: KubeconfigFacts, clock: Clock): Promise<Examined["rights"]> {
  if (own.problem !== null) return failed(own.path, own.problem);
  await using connection = connect({ ...config, adminKubeconfig: null }, clock);
  await connection.ready;
  // The connection is closed when this function is left.
  return await askRights(config, connection.api);
}

/** What only admin.conf may read. */
async function askAsAdmin(
  config: Config,
  admin: KubeconfigFacts | null,
  clock: Clock,
): Promise<{
  readonly node: Examined["kubelet"]["node"];
  readonly software: Examined["others"];
}> {
  if (admin === null) return { node: failed("the Node", "LEASEHOLD_ADMIN_KUBECONFIG is none"), software: [] };
  if (admin.problem !== null) return { node: failed(admin.path, admin.problem), software: [] };
  await using connection = connect({ ...config, kubeconfig: admin.path, adminKubeconfig: null }, clock);
  await connection.ready;
  const [node, software] = await Promise.all([
    isWorker(config) ? NOT_ASKED : askNode(connection.api, config.nodeName),
    askSoftware(connection.api, config),
  ]);
  return { node, software };
}

/**
 * The holder wrote its time into the Lease between the two reads, so it was in between these moments by this
 * machine's clock. A holder that did not renew in between says nothing of its clock.
 */
function holderClock(before: LeaseRead, after: LeaseRead, now: Date): Examined["holderClock"] {
  if (before.kind !== "lease" || after.kind !== "lease" || after.record.holder === "") return null;
  const { holder, renewTime } = after.record;
  if (renewTime === null || renewTime === before.record.renewTime) return null;
  // A Lease's time has microseconds, which Date.parse cuts off.
  const skewMs = Date.parse(renewTime) - now.getTime();
  return Number.isNaN(skewMs) ? null : { node: holder, skewMs };
}
