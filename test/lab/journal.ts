/**
 * What the agents of a cluster logged since a scenario began: a node's agents share one file over all of
 * them.
 */
import type { Cluster, ClusterNode } from "./cluster.ts";

interface Entry {
  readonly ts: string;
  readonly level: string;
  readonly msg: string;
  /** Of "State changed": the state, as /status has it. */
  readonly state?: string;
  readonly prevState?: string;
  readonly reason?: string;
  /** Of a verdict of the sentinel: what it had asked by. */
  readonly by?: string;
  readonly outcome?: string;
  readonly err?: { readonly code?: string };
}

export class Journal {
  readonly #from: ReadonlyMap<ClusterNode, number>;

  /** From now on. */
  constructor(cluster: Cluster) {
    this.#from = new Map(cluster.nodes.map((node) => [node, node.agent?.log().length ?? 0]));
  }

  of(node: ClusterNode): readonly Entry[] {
    const text = node.agent?.log().slice(this.#from.get(node) ?? 0) ?? "";
    return text
      .split("\n")
      .flatMap((line): readonly Entry[] =>
        line.startsWith("{") && line.endsWith("}") ? [JSON.parse(line)] : [],
      );
  }

  /** The states that the node took, in order. */
  roles(node: ClusterNode): readonly string[] {
    return this.of(node).flatMap(({ msg, state }) =>
      msg.startsWith("State changed") && state !== undefined ? [state] : [],
    );
  }

  /** How often any of them found the holder dead on the wire. */
  proofs(): readonly Entry[] {
    return [...this.#from.keys()]
      .flatMap((node) => this.of(node))
      .filter(({ msg }) => msg.startsWith("The holder's kernel does not answer"));
  }
}
