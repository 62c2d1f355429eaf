/** For each staged incident: what names its cause, and how the runbook mends it. */
import { blocksOf } from "../guide/guide.ts";
import type { IncidentCluster, Node } from "./cluster.ts";
import type { Staged } from "./incident.ts";
import type { Machine } from "./machine.ts";

export interface Play {
  /** What is typed on the node that the report is about, or on another one, and the words that must come. */
  readonly tells: readonly {
    readonly on: "node" | "other";
    readonly type: string;
    readonly says: RegExp;
  }[];
  /** What the runbook says. */
  readonly mend: (cluster: IncidentCluster, staged: Staged) => Promise<void>;
}

const LOG = "crictl logs $(crictl ps -a --name leasehold -q | head -n 1)";

/** The block of docs/operations.md below that heading that has these words. */
function runbook(heading: string, has: string): string {
  const block = blocksOf("docs/operations.md").find(
    (one) => one.heading === heading && one.text.includes(has),
  );
  if (block === undefined) throw new Error(`docs/operations.md has no ${has} below ${heading}`);
  return block.text;
}

function other({ nodes }: IncidentCluster, { node }: Staged): Node {
  const found = nodes.find((one) => one !== node && one.pid !== undefined);
  if (found === undefined) throw new Error("there is no other node");
  return found;
}

const RENEW = (): string => runbook("LH_KUBECONFIG", "kubeadm kubeconfig user");
const onEach = async (machines: readonly Machine[], commands: string): Promise<void> => {
  await Promise.all(machines.map((machine) => machine.type(commands)));
};

export const PLAYS: Readonly<Record<string, Play>> = {
  "dead-holder": {
    tells: [
      {
        on: "other",
        type: "leasehold doctor",
        says: /^peers +FAIL +n\d \(\S+\) does not answer ARP.*\n.*If it is gone for good, see "A dead node"/m,
      },
      {
        on: "other",
        type: "leasehold status",
        says: /was MASTER +\S+ +\? +- +its agent (is silent|does not answer)/,
      },
    ],
    async mend(cluster, staged) {
      const node = other(cluster, staged);
      const { name } = staged.node;
      // The health of all members is an error while one is dead.
      const commands = runbook("A dead node", "member remove")
        .replaceAll("NODE", name)
        .replace(/^\$etcdctl endpoint health.*$/m, "");
      const list = await node.type(commands.replace(/^\$etcdctl member remove[^]*/m, ""));
      const id =
        list
          .split("\n")
          .find((line) => line.includes(`, ${name},`))
          ?.split(",")[0] ?? "";
      await node.type(
        commands.replace("member remove ID", `member remove ${id}`).replace(/^leasehold forget[^]*/m, ""),
      );
      // Its API server leaves the endpoints 15 s after its last sign of life.
      await cluster.lab.until(
        async () => (await node.try(`leasehold forget ${name}`)).code === 0,
        60_000,
        "the node is forgotten",
      );
    },
  },
  "expired-credentials": {
    tells: [
      { on: "node", type: "leasehold doctor", says: /^kubeconfig +FAIL +\S+\/kubeconfig expired on/m },
      {
        on: "node",
        type: "leasehold status",
        says: /Credentials of n\d.*: \S+\/kubeconfig: the client certificate ended at/,
      },
      { on: "node", type: LOG, says: /The client certificate has ended/ },
    ],
    async mend({ nodes }) {
      for (const node of nodes) await node.type(RENEW().replace("NODE", node.host.ipv4));
    },
  },
  "rbac-missing": {
    tells: [
      {
        on: "node",
        type: "leasehold doctor",
        says: /^rights +FAIL +the agent's user may not: .*\n.*manifest rbac/m,
      },
      {
        on: "node",
        type: "leasehold why",
        says: /403 on the Lease for user leasehold: apply manifests\/rbac\.yaml/,
      },
      { on: "node", type: LOG, says: /The API refuses the agent's request on the Lease/ },
    ],
    async mend(_, { node }) {
      const admin = `kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://${node.host.ipv4}:6443`;
      await node.type(`leasehold manifest rbac | ${admin} apply -f -`);
    },
  },
  "foreign-machine": {
    tells: [
      {
        on: "node",
        type: "leasehold status",
        says: /The machine 02:00:00:00:02:\w\w, which is no candidate, claimed the VIP/,
      },
      {
        on: "other",
        type: "leasehold doctor",
        says: /^wire +FAIL +the machine 02:00:00:00:02:\w\w, which is no candidate, answers/m,
      },
      { on: "node", type: LOG, says: /LH_VIP_CONFLICT/ },
    ],
    async mend({ neighbour }) {
      await neighbour.type("pkill keepalived");
    },
  },
  "closed-firewall": {
    tells: [
      {
        on: "node",
        type: "leasehold doctor",
        says: /^firewall +FAIL +TCP from clients to \S+:6443: dropped by/m,
      },
      {
        on: "other",
        type: "leasehold doctor",
        says: /^peers +FAIL +n\d \(\S+\): a firewall drops TCP from this node to port 6443/m,
      },
      { on: "other", type: "leasehold status", says: /:6443 +n\d +DOWN +\S+ s +timeout: tcp/ },
    ],
    async mend(_, { node }) {
      // The commands that doctor prints. Its exit status is 3 here.
      await node.type("{ leasehold doctor || true; } | sed -n 's/^ *-> Open the port.*: //p' | sh -e");
    },
  },
  "wrong-vip": {
    tells: [
      {
        on: "node",
        type: "leasehold doctor",
        says: /^vips +FAIL +LEASEHOLD_VIP of this node is \S+110, and .*\n.*LH_VIP_MISMATCH/m,
      },
      { on: "node", type: "leasehold why", says: /FAULT vip-mismatch: n\d has \S+110, and n\d has \S+100/ },
      { on: "node", type: LOG, says: /LH_VIP_MISMATCH/ },
    ],
    async mend({ vip }, { node }) {
      await node.type(`cd /etc/kubernetes
sed 's/${vip.replace(/\d+$/, "110")}/${vip}/' manifests/leasehold.yaml > leasehold.yaml && chmod 0600 leasehold.yaml
mv leasehold.yaml manifests/`);
    },
  },
  "full-disk": {
    tells: [
      {
        on: "node",
        type: "leasehold doctor",
        says: /^disk +FAIL +the disk of \/var\/lib\/leasehold .* has 0 KiB left/m,
      },
      { on: "node", type: LOG, says: /ENOSPC.*The agent could not write the flight recorder/ },
    ],
    async mend(_, { node }) {
      await node.type("rm /var/lib/leasehold/trace.pcap; kill -USR1 $(pgrep -f 'leasehold[.]js run')");
    },
  },
  "hung-api-server": {
    tells: [
      { on: "other", type: "leasehold status", says: /:6443 +n\d +DOWN +\S+ s +timeout: tls/ },
      {
        on: "node",
        type: "leasehold doctor",
        says: /^api-server +FAIL +.* does not answer, so it hangs .*\n.*crictl stop/m,
      },
    ],
    async mend(_, { node }) {
      await node.type("crictl stop $(crictl ps --name kube-apiserver -q)");
    },
  },
  "no-quorum": {
    tells: [
      { on: "node", type: "leasehold status", says: /provisional: this node cannot renew the Lease/ },
      { on: "node", type: "leasehold status", says: /DRAIN +\S+ s +(500|timeout)/ },
    ],
    async mend(cluster, { node }) {
      await onEach(cluster.others(node), "mv /etc/kubernetes/etcd.yaml /etc/kubernetes/manifests/");
    },
  },
  "port-taken": {
    tells: [
      {
        on: "node",
        type: "leasehold doctor",
        says: /^ports +FAIL +listener failed: port 8443 cannot be opened/m,
      },
      { on: "node", type: "leasehold why", says: /FAULT balancer: .*port 8443/ },
      { on: "node", type: LOG, says: /LH_LISTEN/ },
      { on: "node", type: "ss -ltnp", says: /:8443 .*backupd/ },
    ],
    async mend(_, { node }) {
      await node.type("kill $(ss -Hltnp 'sport = :8443' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p')");
    },
  },
};
