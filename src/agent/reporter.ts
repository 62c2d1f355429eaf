/**
 * Reports what the election does: in the log, in metrics, as Events on the Lease and on the Node, and to the
 * notify hooks.
 */
import { SUCCESSOR_HAS_IT } from "../election/master.ts";
import { AGENT_STOPS } from "../election/provisional.ts";
import { hasVip } from "../election/states.ts";
import type { AgentState } from "../election/states.ts";
import type { Report } from "../election/types.ts";
import { LeaseholdError } from "../errors.ts";
import type { EventRecorder, KubeEvent } from "../kube/events.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../ops/metrics.ts";

export interface ReporterDeps {
  readonly node: string;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "transition" | "holderSilent" | "addressConflict">;
  readonly events: EventRecorder;
  /** Returns this node's state and its faults as of now. */
  readonly now: () => { readonly state: AgentState; readonly faults: readonly string[] };
  readonly leaseUid: () => string | undefined;
  /** Returns how each API server failed that did not answer well, by its `ip:port`. */
  readonly apiServers: () => Readonly<Record<string, string>>;
  /** Called after each change of the state that people see. */
  readonly onState: (state: AgentState) => void;
}

export interface Reporter {
  /** Takes a report of the machine, while its effects run. */
  readonly report: (what: Report) => void;
  /** Looks at the state after a step: INIT, BACKUP and FAULT are one role, and differ in the facts only. */
  readonly observe: () => void;
}

const CONFLICT_OUTCOMES = {
  refused: "this node came later and does not claim it",
  defended: "this node holds it and says so",
  yielded: "this node lets it go",
} as const;
const CONFLICT_ACTIONS = { refused: "RefuseVIP", defended: "DefendVIP", yielded: "YieldVIP" } as const;

const HANDOVER_REASONS = {
  stop: AGENT_STOPS,
  fault: "this node has a fault",
  "move-to": "a person has asked for it (leasehold.dev/move-to)",
  preempt: "a better node preempts this one",
} as const;

export function createReporter(deps: ReporterDeps): Reporter {
  const { node, log, metrics, events, leaseUid } = deps;
  let seen: AgentState = "INIT";
  let leading = false;
  /** The node that was offered the VIP last, while this node has the VIP. */
  let offeredTo: string | null = null;

  function onLease(event: KubeEvent): void {
    events.record(event, { kind: "Lease", uid: leaseUid() });
  }

  function onNode(event: KubeEvent): void {
    events.record(event, { kind: "Node", name: node });
  }

  function onBoth(event: KubeEvent): void {
    onLease(event);
    onNode(event);
  }

  function report(what: Report): void {
    switch (what.kind) {
      case "transition":
        // A role BACKUP is INIT, BACKUP or FAULT, which the facts after this step tell.
        change(what.to === "BACKUP" ? afterStep() : what.to, what.reason);
        return announceLeader(what.to);
      case "handover":
        offeredTo = what.to;
        if (what.to === null)
          log.warn(
            { reason: what.reason },
            "No candidate took the offer, so the VIP stays on this node: see why the others are not eligible (leasehold status)",
          );
        else
          log.info(
            { reason: what.reason, why: HANDOVER_REASONS[what.reason], successor: what.to },
            "Offering the VIP to another node",
          );
        return;
      case "namesake":
        log.error(
          {
            err: new LeaseholdError(
              "LH_DUPLICATE_NODE",
              `another machine (instance ${what.instance}) uses the node name ${node}`,
            ),
          },
          "Another machine uses this node's name",
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
        log.warn(
          {},
          "A client other than the agents deleted or emptied the Lease, this node writes it again",
        );
        return;
      case "proof":
        metrics.holderSilent();
        log.warn(
          { holder: what.holder },
          "The holder's kernel does not answer for the VIP, and others do answer: this node takes the holder for dead",
        );
        return;
      case "prober":
        if (what.outcome === "waits")
          log.info({ mac: what.mac }, "Another machine asks for the VIP as well, waiting for it to take it");
        else
          log.warn(
            { mac: what.mac },
            "A machine goes on asking for the VIP and does not take it: this node does not wait for it any longer",
          );
        return;
      case "departed":
        log.info(
          { nodes: what.nodes },
          "This node took nodes that left the cluster out of the Lease; a node that comes back joins by itself",
        );
        return;
      case "other-owner":
        if (what.mac === null) log.info({}, "No other software has the VIP any more");
        else
          log.info(
            { mac: what.mac, peer: what.node },
            "Other software has the VIP: this node waits until it lets go",
          );
        return;
      case "conflict":
        return reportConflict(what);
      case "taken":
        log.warn(
          { mac: what.mac },
          "A machine has the VIP, and no API server tells this node whether it is a node of the cluster: this node does not take the VIP. Unless it is, find the machine by its MAC address",
        );
        return;
    }
  }

  function afterStep(): AgentState {
    const { state } = deps.now();
    return state === "INIT" || state === "FAULT" ? state : "BACKUP";
  }

  function observe(): void {
    const { state, faults } = deps.now();
    if (state === seen || hasVip(state) || hasVip(seen)) return;
    change(state, facts(state, faults));
  }

  function facts(state: AgentState, faults: readonly string[]): string {
    if (state === "FAULT") return `this node has a fault: ${faults.join(", ")}`;
    return seen === "FAULT" ? "this node has no fault any more" : "every check has reported";
  }

  function change(to: AgentState, reason: string): void {
    const from = seen;
    if (to === from) return;
    seen = to;
    // A change between MASTER and PROVISIONAL moves no VIP.
    if (!(hasVip(from) && hasVip(to))) metrics.transition(to, reason);
    tell(from, to, reason);
    if (!hasVip(to)) offeredTo = null;
    deps.onState(to);
  }

  function tell(from: AgentState, to: AgentState, reason: string): void {
    const fields = { state: to, prevState: from, reason };
    if (to === "PROVISIONAL") {
      log.warn(
        { ...fields, apiServers: deps.apiServers() },
        "State changed: this node has the VIP provisionally",
      );
      onBoth({
        type: "Warning",
        reason: "VIPProvisional",
        action: "ServeProvisionally",
        note: `${node} has the VIP and not the Lease: ${reason.replace(/^provisional: /, "")}`,
      });
    } else if (hasVip(from) && !hasVip(to)) tellLoss(from, to, reason);
    else if (to === "FAULT") {
      const { faults } = deps.now();
      log.warn({ ...fields, faults }, "State changed");
      onNode({
        type: "Warning",
        reason: "VIPFault",
        action: "StandAside",
        note: `${node} cannot take the VIP: ${faults.join(", ")}`,
      });
    } else log.info(fields, "State changed");
    if (!hasVip(from) && to === "MASTER")
      onNode({
        type: "Normal",
        reason: "VIPAcquired",
        action: "BindVIP",
        note: `${node} has the VIP: ${reason}`,
      });
  }

  /** A loss is planned where a successor took an offer, and where the agent stops. */
  function tellLoss(from: AgentState, to: AgentState, reason: string): void {
    const fields = { state: to, prevState: from, reason };
    const stops = to === "RELEASING" || to === "STOPPED" || reason === AGENT_STOPS;
    const handed =
      offeredTo !== null && (reason === `${offeredTo} holds the Lease` || reason === SUCCESSOR_HAS_IT);
    if (stops || handed) {
      log.info(fields, "State changed");
      const successor = handed ? ` to ${offeredTo}` : "";
      onNode({
        type: "Normal",
        reason: "VIPReleased",
        action: "ReleaseVIP",
        note: `${node} has given the VIP away${successor}: ${reason}`,
      });
      return;
    }
    const apiServers = deps.apiServers();
    log.warn({ ...fields, apiServers }, "State changed: this node lost the VIP");
    const servers = Object.entries(apiServers).map(([server, how]) => `${server} ${how}`);
    onBoth({
      type: "Warning",
      reason: "VIPLost",
      action: "ReleaseVIP",
      note: `${node} lost the VIP: ${reason}${servers.length === 0 ? "" : ` (${servers.join(", ")})`}`,
    });
  }

  function reportConflict({ mac: other, node: peer, outcome }: Extract<Report, { kind: "conflict" }>): void {
    metrics.addressConflict(other, peer);
    const message = `${peer ?? "a machine that is no candidate"} (${other}) has the VIP as well; ${CONFLICT_OUTCOMES[outcome]}`;
    const fields = { mac: other, peer, outcome };
    // Two candidates settle it by the election's rules.
    if (peer !== null) return log.warn(fields, "Another candidate claims the VIP");
    log.error({ ...fields, err: new LeaseholdError("LH_VIP_CONFLICT", message) }, "Address conflict");
    onBoth({
      type: "Warning",
      reason: "VIPConflict",
      action: CONFLICT_ACTIONS[outcome],
      note: `${node}: ${message}`,
    });
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
    onLease({ type: "Normal", reason: "LeaderElection", action, note });
  }

  return { report, observe };
}
