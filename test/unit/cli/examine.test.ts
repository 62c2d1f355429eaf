/** What `leasehold doctor` reads out of other programs' files, and which rights it asks for. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loadAll } from "js-yaml";
import { nodeIpOf, nodeIpOfEnvironment } from "../../../src/cli/kubelet-address.ts";
import {
  hasVrrpSocket,
  namedIn,
  poolWith,
  softwareOfManifest,
  softwareOfProcess,
} from "../../../src/cli/other-software.ts";
import { STATEMENTS, foreignOn, placeOf } from "../../../src/cli/examine-machine.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { ruleset } from "../../../src/fastpath/ruleset.ts";
import { rbac } from "../../../src/manifests/rbac.ts";
import { neededRights } from "../../../src/manifests/rights.ts";
import { parseIp } from "../../../src/net.ts";
import { rulesetPlan } from "../../support/fastpath/plans.ts";

describe("the kubelet's --node-ip", () => {
  test("is read from its arguments in each of their forms, the last one counts", () => {
    assert.deepEqual(nodeIpOf(["/usr/bin/kubelet", "--node-ip=192.0.2.11"]), ["192.0.2.11"]);
    assert.deepEqual(nodeIpOf(["kubelet", "--node-ip", "2001:DB8:0::11"]), ["2001:db8::11"]);
    assert.deepEqual(nodeIpOf(["kubelet", "-node-ip=192.0.2.11,2001:db8::11"]), [
      "192.0.2.11",
      "2001:db8::11",
    ]);
    assert.deepEqual(nodeIpOf(["kubelet", "--node-ip=192.0.2.1", "--node-ip=192.0.2.2"]), ["192.0.2.2"]);
    assert.equal(nodeIpOf(["kubelet", "--node-ip="]), undefined);
    assert.equal(nodeIpOf(["kubelet", "--node-ips=192.0.2.1", "--config=/x"]), undefined);
  });

  test("is read from kubeadm's and the packages' files", () => {
    const kubeadm =
      'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock --node-ip=192.0.2.11"\n';
    assert.deepEqual(nodeIpOfEnvironment(kubeadm), ["192.0.2.11"]);
    assert.deepEqual(nodeIpOfEnvironment("# a comment\nKUBELET_EXTRA_ARGS=--node-ip=::\n"), ["::"]);
    assert.equal(nodeIpOfEnvironment('KUBELET_KUBEADM_ARGS="--pod-infra-container-image=x"\n'), undefined);
    assert.equal(nodeIpOfEnvironment("OTHER=--node-ip=192.0.2.1\n"), undefined);
    assert.equal(nodeIpOfEnvironment('KUBELET_EXTRA_ARGS="--node-ip=192.0.2.1\n'), undefined);
  });
});

describe("other software", () => {
  test("is known by the image of its static pod", () => {
    const pod = (image: string): string => `spec:\n  containers:\n  - image: ${image}\n    name: x\n`;
    assert.deepEqual(softwareOfManifest(pod("ghcr.io/kube-vip/kube-vip:v1.0.0")), ["kube-vip"]);
    assert.deepEqual(softwareOfManifest(pod('"osixia/keepalived:2.0.20"')), ["keepalived"]);
    assert.deepEqual(softwareOfManifest(pod("registry.k8s.io/kube-apiserver:v1.36.3")), []);
    // A comment and an argument are no image.
    assert.deepEqual(softwareOfManifest("# keepalived\nargs: [keepalived]\n"), []);
  });

  test("is known by its process", () => {
    assert.equal(softwareOfProcess(["/usr/sbin/keepalived", "--dont-fork"]), "keepalived");
    assert.equal(softwareOfProcess(["/kube-vip", "manager"]), "kube-vip");
    assert.equal(softwareOfProcess(["/speaker", "--port=7472", "--log-level=info"]), "metallb");
    assert.equal(softwareOfProcess(["/usr/bin/speaker", "song.ogg"]), undefined);
    assert.equal(softwareOfProcess(["grep", "keepalived"]), undefined);
    assert.equal(softwareOfProcess([]), undefined);
  });

  test("of VRRP is known by its socket", () => {
    const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";
    assert.ok(
      hasVrrpSocket(
        `${head}  112: 00000000:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000 0\n`,
      ),
    );
    assert.ok(
      !hasVrrpSocket(
        `${head}    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000 0\n`,
      ),
    );
    assert.ok(!hasVrrpSocket(head));
  });

  test("has the VIP when its text names it as a whole address", () => {
    assert.ok(namedIn("virtual_ipaddress { 192.0.2.10/24 dev eth0 }", ["192.0.2.10"]));
    assert.ok(namedIn('value: "2001:DB8:0:0::10"', ["2001:db8::10"]));
    assert.ok(!namedIn("192.0.2.100", ["192.0.2.10"]));
    assert.ok(!namedIn("", ["192.0.2.10"]));
  });

  test("of MetalLB has the VIP when a pool contains it", () => {
    const pools = (...addresses: readonly string[]): unknown => ({
      items: [{ metadata: { name: "first" }, spec: { addresses } }],
    });
    assert.equal(poolWith(pools("192.0.2.8-192.0.2.20"), ["192.0.2.10"]), "first");
    assert.equal(poolWith(pools("198.51.100.0/24", "192.0.2.0/28"), ["192.0.2.10"]), "first");
    assert.equal(poolWith(pools("2001:db8::/64"), ["2001:db8::10"]), "first");
    assert.equal(poolWith(pools("192.0.2.11-192.0.2.20", "::/0"), ["192.0.2.10"]), undefined);
    for (const wrong of [undefined, {}, { items: [{ spec: { addresses: 1 } }] }, pools("x-y", "z/9")])
      assert.equal(poolWith(wrong, ["192.0.2.10"]), undefined);
  });
});

interface RoleText {
  readonly kind: string;
  readonly metadata: { readonly namespace?: string };
  readonly rules?: readonly {
    readonly apiGroups?: readonly string[];
    readonly resources?: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly nonResourceURLs?: readonly string[];
    readonly verbs: readonly string[];
  }[];
}

test("doctor asks for each verb that manifests/rbac.yaml grants to the agents' user, and for no other", () => {
  const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10" }, "n1");
  assert.ok(parsed.kind === "ok");
  const { config } = parsed;
  const granted: string[] = [];
  for (const document of loadAll(rbac(config))) {
    const { kind, metadata, rules = [] }: RoleText = JSON.parse(JSON.stringify(document));
    if (!kind.endsWith("Role")) continue;
    for (const rule of rules)
      for (const verb of rule.verbs) {
        for (const path of rule.nonResourceURLs ?? []) granted.push(JSON.stringify({ path, verb }));
        for (const group of rule.apiGroups ?? [])
          for (const resource of rule.resources ?? [])
            for (const name of rule.resourceNames ?? [undefined])
              granted.push(
                JSON.stringify({
                  group,
                  resource,
                  namespace: metadata.namespace,
                  ...(name === undefined ? {} : { name }),
                  verb,
                }),
              );
      }
  }
  const asked = neededRights(config).map(({ attributes }) =>
    JSON.stringify(attributes["resourceAttributes"] ?? attributes["nonResourceAttributes"]),
  );
  assert.deepEqual(asked.toSorted(), granted.toSorted());
  assert.ok(neededRights(config).some(({ needed }) => needed));
});

test("an address that keepalived has bound with its subnet is the machine's own, but for a take-over", () => {
  const entry = { linkIndex: 1, flags: 0, validSeconds: null, ours: false, prefixLength: 24 };
  const network = {
    kind: "ok" as const,
    value: {
      links: [
        {
          index: 1,
          name: "eth0",
          altNames: [],
          macBytes: new Uint8Array(6),
          up: true,
          carrier: true,
          loopback: false,
          ethernet: true,
          ipv6Forwarding: false,
        },
      ],
      addresses: ["192.0.2.11", "192.0.2.10"].map((text) => ({
        ...entry,
        address: parseIp(text) ?? assert.fail(text),
      })),
    },
  };
  for (const [takeOver, code] of [
    ["false", "LH_ADDRESS_OWNER"],
    ["true", "fits"],
  ] as const) {
    const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10", LEASEHOLD_TAKE_OVER: takeOver }, "n1");
    assert.ok(parsed.kind === "ok");
    const place = placeOf(parsed.config, network);
    assert.equal("code" in place ? place.code : "fits", code);
    assert.deepEqual(foreignOn(parsed.config, network), {
      kind: "ok",
      value: [{ text: "192.0.2.10/24 on eth0", ofMachine: takeOver === "false" }],
    });
  }
});

test("doctor asks the kernel for all that the rules of the fast path are made of", () => {
  const rules = ruleset(rulesetPlan()).flatMap(({ chains }) => chains.flatMap((chain) => chain.rules));
  const asked = STATEMENTS.map(([, , , rule]) => rule);
  const kinds = ["jhash", "fwd", "dup", "ct state", "fib", "socket", "dnat", "masquerade", "reject", "limit"];
  for (const kind of kinds) {
    const has = (rule: string): boolean => new RegExp(`\\b${kind}\\b`).test(rule);
    assert.ok(rules.some(has), `no rule has ${kind} any more`);
    assert.ok(asked.some(has), kind);
  }
});
