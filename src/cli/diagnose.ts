/**
 * `leasehold doctor`: judges what was found on this machine and at the API, before an installation and after
 * it. Pure. Each line says what to do.
 */
import { parseIp } from "../net.ts";
import { diagnoseCluster } from "./diagnose-cluster.ts";
import { line, machineText, noVip } from "./diagnosis.ts";
import type { Diagnosis } from "./diagnosis.ts";
import type { Examined, OtherSoftware } from "./examined.ts";
import { shortDisks } from "./disk-room.ts";
import { table } from "./render-status.ts";

/** The oldest kernel and the oldest nft that load the rules (docs/fast-path.md). */
const OLDEST_KERNEL = [5, 10] as const;
const OLDEST_NFT = [1, 0, 6] as const;

/** What concerns only a machine that may have the VIP. */
const NOT_ON_WORKERS: ReadonlySet<string> = new Set([
  "wire",
  "take-over",
  "sysctl",
  "firewall",
  "kubelet",
  "peers",
  "endpoints",
]);

export function diagnose(examined: Examined): readonly Diagnosis[] {
  const all = wrongVipFirst(everything(examined));
  return examined.isWorker ? all.filter(({ check }) => !NOT_ON_WORKERS.has(check)) : all;
}

/** A wrong LEASEHOLD_VIP is the cause of other lines. */
function wrongVipFirst(all: readonly Diagnosis[]): readonly Diagnosis[] {
  const isWrongVip = ({ check, verdict }: Diagnosis): boolean => check === "vips" && verdict === "FAIL";
  return [...all.filter(isWrongVip), ...all.filter((one) => !isWrongVip(one))];
}

/** The worst lines first: one cause may leave many others unknown. */
const ORDER = ["FAIL", "warn", "unknown", "ok"];

function everything(examined: Examined): readonly Diagnosis[] {
  return [
    agent(examined),
    network(examined),
    address(examined),
    ...wire(examined),
    ...software(examined),
    ...takeOver(examined),
    ...ports(examined),
    ...disks(examined),
    sysctls(examined),
    nft(examined),
    ...firewall(examined),
    ...kubelet(examined),
    ...diagnoseCluster(examined),
  ];
}

function agent({ agent: found }: Examined): Diagnosis {
  switch (found.kind) {
    case "none":
      return line(
        "agent",
        "warn",
        "no agent runs on this machine",
        "After the installation: crictl ps -a --name leasehold",
      );
    case "silent":
      return line(
        "agent",
        "FAIL",
        `an agent runs, and 127.0.0.1:${found.port} does not answer for it: ${found.why}`,
        "See LeaseholdHealthPort in docs/operations.md, or set LEASEHOLD_HEALTH_PORT as the pod has it.",
      );
    case "answers":
      return found.failing.length === 0
        ? line("agent", "ok", "an agent runs on this machine and is ready")
        : line("agent", "FAIL", `the agent is not ready: ${found.failing.join("; ")}`, "leasehold why");
  }
}

/** A worker may lie in another network than the VIP. */
const INTERFACE_CODES: ReadonlySet<string> = new Set([
  "LH_INTERFACE",
  "LH_AMBIGUOUS_INTERFACE",
  "LH_LINK_TYPE",
]);

function network({ network: found, vips, isWorker }: Examined): Diagnosis {
  if (vips.length === 0) return noVip("interface");
  if (isWorker && (!("code" in found) || INTERFACE_CODES.has(found.code)))
    return line("interface", "ok", "a worker binds no VIP, and needs no interface for it");
  if ("code" in found) return line("interface", "FAIL", `${found.code}: ${found.message}`, found.hint);
  if (found.problem !== undefined)
    return line("interface", "warn", `${found.problem.code}: ${found.problem.message}`, found.problem.hint);
  return line("interface", "ok", `${found.interface} has the subnet of ${vips.join(", ")}`);
}

const STANDS_BY = "and the agents stand by for it (LEASEHOLD_TAKE_OVER)";

function address({ foreign, vips, takeOver: expected }: Examined): Diagnosis {
  if (vips.length === 0) return noVip("address");
  if (foreign.kind === "failed")
    return line(
      "address",
      "unknown",
      `${foreign.where}: ${foreign.why}`,
      "Run this as root in the host's network.",
    );
  const texts = foreign.value.map(({ text }) => text).join(", ");
  if (texts === "") return line("address", "ok", "no other program has the VIP bound on this machine");
  if (foreign.value.some(({ ofMachine }) => ofMachine))
    return line(
      "address",
      "FAIL",
      `bound here, as this machine's own address: ${texts}`,
      "See LH_ADDRESS_OWNER and LH_VIP_FOREIGN in docs/operations.md.",
    );
  return expected
    ? line("address", "ok", `other software has bound it here, ${STANDS_BY}: ${texts}`)
    : line(
        "address",
        "FAIL",
        `bound here, and not by an agent: ${texts}`,
        "See LH_VIP_FOREIGN in docs/operations.md.",
      );
}

function wire({ wire: asked, vips, takeOver: expected, candidates }: Examined): readonly Diagnosis[] {
  if (vips.length === 0) return [noVip("wire")];
  return asked.map(({ vip, owner }) => {
    if (owner.kind === "failed")
      return line(
        "wire",
        "unknown",
        `${vip}: ${owner.why}`,
        "Mend what the line `interface` says, or run this as root with NET_RAW.",
      );
    if (owner.value === null) return line("wire", "ok", `no other machine answers for ${vip}`);
    const { mac, node, byAgent } = owner.value;
    const where = machineText(node, mac);
    if (node !== null && byAgent) return line("wire", "ok", `${where} has ${vip}`);
    if (expected) return line("wire", "ok", `other software on ${where} has ${vip}, ${STANDS_BY}`);
    if (node !== null)
      return line(
        "wire",
        "FAIL",
        `another program on ${where} has ${vip}`,
        `Run \`leasehold doctor\` on ${node}, and see LH_VIP_FOREIGN in docs/operations.md.`,
      );
    // Without the Lease the MAC addresses of the nodes are not known, and the machine may well be the holder.
    if (candidates.kind === "failed")
      return line(
        "wire",
        "unknown",
        `the machine ${mac} answers for ${vip}; whether it is a node is not known, because the Lease could not be read`,
        "`leasehold status` says in its column VIP which node has it. If none has, compare the MAC address with `ip -br link` on each node, and see LH_VIP_CONFLICT in docs/operations.md.",
      );
    return line(
      "wire",
      "FAIL",
      `the machine ${mac}, which is no candidate, answers for ${vip}`,
      "See LH_VIP_CONFLICT in docs/operations.md. Find it in the switch's table, and stop it or choose another VIP.",
    );
  });
}

/** MetalLB answers for its pools for ever. It is no owner of a VIP that could be stopped. */
const isTakenOver = ({ software: name }: OtherSoftware): boolean => name !== "metallb";

function software({ others, othersUnseen, takeOver: expected }: Examined): readonly Diagnosis[] {
  const found = others.map((one) => {
    const { software: name, where, hasVip } = one;
    if (expected && isTakenOver(one))
      return line("software", "ok", `${name}: ${where}${hasVip ? ", and it has the VIP" : ""}, ${STANDS_BY}`);
    return line(
      "software",
      hasVip ? "FAIL" : "warn",
      `${name}: ${where}${hasVip ? ", and it has the VIP" : ""}`,
      hasVip
        ? `Stop ${name} on every node before the agents take the VIP, or take the VIP out of its configuration. Or take the VIP over while it lives: docs/guides/take-over.md.`
        : `See that ${name} does not have the VIP too. If it has, stop it on every node first.`,
    );
  });
  if (othersUnseen !== null)
    return [
      ...found,
      line(
        "software",
        "unknown",
        othersUnseen,
        "Only if the line `address` fails, on this host: pgrep -af 'keepalived|kube-vip|speaker'. Where `wire` fails, on the machine with that MAC address.",
      ),
    ];
  return found.length > 0
    ? found
    : [line("software", "ok", "no other software that gives out addresses was found")];
}

/** Whether LEASEHOLD_TAKE_OVER is still of use. */
function takeOver({
  takeOver: expected,
  foreign,
  wire: asked,
  others,
  vips,
}: Examined): readonly Diagnosis[] {
  if (!expected || vips.length === 0) return [];
  const bound = foreign.kind === "ok" && foreign.value.length > 0;
  const answers = asked.some(
    ({ owner }) => owner.kind === "ok" && owner.value !== null && !owner.value.byAgent,
  );
  return bound || answers || others.some((one) => isTakenOver(one))
    ? [
        line(
          "take-over",
          "ok",
          "other software goes first with the VIP, until step 3 of docs/guides/take-over.md stops it",
        ),
      ]
    : [
        line(
          "take-over",
          "warn",
          "LEASEHOLD_TAKE_OVER is set, and no other software was found. Any machine that claims the VIP gets it",
          "When there is no way back, take it out of the manifest on each node: docs/guides/take-over.md, step 5.",
        ),
      ];
}

function ports({ ports: found, agent: running }: Examined): readonly Diagnosis[] {
  if (running.kind === "answers") {
    const failing = running.failing.filter((text) =>
      /^(?:listener|ops-port|health-port|local-port|peers-port) /.test(text),
    );
    return failing.length === 0
      ? [line("ports", "ok", "the agent has all of its ports")]
      : failing.map((text) => line("ports", "FAIL", text, "`ss -ltnp` names the program that has the port."));
  }
  if (running.kind === "silent")
    return [
      line(
        "ports",
        "unknown",
        "the agent runs and cannot be asked for its ports",
        "`ss -ltnp` names the program that has 127.0.0.1's probe port.",
      ),
    ];
  return found.map(({ setting, port, error }) =>
    error === null
      ? line("ports", "ok", `${setting}: port ${port} is free`)
      : line(
          "ports",
          "FAIL",
          `${setting}: port ${port}: ${error}`,
          `\`ss -ltnp\` names the program. Or set ${setting}.`,
        ),
  );
}

function disks({ disks: found }: Examined): readonly Diagnosis[] {
  const short = shortDisks(found);
  if (found.length === 0)
    return [
      line(
        "disk",
        "unknown",
        "the agent's directories are not there yet",
        "After the installation, run this again.",
      ),
    ];
  if (short.length === 0) return [line("disk", "ok", "the agent's directories have room")];
  return short.map(({ path, isFull, text }) =>
    line(
      "disk",
      isFull ? "FAIL" : "warn",
      text,
      `\`df -h ${path}\`, \`df -i ${path}\` and \`du -ax ${path} | sort -n | tail\` show what fills it. "A full disk" in docs/operations.md says what may be deleted.`,
    ),
  );
}

function sysctls({ sysctls: found, vips }: Examined): Diagnosis {
  if (vips.length === 0) return noVip("sysctl");
  if (found.kind === "failed")
    return line("sysctl", "unknown", `${found.where}: ${found.why}`, "Mend the line `interface` first.");
  return found.value.length === 0
    ? line("sysctl", "ok", "the kernel's settings are as the fast path needs them")
    : line(
        "sysctl",
        "FAIL",
        found.value.join("; "),
        "sysctl -w NAME=VALUE, and the same in a file of /etc/sysctl.d. Without it there is no fast path.",
      );
}

/** True when the version is known and older. Suffixes such as -13-amd64 do not count. */
function isOlder(version: string, oldest: readonly number[]): boolean {
  const numbers = /^\d+(?:\.\d+)*/.exec(version)?.[0].split(".").map(Number) ?? [];
  if (numbers.length === 0) return false;
  for (const [at, least] of oldest.entries()) {
    const here = numbers[at] ?? 0;
    if (here !== least) return here < least;
  }
  return false;
}

function nft({ nft: { version, kernel, lacks } }: Examined): Diagnosis {
  const old = [
    ...(isOlder(kernel, OLDEST_KERNEL)
      ? [`Linux is ${kernel}, and ${OLDEST_KERNEL.join(".")} is the oldest that works`]
      : []),
    ...(isOlder(version, OLDEST_NFT)
      ? [`nft is ${version}, and ${OLDEST_NFT.join(".")} is the oldest that works`]
      : []),
  ];
  const problems = [...old, ...lacks];
  return problems.length === 0
    ? line("nft", "ok", `nft ${version} works, and Linux ${kernel} has all that the rules need`)
    : line(
        "nft",
        "FAIL",
        problems.join("; "),
        "See LH_NFT in docs/operations.md, and load the modules that are named: modprobe NAME. Without them there is no fast path.",
      );
}

/** How to open a port with the program that made the rules. */
const OPENERS: Readonly<Record<string, string>> = {
  firewalld: "firewall-cmd --permanent --add-port=PORT/tcp && firewall-cmd --reload",
  ufw: "ufw allow PORT/tcp",
  Calico: "a GlobalNetworkPolicy or a failsafe inbound port (FELIX_FAILSAFEINBOUNDHOSTPORTS)",
};

/**
 * Says how to open a port for TCP.
 * @param by the program that made the rules; null: none is known
 * @param culprit what drops the packets: a rule or the policy of a chain
 */
function opener(by: string | null, culprit: string, port: number): string {
  if (by !== null) return `Open the port (${by}: ${(OPENERS[by] ?? "").replaceAll("PORT", String(port))}).`;
  const [, chain = "", family = "", table = ""] = / chain (\S+) in table (\S+) (\S+)$/.exec(culprit) ?? [];
  if (chain === "") return "Open the port.";
  // iptables-nft may not be able to list its table any more when nft has put a rule into it.
  const isIptables = table === "filter" && chain === "INPUT" && family !== "inet";
  const command = isIptables
    ? `${family === "ip6" ? "ip6tables" : "iptables"} -I INPUT -p tcp --dport ${port} -j ACCEPT`
    : `nft insert rule ${family} ${table} ${chain} tcp dport ${port} accept`;
  return `Open the port, here and in the firewall's own configuration: ${command}`;
}

function firewall({ firewall: { verdicts, by, legacy }, vips }: Examined): readonly Diagnosis[] {
  if (vips.length === 0) return [noVip("firewall")];
  const old = legacy
    ? [
        line(
          "firewall",
          "unknown",
          "iptables-legacy has a filter table in the kernel, whose rules nft cannot show",
          "iptables-legacy -S INPUT, and ip6tables-legacy -S INPUT",
        ),
      ]
    : [];
  if (verdicts.kind === "failed")
    return [
      line(
        "firewall",
        "unknown",
        `${verdicts.where}: ${verdicts.why}`,
        "nft list ruleset, as root in the host's network",
      ),
      ...old,
    ];
  const bad = verdicts.value.flatMap(({ what, port, isNeeded, passing }) => {
    // An echo that is dropped costs time when a node dies, and nothing else.
    const open =
      port === null
        ? "Let ICMP echo requests in from the nodes."
        : opener(by, passing.kind === "dropped" ? passing.by : "", port);
    if (passing.kind === "dropped")
      return [line("firewall", isNeeded ? "FAIL" : "warn", `${what}: dropped by ${passing.by}`, open)];
    // Whether an echo is answered shows the line `peers` of another node.
    if (passing.kind === "unsure" && port !== null)
      return [
        line(
          "firewall",
          "warn",
          `${what}: dropped by ${passing.by}, unless ${passing.unless} accepts it, which cannot be told from here`,
          `${open} Look with: nft -a list ruleset, iptables -S`,
        ),
      ];
    return [];
  });
  return bad.length > 0 || old.length > 0
    ? [...bad, ...old]
    : [line("firewall", "ok", "the rules of this machine let clients and nodes in")];
}

function kubelet({ kubelet: { nodeIp, node }, vips }: Examined): readonly Diagnosis[] {
  if (vips.length === 0) return [noVip("kubelet")];
  const set =
    "Set --node-ip to this node's own address in /var/lib/kubelet/kubeadm-flags.env (KUBELET_KUBEADM_ARGS), ";
  const todo = `${set}and restart the kubelet. With kubeadm: nodeRegistration.kubeletExtraArgs, name node-ip.`;
  const lines: Diagnosis[] = [];
  if (node.kind === "ok") {
    const wrong = node.value.filter((text) => vips.includes(parseIp(text)?.text ?? text));
    if (wrong.length > 0)
      lines.push(
        line("kubelet", "FAIL", `the Node has the VIP ${wrong.join(", ")} as its own address`, todo),
      );
  }
  if (nodeIp.kind === "failed") {
    if (node.kind === "ok")
      return lines.length > 0
        ? lines
        : [line("kubelet", "ok", `the Node's own address is ${node.value.join(", ")}`)];
    return [
      line(
        "kubelet",
        "unknown",
        `${nodeIp.where}: ${nodeIp.why}; ${node.where}: ${node.why}`,
        "On the host: grep -r node-ip /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet",
      ),
    ];
  }
  if (nodeIp.value !== null) {
    const { addresses, from } = nodeIp.value;
    const wrong = addresses.filter((text) => vips.includes(text));
    if (wrong.length > 0)
      lines.push(line("kubelet", "FAIL", `--node-ip is the VIP ${wrong.join(", ")} (${from})`, todo));
    // "::" and "0.0.0.0" choose a family, and leave the address to the kernel.
    const open = addresses.filter((text) => text === "::");
    if (open.length > 0 && vips.some((vip) => vip.includes(":")))
      lines.push(
        line(
          "kubelet",
          "warn",
          `--node-ip=:: (${from}) lets the kubelet take the IPv6 VIP for the node's address`,
          todo,
        ),
      );
    return lines.length > 0
      ? lines
      : [line("kubelet", "ok", `--node-ip is ${addresses.join(", ")} (${from})`)];
  }
  if (lines.length > 0) return lines;
  const six = vips.find((vip) => vip.includes(":"));
  return [
    six === undefined
      ? line("kubelet", "ok", "--node-ip is not set, and an IPv4 VIP does not become the node's address")
      : line(
          "kubelet",
          "warn",
          `--node-ip is not set, and the kubelet may take the VIP ${six} for the node's address, because it stands first on the interface`,
          todo,
        ),
  ];
}

/** One line for each check, the worst first, and below each what to do. */
export function diagnosisText(diagnoses: readonly Diagnosis[]): string {
  const worstFirst = diagnoses.toSorted((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict));
  const rows = worstFirst.flatMap(({ check, verdict, found, todo }) => [
    [check, verdict, found],
    ...(todo === "" ? [] : [["", "", `-> ${todo}`]]),
  ]);
  return table(["CHECK", "VERDICT", "FOUND, AND WHAT TO DO"], rows);
}

/** The exit status of `leasehold doctor`. */
export function diagnosisExit(diagnoses: readonly Diagnosis[]): 0 | 3 {
  return diagnoses.some(({ verdict }) => verdict === "FAIL") ? 3 : 0;
}
