import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { noAnswerReason, tlsTrouble } from "../../../src/kube/no-answer.ts";

describe("what a failure says", () => {
  test("refusals, TLS failures, and everything else as silence", () => {
    const reason = (code: string) => noAnswerReason(Object.assign(new Error("x"), { code }));
    for (const code of ["ECONNREFUSED", "ECONNRESET", "EPIPE", "HPE_INVALID_CONSTANT"])
      assert.equal(reason(code), "refused", code);
    for (const code of [
      "CERT_HAS_EXPIRED",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "EPROTO",
      "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
      "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE",
      "UNSPECIFIED",
    ]) {
      assert.equal(reason(code), "tls", code);
    }
    for (const code of ["EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "EMFILE", "EPERM", ""])
      assert.equal(reason(code), "silent", code);
    assert.equal(noAnswerReason("text"), "silent");
    assert.equal(
      noAnswerReason(new Error("wrapped", { cause: Object.assign(new Error("x"), { code: "ECONNRESET" }) })),
      "refused",
    );
  });

  test("what failed in TLS, in words and with the code", () => {
    const told = (code: string) =>
      tlsTrouble(new Error("fetch", { cause: Object.assign(new Error("x"), { code }) }));
    for (const code of [
      "SELF_SIGNED_CERT_IN_CHAIN",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "CERT_SIGNATURE_FAILURE",
    ]) {
      assert.equal(told(code), `its CA does not vouch for the server's certificate (${code})`);
    }
    for (const code of [
      "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
      "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
      "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE",
      "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
    ]) {
      assert.equal(told(code), `the server refuses its client certificate (${code})`);
    }
    assert.equal(
      told("ERR_TLS_CERT_ALTNAME_INVALID"),
      "the server's certificate is for another name (ERR_TLS_CERT_ALTNAME_INVALID)",
    );
    assert.equal(
      told("CERT_HAS_EXPIRED"),
      "the server's certificate, or the CA's, has expired (CERT_HAS_EXPIRED)",
    );
    assert.equal(told("ERR_SSL_WRONG_VERSION_NUMBER"), "TLS fails (ERR_SSL_WRONG_VERSION_NUMBER)");
    for (const code of ["ECONNRESET", "EHOSTUNREACH"]) assert.equal(told(code), undefined);
  });
});
