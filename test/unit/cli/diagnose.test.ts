import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { diagnose, diagnosisExit, diagnosisText } from "../../../src/cli/diagnose.ts";
import type { Examined } from "../../../src/cli/diagnose.ts";
import { failed, ok } from "./answers.ts";

const AT = new Date("2026-01-01T00:00:00Z");
const LATER = new Date("2026-12-01T00:00:00Z");
const EARLIER = new Date("2025-01-05T00:00:00Z");
const SOON = new Date("2026-01-05T00:00:00Z");

const WELL: Examined = {
  at: AT,
  vips: ["192.0.2.10"],
  agentRuns: false,
  network: { interface: "eth0" },
  foreign: [],
  wire: ok(null),
  ports: [
    { setting: "LEASEHOLD_BALANCER_PORT", port: 8443, error: null },
    { setting: "LEASEHOLD_OPS_ADDRESS", port: 10081, error: null },
  ],
  nft: null,
  own: { path: "/etc/kubernetes/leasehold/kubeconfig", problem: null, startsAt: EARLIER, expiresAt: LATER },
  admin: { path: "/etc/kubernetes/admin.conf", problem: "no such file", startsAt: null, expiresAt: null },
  rights: ok([]),
  certificates: [ok({ server: "192.0.2.11:6443", missing: [], startsAt: EARLIER, expiresAt: LATER })],
  others: [],
};

describe("doctor", () => {
  test("finds nothing on a machine that is well", () => {
    const diagnoses = diagnose(WELL);
    assert.deepEqual(
      diagnoses.filter(({ verdict }) => verdict !== "ok").map(({ check, verdict }) => [check, verdict]),
      [["agent", "warn"]],
    );
    assert.equal(diagnosisExit(diagnoses), 0);
    assert.equal(
      diagnosisText(diagnoses).split("\n")[2],
      "interface     ok        eth0 has the subnet of 192.0.2.10",
    );
  });

  const MISSING = { path: "/k", problem: "no such file", startsAt: null, expiresAt: null };
  for (const [what, change, check, verdict, todo] of [
    [
      "no interface",
      { network: { code: "LH_INTERFACE", message: "no interface", hint: "Set LEASEHOLD_INTERFACE" } },
      "interface",
      "FAIL",
      /LEASEHOLD_INTERFACE/,
    ],
    ["no VIP", { vips: [] }, "interface", "unknown", /as the pod has it/],
    ["a foreign address", { foreign: ["192.0.2.10/32 on eth0"] }, "address", "FAIL", /LH_VIP_FOREIGN/],
    ["a stranger", { wire: ok({ mac: "02:00:00:00:00:09", node: null }) }, "wire", "FAIL", /LH_VIP_CONFLICT/],
    ["the holder", { wire: ok({ mac: "02:00:00:00:00:09", node: "n2" }) }, "wire", "ok", /^$/],
    ["no raw sockets", { wire: failed("the wire", "EPERM") }, "wire", "unknown", /^$/],
    [
      "a taken port",
      { ports: [{ setting: "LEASEHOLD_BALANCER_PORT", port: 8443, error: "listen EADDRINUSE" }] },
      "ports",
      "FAIL",
      /ss -ltnp/,
    ],
    ["no nft", { nft: "spawn nft ENOENT" }, "nft", "FAIL", /LH_NFT/],
    [
      "keepalived",
      { others: [{ file: "/etc/kubernetes/manifests/k.yaml", software: "keepalived" }] },
      "software",
      "warn",
      /move that file away/,
    ],
    [
      "a certificate that ends soon",
      { own: { ...WELL.own, expiresAt: SOON } },
      "kubeconfig",
      "warn",
      /step 5/,
    ],
    ["no kubeconfig", { own: MISSING }, "kubeconfig", "FAIL", /step 5/],
    [
      "admin.conf alone",
      { own: MISSING, admin: { ...WELL.own, path: "/a" } },
      "kubeconfig",
      "warn",
      /step 5/,
    ],
    [
      "an expired kubeconfig",
      { own: { ...WELL.own, expiresAt: new Date("2025-01-01") } },
      "kubeconfig",
      "FAIL",
      /step 5/,
    ],
    [
      "a missing right",
      { rights: ok(["patch leases/leasehold in kube-system"]) },
      "rights",
      "FAIL",
      /manifest rbac/,
    ],
    [
      "an API server without the VIP",
      { certificates: [ok({ server: "s", missing: ["192.0.2.10"], startsAt: EARLIER, expiresAt: LATER })] },
      "certificate",
      "FAIL",
      /certSANs/,
    ],
    [
      "an API server's certificate that ends",
      { certificates: [ok({ server: "s", missing: [], startsAt: EARLIER, expiresAt: SOON })] },
      "certificate",
      "warn",
      /kubeadm certs renew/,
    ],
    ["no API server", { certificates: [] }, "certificate", "unknown", /^$/],
  ] as const) {
    test(`finds ${what}, and says what to do`, () => {
      const diagnoses = diagnose({ ...WELL, ...change });
      const found = diagnoses.find((one) => one.check === check);
      assert.ok(found !== undefined);
      assert.equal(found.verdict, verdict, found.found);
      assert.match(found.todo, todo);
      assert.equal(diagnosisExit(diagnoses), diagnoses.some((one) => one.verdict === "FAIL") ? 3 : 0);
    });
  }

  test("does not try the ports that the agent itself has", () => {
    const taken = { setting: "LEASEHOLD_BALANCER_PORT", port: 8443, error: "listen EADDRINUSE" };
    const diagnoses = diagnose({ ...WELL, agentRuns: true, ports: [taken] });
    assert.equal(diagnosisExit(diagnoses), 0);
  });
});
