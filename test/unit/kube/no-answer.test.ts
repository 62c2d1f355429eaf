import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { noAnswerReason } from "../../../src/kube/no-answer.ts";

describe("what a failure says", () => {
  test("refusals, TLS failures, and everything else as silence", () => {
    const reason = (code: string) => noAnswerReason(Object.assign(new Error("x"), { code }));
    for (const code of ["ECONNREFUSED", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "HPE_INVALID_CONSTANT"]) assert.equal(reason(code), "refused", code);
    for (const code of ["CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID", "DEPTH_ZERO_SELF_SIGNED_CERT", "EPROTO", "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"]) {
      assert.equal(reason(code), "tls", code);
    }
    for (const code of ["EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "UND_ERR_CONNECT_TIMEOUT", "EMFILE", "EPERM", ""]) assert.equal(reason(code), "silent", code);
    assert.equal(noAnswerReason("text"), "silent");
    assert.equal(noAnswerReason(new Error("wrapped", { cause: Object.assign(new Error("x"), { code: "ECONNRESET" }) })), "refused");
  });
});
