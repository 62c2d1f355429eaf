/** Explains what a person may take for a fault of the demo. Pure. */
import type { NodeName } from "./cluster.ts";

/** What the explanations need to know of a node. */
export interface Explained {
  readonly name: NodeName;
  readonly state: string | undefined;
  readonly faults: readonly string[];
  readonly hasPower: boolean;
}

const FAULTS: Readonly<Record<string, string>> = {
  unstable:
    "its link has flapped, so for 10 s it may not become holder (flap damping); each further time doubles that",
  interface: "its cable leads nowhere",
  balancer: "its balancer has no API server to send connections to",
  apiserver: "its API server does not answer",
  vip: "another program has the VIP there",
};

/** Ends the sentence "n1 is in FAULT: ...". */
export function explainFault({ faults }: Pick<Explained, "faults">): string {
  return faults.map((fault) => FAULTS[fault] ?? fault).join(", and ");
}

/** One sentence for each thing that is to be explained now. */
export function explain(nodes: readonly Explained[]): readonly string[] {
  // A node without power says nothing. What its agent said last is no master.
  const masters = nodes.filter(({ state, hasPower }) => state === "MASTER" && hasPower);
  return masters.length > 1
    ? [
        `${masters.map(({ name }) => name).join(" and ")} are both MASTER for a moment: a planned move. The new holder binds the VIP before the old one lets go`,
      ]
    : [];
}
