/**
 * The states of an agent, as people see them. The log, `/status`, the metrics and the documentation use these
 * words, and each of them means the same everywhere. A candidate's annotation on the Lease has VRRP's four
 * states only, which agents of every version understand: see `vrrpState`.
 */
import { vrrpState } from "./eligibility.ts";
import type { Facts, Role } from "./types.ts";

/** Every state with its meaning, in the order of docs/architecture.md, which has the same table. */
export const AGENT_STATES = {
  INIT: "The agent has not read the Lease yet, or not every check has reported.",
  BACKUP: "The node may become holder when the Lease is vacant.",
  MASTER: "The node holds the Lease and has renewed it within the renew deadline.",
  PROVISIONAL: "The node has the VIP and does not hold the Lease, for the reason that is given.",
  FAULT: "The node has a fault of the next table, so it cannot become holder.",
  RELEASING: "The agent is stopping. It has let the VIP go, and may still be releasing the Lease.",
  STOPPED: "The agent takes no part in the election any more, and is about to exit.",
} as const;

export type AgentState = keyof typeof AGENT_STATES;

/** The states in which the node has the VIP. */
export function hasVip(state: AgentState): boolean {
  return state === "MASTER" || state === "PROVISIONAL";
}

/** Returns the state that people see. */
export function agentState(facts: Facts, role: Role): AgentState {
  switch (role.kind) {
    case "MASTER":
    case "PROVISIONAL":
    case "RELEASING":
    case "STOPPED":
      return role.kind;
    case "BACKUP":
      return vrrpState(facts, role);
  }
}
