/**
 * Removes a node's annotation from the Lease, so that no other node forwards packets to it any more. It is
 * for a node that leaves the cluster. An agent never does this.
 */
import type { ApiClient } from "./api.ts";
import { leasePath, parseLease, statusMessage } from "./record-codec.ts";
import type { LeaseRecord } from "./record.ts";
import { CANDIDATE_PREFIX } from "./record.ts";
import type { ApiRequest } from "./transport.ts";

/** What came of the removal. */
export type Withdrawal =
  | { readonly kind: "withdrawn" }
  /** There is no Lease, or it has no annotation of this node. */
  | { readonly kind: "unknown" }
  | { readonly kind: "failed"; readonly message: string };

export interface WithdrawDeps {
  readonly api: Pick<ApiClient, "call">;
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
}

/** What reading the Lease found. */
export type LeaseRead =
  | { readonly kind: "lease"; readonly record: LeaseRecord }
  | Exclude<Withdrawal, { kind: "withdrawn" }>;

/** Time-out of each of the two requests. */
const TIMEOUT_MS = 5_000;

/** Reads the Lease. `unknown`: the API server has no such Lease. */
export function readLease({ api, namespace, name }: Omit<WithdrawDeps, "node">): Promise<LeaseRead> {
  return ask(api, { method: "GET", path: leasePath(namespace, name) });
}

/** Removes the node's annotation and checks that it is gone. Never rejects. */
export async function withdraw({ api, namespace, name, node }: WithdrawDeps): Promise<Withdrawal> {
  const path = leasePath(namespace, name);
  const key = `${CANDIDATE_PREFIX}${node}`;

  const before = await ask(api, { method: "GET", path });
  if (before.kind !== "lease") return before;
  if (before.record.annotations[key] === undefined) return { kind: "unknown" };
  // RFC 7396: null removes a member. The patch needs no test, because nothing has to stay as it was.
  const after = await ask(api, {
    method: "PATCH",
    path,
    contentType: "application/merge-patch+json",
    body: { metadata: { annotations: { [key]: null } } },
  });
  if (after.kind !== "lease") return after;
  return after.record.annotations[key] === undefined
    ? { kind: "withdrawn" }
    : { kind: "failed", message: "the annotation is still there" };
}

async function ask(api: Pick<ApiClient, "call">, request: ApiRequest): Promise<LeaseRead> {
  const outcome = await api.call(request, TIMEOUT_MS);
  if (outcome.kind === "no-answer") return { kind: "failed", message: outcome.message };
  const { server, status, body } = outcome.response;
  if (status === 404) return { kind: "unknown" };
  if (status !== 200) {
    const why = statusMessage(body);
    return { kind: "failed", message: `${server} answered ${status}${why === "" ? "" : `: ${why}`}` };
  }
  const record = parseLease(body);
  return record === undefined
    ? { kind: "failed", message: `${server} sent something that is no Lease` }
    : { kind: "lease", record };
}
