/** Judges what `leasehold doctor` heard from the API and from the other nodes. Pure. */
import { ERRORS } from "../errors.ts";
import { endsSoon, renewalAdvice } from "../kube/credentials.ts";
import { duration } from "../recorder/explain.ts";
import { capitalized, changedHolderText, line, noVip } from "./diagnosis.ts";
import type { Diagnosis } from "./diagnosis.ts";
import type { Examined, KubeconfigFacts, PeerFacts } from "./examined.ts";

/** Milliseconds that two clocks may differ. A date of HTTP and the way of a renewal are a second each. */
const SKEW_MS = 3_000;
/** Beyond this, certificates that were just issued are not valid yet. */
const BAD_SKEW_MS = 60_000;

const AGENT_LOG = "crictl logs $(crictl ps -a --name leasehold -q | head -n 1)";

export function diagnoseCluster(examined: Examined): readonly Diagnosis[] {
  return [
    ...kubeconfigs(examined),
    rights(examined),
    ...ownServer(examined),
    ...certificates(examined),
    endpoints(examined),
    ...clocks(examined),
    ...peers(examined),
    versions(examined),
    sameVips(examined),
    ...lease(examined),
  ];
}

function kubeconfigs({ own, admin, at, agent }: Examined): readonly Diagnosis[] {
  const step = "On this node, type the commands of LH_KUBECONFIG in docs/operations.md.";
  const renew = ({ path, isMissing }: KubeconfigFacts): string => {
    if (path !== admin?.path) return step;
    const how = isMissing ? "Mend the other one first" : renewalAdvice({ kubeconfig: "admin", path });
    return `It is only the fallback. ${capitalized(how)}.`;
  };
  if (agent.kind === "none" && own.isMissing && admin?.isMissing !== false)
    return [
      line(
        "kubeconfig",
        "warn",
        admin === null ? `there is no ${own.path}` : `there is neither ${own.path} nor ${admin.path}`,
        "Before `kubeadm init` or `join` this is as it must be. Afterwards, do step 5 of the README's quick start.",
      ),
    ];
  const one = (facts: KubeconfigFacts, usable: boolean): Diagnosis => {
    const { path, problem, startsAt, expiresAt } = facts;
    if (problem !== null)
      return line("kubeconfig", usable ? "warn" : "FAIL", `${path}: ${problem}`, renew(facts));
    if (expiresAt === null) return line("kubeconfig", "ok", `${path} has a token`);
    const leftMs = expiresAt.getTime() - at.getTime();
    if (leftMs <= 0)
      return line(
        "kubeconfig",
        usable ? "warn" : "FAIL",
        `${path} expired on ${expiresAt.toISOString()}`,
        renew(facts),
      );
    const ends = `${path} is valid until ${expiresAt.toISOString()}, ${duration(leftMs)} more`;
    return endsSoon(startsAt, expiresAt, at.getTime())
      ? line("kubeconfig", "warn", ends, renew(facts))
      : line("kubeconfig", "ok", ends);
  };
  const isGood = ({ problem, expiresAt }: KubeconfigFacts): boolean =>
    problem === null && (expiresAt === null || expiresAt > at);
  // admin.conf is the fallback. Where the own one is good, it need not be there.
  if (admin === null) return [one(own, false)];
  return isGood(own) ? [one(own, true)] : [one(own, isGood(admin)), one(admin, false)];
}

function rights({ rights: asked, isWorker }: Examined): Diagnosis {
  const apply = `leasehold manifest ${isWorker ? "worker-rbac" : "rbac"} | kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f -`;
  if (asked.kind === "failed")
    return line(
      "rights",
      "unknown",
      `${asked.where}: ${asked.why}`,
      "Mend the kubeconfig or the API first, and run this again.",
    );
  if (asked.value.length === 0) return line("rights", "ok", "the agent's user may do all that it needs");
  const needed = asked.value.some((one) => one.needed);
  const list = asked.value.map(({ right }) => right).join(", ");
  return line("rights", needed ? "FAIL" : "warn", `the agent's user may not: ${list}`, apply);
}

/**
 * Only where it fails, and only where an agent has been set up: before that there need be no API server. It may listen
 * on the node's address alone (kube-apiserver's --bind-address), so one address that answers is enough.
 */
function ownServer({ servers, ownServers, agent, isWorker }: Examined): readonly Diagnosis[] {
  if (agent.kind === "none" || isWorker) return [];
  const whereOf = (one: Examined["servers"][number]): string =>
    one.kind === "failed" ? one.where : one.value.server;
  const own = servers.filter((one) => ownServers.includes(whereOf(one)));
  const failed = own.flatMap((one) => (one.kind === "failed" ? [one] : []));
  if (failed.length === 0 || failed.length < own.length) return [];
  const said = failed.map(({ where, why }) => `${where}: ${why}`).join("; ");
  const [what, todo] = failed.some(({ why }) => why === "no answer")
    ? [
        "does not answer, so it hangs if its container runs",
        ". If it is Running: crictl stop $(crictl ps --name kube-apiserver -q)",
      ]
    : ["has no open port", ", and its log: it has ended, or has not been started"];
  return [
    line(
      "api-server",
      "FAIL",
      `the API server of this node ${what} (${said})`,
      `crictl ps -a --name kube-apiserver${todo}`,
    ),
  ];
}

function certificates(examined: Examined): readonly Diagnosis[] {
  const { servers, vips, at } = examined;
  if (servers.length === 0)
    return [
      line(
        "certificate",
        "unknown",
        "no API server is known",
        "After `kubeadm init`, run this again. Or set LEASEHOLD_API_SERVERS.",
      ),
    ];
  return servers.map((one) => {
    if (one.kind === "failed")
      return line(
        "certificate",
        "unknown",
        `${one.where}: ${one.why}`,
        "crictl ps -a --name kube-apiserver, on the node of that address",
      );
    const { server, missing, startsAt, expiresAt } = one.value;
    // With a wrong LEASEHOLD_VIP no certificate has that address, and to put it into one would make things worse.
    const isOfWrongVip = sameVips(examined).verdict === "FAIL" && missing.some((name) => vips.includes(name));
    const renew = isOfWrongVip
      ? "Mend the line `vips` first. This line is about the same address."
      : "Put the names into apiServer.certSANs, and renew it: kubeadm init phase certs apiserver.";
    if (missing.length > 0)
      return line(
        "certificate",
        "FAIL",
        `${server} has a certificate that is not valid for ${missing.join(", ")}`,
        renew,
      );
    if (startsAt > at)
      return line(
        "certificate",
        "FAIL",
        `${server} has a certificate that is valid from ${startsAt.toISOString()}, which is later than now here`,
        "One of the two machines has a wrong clock: see the lines `clock`.",
      );
    if (endsSoon(startsAt, expiresAt, at.getTime()))
      return line(
        "certificate",
        expiresAt <= at ? "FAIL" : "warn",
        `${server} has a certificate that ends on ${expiresAt.toISOString()}`,
        "kubeadm certs renew apiserver",
      );
    return vips.length === 0
      ? line(
          "certificate",
          "unknown",
          `${server} has a certificate for kubernetes; whether for the VIP is not known, because LEASEHOLD_VIP is not set`,
          "Set it, as the pod has it.",
        )
      : line("certificate", "ok", `${server} has a certificate for the VIP and for kubernetes`);
  });
}

function endpoints({ unnamed }: Examined): Diagnosis {
  if (unnamed.kind === "failed")
    return line(
      "endpoints",
      "unknown",
      `${unnamed.where}: ${unnamed.why}`,
      "Mend that first, and run this again.",
    );
  if (unnamed.value === null)
    return line("endpoints", "ok", "the cluster names the API servers by their nodes' addresses");
  const { code, message, hint } = unnamed.value;
  return line("endpoints", "warn", `${code}: ${message}`, hint);
}

const ahead = (skewMs: number): string =>
  `${duration(Math.abs(skewMs))} ${skewMs > 0 ? "ahead of" : "behind"} this machine's`;

function clocks({ servers, holderClock }: Examined): readonly Diagnosis[] {
  const heard = [
    ...servers.flatMap((one) =>
      one.kind === "ok" && one.value.skewMs !== null
        ? [{ whose: `the clock of API server ${one.value.server}`, skewMs: one.value.skewMs }]
        : [],
    ),
    ...(holderClock === null
      ? []
      : [{ whose: `the clock of ${holderClock.node}, by its last renewal,`, skewMs: holderClock.skewMs }]),
  ];
  if (heard.length === 0)
    return [
      line("clock", "unknown", "no API server and no renewal told a time", "timedatectl, on each node"),
    ];
  const off = heard.filter(({ skewMs }) => Math.abs(skewMs) > SKEW_MS);
  if (off.length === 0)
    return [line("clock", "ok", "this machine's clock agrees with those that could be heard")];
  return off.map(({ whose, skewMs }) =>
    line(
      "clock",
      Math.abs(skewMs) > BAD_SKEW_MS ? "FAIL" : "warn",
      `${whose} is ${ahead(skewMs)}`,
      "`timedatectl` and `chronyc tracking` on both: mend NTP. The election is safe, and certificates and logs are not.",
    ),
  );
}

function peers({ peers: asked, node }: Examined): readonly Diagnosis[] {
  if (asked.kind === "failed")
    return [
      line(
        "peers",
        "unknown",
        `${asked.where}: ${asked.why}`,
        "Mend what the lines above say, and run this again.",
      ),
    ];
  if (asked.value.length === 0)
    return [
      line(
        "peers",
        "unknown",
        `the Lease has no other node than ${node}`,
        "After the installation of the others, run this again.",
      ),
    ];
  return asked.value.flatMap((peer) => peerLines(peer));
}

function peerLines({ node, ip, mac, heard, echo, ports }: PeerFacts): readonly Diagnosis[] {
  const who = `${node} (${ip})`;
  const open = ports.some(({ answer }) => answer === "open" || answer === "refused");
  if (heard === null)
    return [
      line(
        "peers",
        "FAIL",
        `${who} does not answer ${ip.includes(":") ? "neighbour solicitations" : "ARP"} on the VIP's interface${open ? ", and answers TCP: a router is between the two" : ""}`,
        open
          ? "The VIP needs one layer-2 network with all nodes in it: LEASEHOLD_INTERFACE, VLAN, LEASEHOLD_NODE_IP."
          : 'Is the machine up? Look at its cable, switch port and VLAN. If it is gone for good, see "A dead node" in docs/operations.md.',
      ),
    ];
  const lines: Diagnosis[] = [];
  if (mac !== "" && heard !== mac)
    lines.push(
      line(
        "peers",
        "FAIL",
        `${who} has the MAC address ${mac} by the Lease, and ${heard} answers for it`,
        "Two machines have that address, or a device answers ARP for others. Find it in the switch's table.",
      ),
    );
  for (const { port, answer } of ports) {
    if (answer === "silent" || answer === "rejected")
      lines.push(
        line(
          "peers",
          "FAIL",
          `${who}: a firewall ${answer === "silent" ? "drops" : "rejects"} TCP from this node to port ${port}`,
          `Run \`leasehold doctor\` there: its line \`firewall\` names the rule. Open the port for the nodes and the clients.`,
        ),
      );
    if (answer === "refused")
      lines.push(
        line(
          "peers",
          "warn",
          `${who}: nothing listens on port ${port}`,
          "crictl ps -a --name 'leasehold|kube-apiserver', there",
        ),
      );
  }
  if (!echo)
    lines.push(
      line(
        "peers",
        "warn",
        `${who} does not answer ICMP echo requests`,
        "Let ICMP echo in from the nodes. Until then a dead node is found later.",
      ),
    );
  return lines.length > 0 ? lines : [line("peers", "ok", `${who} answers on the wire and on its ports`)];
}

function versions({ candidates, version, node }: Examined): Diagnosis {
  if (candidates.kind === "failed")
    return line("versions", "unknown", `${candidates.where}: ${candidates.why}`, "Mend the API first.");
  const all = candidates.value;
  if (all.length === 0)
    return line("versions", "unknown", "the Lease names no node", "After the installation, run this again.");
  const own = all.find((one) => one.node === node);
  const fast = new Set(all.flatMap(({ fastPath }) => fastPath ?? []));
  const list = all.map((one) => `${one.node} ${one.version}`).join(", ");
  if (fast.size > 1)
    return line(
      "versions",
      "warn",
      `agents with different fast paths forward nothing to each other: ${list}`,
      "Finish the upgrade: docs/guides/upgrade.md.",
    );
  if (new Set(all.map((one) => one.version)).size > 1 || (own !== undefined && own.version !== version))
    return line(
      "versions",
      "warn",
      `this command is ${version}, and the agents are: ${list}`,
      "Finish the upgrade: docs/guides/upgrade.md.",
    );
  return line("versions", "ok", `every agent is ${all[0]?.version ?? version}`);
}

function sameVips({ candidates, vips, node }: Examined): Diagnosis {
  if (vips.length === 0) return noVip("vips");
  if (candidates.kind === "failed")
    return line("vips", "unknown", `${candidates.where}: ${candidates.why}`, "Mend the API first.");
  const own = vips.toSorted().join(", ");
  const said = candidates.value.filter((one) => one.vips !== null);
  if (said.length === 0)
    return line(
      "vips",
      "unknown",
      "no node has said which VIPs it has",
      "After the installation, run this again.",
    );
  const others = said.filter((one) => one.vips?.toSorted().join(", ") !== own);
  if (others.length === 0) return line("vips", "ok", `every node has ${own}`);
  const list = others.map((one) => `${one.node} has ${one.vips?.join(", ") ?? ""}`).join("; ");
  const whose = said.some((one) => one.node === node && !others.includes(one))
    ? `LEASEHOLD_VIP of this node is ${own}`
    : `this command was given ${own}`;
  return line(
    "vips",
    "FAIL",
    `${whose}, and ${list}`,
    others.some((one) => one.node === node)
      ? `See LH_VIP_MISMATCH in docs/operations.md. This node's own agent differs as well: ${AGENT_LOG}`
      : "See LH_VIP_MISMATCH in docs/operations.md: give every node the same LEASEHOLD_VIP, in its manifest.",
  );
}

function lease({ changed }: Examined): readonly Diagnosis[] {
  if (changed === null) return [];
  return [line("lease", "FAIL", changedHolderText(changed), ERRORS.LH_LEASE_CHANGED)];
}
