/**
 * Writes and removes a person's wishes, which are annotations of the Lease: for the VIP's place
 * (`leasehold.dev/move-to`), and for API servers that get no new connections (`leasehold.dev/drain.SERVER`).
 */
import { drainKey } from "./drain.ts";
import { leasePath } from "./record-codec.ts";
import { MOVE_TO } from "./record.ts";
import { ask } from "./withdraw.ts";
import type { LeaseRead, WithdrawDeps } from "./withdraw.ts";

type Which = Omit<WithdrawDeps, "node">;

/** JSON Pointer of the annotation (RFC 6901: "/" in a name is "~1"). */
const POINTER = `/metadata/annotations/${MOVE_TO.replace("/", "~1")}`;

/** Sets the wish to `node`, whatever it was. Never rejects. */
export function pin(which: Which, node: string): Promise<LeaseRead> {
  return annotate(which, { [MOVE_TO]: node });
}

/** Asks that the API server, a canonical `ip:port`, gets no new connections. Never rejects. */
export function drain(which: Which, server: string): Promise<LeaseRead> {
  return annotate(which, { [drainKey(server)]: server });
}

/** Removes annotations, which are wishes of {@link drain}, by their keys. Absent ones do not count. Never rejects. */
export function undrain(which: Which, keys: readonly string[]): Promise<LeaseRead> {
  return annotate(which, Object.fromEntries(keys.map((key) => [key, null])));
}

/** RFC 7396: null removes a member. */
function annotate(
  { api, namespace, name }: Which,
  annotations: Readonly<Record<string, string | null>>,
): Promise<LeaseRead> {
  return ask(api, {
    method: "PATCH",
    path: leasePath(namespace, name),
    contentType: "application/merge-patch+json",
    body: { metadata: { annotations } },
  });
}

/** Removes the wish if it still names `node`. Another person's wish makes it fail. Never rejects. */
export function unpin({ api, namespace, name }: Which, node: string): Promise<LeaseRead> {
  return ask(api, {
    method: "PATCH",
    path: leasePath(namespace, name),
    contentType: "application/json-patch+json",
    body: [
      { op: "test", path: POINTER, value: node },
      { op: "remove", path: POINTER },
    ],
  });
}
