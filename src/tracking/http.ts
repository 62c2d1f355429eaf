/** Defines a check that gets a URL: 2xx and 3xx pass. */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { checkServerIdentity, createSecureContext, getCACertificates } from "node:tls";
import type { PeerCertificate, SecureContext } from "node:tls";
import { errorMessage } from "../errors.ts";
import type { Outcome } from "./rules.ts";

/** Bytes of a body that are read at most, since only the status counts. */
const BODY_BYTES = 64 * 1_024;

/** Name that kubeadm and every other installer puts into each API server's certificate. */
const API_SERVER = "kubernetes";

/**
 * Trusts the certificate authorities that Node brings, those of the system, which is where an operator adds
 * one, and the cluster's.
 */
function trusted(clusterCa: string | undefined): SecureContext {
  const cluster = clusterCa === undefined ? [] : [clusterCa];
  return createSecureContext({
    ca: [...getCACertificates("default"), ...getCACertificates("system"), ...cluster],
  });
}

/**
 * Compares the certificate's names with the URL's host. On the loopback an API server's certificate is good
 * as well: it has the node's address in it but not 127.0.0.1, and no other machine can answer there.
 */
function checkIdentity(host: string, certificate: PeerCertificate): Error | undefined {
  const wrong = checkServerIdentity(host, certificate);
  if (wrong === undefined || !/^(?:127(?:\.\d+){3}|::1|localhost)$/.test(host)) return wrong;
  return checkServerIdentity(API_SERVER, certificate) === undefined ? undefined : wrong;
}

/**
 * Makes each GET on a connection of its own: a check on a kept-alive connection would not notice that new
 * connections fail. Redirects are not followed. No credentials are sent.
 * @param clusterCa returns the cluster's CA as PEM, which https trusts next to Node's and the system's
 */
export function httpCheck(
  url: string,
  clusterCa: () => string | undefined = () => undefined,
): (signal: AbortSignal) => Promise<Outcome> {
  let trust: { readonly ca: string | undefined; readonly context: SecureContext } | undefined;
  return (signal) => {
    const target = URL.parse(url);
    if (target === null || (target.protocol !== "http:" && target.protocol !== "https:")) {
      return Promise.resolve({ kind: "unusable", detail: `not an http or https URL: ${url}` });
    }
    if (target.protocol === "http:") return get(target, undefined, signal);
    // Reading the authorities takes some 10 ms, so it is done once for each CA of the cluster.
    const ca = clusterCa();
    if (trust === undefined || trust.ca !== ca) trust = { ca, context: trusted(ca) };
    return get(target, trust.context, signal);
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
      checkServerIdentity: checkIdentity,
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
      response.on("error", (error) => fail(`status ${status}, then ${errorMessage(error)}`));
    });
    call.on("error", (error) => fail(errorMessage(error)));
    // The connection can close without an answer and without an error, e.g. after an upgrade that was not
    // requested.
    call.on("close", () => {
      if (!answered) fail("closed without an answer");
    });
    call.end();
  });
}
