/** Reports what the election does: in the log, in metrics, and as Events on the Lease. */
import type { Report } from "../election/types.ts";
import { LeaseholdError } from "../errors.ts";
import type { EventRecorder } from "../kube/events.ts";
import type { VrrpState } from "../kube/record.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../ops/metrics.ts";

export interface ReporterDeps {
  readonly node: string;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "transition" | "holderSilent" | "addressConflict">;
  readonly events: EventRecorder;
  /** Returns this node's state as of now. */
  readonly state: () => VrrpState;
  readonly leaseUid: () => string | undefined;
}

const CONFLICT_OUTCOMES = {
  refused: "this node came later and does not claim it",
  defended: "this node holds it and says so",
  yielded: "this node lets it go",
} as const;
const CONFLICT_ACTIONS = { refused: "RefuseVIP", defended: "DefendVIP", yielded: "YieldVIP" } as const;

export function createReporter({
  node,
  log,
  metrics,
  events,
  state,
  leaseUid,
}: ReporterDeps): (what: Report) => void {
  let seen: VrrpState = "INIT";
  let leading = false;

  function report(what: Report): void {
    switch (what.kind) {
      case "transition":
        log.info({ state: what.to, prevState: what.from, reason: what.reason }, "State changed");
        // The state is MASTER with or without a Lease, so a change between the two is no change of the
        // holder.
        if (seen !== state()) metrics.transition(state(), what.reason);
        seen = state();
        return announceLeader(what.to);
      case "handover":
        if (what.to === null) log.warn({ reason: what.reason }, "No successor took the VIP, it stays here");
        else log.info({ reason: what.reason, successor: what.to }, "Offering the VIP");
        return;
      case "namesake":
        log.error(
          {
            err: new LeaseholdError(
              "LH_DUPLICATE_NODE",
              `another machine (instance ${what.instance}) uses the node name ${node}`,
            ),
          },
          "Node name is in use",
        );
        return;
      case "vip-mismatch":
        log.error(
          {
            err: new LeaseholdError(
              "LH_VIP_MISMATCH",
              `this node serves ${what.own.join(", ")}, and ${what.nodes.join(", ")} ${what.nodes.length === 1 ? "serves" : "serve"} ${what.vips.join(", ")}`,
            ),
          },
          "The nodes have different VIPs",
        );
        return;
      case "recreate":
        log.warn({}, "The Lease was deleted or emptied by a client other than the agents, writing it again");
        return;
      case "proof":
        metrics.holderSilent();
        log.warn(
          { holder: what.holder },
          "The holder's kernel does not answer for the VIP, and others do answer: taking it for dead",
        );
        return;
      case "departed":
        log.info(
          { nodes: what.nodes },
          "Nodes that left the cluster were taken out of the Lease; a node that comes back joins by itself",
        );
        return;
      case "conflict":
        return reportConflict(what);
    }
  }

  function reportConflict({ mac: other, node: peer, outcome }: Extract<Report, { kind: "conflict" }>): void {
    metrics.addressConflict();
    const message = `${peer ?? "a machine that is no candidate"} (${other}) has the VIP as well; ${CONFLICT_OUTCOMES[outcome]}`;
    const fields = { mac: other, peer, outcome };
    // Two candidates settle it by the election's rules.
    if (peer !== null) return log.warn(fields, "Another candidate claims the VIP");
    log.error({ ...fields, err: new LeaseholdError("LH_VIP_CONFLICT", message) }, "Address conflict");
    events.record(
      {
        type: "Warning",
        reason: "VIPConflict",
        action: CONFLICT_ACTIONS[outcome],
        note: `${node}: ${message}`,
      },
      leaseUid(),
    );
  }

  /**
   * Records an Event once for each term, as client-go does. A provisional holder has not lost its Lease yet,
   * or has not won it.
   */
  function announceLeader(role: Extract<Report, { kind: "transition" }>["to"]): void {
    if (role === "PROVISIONAL" || leading === (role === "MASTER")) return;
    leading = role === "MASTER";
    const [action, note] = leading
      ? ["BecomeLeader", `${node} became leader`]
      : ["StopLeading", `${node} stopped leading`];
    events.record({ type: "Normal", reason: "LeaderElection", action, note }, leaseUid());
  }

  return report;
}
