/** Says what an API server's refusal of a request on the Lease means, and what to do about it. Pure. */
import { plainText } from "./plain-text.ts";

/** kube-apiserver's words where RBAC, or another authorizer, forbids a request. */
const FORBIDDEN = /is forbidden: User "([^"]*)" cannot/;
/** Most characters of the API's own words. */
const MOST_WORDS = 120;

export interface RefusedRequest {
  /** HTTP status. Below 300: the API has written something else than was sent. */
  readonly status: number;
  /** The API's own words. */
  readonly message: string;
  /** The user that the API took the agent for; undefined where its credentials do not say so. */
  readonly user?: string | undefined;
}

/** Returns one sentence without a full stop, such as `403 on the Lease for user x: apply manifests/rbac.yaml`. */
export function refusalText({ status, message, user }: RefusedRequest): string {
  if (status < 300)
    return "the API changes what this node writes into the Lease: an admission webhook or policy does that (LH_LEASE_CHANGED)";
  switch (status) {
    case 401:
      return "401 on the Lease: the API servers do not accept the agent's credentials, see LH_KUBECONFIG in docs/operations.md";
    case 403: {
      const forbidden = FORBIDDEN.exec(message);
      const named = plainText(forbidden?.[1] ?? user ?? "", MOST_WORDS);
      const whom = named === "" ? "" : ` for user ${named}`;
      // RBAC is not what denies where an admission webhook or a quota does.
      if (forbidden === null && message !== "" && !/^forbidden$/i.test(message))
        return `403 on the Lease${whom}: ${plainText(message, MOST_WORDS)}`;
      return `403 on the Lease${whom}: apply manifests/rbac.yaml`;
    }
    case 429:
      return "429 on the Lease: the API servers have too many requests";
    default:
      return `${status} on the Lease${message === "" ? "" : `: ${plainText(message, MOST_WORDS)}`}`;
  }
}
