/** What a failed connection or exchange says about the server at the other end. Pure. */
import type { NoAnswer } from "./transport.ts";

/** Somebody is there: a reset, a refusal, a connection closed in mid-answer, an answer that is no HTTP. */
const REFUSED = /^(?:ECONNREFUSED|ECONNRESET|EPIPE|ECONNABORTED|UND_ERR_SOCKET|UND_ERR_HEADERS_OVERFLOW|UND_ERR_RES_\w+|HPE_\w+|HTTPParserError)$/;
const TLS =
  /^(?:ERR_TLS_\w+|ERR_SSL_\w+|ERR_OSSL_\w+|EPROTO|CERT_\w+|CRL_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED)$/;

/**
 * The reason in {@link NoAnswer}'s words. An unreachable host or network (EHOSTUNREACH, ETIMEDOUT, ...) is `silent`: that is
 * what a dead host looks like once its neighbour entry has failed. So is everything unknown: the cautious reading.
 */
export function noAnswerReason(error: unknown): NoAnswer {
  for (const code of codes(error)) {
    if (TLS.test(code)) return "tls";
    if (REFUSED.test(code)) return "refused";
  }
  return "silent";
}

/** Codes of the error and its causes, outermost first; the name where there is no code (undici's parser errors). */
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
