/** A check that is a URL: 2xx and 3xx pass. */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { createSecureContext, getCACertificates } from "node:tls";
import type { SecureContext } from "node:tls";
import { message } from "./check.ts";
import type { Outcome } from "./rules.ts";

/** Of the answer only the status counts; more of a body than this is not waited for. */
const BODY_BYTES = 64 * 1_024;

/** The authorities that Node brings and those of the system, which is where an operator adds one. */
function systemTrust(): SecureContext {
  return createSecureContext({ ca: [...getCACertificates("default"), ...getCACertificates("system")] });
}

/**
 * GET on a connection of its own each time: a check that lives on a kept-alive connection does not notice that nobody can
 * connect any more. Redirects are not followed.
 * @param trust whom to believe for https; by default the system's certificate authorities
 */
export function httpCheck(url: string, trust?: SecureContext): (signal: AbortSignal) => Promise<Outcome> {
  let secureContext = trust;
  return (signal) => {
    const target = URL.parse(url);
    if (target === null || (target.protocol !== "http:" && target.protocol !== "https:")) {
      return Promise.resolve({ kind: "unusable", detail: `not an http or https URL: ${url}` });
    }
    // Reading the authorities takes some 10 ms: once, and only if there is something to verify.
    if (target.protocol === "https:") secureContext ??= systemTrust();
    return get(target, secureContext, signal);
  };
}

function get(target: URL, secureContext: SecureContext | undefined, signal: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    const fail = (detail: string): void => resolve({ kind: "fail", detail });
    const request = target.protocol === "https:" ? httpsRequest : httpRequest;
    const options = { agent: false, signal, secureContext, headers: { "user-agent": "leasehold", connection: "close" } };
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
    // Without an answer and without an error, e.g. after an upgrade that nobody asked for.
    call.on("close", () => {
      if (!answered) fail("closed without an answer");
    });
    call.end();
  });
}
