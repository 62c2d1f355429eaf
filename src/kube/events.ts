/**
 * Writes Kubernetes Events on the Lease (`kubectl describe lease leasehold`) and on Nodes (`kubectl describe
 * node`). A change of the holder has client-go's reason `LeaderElection`. They are best effort: nothing waits
 * for one, an Event that repeats becomes a series with a count, and a flood is cut off.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { ApiClient, CallOutcome } from "./api.ts";
import { formatMicroTime, statusMessage } from "./record-codec.ts";

const TIMEOUT_MS = 5000;
/** At most this many Events are sent at once, and one more every REFILL_MS. */
const BURST = 10;
const REFILL_MS = 10_000;
/** An Event that comes again within this time joins the series of the first one, as with client-go. */
const SERIES_MS = 6 * 60_000;
/** The count of a series is written this often at most. */
const UPDATE_MS = 30_000;
/** An Event that no API server took is sent again this much later, for as long as UNSENT_MS. */
const RETRY_MS = 10_000;
const UNSENT_MS = 5 * 60_000;
/** Most series that are counted at one time. */
const MOST_SERIES = 64;
/** Limits of events.k8s.io/v1, in bytes. */
const MAX_NOTE = 1000;
const MAX_REASON = 128;
/** The API wants Events on an object without a namespace, such as a Node, in this one. */
const NODES_NAMESPACE = "default";

/** An Event. Texts longer than the API's limits are cut. */
export interface KubeEvent {
  readonly type: "Normal" | "Warning";
  /** UpperCamelCase. It is `LeaderElection` for changes of the holder, as in client-go. */
  readonly reason: string;
  /** UpperCamelCase, names what was done. */
  readonly action: string;
  /** One sentence, e.g. "n1 became leader". */
  readonly note: string;
}

/** What an Event is about. */
export type Regarding =
  /** The Lease. `uid`: its uid when it is known. `kubectl describe` finds the Event by it. */
  | { readonly kind: "Lease"; readonly uid: string | undefined }
  /** A Node, by its name. */
  | { readonly kind: "Node"; readonly name: string };

export interface EventRecorderDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly leaseName: string;
  readonly node: string;
}

/** Sends Events, best effort. */
export interface EventRecorder {
  /** Sends the Event without waiting for the outcome, or counts it if it repeats an earlier one. */
  record(event: KubeEvent, regarding: Regarding): void;
}

/** Events that repeat, which the API shows as one with a count. */
interface Series {
  readonly namespace: string;
  readonly name: string;
  /** When the first one happened, microseconds since 1970. */
  readonly atMicros: bigint;
  /** The API has taken it. */
  isThere: boolean;
  count: number;
  lastMs: number;
  /** When the Event was last sent. */
  sentMs: number;
  timer: Timer | undefined;
}

/** Creates a recorder for one Lease. */
export function createEventRecorder(deps: EventRecorderDeps): EventRecorder {
  const { api, clock, log, namespace, leaseName, node } = deps;
  const series = new Map<string, Series>();
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

  const nowMicros = (): bigint => BigInt(clock.wall().getTime()) * 1000n;
  const pathOf = (place: string): string =>
    `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(place)}/events`;

  function objectOf(regarding: Regarding): Readonly<Record<string, string>> {
    // The kubelet's Events on its Node have the node's name as the uid, and `kubectl describe node` asks for
    // that.
    if (regarding.kind === "Node")
      return { apiVersion: "v1", kind: "Node", name: regarding.name, uid: regarding.name };
    return {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      name: leaseName,
      namespace,
      ...(regarding.uid === undefined ? {} : { uid: regarding.uid }),
    };
  }

  /**
   * Sends the Event, and again while no API server answers: an Event about a lost VIP is often made when none
   * does.
   */
  async function create(key: string, event: KubeEvent, regarding: Regarding, one: Series): Promise<void> {
    const body = {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { name: one.name, namespace: one.namespace },
      eventTime: formatMicroTime(one.atMicros),
      type: event.type,
      reason: cut(event.reason, MAX_REASON),
      action: cut(event.action, MAX_REASON),
      note: cut(event.note, MAX_NOTE),
      reportingController: "leasehold.dev/agent",
      reportingInstance: cut(node, MAX_REASON),
      regarding: objectOf(regarding),
    };
    const outcome = await api.call(
      { method: "POST", path: pathOf(one.namespace), contentType: "application/json", body },
      TIMEOUT_MS,
    );
    if (isDown(outcome) && clock.now() < one.sentMs + UNSENT_MS) {
      log.debug({ eventReason: event.reason }, "An Event was not recorded, the agent sends it again");
      clock.after(RETRY_MS, () => void create(key, event, regarding, one));
      return;
    }
    // 409 means that a second try of the same request found that the first had been carried out.
    const taken = tell(outcome, [409]);
    if (taken) one.isThere = true;
    else series.delete(key);
  }

  /** Writes the count. An Event that has expired meanwhile (404) stays away: it is an hour old. */
  async function update({ namespace: place, name, count }: Series): Promise<void> {
    const outcome = await api.call(
      {
        method: "PATCH",
        path: `${pathOf(place)}/${name}`,
        contentType: "application/merge-patch+json",
        body: { series: { count, lastObservedTime: formatMicroTime(nowMicros()) } },
      },
      TIMEOUT_MS,
    );
    tell(outcome, [404]);
  }

  /** Returns whether the API took it, and logs it if not. */
  function tell(outcome: CallOutcome, harmless: readonly number[]): boolean {
    if (
      outcome.kind === "answer" &&
      (outcome.response.status < 300 || harmless.includes(outcome.response.status))
    )
      return true;
    const why =
      outcome.kind === "answer"
        ? { status: outcome.response.status, message: statusMessage(outcome.response.body) }
        : { reason: outcome.message };
    if (outcome.kind === "answer" && !complained) {
      complained = true;
      // Only RBAC is mended by the manifest. Other refusals are those of the Lease, whose line says what to do.
      log.warn(
        outcome.response.status === 403 ? { ...why, hint: "apply manifests/rbac.yaml" } : why,
        "The API refuses this agent's Events, and the agent goes on without them",
      );
    } else {
      log.debug(why, "An Event was not recorded");
    }
    return false;
  }

  /** The same Event again: the count grows, and is written when it was not written for a while. */
  function again(one: Series): void {
    one.count++;
    one.lastMs = clock.now();
    one.timer ??= clock.after(Math.max(0, one.sentMs + UPDATE_MS - one.lastMs), () => {
      one.timer = undefined;
      // One that is not there yet is counted on.
      if (!one.isThere) return;
      one.sentMs = clock.now();
      void update(one);
    });
  }

  function forgetOld(): void {
    const nowMs = clock.now();
    for (const [key, one] of series) {
      const isOld = nowMs >= one.lastMs + SERIES_MS;
      if (isOld && one.timer === undefined) series.delete(key);
    }
  }

  return {
    record(event, regarding) {
      const place = regarding.kind === "Node" ? NODES_NAMESPACE : namespace;
      const about = regarding.kind === "Node" ? regarding.name : leaseName;
      const key = JSON.stringify([regarding.kind, about, event.type, event.reason, event.action, event.note]);
      forgetOld();
      const known = series.get(key);
      if (known !== undefined) return again(known);
      if (series.size >= MOST_SERIES || !allowed()) {
        log.debug({ eventReason: event.reason }, "An Event was dropped, because there are too many");
        return;
      }
      // client-go names Events this way. The counter is added because two events may share a microsecond.
      const atMicros = nowMicros();
      const name = `${about}.${atMicros.toString(16)}${(serial++ % 4096).toString(16).padStart(3, "0")}`;
      const nowMs = clock.now();
      const one: Series = {
        namespace: place,
        name,
        atMicros,
        isThere: false,
        count: 1,
        lastMs: nowMs,
        sentMs: nowMs,
        timer: undefined,
      };
      series.set(key, one);
      void create(key, event, regarding, one);
    },
  };
}

/** No server answered, or the one that did could not ask etcd. */
function isDown(outcome: CallOutcome): boolean {
  return outcome.kind === "no-answer" || outcome.response.status >= 500 || outcome.response.status === 429;
}

/** Cuts the text to at most `bytes` of UTF-8 and never in the middle of a character. */
function cut(text: string, bytes: number): string {
  const buffer = Buffer.from(text, "utf8");
  if (buffer.length <= bytes) return text;
  let end = bytes;
  while (end > 0 && ((buffer[end] ?? 0) & 0xc0) === 0x80) end--;
  return buffer.toString("utf8", 0, end);
}
