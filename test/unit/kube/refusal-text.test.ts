import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { refusalText } from "../../../src/kube/refusal-text.ts";

describe("a refusal of the API", () => {
  const rbac = `leases.coordination.k8s.io "leasehold" is forbidden: User "leasehold" cannot get resource "leases"`;
  for (const [what, refused, text] of [
    [
      "RBAC names the user",
      { status: 403, message: rbac },
      "403 on the Lease for user leasehold: apply manifests/rbac.yaml",
    ],
    [
      "no words, and the user by the certificate",
      { status: 403, message: "", user: "kubernetes-admin" },
      "403 on the Lease for user kubernetes-admin: apply manifests/rbac.yaml",
    ],
    ["no words, and no user", { status: 403, message: "" }, "403 on the Lease: apply manifests/rbac.yaml"],
    [
      "an admission webhook, which no RBAC mends",
      { status: 403, message: 'admission webhook "freeze" denied the request: not today' },
      '403 on the Lease: admission webhook "freeze" denied the request: not today',
    ],
    [
      "credentials",
      { status: 401, message: "Unauthorized" },
      "401 on the Lease: the API servers do not accept the agent's credentials, see LH_KUBECONFIG in docs/operations.md",
    ],
    ["an overload", { status: 429, message: "" }, "429 on the Lease: the API servers have too many requests"],
    [
      "a change on the way",
      { status: 200, message: "" },
      "the API changes what this node writes into the Lease: an admission webhook or policy does that (LH_LEASE_CHANGED)",
    ],
    ["anything else", { status: 507, message: "" }, "507 on the Lease"],
  ] as const)
    test(`is told with what to do: ${what}`, () => assert.equal(refusalText(refused), text));

  test("passes no control characters on", () => {
    const message = 'x is forbidden: User "a\u001b[2Jb" cannot get';
    assert.ok(!refusalText({ status: 403, message }).includes("\u001b"));
  });
});
