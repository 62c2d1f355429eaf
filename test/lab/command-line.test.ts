/**
 * `leasehold status`, `why`, `move` and `resign` on a node, next to real agents, with and without what they
 * ask.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ClusterView } from "../../src/cli/cluster-view.ts";
import type { Diagnosis } from "../../src/cli/diagnosis.ts";
import type { WhyAnswer } from "../../src/cli/why.ts";
import { BUNDLE } from "./cluster.ts";
import { leasehold } from "./commands.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

/** An address of the nodes' network that no machine has. */
const FREE = "10.77.0.177";

let cluster: EmbeddedCluster;
let holder: EmbeddedNode;

before(async () => {
  cluster = await createEmbeddedCluster();
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  holder = await cluster.holder(30_000);
});
after(async () => cluster[Symbol.asyncDispose]());

async function view(node: EmbeddedNode): Promise<ClusterView> {
  return JSON.parse((await leasehold(node, "status", "-o", "json")).out);
}

const another = (): EmbeddedNode => cluster.nodes.find((node) => node !== holder) ?? holder;

describe("on a healthy cluster", () => {
  test("status says which kernel has the VIP, and exits with 0", async () => {
    const { status, out } = await leasehold(holder, "status");
    assert.equal(status, 0, out);
    assert.match(out, new RegExp(`^VIP: +${cluster.lab.vip4} bound on \\w+ of ${holder.name}`));
    assert.match(out, new RegExp(`^${holder.name}\\* +MASTER +100/100 +yes +bound`, "m"));
    // An agent reads the others' keys in the Lease a moment after it has become their peer.
    const other = await cluster.lab.until(
      async () => {
        const seen = await view(another());
        return seen.notAsked.length === 0 ? seen : Promise.reject(new Error(JSON.stringify(seen.notAsked)));
      },
      20_000,
      "every agent answers",
    );
    assert.deepEqual(
      [other.lease.holder, other.lease.from, other.vips[0]?.boundHere, other.notAsked],
      [holder.name, "api", false, []],
    );
    assert.equal(other.nodes.length, 3);
  });

  test("why says that the holder holds, and why another node does not", async () => {
    const { status, out } = await leasehold(another(), "why");
    assert.equal(status, 0, out);
    assert.match(out, new RegExp(`does not hold the VIP, because ${holder.name} holds the Lease`));
    const answer: WhyAnswer = JSON.parse((await leasehold(holder, "why", "-o", "json")).out);
    assert.ok(answer.decisions.some(({ to }) => to === "MASTER"));
  });

  test("status --watch ends without a word when its reader has seen enough", async () => {
    const env = Object.entries(holder.commandEnvironment()).map(([name, value]) => `${name}=${value}`);
    const script = '{ "$@" 2>&3 | head -n 2; } 3>&1';
    const out = await holder.host.run(
      ["env", ...env, "sh", "-c", script, "sh", process.execPath, BUNDLE, "status", "--watch"],
      { timeoutMs: 30_000 },
    );
    assert.match(out, /^\n2\d{3}-\d\d-\d\dT[\d:.]+Z\n$/);
  });

  test("move --wait and resign move it, with agents that obey", async () => {
    const target = another();
    const moved = await leasehold(holder, "move", "--to", target.name, "--wait");
    assert.equal(moved.status, 0, moved.out);
    assert.match(moved.out, new RegExp(`${target.name} holds the VIP after`));
    assert.equal((await cluster.holder(5_000)).name, target.name);
    assert.equal((await view(holder)).lease.moveTo, target.name);
    assert.equal((await leasehold(holder, "unpin")).status, 0);
    const resigned = await leasehold(target, "resign");
    assert.equal(resigned.status, 0, resigned.out);
    holder = await cluster.holder(5_000);
    assert.notEqual(holder.name, target.name);
    assert.equal((await view(holder)).lease.moveTo, null);
  });
});

describe("with a part that does not answer", () => {
  test("without the agent, status shows the Lease and this kernel, and what to type", async () => {
    const node = another();
    await node.endAgent();
    const { out } = await leasehold(node, "status");
    assert.match(out, new RegExp(`held by ${holder.name}`));
    assert.match(out, new RegExp(`not bound on ${node.name}`));
    assert.match(
      out,
      /the agent at http:\/\/127\.0\.0\.1:10081\/status: .*ECONNREFUSED.*\n +Without it .*\n +crictl ps/,
    );
    await node.startAgent();
    await cluster.lab.until(
      async () => (await node.status()).election?.state === "BACKUP",
      20_000,
      "it is back",
    );
  });

  test("without the API, status shows what the agent knows, and no wish is stored", async () => {
    for (const server of cluster.api.servers) server.stop();
    try {
      const seen = await view(holder);
      assert.equal(seen.lease.from, "agent");
      assert.equal(seen.nodes.length, 3);
      assert.equal(seen.vips[0]?.boundHere !== null, true);
      assert.ok(seen.notAsked.some(({ where }) => where.startsWith("the API (")));
      const moved = await leasehold(holder, "move", "--to", another().name);
      assert.equal(moved.status, 1);
      assert.match(moved.out, /Nothing was changed/);
    } finally {
      for (const server of cluster.api.servers) server.continue();
    }
  });
});

describe("doctor", () => {
  test("finds a healthy node well, with the holder on the wire", async () => {
    // The holder may have let the VIP go while no API server answered.
    holder = await cluster.holder(30_000);
    const node = another();
    // Two health checks have to pass first.
    const isReady = async (): Promise<boolean> => (await node.get("/readyz")).status === 200;
    await cluster.lab.until(isReady, 20_000, "the agent is ready again");
    const { status, out } = await leasehold(node, "doctor", "-o", "json");
    const { checks }: { readonly checks: readonly Diagnosis[] } = JSON.parse(out);
    const verdicts = new Map(checks.map(({ check, verdict }) => [check, verdict]));
    // The embedded API has no reviews of rights: the real one is asked in the contract.
    for (const check of [
      "agent",
      "interface",
      "address",
      "wire",
      "ports",
      "nft",
      "kubeconfig",
      "certificate",
      "endpoints",
      "sysctl",
      "firewall",
      "clock",
      "peers",
      "versions",
      "vips",
    ])
      assert.equal(verdicts.get(check), "ok", out);
    assert.match(checks.find(({ check }) => check === "wire")?.found ?? "", new RegExp(`^${holder.name} `));
    assert.equal(status, 0, out);
  });

  test("finds a VIP that a person has bound, and a machine that is no candidate", async () => {
    const node = another();
    await cluster.client.run(["ip", "address", "add", `${FREE}/32`, "dev", "eth0"]);
    const env = { LEASEHOLD_VIP: FREE };
    const stranger = await leasehold(node, env, "doctor");
    assert.equal(stranger.status, 3, stranger.out);
    assert.match(stranger.out, /^wire +FAIL +the machine [0-9a-f:]{17}, which is no candidate/m);
    await node.host.run(["ip", "address", "add", `${FREE}/32`, "dev", "eth0"]);
    const { status, out } = await leasehold(node, env, "doctor");
    await node.host.run(["ip", "address", "del", `${FREE}/32`, "dev", "eth0"]);
    await cluster.client.run(["ip", "address", "del", `${FREE}/32`, "dev", "eth0"]);
    assert.equal(status, 3, out);
    assert.match(out, /^address +FAIL +bound here, and not by an agent/m);
  });

  test("finds every one of many things that are broken at once, and says of each what to do", async () => {
    holder = await cluster.holder(30_000);
    const node = another();
    const peer = cluster.nodes.find((one) => one !== node && one !== holder) ?? holder;
    await node.endAgent();
    // A machine that is no candidate has the VIP that this command is given, and so has this machine.
    await cluster.client.run(["ip", "address", "add", `${FREE}/32`, "dev", "eth0"]);
    await node.host.run(["sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward"]);
    const rules = (text: string): { readonly input: string } => ({
      input: `table inet wall { chain input { type filter hook input priority 0; ${text} }; }`,
    });
    await node.host.run(
      ["nft", "-f", "-"],
      rules("policy drop; ct state established,related accept; tcp dport 22 accept; iifname lo accept;"),
    );
    await peer.host.run(
      ["nft", "-f", "-"],
      rules("iifname eth0 tcp dport { 8443, 10085 } drop; icmp type echo-request drop;"),
    );
    const listener = `require("net").createServer().listen(8443, "::", () => console.log("listens"))`;
    const taken = await node.host.spawn([process.execPath, "-e", listener], { name: "taken" });
    const conf = join(node.host.directory, "keepalived.conf");
    writeFileSync(
      conf,
      `vrrp_instance VI_1 {\n  state MASTER\n  interface eth0\n  virtual_router_id 51\n  priority 100\n  version 3\n` +
        `  advert_int 0.1\n  virtual_ipaddress {\n    ${FREE}\n  }\n}\n`,
    );
    const pid = (name: string): string => join(node.host.directory, `${name}.pid`);
    const keepalived = await node.host.spawn(
      [
        "keepalived",
        "--dont-fork",
        "--log-console",
        "--vrrp",
        "-f",
        conf,
        "-p",
        pid("keepalived"),
        "-r",
        pid("vrrp"),
      ],
      { name: "keepalived" },
    );
    const kubelet = await node.host.spawn(["bash", "-c", "exec -a /usr/bin/kubelet sleep 60"], {
      name: "kubelet",
    });
    try {
      await cluster.lab.until(
        async () =>
          (await node.host.run(["ss", "-Hltn"])).includes(":8443 ") &&
          (await node.host.run(["ip", "-o", "address"])).includes(` ${FREE}/32 `),
        10_000,
        "the programs run",
      );
      const { status, out } = await leasehold(
        node,
        { LEASEHOLD_VIP: `${FREE},fd77::177`, LEASEHOLD_KUBECONFIG: "/nonexistent/kubeconfig" },
        "doctor",
        "-o",
        "json",
      );
      assert.equal(status, 3, out);
      const { checks }: { readonly checks: readonly Diagnosis[] } = JSON.parse(out);
      const lines = checks.map(
        ({ check, verdict, found, todo }) => `${check} ${verdict} ${found} -> ${todo}`,
      );
      for (const expected of [
        /^agent warn no agent runs/,
        /^interface ok eth0 has the subnet/,
        new RegExp(`^address FAIL bound here, and not by an agent: ${FREE}/32 on eth0 -> See LH_VIP_FOREIGN`),
        new RegExp(`^wire FAIL the machine ${cluster.client.mac}, .*${FREE} -> See LH_VIP_CONFLICT`),
        /^wire ok no other machine answers for fd77::177/,
        /^software FAIL keepalived: it runs on this machine, and it has the VIP -> Stop keepalived/,
        /^ports FAIL LEASEHOLD_BALANCER_PORT: port 8443: .*EADDRINUSE.* -> `ss -ltnp`/,
        /^ports ok LEASEHOLD_HEALTH_PORT/,
        /^sysctl FAIL net\.ipv4\.ip_forward is 0, set it to 1 -> sysctl -w/,
        /^nft ok /,
        new RegExp(
          `^firewall FAIL TCP from clients to ${node.host.ipv4}:6443: dropped by the policy of chain input in table inet wall -> Open the port`,
        ),
        new RegExp(`^firewall FAIL TCP from clients to \\[${node.host.ipv6}\\]:8443: dropped`),
        new RegExp(`^firewall warn ICMP echo requests to ${FREE}: dropped .*-> Let ICMP`),
        /^kubelet warn --node-ip is not set, .*fd77::177 .*-> Set --node-ip/,
        /^kubeconfig warn \/nonexistent\/kubeconfig: no such file -> .*LH_KUBECONFIG/,
        /^rights unknown \/nonexistent\/kubeconfig: no such file -> Mend/,
        new RegExp(
          `^certificate FAIL ${holder.host.ipv4}:6443 has a certificate that is not valid for ${FREE}, fd77::177 -> Mend the line .vips. first`,
        ),
        /^clock ok /,
        new RegExp(
          `^peers FAIL ${peer.name} \\(${peer.host.ipv4}\\): a firewall drops TCP from this node to port 8443 -> Run`,
        ),
        new RegExp(
          `^peers FAIL ${peer.name} \\(${peer.host.ipv4}\\): a firewall drops TCP from this node to port 10085 -> Run`,
        ),
        new RegExp(
          `^firewall FAIL TCP from n\\d, n\\d to ${node.host.ipv4}:10085: dropped by .* -> Open the port`,
        ),
        new RegExp(`^peers warn ${peer.name} \\(${peer.host.ipv4}\\) does not answer ICMP`),
        new RegExp(`^peers ok ${holder.name} `),
        /^versions ok /,
        new RegExp(
          `^vips FAIL this command was given ${FREE}, fd77::177, and .*${holder.name} has ${cluster.lab.vip4}`,
        ),
      ])
        assert.ok(
          lines.some((text) => expected.test(text)),
          `${expected}\n${lines.join("\n")}`,
        );
      const during = await leasehold(
        node,
        { LEASEHOLD_VIP: FREE, LEASEHOLD_TAKE_OVER: "true", LEASEHOLD_KUBECONFIG: "/nonexistent/kubeconfig" },
        "doctor",
      );
      for (const expected of [
        /^address +ok +other software has bound it here, and the agents stand by/m,
        /^wire +ok +other software on the machine \S+ has /m,
        /^software +ok +keepalived: it runs on this machine.*the agents stand by/m,
        /^take-over +ok +other software goes first/m,
      ])
        assert.match(during.out, expected);
    } finally {
      await Promise.all([taken, keepalived, kubelet].map((program) => program.terminate()));
      for (const one of [node, peer]) await one.host.run(["nft", "delete", "table", "inet", "wall"]);
      await node.host.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
      await cluster.client.run(["ip", "address", "del", `${FREE}/32`, "dev", "eth0"]);
      await node.startAgent();
    }
  });
});
