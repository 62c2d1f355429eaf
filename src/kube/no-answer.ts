/** Derives from a failed connection or exchange what state the server at the other end is in. Pure. */
import type { NoAnswer } from "./transport.ts";

/** A host is there: a reset, a refusal, a connection closed in mid-answer, or an answer that is not HTTP. */
const REFUSED = /^(?:ECONNREFUSED|ECONNRESET|EPIPE|ECONNABORTED|HPE_\w+)$/;
/**
 * Node's names of OpenSSL's verdicts on a certificate, and OpenSSL's own errors. OpenSSL 3.5 has a slash in
 * some of them: ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE.
 */
const TLS =
  /^(?:ERR_TLS_\w+|ERR_SSL_[\w/]+|ERR_OSSL_[\w/]+|EPROTO|CERT_\w+|CRL_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+|ERROR_IN_\w+|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|UNSPECIFIED)$/;

/**
 * The alerts of a server that refuses the client's certificate (RFC 8446 section 6.2). With TLS 1.3 they come
 * after the client's handshake is done.
 */
const CLIENT_REFUSED =
  /^ERR_SSL_\S*ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|CERTIFICATE_REQUIRED|NO_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR)$/;

/**
 * Returns the reason as a {@link NoAnswer}. An unreachable host or network (EHOSTUNREACH, ETIMEDOUT, ...) is
 * `silent`: a dead host looks like that once its neighbour entry has failed. An unknown error is `silent`
 * too, which is the cautious reading.
 */
export function noAnswerReason(error: unknown): NoAnswer {
  for (const code of codes(error)) {
    if (TLS.test(code)) return "tls";
    if (REFUSED.test(code)) return "refused";
  }
  return "silent";
}

/** Tells whether the connection was refused because no process listens on the port. */
export function nobodyListens(error: unknown): boolean {
  return codes(error).includes("ECONNREFUSED");
}

/**
 * Returns what failed in TLS, in an operator's words and with OpenSSL's code. undefined if it was not TLS
 * that failed.
 */
export function tlsTrouble(error: unknown): string | undefined {
  const code = codes(error).find((each) => TLS.test(each) || REFUSED.test(each));
  return code === undefined || REFUSED.test(code) ? undefined : `${wordsFor(code)} (${code})`;
}

function wordsFor(code: string): string {
  if (CLIENT_REFUSED.test(code)) return "the server refuses its client certificate";
  switch (code) {
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "HOSTNAME_MISMATCH":
      return "the server's certificate is for another name";
    case "CERT_HAS_EXPIRED":
      return "the server's certificate, or the CA's, has expired";
    case "CERT_NOT_YET_VALID":
      return "the server's certificate, or the CA's, is not valid yet";
    case "CERT_REVOKED":
      return "the server's certificate is revoked";
    default:
      return /^(?:ERR_|EPROTO)/.test(code)
        ? "TLS fails"
        : "its CA does not vouch for the server's certificate";
  }
}

/**
 * Returns the codes of the error and its causes, outermost first, or the name of an error that has no code.
 */
function codes(error: unknown): readonly string[] {
  const found: string[] = [];
  let current = error;
  for (let depth = 0; depth < 5 && typeof current === "object" && current !== null; depth++) {
    if ("code" in current && typeof current.code === "string") found.push(current.code);
    else if (current instanceof Error) found.push(current.name);
    current = "cause" in current ? current.cause : undefined;
  }
  return found;
}
