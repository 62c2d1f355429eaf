/**
 * Writes and removes a person's wish for the VIP's place: the Lease's annotation `leasehold.dev/move-to`. The
 * agents read it and never change it.
 */
import { leasePath } from "./record-codec.ts";
import { MOVE_TO } from "./record.ts";
import { ask } from "./withdraw.ts";
import type { LeaseRead, WithdrawDeps } from "./withdraw.ts";

type Which = Omit<WithdrawDeps, "node">;

/** JSON Pointer of the annotation (RFC 6901: "/" in a name is "~1"). */
const POINTER = `/metadata/annotations/${MOVE_TO.replace("/", "~1")}`;

/** Sets the wish to `node`, whatever it was. Never rejects. */
export function pin({ api, namespace, name }: Which, node: string): Promise<LeaseRead> {
  return ask(api, {
    method: "PATCH",
    path: leasePath(namespace, name),
    contentType: "application/merge-patch+json",
    body: { metadata: { annotations: { [MOVE_TO]: node } } },
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
