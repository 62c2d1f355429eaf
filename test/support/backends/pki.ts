/** A CA and certificates of one day each, for servers and clients of tests. */
import { issue as issueFor, makeAuthority } from "../embedded-api/certificates.ts";
import type { Authority, Certificate } from "../embedded-api/certificates.ts";

const DAY_MS = 86_400_000;

function validity(): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
}

export function authority(commonName: string): Authority {
  return makeAuthority({ commonName, ...validity() });
}

/** For a client of that common name. */
export function issue(ca: Authority, commonName: string): Certificate {
  return issueFor(ca, { commonName, ...validity() });
}

/** For a server that answers to `kubernetes`, as every API server does. */
export function issueServing(ca: Authority): Certificate {
  return issueFor(ca, { commonName: "kubernetes", names: ["kubernetes"], ...validity() });
}
