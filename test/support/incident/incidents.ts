/** The ten staged incidents: what breaks, what is reported, and when it is solved. */
import type { IncidentCluster, Node } from "./cluster.ts";
import type { Incident } from "./incident.ts";

const SEEN_MS = 60_000;
/** So many new connections to the VIP in a row have to be answered. */
const CONNECTIONS = 6;

/** The holder and a node that is not the holder. */
async function roles(cluster: IncidentCluster): Promise<{ readonly holder: Node; readonly backup: Node }> {
  const holder = await cluster.lab.until(() => cluster.holder(), SEEN_MS, "a node holds the VIP");
  const backup = cluster.others(holder).at(-1);
  if (backup === undefined) throw new Error("the cluster has one node");
  return { holder, backup };
}

/** All is well, by the kernels, the agents and what clients get. */
async function allWell(cluster: IncidentCluster, nodes = cluster.nodes): Promise<boolean> {
  return (await cluster.isWell(nodes)) && (await cluster.answered(CONNECTIONS)) === CONNECTIONS;
}

const alert = (name: string, about: string): string => `ALERT ${name}: ${about}`;

/** Waits until that node's agent is in that state. */
function inState(cluster: IncidentCluster, node: Node, state: string): Promise<unknown> {
  return cluster.lab.until(
    async () => (await node.status()).election?.state === state,
    SEEN_MS,
    `${node.name} is ${state}`,
  );
}

/** Waits until each node of `nodes` sees the API server of `of` DOWN. */
function seenDown(cluster: IncidentCluster, nodes: readonly Node[], of: Node): Promise<unknown> {
  return cluster.lab.until(
    async () => {
      for (const node of nodes) {
        const { balancer } = await node.status();
        if (balancer.backends.find(({ id }) => id.startsWith(`${of.host.ipv4}:`))?.grade !== "DOWN")
          return false;
      }
      return true;
    },
    SEEN_MS,
    `the API server of ${of.name} is seen DOWN`,
  );
}

export const INCIDENTS: readonly Incident[] = [
  {
    name: "dead-holder",
    async stage(cluster) {
      const { holder } = await roles(cluster);
      const rest = cluster.others(holder);
      const [first] = rest;
      if (first === undefined) throw new Error("the cluster has one node");
      await holder.powerLoss();
      await cluster.lab.until(
        async () => rest.includes((await cluster.holder()) ?? holder),
        SEEN_MS,
        "it moved",
      );
      const status = { conditions: [{ type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" }] };
      await first.kubectl(
        `patch node ${holder.name} --subresource status -p '${JSON.stringify({ status })}'`,
      );
      return {
        node: holder,
        symptom: [
          alert("LeaseholdAgentDown", `the agent of ${holder.name} cannot be reached`),
          alert("LeaseholdBackendDown", `the API server of ${holder.name} is unhealthy`),
          `The data centre: the machine ${holder.name} has burnt out and is scrapped. Another one comes next week,`,
          "with another name.",
        ],
        goal: `nothing in the cluster counts on ${holder.name} any more, and clients notice nothing of it.`,
        async solved() {
          const members: { readonly members: readonly { readonly name: string }[] } = JSON.parse(
            await first.type(
              `crictl exec $(crictl ps -q --name '^etcd$') etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt \
                --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key -w json member list`,
            ),
          );
          if (members.members.some(({ name }) => name === holder.name)) return false;
          if ((await first.kubectl("get nodes -o name")).includes(`node/${holder.name}\n`)) return false;
          const lease = await first.kubectl("get lease -n kube-system leasehold -o json");
          if (lease.includes(`leasehold.dev/candidate.${holder.name}"`)) return false;
          return allWell(cluster, rest);
        },
      };
    },
  },
  {
    name: "expired-credentials",
    // As a node that mounts /etc/kubernetes/leasehold alone: the agent has no other credentials.
    options: { podFlags: "--admin-kubeconfig /etc/kubernetes/leasehold/admin.conf" },
    async stage(cluster) {
      const { holder } = await roles(cluster);
      const expiring = `cd /etc/kubernetes/leasehold
kubectl --kubeconfig /etc/kubernetes/admin.conf get configmap -n kube-system kubeadm-config \
  -o jsonpath='{.data.ClusterConfiguration}' > /run/kubeadm.yaml
kubeadm kubeconfig user --config /run/kubeadm.yaml --client-name leasehold --org leasehold:agents \
  --validity-period 2s > /run/kubeconfig
rm /run/kubeadm.yaml
sleep 3
cp /run/kubeconfig kubeconfig.new && mv kubeconfig.new kubeconfig`;
      await Promise.all(cluster.nodes.map((node) => node.type(expiring)));
      await inState(cluster, holder, "PROVISIONAL");
      return {
        node: holder,
        symptom: [
          alert("LeaseholdRenewFailing", `the renewals of ${holder.name} fail`),
          alert("LeaseholdProvisional", `${holder.name} has the VIP provisionally`),
        ],
        goal: "one node holds the VIP and the Lease, and no alert fires.",
        solved: () => allWell(cluster),
      };
    },
  },
  {
    name: "rbac-missing",
    // As a node that mounts /etc/kubernetes/leasehold alone: the agent has no other credentials.
    options: { podFlags: "--admin-kubeconfig /etc/kubernetes/leasehold/admin.conf" },
    async stage(cluster) {
      const { holder } = await roles(cluster);
      await holder.kubectl("delete rolebinding,role -n kube-system leasehold");
      await inState(cluster, holder, "PROVISIONAL");
      return {
        node: holder,
        symptom: [alert("LeaseholdProvisional", `${holder.name} has the VIP provisionally`)],
        goal: "one node holds the VIP and the Lease, and no alert fires.",
        solved: () => allWell(cluster),
      };
    },
  },
  {
    name: "foreign-machine",
    async stage(cluster) {
      const { holder } = await roles(cluster);
      const { neighbour, vip } = cluster;
      await neighbour.type(`mkdir -p /etc/keepalived && cat >/etc/keepalived/keepalived.conf <<END
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 100
    version 3
    advert_int 1
    garp_master_refresh 1
    virtual_ipaddress {
        ${vip}/32
    }
}
END
keepalived`);
      await cluster.lab.until(
        async () => /leasehold_address_conflicts_total\S* [1-9]/.test(await holder.metrics()),
        SEEN_MS,
        "the holder has heard it",
      );
      return {
        node: holder,
        symptom: [
          "Users: kubectl fails with time-outs or 'connection refused', then works again for a while.",
          alert("LeaseholdAddressConflict", `seen by ${holder.name}`),
        ],
        goal: `${vip} leads to the cluster, always. The other team has agreed to whatever you do on db1.`,
        async solved() {
          const addresses = await neighbour.type("ip -o address show dev eth0");
          return !addresses.includes(` ${vip}/32 `) && (await allWell(cluster));
        },
      };
    },
  },
  {
    name: "closed-firewall",
    async stage(cluster) {
      const { backup } = await roles(cluster);
      await backup.type(`cat >/etc/nftables.conf <<END
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iifname "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport 22 accept comment "ssh"
		tcp dport { 2379, 2380 } accept comment "etcd"
		tcp dport 10250 accept comment "kubelet"
	}
}
END
nft -f /etc/nftables.conf`);
      const others = cluster.others(backup);
      await seenDown(cluster, others, backup);
      return {
        node: backup,
        symptom: others.map((node) =>
          alert("LeaseholdBackendDown", `on ${node.name}, the API server of ${backup.name} is unhealthy`),
        ),
        goal: "every node sees every API server UP.",
        async solved() {
          for (const node of others)
            await node.type(`curl -sk --max-time 2 https://${backup.host.ipv4}:6443/livez`);
          return allWell(cluster);
        },
      };
    },
  },
  {
    name: "wrong-vip",
    async stage(cluster) {
      const { backup } = await roles(cluster);
      const wrong = cluster.vip.replace(/\d+$/, "110");
      await backup.type(`cd /etc/kubernetes
sed 's/"${cluster.vip}"/"${wrong}"/' manifests/leasehold.yaml > leasehold.yaml && chmod 0600 leasehold.yaml
mv leasehold.yaml manifests/`);
      await inState(cluster, backup, "FAULT");
      return {
        node: backup,
        symptom: [alert("LeaseholdFault", `${backup.name} cannot take the VIP`)],
        goal: "every node can take the VIP.",
        solved: () => allWell(cluster),
      };
    },
  },
  {
    name: "full-disk",
    options: { dataSize: { n1: "32m", n2: "32m", n3: "32m" } },
    async stage(cluster) {
      const { backup } = await roles(cluster);
      await backup.try("dd if=/dev/zero of=/var/lib/leasehold/trace.pcap bs=64k count=1024 2>/dev/null");
      await backup.type("kill -USR1 $(pgrep -f 'leasehold[.]js run')");
      return {
        node: backup,
        symptom: [
          `A colleague wanted to look at the decisions of the agent of ${backup.name}. She sent it SIGUSR1, as the runbook`,
          "says, and no file came.",
        ],
        goal: `SIGUSR1 makes a file again on ${backup.name}.`,
        async solved() {
          const probe = "/var/lib/leasehold/.probe";
          // What the disk has no room for must not stay either, or it is one thing more to wonder at.
          await backup.type(`full=0; head -c 65536 /dev/zero >${probe} || full=$?; rm ${probe}; exit $full`);
          await backup.type("ls /var/lib/leasehold/decisions/*-SIGUSR1.json");
          return allWell(cluster);
        },
      };
    },
  },
  {
    name: "hung-api-server",
    async stage(cluster) {
      const { backup } = await roles(cluster);
      await backup.type("kill -STOP $(pgrep -x kube-apiserver)");
      await seenDown(cluster, cluster.nodes, backup);
      return {
        node: backup,
        symptom: [alert("LeaseholdBackendDown", `the API server of ${backup.name} is unhealthy`)],
        goal: "every node sees every API server UP.",
        solved: () => allWell(cluster),
      };
    },
  },
  {
    name: "no-quorum",
    async stage(cluster) {
      const { holder } = await roles(cluster);
      for (const node of cluster.others(holder))
        await node.type("mv /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/etcd.yaml");
      await inState(cluster, holder, "PROVISIONAL");
      return {
        node: holder,
        symptom: [
          "Users: kubectl hangs, or says 'etcdserver: request timed out' or 'the server was unable to respond'.",
          alert("LeaseholdProvisional", `${holder.name} has the VIP provisionally`),
          "Two colleagues worked on the nodes last night, and have not said at what.",
        ],
        goal: "the cluster takes writes again, and one node holds the VIP and the Lease.",
        async solved() {
          await holder.kubectl("create configmap probe -n default --dry-run=server");
          return allWell(cluster);
        },
      };
    },
  },
  {
    name: "port-taken",
    async stage(cluster) {
      const { backup } = await roles(cluster);
      await backup.type("mv /etc/kubernetes/manifests/leasehold.yaml /etc/kubernetes/");
      await cluster.lab.until(
        async () => (await backup.type("ss -Hltn 'sport = :8443'")) === "",
        SEEN_MS,
        "the agent has ended",
      );
      const listen = `process.title = "backupd"; require("net").createServer((s) => s.destroy()).listen(8443, "::")`;
      await backup.type(`setsid '${process.execPath}' -e '${listen}' </dev/null >/dev/null 2>&1 &
sleep 1
mv /etc/kubernetes/leasehold.yaml /etc/kubernetes/manifests/`);
      await inState(cluster, backup, "FAULT");
      return {
        node: backup,
        symptom: [
          alert("LeaseholdFault", `${backup.name} cannot take the VIP`),
          "It began when the node came back from a reboot.",
        ],
        goal: "every node can take the VIP.",
        solved: () => allWell(cluster),
      };
    },
  },
];
