/** What a staged incident is. The ten are in incidents.ts. */
import type { ClusterOptions, IncidentCluster, Node } from "./cluster.ts";

export interface Incident {
  /** What `npm run incident` is given. */
  readonly name: string;
  readonly options?: ClusterOptions;
  /** Breaks one thing in a cluster that is well. Resolves when the symptom can be seen. */
  readonly stage: (cluster: IncidentCluster) => Promise<Staged>;
}

/** An incident under way. Its end is that of the cluster, which is thrown away. */
export interface Staged {
  /** What alerts, colleagues or users report. It does not name the cause. */
  readonly symptom: readonly string[];
  /** The end that is asked for, in a sentence. */
  readonly goal: string;
  /** The node that is broken, or that the report is about. */
  readonly node: Node;
  /** Whether it is mended, by what kernels, etcd and the API say. What it throws counts as "not yet". */
  readonly solved: () => Promise<boolean>;
}
