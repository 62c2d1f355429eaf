/**
 * Records an Event when an API server dies and when it is back: on the Lease, and on the Node whose API server
 * it is. Of all agents only the one that has the VIP does, so that each change is told once.
 */
import type { BackendStatus, Grade } from "../backends/backend.ts";
import type { EventRecorder, KubeEvent } from "../kube/events.ts";

export interface ApiServerEventsDeps {
  readonly node: string;
  readonly events: EventRecorder;
  readonly backends: () => readonly BackendStatus[];
  readonly hasVip: () => boolean;
  readonly leaseUid: () => string | undefined;
  /** Returns the name of the node that has this address; undefined where it is unknown. */
  readonly nodeAt: (host: string) => string | undefined;
}

/** Returns a function to be called after each change of the backends. */
export function reportApiServers(deps: ApiServerEventsDeps): () => void {
  const { node, events } = deps;
  const grades = new Map<string, Grade>();

  function record(event: KubeEvent, host: string): void {
    events.record(event, { kind: "Lease", uid: deps.leaseUid() });
    const name = deps.nodeAt(host);
    if (name !== undefined) events.record(event, { kind: "Node", name });
  }

  function compare({ id, host, grade, reason }: BackendStatus): void {
    const before = grades.get(id);
    // DRAIN is on the way to both.
    if (grade === "UNKNOWN" || grade === "DRAIN" || grade === before) return;
    grades.set(id, grade);
    if (before === undefined || !deps.hasVip()) return;
    record(
      grade === "DOWN"
        ? {
            type: "Warning",
            reason: "APIServerDown",
            action: "StopBalancing",
            note: `API server ${id} is DOWN for ${node}, which has the VIP: ${reason}`,
          }
        : {
            type: "Normal",
            reason: "APIServerUp",
            action: "StartBalancing",
            note: `API server ${id} is UP for ${node}, which has the VIP`,
          },
      host,
    );
  }

  return () => {
    const known = deps.backends();
    for (const backend of known) compare(backend);
    for (const id of grades.keys()) if (!known.some((backend) => backend.id === id)) grades.delete(id);
  };
}
