/** Defines a check that gets a URL: 2xx and 3xx pass. */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { createSecureContext, getCACertificates } from "node:tls";
import type { SecureContext } from "node:tls";
import { message } from "./check.ts";
import type { Outcome } from "./rules.ts";

/** Bytes of a body that are read at most, since only the status counts. */
const BODY_BYTES = 64 * 1_024;

/**
 * Trusts the certificate authorities that Node brings and those of the system, which is where an operator
 * adds one.
 */
function systemTrust(): SecureContext {
  return createSecureContext({ ca: [...getCACertificates("default"), ...getCACertificates("system")] });
}

/**
 * Makes each GET on a connection of its own: a check on a kept-alive connection would not notice that new
 * connections fail. Redirects are not followed.
 * @param trust which certificate authorities to trust for https; by default Node's and the system's
 */
export function httpCheck(url: string, trust?: SecureContext): (signal: AbortSignal) => Promise<Outcome> {
  let secureContext = trust;
  return (signal) => {
    const target = URL.parse(url);
    if (target === null || (target.protocol !== "http:" && target.protocol !== "https:")) {
      return Promise.resolve({ kind: "unusable", detail: `not an http or https URL: ${url}` });
    }
    // Reading the authorities takes some 10 ms, so it is done once, and only if there is something to verify.
    if (target.protocol === "https:") secureContext ??= systemTrust();
    return get(target, secureContext, signal);
  };
}

function get(target: URL, secureContext: SecureContext | undefined, signal: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    const fail = (detail: string): void => resolve({ kind: "fail", detail });
    const request = target.protocol === "https:" ? httpsRequest : httpRequest;
    const options = {
      agent: false,
      signal,
      secureContext,
      headers: { "user-agent": "leasehold", connection: "close" },
    };
    let answered = false;
    const call = request(target, options, (response) => {
      answered = true;
      const status = response.statusCode ?? 0;
      const ok = status >= 200 && status < 400;
      const verdict = (): void => resolve({ kind: ok ? "pass" : "fail", detail: `status ${status}` });
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= BODY_BYTES) return;
        verdict();
        response.destroy();
      });
      // The whole answer has to come: a server that stalls in its body fails by time-out.
      response.on("end", verdict);
      response.on("error", (error) => fail(`status ${status}, then ${message(error)}`));
    });
    call.on("error", (error) => fail(message(error)));
    // The connection can close without an answer and without an error, e.g. after an upgrade that was not
    // requested.
    call.on("close", () => {
      if (!answered) fail("closed without an answer");
    });
    call.end();
  });
}
