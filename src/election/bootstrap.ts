/**
 * A control plane that is being made, or that comes back from a power failure, needs its address before there is an API server to ask: kubeadm waits for the
 * VIP, the agent's RBAC waits for kubeadm. So a node that has never seen the Lease, and that no API server lets read it, takes the VIP if nobody on
 * its wire has it, and says so to the Lease as soon as there is one.
 */
import { askWire } from "./contention.ts";
import { BALANCER_FAULT, faultsOf } from "./facts.ts";
import { becomeProvisional, BOOTSTRAP_HOLD_MS } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";

/** On a link where nobody was heard the wire's silence proves nothing: a switch port that spanning tree has not opened yet drops everything for up to 30 s. */
const ALONE_MS = 30_000;

/** Called while the Lease has never been seen: it cannot be read, or there is none and we may not make it. */
export function decideBootstrap(step: StepBuilder): void {
  const { state, nowMs } = step;
  if (!(state.readFailing || state.refusal !== null) || state.stopping !== null || state.namesake !== null || state.self.mac === "") return;
  // Before the first API server no balancer works.
  if (faultsOf(state).some((fault) => fault !== BALANCER_FAULT)) return;
  // It is bound here already, by the process before this one: to let it go and ask would only cost clients a second.
  if (state.adoptableUntilMs !== null) return becomeProvisional(step, { kind: "bootstrap", seen: null }, nowMs + BOOTSTRAP_HOLD_MS);
  if (!state.met && nowMs < state.startedAtMs + ALONE_MS) return step.wakeAt(state.startedAtMs + ALONE_MS);
  if (askWire(step, true) === "free") becomeProvisional(step, { kind: "bootstrap", seen: null }, nowMs + BOOTSTRAP_HOLD_MS);
}
