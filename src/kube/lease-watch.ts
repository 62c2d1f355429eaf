/**
 * Watches the Lease, for speed only: correctness rests on the elector's own reads. It opens one stream after
 * the other until it is closed. If the server no longer has the resourceVersion (410), a read fetches a new
 * one.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { ApiClient } from "./api.ts";
import { isObject, parseLease } from "./record-codec.ts";
import type { LeaseRecord } from "./record.ts";
import type { Refusals } from "./refusals.ts";
import type { ReadOutcome } from "./store.ts";
import type { WatchHandlers } from "./transport.ts";

const READ_TIMEOUT_MS = 2000;
const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5000;
/**
 * A holder renews every second and candidates report every 10 s. A stream that is silent for this long is
 * opened again.
 */
const SILENT_MS = 30_000;
/** A stream that lived this long was a good one, so the next is opened without back-off. */
const SOUND_MS = 1000;

export interface LeaseWatchDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly name: string;
  readonly node: string;
  readonly collection: string;
  readonly readLease: (timeoutMs: number) => Promise<ReadOutcome>;
  readonly refusals: Pick<Refusals, "refused" | "taken">;
}

/** Starts to watch the Lease. `onRecord` gets each record, or null if the Lease is absent or was deleted. */
export function watchLease(
  deps: LeaseWatchDeps,
  onRecord: (record: LeaseRecord | null) => void,
): { close(): void } {
  const { api, clock, log, name, collection } = deps;
  let closed = false;
  let resourceVersion: string | undefined;
  let backoffMs = FIRST_BACKOFF_MS;
  let streams = 0;
  let pause: Timer | undefined;
  let stream: { close(): void } | undefined;

  async function start(): Promise<void> {
    if (resourceVersion === undefined) {
      const read = await deps.readLease(READ_TIMEOUT_MS);
      if (closed) return;
      if (read.kind !== "ok") return again({ sound: false });
      resourceVersion = read.record?.resourceVersion;
      onRecord(read.record);
    }
    open();
  }

  function open(): void {
    const startMs = clock.now();
    let over = false;
    const ended = (why: string, expired: boolean): void => {
      if (closed || over) return;
      over = true;
      log.debug({ reason: why }, "Lease watch ended");
      if (expired) resourceVersion = undefined;
      again({ sound: why === "end" && clock.now() - startMs >= SOUND_MS });
    };
    const handlers: WatchHandlers = {
      onEvent(type, object) {
        if (closed || over) return;
        if (type !== "ERROR") return take(type, object);
        // An ERROR event is the last of its stream, but the API does not promise that the stream ends with
        // it.
        ended("error event", isObject(object) && object["code"] === 410);
        stream?.close();
      },
      onEnd(reason) {
        // 410 means that the resourceVersion is too old. It answers what we asked and is not a refusal.
        if (reason.kind === "status" && reason.status >= 400 && reason.status !== 410 && !closed && !over) {
          deps.refusals.refused({ request: "watch", status: reason.status, message: "" });
        }
        if (reason.kind === "status") ended(`status ${reason.status}`, reason.status === 410);
        else ended(reason.kind === "error" ? reason.message : "end", false);
      },
    };
    stream = api.watch(watchPath(), SILENT_MS, handlers);
    if (over) stream.close();
  }

  function take(type: string, object: unknown): void {
    if (!isObject(object) || !isObject(object["metadata"])) return;
    deps.refusals.taken("watch");
    const { name: found, resourceVersion: version } = object["metadata"];
    if (type === "BOOKMARK") {
      if (typeof version === "string" && version !== "") resourceVersion = version;
      return;
    }
    const record = found === name ? parseLease(object) : undefined;
    if (record === undefined) return;
    resourceVersion = record.resourceVersion;
    backoffMs = FIRST_BACKOFF_MS;
    if (type === "DELETED") onRecord(null);
    else if (type === "ADDED" || type === "MODIFIED") onRecord(record);
  }

  function again({ sound }: { readonly sound: boolean }): void {
    pause = clock.after(sound ? 0 : backoffMs, () => void start());
    backoffMs = sound ? FIRST_BACKOFF_MS : Math.min(MAX_BACKOFF_MS, backoffMs * 2);
  }

  function watchPath(): string {
    const query = new URLSearchParams({ watch: "true", allowWatchBookmarks: "true" });
    query.set("fieldSelector", `metadata.name=${name}`);
    query.set("timeoutSeconds", String(50 + spread(deps.node, streams++)));
    // Without a resourceVersion (the Lease is absent) a watch begins with the objects that exist.
    if (resourceVersion !== undefined) query.set("resourceVersion", resourceVersion);
    return `${collection}?${query.toString()}`;
  }

  void start();
  return {
    close() {
      closed = true;
      pause?.cancel();
      stream?.close();
    },
  };
}

/**
 * Returns 0 to 20 seconds, so that the nodes' watches do not end together. The value follows from the name
 * and not from chance, so that a simulation can repeat it.
 */
function spread(node: string, round: number): number {
  let hash = round;
  for (let i = 0; i < node.length; i++) hash = (hash * 31 + node.charCodeAt(i)) >>> 0;
  return hash % 21;
}
