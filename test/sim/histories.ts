/**
 * Six short histories that show how Leasehold behaves. `golden/` has the timeline of each, docs/timelines.md
 * shows them, and golden.test.ts plays them again. Clocks are ideal and every delay has its middle value, so
 * that nothing is left to chance.
 */
import type { Fault, Plan } from "./plan.ts";

/** Something that happens to the cluster from outside, told in the words that the timeline prints. */
interface Incident {
  readonly fault: Fault;
  /** Whom the timeline names: the machine that it happens to, or the one who does it. */
  readonly at: string;
  /** undefined: not worth a line. */
  readonly begins?: string;
  /** Printed when the fault's time is over; undefined when it ends by itself, or when that can be seen. */
  readonly ends?: string;
}

export interface History {
  readonly title: string;
  /** Two or three sentences: what the history shows, and which lines to look at. */
  readonly lookAt: string;
  readonly nodes: readonly { readonly base: number; readonly startMs: number }[];
  readonly lease: Plan["lease"];
  readonly incidents: readonly Incident[];
  /** The timeline shows this part of the run, in ms of simulated time. Its seconds count from `fromMs`. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** By then every node has started, and has had the 20 answers of the VIP that a proof of death needs. */
const SETTLED_MS = 20_000;

/** n1 starts first, so that it is MASTER when the history begins. */
const SETTLED = {
  nodes: [
    { base: 100, startMs: 0 },
    { base: 90, startMs: 5_000 },
    { base: 80, startMs: 6_000 },
  ],
  lease: "shipped",
  fromMs: SETTLED_MS,
} as const;

function moveTo(atMs: number, to: string | null): Fault {
  return { atMs, kind: "person", does: { kind: "move-to", to } };
}

export const HISTORIES = {
  "planned-move": {
    ...SETTLED,
    title: "A planned move",
    lookAt:
      "Look at the column VIP: it is never empty, because the next holder binds the VIP before the last " +
      "one unbinds it. A person asks for the first move. The second one begins when an agent stops, as " +
      "for an upgrade. Both have the same steps: offer, claim, bind, unbind.",
    incidents: [
      { fault: moveTo(SETTLED_MS, "n2"), at: "kubectl", begins: "annotates the Lease: move-to n2" },
      { fault: moveTo(SETTLED_MS + 10_000, null), at: "kubectl", begins: "removes the annotation move-to" },
      {
        fault: { atMs: SETTLED_MS + 15_000, kind: "stop", node: 1, forMs: 5_000 },
        at: "n2",
        begins: "the agent gets SIGTERM",
      },
    ],
    untilMs: SETTLED_MS + 25_000,
  },
  "power-loss": {
    ...SETTLED,
    title: "The holder loses power",
    lookAt:
      "No machine answers for the VIP between the loss of power and the announcement by n2. " +
      "n2 binds the VIP as soon as it has the proof, and its claim is written a moment later. " +
      "n1 comes back as BACKUP. It takes over when n2 loses power as well.",
    incidents: [
      {
        fault: { atMs: SETTLED_MS, kind: "power", node: 0, forMs: 20_000 },
        at: "n1",
        begins: "the machine loses power",
        ends: "the machine has power again",
      },
      {
        fault: { atMs: SETTLED_MS + 30_000, kind: "power", node: 1, forMs: 20_000 },
        at: "n2",
        begins: "the machine loses power",
      },
    ],
    untilMs: SETTLED_MS + 40_000,
  },
  "cut-link": {
    ...SETTLED,
    title: "The holder is cut off",
    lookAt:
      "A switch fails between n1 and all other machines, while the link of n1 stays up. To clients this " +
      "is like a loss of power, and n2 takes over as quickly. Look at what n1 does: it lets the VIP go by " +
      "itself, because it hears no other machine. Until then n1 has the VIP as well, but no client reaches " +
      "n1, so the column VIP does not name it. When the switch carries its frames again, the API refuses " +
      "the writes that n1 sent meanwhile. n1 is unstable for 10 s, and BACKUP after that.",
    incidents: [
      {
        fault: { atMs: SETTLED_MS, kind: "isolate", node: 0, forMs: 20_000 },
        at: "switch",
        begins: "carries nothing to n1 or from it",
        ends: "carries frames of n1 again",
      },
    ],
    untilMs: SETTLED_MS + 40_000,
  },
  "api-loss": {
    ...SETTLED,
    title: "The API is lost: for all nodes, then for the holder alone",
    lookAt:
      "Compare the two halves. While every API server refuses connections, no other node can claim, so the " +
      "holder keeps the VIP past its renew deadline. When only the holder is cut off from the API, it keeps " +
      "the VIP as well, so that clients see no gap. Another node claims the Lease when it has run out, and " +
      "the holder lets the VIP go when it hears that.",
    incidents: [
      {
        fault: { atMs: SETTLED_MS, kind: "outage", forMs: 30_000 },
        at: "API",
        begins: "every API server is stopped",
        ends: "every API server serves again",
      },
      {
        fault: { atMs: SETTLED_MS + 45_000, kind: "partition", mask: 1, layer: "routed", forMs: 30_000 },
        at: "router",
        begins: "carries nothing between n1 and the API servers of n2 and n3",
        ends: "carries packets of n1 again",
      },
    ],
    untilMs: SETTLED_MS + 90_000,
  },
  "same-name": {
    ...SETTLED,
    title: "Two machines of one name",
    lookAt:
      "A second machine starts under the holder's node name, as a cloned disk does. The timeline calls it " +
      "n1'. It is in FAULT while n1 is alive, because the Lease names a machine and not only a node. When " +
      "n1 has been silent for 30 s, n1' becomes a candidate. n1 then has to wait until n1' is silent.",
    incidents: [
      {
        fault: { atMs: SETTLED_MS, kind: "namesake", node: 0, forMs: 100_000 },
        at: "n1'",
        begins: "is switched on, with the node name n1",
        ends: "is switched off",
      },
      {
        fault: { atMs: SETTLED_MS + 15_000, kind: "power", node: 0, forMs: 60_000 },
        at: "n1",
        begins: "the machine loses power",
        ends: "the machine has power again",
      },
    ],
    untilMs: SETTLED_MS + 150_000,
  },
  bootstrap: {
    title: "Bootstrap",
    lookAt:
      "`kubeadm init` needs the VIP before there is an API server that could store a Lease. So n1 asks the " +
      "wire, finds that no machine answers for the VIP, and binds it as PROVISIONAL. It claims the Lease " +
      "as soon as the API lets it. Each node that joins later finds a holder, and is BACKUP.",
    nodes: [
      { base: 100, startMs: 0 },
      { base: 100, startMs: 50_000 },
      { base: 100, startMs: 60_000 },
    ],
    lease: "absent",
    incidents: [
      {
        fault: { atMs: 0, kind: "outage", forMs: 20_000 },
        at: "API",
        begins: "there is no API server yet",
        ends: "kubeadm has started the first API server",
      },
      {
        fault: { atMs: 0, kind: "refusal", node: 0, status: 403, forMs: 30_000 },
        at: "kubectl",
        ends: "applies the RBAC rules: the agent may write the Lease",
      },
    ],
    fromMs: 0,
    untilMs: 75_000,
  },
} as const satisfies Readonly<Record<string, History>>;

export function planOf(history: History): Plan {
  return {
    seed: history.title,
    profile: "chaos",
    nodes: history.nodes.map(({ base, startMs }) => ({ base, rate: 1, wallOffsetMs: 0, startMs })),
    nopreempt: true,
    nopreemptStrict: false,
    onApiLoss: "auto",
    preemptDelayMs: 0,
    vips: ["10.0.0.100"],
    fastPath: true,
    probeMs: 50,
    gateway: true,
    lease: history.lease,
    faults: history.incidents.map(({ fault }) => fault),
    lengthMs: history.untilMs,
  };
}
