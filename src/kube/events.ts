/**
 * Writes Kubernetes Events on the Lease (`kubectl describe lease leasehold`), with client-go's reason
 * `LeaderElection`. They are best effort: nothing waits for one, and a flood of them is cut off.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { ApiClient } from "./api.ts";
import { formatMicroTime, statusMessage } from "./record-codec.ts";

const TIMEOUT_MS = 5000;
/** At most this many Events are sent at once, and one more every REFILL_MS. */
const BURST = 10;
const REFILL_MS = 10_000;
/** Limits of events.k8s.io/v1, in bytes. */
const MAX_NOTE = 1000;
const MAX_REASON = 128;

/** An Event on the Lease. Texts longer than the API's limits are cut. */
export interface LeaseEvent {
  readonly type: "Normal" | "Warning";
  /** UpperCamelCase. It is `LeaderElection` for changes of the holder, as in client-go. */
  readonly reason: string;
  /** UpperCamelCase, names what was done. */
  readonly action: string;
  /** One sentence, e.g. "n1 became leader". */
  readonly note: string;
}

export interface EventRecorderDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly leaseName: string;
  readonly node: string;
}

/** Sends Events on the Lease, best effort. */
export interface EventRecorder {
  /**
   * Sends the event without waiting for the outcome.
   * @param leaseUid the uid of the Lease when it is known: `kubectl describe` finds the event by it
   */
  record(event: LeaseEvent, leaseUid: string | undefined): void;
}

/** Creates a recorder for one Lease. */
export function createEventRecorder(deps: EventRecorderDeps): EventRecorder {
  const { api, clock, log, namespace, leaseName, node } = deps;
  let tokens = BURST;
  let refilledMs = clock.now();
  let serial = 0;
  let complained = false;

  function allowed(): boolean {
    const earned = Math.floor((clock.now() - refilledMs) / REFILL_MS);
    tokens = Math.min(BURST, tokens + earned);
    refilledMs += earned * REFILL_MS;
    if (tokens === 0) return false;
    tokens--;
    return true;
  }

  async function send(event: LeaseEvent, leaseUid: string | undefined): Promise<void> {
    const micros = BigInt(clock.wall().getTime()) * 1000n;
    const body = {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      // client-go names Events this way. The counter is added because two events may share a microsecond.
      metadata: {
        name: `${leaseName}.${micros.toString(16)}${(serial++ % 4096).toString(16).padStart(3, "0")}`,
        namespace,
      },
      eventTime: formatMicroTime(micros),
      type: event.type,
      reason: cut(event.reason, MAX_REASON),
      action: cut(event.action, MAX_REASON),
      note: cut(event.note, MAX_NOTE),
      reportingController: "leasehold.dev/agent",
      reportingInstance: cut(node, MAX_REASON),
      regarding: {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        name: leaseName,
        namespace,
        ...(leaseUid === undefined ? {} : { uid: leaseUid }),
      },
    };
    const path = `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
    const outcome = await api.call(
      { method: "POST", path, contentType: "application/json", body },
      TIMEOUT_MS,
    );
    // 409 means that a second try of the same request found that the first had been carried out.
    if (outcome.kind === "answer" && (outcome.response.status < 300 || outcome.response.status === 409))
      return;
    const why =
      outcome.kind === "answer"
        ? { status: outcome.response.status, message: statusMessage(outcome.response.body) }
        : { reason: outcome.message };
    if (outcome.kind === "answer" && !complained) {
      complained = true;
      log.warn(why, "The API refuses Events on the Lease, going on without them");
    } else {
      log.debug(why, "Event not recorded");
    }
  }

  return {
    record(event, leaseUid) {
      if (allowed()) void send(event, leaseUid);
      else log.debug({ eventReason: event.reason }, "Event dropped: there are too many");
    },
  };
}

/** Cuts the text to at most `bytes` of UTF-8 and never in the middle of a character. */
function cut(text: string, bytes: number): string {
  const buffer = Buffer.from(text, "utf8");
  if (buffer.length <= bytes) return text;
  let end = bytes;
  while (end > 0 && ((buffer[end] ?? 0) & 0xc0) === 0x80) end--;
  return buffer.toString("utf8", 0, end);
}
