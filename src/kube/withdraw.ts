/**
 * Removes a node's annotation from the Lease when a person asks for it, so that no other node forwards
 * packets to that node any more. A drain of its API server ends with it. What the holder removes by itself is in election/departed.ts.
 */
import type { ApiClient } from "./api.ts";
import { drainsThatEnd } from "./drain.ts";
import { annotationPath } from "./lease-change.ts";
import { leasePath, parseLease, statusMessage } from "./record-codec.ts";
import type { LeaseRecord } from "./record.ts";
import { CANDIDATE_PREFIX } from "./record.ts";
import type { ApiRequest } from "./transport.ts";

/** What came of the removal. */
export type Withdrawal =
  | { readonly kind: "withdrawn" }
  /** There is no Lease, or it has no annotation of this node. */
  | { readonly kind: "unknown" }
  /** The annotation is not the expected one any more, and was left. */
  | { readonly kind: "changed" }
  | { readonly kind: "failed"; readonly message: string };

export interface WithdrawDeps {
  readonly api: Pick<ApiClient, "call">;
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  /** Removes the annotation only while it has this text. Default: whatever it says. */
  readonly expected?: string;
}

/** What reading the Lease found. */
export type LeaseRead =
  | { readonly kind: "lease"; readonly record: LeaseRecord }
  | Exclude<Withdrawal, { kind: "withdrawn" | "changed" }>;

/** Time-out of each of the two requests. */
const TIMEOUT_MS = 5_000;

/** Reads the Lease. `unknown`: the API server has no such Lease. */
export function readLease({
  api,
  namespace,
  name,
}: Pick<WithdrawDeps, "api" | "namespace" | "name">): Promise<LeaseRead> {
  return ask(api, { method: "GET", path: leasePath(namespace, name) });
}

/** Removes the node's annotation and checks that it is gone. Never rejects. */
export async function withdraw(deps: WithdrawDeps): Promise<Withdrawal> {
  const { api, namespace, name, node, expected } = deps;
  const path = leasePath(namespace, name);
  const key = `${CANDIDATE_PREFIX}${node}`;

  const before = await ask(api, { method: "GET", path });
  if (before.kind !== "lease") return before;
  const text = before.record.annotations[key];
  if (text === undefined) return { kind: "unknown" };
  if (expected !== undefined && text !== expected) return { kind: "changed" };
  const drains = drainsThatEnd(before.record, [node]);
  const after = await ask(api, {
    method: "PATCH",
    path,
    ...(expected === undefined
      ? removal([key, ...Object.keys(drains)])
      : removalOf({ [key]: expected, ...drains })),
  });
  if (after.kind === "failed" && expected !== undefined) {
    // A `test` that failed is answered with 422. Whether it did shows a read, as after a lost answer.
    const now = await ask(api, { method: "GET", path });
    const left = now.kind === "lease" ? now.record.annotations[key] : undefined;
    if (now.kind !== "lease" || left === expected) return after;
    return { kind: left === undefined ? "withdrawn" : "changed" };
  }
  if (after.kind !== "lease") return after;
  return after.record.annotations[key] === undefined
    ? { kind: "withdrawn" }
    : { kind: "failed", message: "the annotation is still there" };
}

/** RFC 7396: null removes a member. The patch needs no test, because nothing has to stay as it was. */
function removal(keys: readonly string[]): Pick<ApiRequest, "contentType" | "body"> {
  return {
    contentType: "application/merge-patch+json",
    body: { metadata: { annotations: Object.fromEntries(keys.map((key) => [key, null])) } },
  };
}

/** A JSON Patch (RFC 6902), whose `test` compares and swaps. */
function removalOf(texts: Readonly<Record<string, string>>): Pick<ApiRequest, "contentType" | "body"> {
  return {
    contentType: "application/json-patch+json",
    body: Object.entries(texts).flatMap(([key, value]) => [
      { op: "test", path: annotationPath(key), value },
      { op: "remove", path: annotationPath(key) },
    ]),
  };
}

/** Sends a request that a Lease answers. Never rejects. */
export async function ask(api: Pick<ApiClient, "call">, request: ApiRequest): Promise<LeaseRead> {
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
