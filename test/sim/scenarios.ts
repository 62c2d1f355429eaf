/**
 * Histories that once broke something, or that only a deliberate hand composes. Each is a plan with a few
 * faults; the seed varies clocks, delays and losses, so one scenario is many timelines.
 */
import { DISTRUST, REWRITES } from "./plan.ts";
import type { Fault, Plan } from "./plan.ts";
import { Random } from "./random.ts";

export interface Scenario {
  /** What must not happen again, as a sentence. */
  readonly name: string;
  readonly faults: readonly Fault[];
  /** Base priorities; n1 holds when the faults begin (30 s) as it is the best, or has been for long. */
  readonly bases: readonly number[];
  readonly nopreempt: boolean;
  readonly profile?: Plan["profile"];
  readonly fastPath?: boolean;
  readonly probeMs?: number;
  readonly gateway?: boolean;
  readonly nopreemptStrict?: boolean;
  readonly lease?: Plan["lease"];
  readonly onApiLoss?: Plan["onApiLoss"];
  readonly preemptDelayMs?: number;
  readonly takeOver?: boolean;
  /** Instead of n1 first and the others later. */
  readonly startsMs?: readonly number[];
}

const everyServer = (
  how: "late" | "mute" | "deaf" | "hung",
  atMs: number,
  forMs: number,
  servers: readonly number[],
): readonly Fault[] => servers.map((server) => ({ atMs, kind: "server", server, how, ms: 3_900, forMs }));

const refuseAll = (status: number, forMs: number): readonly Fault[] =>
  [0, 1, 2].map((node) => ({ atMs: 40_000, kind: "refusal", node, status, forMs }));

const resumedInAnOutage: readonly Fault[] = [
  { atMs: 40_000, kind: "suspend", node: 0, forMs: 1_100 },
  { atMs: 41_050, kind: "outage", forMs: 8_000 },
];

export const SCENARIOS = {
  answersLostAfterAnOffer: {
    name: "a holder whose offer was taken, and who hears nothing more, lets the VIP go within a second",
    bases: [100, 90, 80],
    nopreempt: false,
    faults: [
      { atMs: 30_000, kind: "strike", on: "offer", who: "old", how: "deafen", delayMs: 1, forMs: 20_000 },
      ...everyServer("deaf", 30_000, 20_000, [0]),
      { atMs: 31_000, kind: "priority", node: 1, delta: 50, forMs: 60_000 },
    ],
  },
  killedAfterItsOffer: {
    name: "a holder that is killed between its offer and the claim leaves its address no longer than 2 s after the offer",
    bases: [100, 90],
    nopreempt: false,
    faults: [
      { atMs: 30_000, kind: "strike", on: "offer", who: "old", how: "crash", delayMs: 0.5, forMs: 20_000 },
      { atMs: 31_000, kind: "priority", node: 1, delta: 50, forMs: 60_000 },
    ],
  },
  deafAfterItsOfferAndKilled: {
    name: "nor does one that hears nothing of the claim and is killed just before it would have let go",
    bases: [100, 90, 80],
    nopreempt: false,
    faults: [
      { atMs: 30_000, kind: "strike", on: "offer", who: "old", how: "deafen", delayMs: 1, forMs: 20_000 },
      ...everyServer("deaf", 30_000, 20_000, [0]),
      { atMs: 30_000, kind: "strike", on: "claim", who: "old", how: "crash", delayMs: 800, forMs: 20_000 },
      { atMs: 31_000, kind: "priority", node: 1, delta: 50, forMs: 60_000 },
    ],
  },
  releaseOfAProcessThatHasGone: {
    name: "a release that arrives after the node was restarted takes nothing from its new process",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      // Its own API server is down: what it says waits in TCP's queues.
      { atMs: 29_900, kind: "server", server: 0, how: "down", ms: 0, forMs: 30_000 },
      { atMs: 29_900, kind: "isolate", node: 0, forMs: 5_000 },
      { atMs: 30_000, kind: "stop", node: 0, forMs: 500 },
    ],
  },
  restartedInFault: {
    name: "a holder that finds itself in FAULT when it is restarted unbinds before it releases",
    bases: [100, 90],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "crash", node: 0, forMs: 300 },
      { atMs: 30_100, kind: "check", node: 0, check: "exec", forMs: 5_000 },
    ],
  },
  strangersOffer: {
    name: "an offer that the holder did not make is withdrawn before a node that was away finds it",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "isolate", node: 1, forMs: 45_000 },
      { atMs: 48_000, kind: "person", does: { kind: "offer", to: "n2" } },
    ],
  },
  stopWithNobodyToTakeIt: {
    name: "the last healthy node unbinds before it releases",
    bases: [100, 90],
    nopreempt: true,
    faults: [
      { atMs: 25_000, kind: "check", node: 1, check: "exec", forMs: 60_000 },
      { atMs: 30_000, kind: "stop", node: 0, forMs: 5_000 },
    ],
  },
  oldNewsByWatch: {
    name: "what a watch held back for long does not unseat the present holder",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      ...everyServer("deaf", 25_000, 20_000, [1]),
      { atMs: 30_000, kind: "stop", node: 0, forMs: 3_000 },
      { atMs: 32_000, kind: "person", does: { kind: "move-to", to: "n2" } },
    ],
  },
  lateAnswersThenCutOff: {
    name: "a right counts from before the request, however late the answer comes",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      ...everyServer("late", 30_000, 6_000, [0, 1, 2]),
      { atMs: 33_900, kind: "isolate", node: 0, forMs: 20_000 },
    ],
  },
  ownServerHangs: {
    name: "a holder whose own API server hangs keeps the Lease through another",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "planned",
    faults: everyServer("hung", 30_000, 40_000, [0]),
  },
  quickRestart: {
    name: "a restart within the fence neither moves nor interrupts the VIP",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "planned",
    faults: [
      { atMs: 30_000, kind: "crash", node: 0, forMs: 1_200 },
      { atMs: 50_000, kind: "crash", node: 0, forMs: 1_600 },
    ],
  },
  everyMoveThereIs: {
    name: "move-to, preemption, SIGTERM and FAULT move the VIP without a gap",
    bases: [100, 90, 80, 70],
    nopreempt: false,
    profile: "planned",
    faults: [
      { atMs: 30_000, kind: "person", does: { kind: "move-to", to: "n3" } },
      { atMs: 50_000, kind: "person", does: { kind: "move-to", to: null } },
      { atMs: 70_000, kind: "priority", node: 3, delta: 50, forMs: 40_000 },
      { atMs: 90_000, kind: "stop", node: 3, forMs: 30_000 },
      { atMs: 110_000, kind: "check", node: 0, check: "balancer", forMs: 20_000 },
      { atMs: 150_000, kind: "stop", node: 0, forMs: 5_000 },
    ],
  },
  takenAndReleasedUnseen: {
    name: "a holder whose successor took the Lease and released it, unseen, announces again when it claims",
    bases: [100, 90],
    nopreempt: true,
    faults: [
      ...everyServer("hung", 25_000, 40_000, [0]),
      { atMs: 28_000, kind: "strike", on: "offer", who: "new", how: "stop", delayMs: 4, forMs: 500 },
      { atMs: 30_000, kind: "check", node: 0, check: "balancer", forMs: 20_000 },
    ],
  },
  killedAfterItsOfferAndRestarted: {
    name: "a process that is killed after its offer, restarted, and hears nothing, does not bind on the strength of its last renewal",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 28_000, kind: "strike", on: "offer", who: "old", how: "crash", delayMs: 7, forMs: 1_500 },
      { atMs: 28_000, kind: "strike", on: "claim", who: "old", how: "deafen", delayMs: 3, forMs: 6_000 },
      { atMs: 30_000, kind: "stop", node: 0, forMs: 5_000 },
    ],
  },
  emptiedWhileLingering: {
    name: "an old holder whose successor has been seen takes nothing back when the Lease is emptied a moment later",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "person", does: { kind: "move-to", to: "n2" } },
      { atMs: 30_100, kind: "person", does: { kind: "empty" } },
    ],
  },
  foreignHost: {
    name: "a foreign host that claims the VIP moves nothing, and when it is gone the neighbours are led back within ten seconds",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "planned",
    faults: [
      { atMs: 30_000, kind: "foreign", everyMs: 700, forMs: 20_000 },
      // The run goes on for two minutes after that.
      { atMs: 110_000, kind: "compact" },
    ],
  },
  forgedClaims: {
    name: "frames in another candidate's name take nothing from a holder whose renewals succeed, however slow the API is",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      ...[0, 1, 2].map((server): Fault => ({
        atMs: 30_000,
        kind: "server",
        server,
        how: "slow",
        ms: 700,
        forMs: 70_000,
      })),
      { atMs: 40_000, kind: "forged", node: 1, everyMs: 200, forMs: 60_000 },
    ],
  },
  forgedClaimsAndPowerLoss: {
    name: "frames in the other candidates' names that have gone on for long do not keep a lost holder from being replaced by proof",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    gateway: true,
    faults: [
      { atMs: 40_000, kind: "forged", node: 1, everyMs: 200, forMs: 60_000 },
      { atMs: 40_100, kind: "forged", node: 2, everyMs: 200, forMs: 60_000 },
      { atMs: 60_000, kind: "power", node: 0, forMs: 60_000 },
    ],
  },
  frozenAnnouncement: {
    name: "a node that thaws in the middle of an announcement, long replaced, lets go at once, and the neighbours are led back",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "stall", node: 0, forMs: 15_000 },
      { atMs: 30_100, kind: "flush", node: 0 },
      { atMs: 110_000, kind: "compact" },
    ],
  },
  suspended: {
    name: "a machine that was suspended past its right lets the VIP go at its first timer, whatever its kernel believes",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "suspend", node: 0, forMs: 3_000 },
      { atMs: 45_000, kind: "suspend", node: 0, forMs: 20_000 },
    ],
  },
  suspendedBeforeItsDeadline: {
    name: "a suspension that is over before the deadline does not put the deadline off",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "partition", mask: 1, layer: "routed", forMs: 20_000 },
      { atMs: 31_500, kind: "suspend", node: 0, forMs: 700 },
    ],
  },
  suspendedAndKilled: {
    name: "and if its agent dies before that, its kernel does so within what was left of the lifetime",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "suspend", node: 0, forMs: 20_000 },
      { atMs: 30_001, kind: "crash", node: 0, forMs: 40_000 },
    ],
  },
  twoOfOneNameAtOnce: {
    name: "two machines of one name that start at one moment never both hold",
    bases: [100, 90],
    nopreempt: true,
    faults: [{ atMs: 10, kind: "namesake", node: 0, forMs: 60_000 }],
  },
  cutOffAndReplacedByANamesake: {
    name: "a node that comes back and finds that another machine has its name, and the Lease, does not take it for its own",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "isolate", node: 0, forMs: 60_000 },
      { atMs: 31_000, kind: "namesake", node: 0, forMs: 120_000 },
      { atMs: 80_000, kind: "person", does: { kind: "move-to", to: "n1" } },
    ],
  },
  powerLoss: {
    name: "a holder that loses power is replaced as soon as its kernel is found silent",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [{ atMs: 80_000, kind: "power", node: 0, forMs: 60_000 }],
  },
  powerLossOfTheLeader: {
    name: "nor does it take longer where two holders do no harm, though etcd elects a leader at that moment",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    faults: [
      { atMs: 80_000, kind: "power", node: 0, forMs: 60_000 },
      { atMs: 80_000, kind: "leader", dead: false, forMs: 1_150 },
    ],
  },
  powerLossWithoutFastPath: {
    name: "without the fast path the claim is answered first",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: false,
    probeMs: 50,
    faults: [{ atMs: 80_000, kind: "power", node: 0, forMs: 60_000 }],
  },
  powerLossWithoutAWitness: {
    name: "a node that hears nobody else takes no holder for dead",
    bases: [100, 90],
    nopreempt: true,
    gateway: false,
    probeMs: 50,
    faults: [
      { atMs: 80_000, kind: "estranged", nodes: [0, 1], forMs: 20_000 },
      { atMs: 130_000, kind: "isolate", node: 0, forMs: 20_000 },
    ],
  },
  lostAndNeverHeard: {
    name: "a holder whose kernel was never heard is replaced when its Lease has run out",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 5_000, kind: "estranged", nodes: [0, 1], forMs: 75_000 },
      { atMs: 5_000, kind: "estranged", nodes: [0, 2], forMs: 75_000 },
      { atMs: 50_000, kind: "power", node: 0, forMs: 30_000 },
    ],
  },
  holderCutOff: {
    name: "a holder that is cut off from everybody is replaced at once and gone by its deadline",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [{ atMs: 80_000, kind: "isolate", node: 0, forMs: 30_000 }],
  },
  cutOffForAMoment: {
    name: "a holder that comes back with its right to the VIP, and finds another, lets it go within a second",
    bases: [100, 90, 80],
    nopreempt: true,
    probeMs: 50,
    faults: [
      { atMs: 80_000, kind: "isolate", node: 0, forMs: 900 },
      { atMs: 110_000, kind: "isolate", node: 1, forMs: 400 },
    ],
  },
  cutOffWithoutAClaim: {
    name: "a proof that was wrong is taken back when the holder answers, while no claim can be written",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 79_500, kind: "leader", dead: false, forMs: 5_500 },
      { atMs: 80_000, kind: "estranged", nodes: [0, 1], forMs: 1_500 },
    ],
  },
  claimLostWithTheLeader: {
    name: "one that serves by proof claims the Lease again when its first claim was lost with etcd's leader",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 80_000, kind: "power", node: 0, forMs: 30_000 },
      { atMs: 80_000, kind: "leader", dead: true, forMs: 3_200 },
    ],
  },
  claimLostWithTheLeaderAlone: {
    name: "one that serves by proof claims the Lease again when its first claim was lost with etcd's leader, and no other agent runs",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 75_000, kind: "crash", node: 2, forMs: 40_000 },
      { atMs: 80_000, kind: "power", node: 0, forMs: 30_000 },
      { atMs: 80_000, kind: "leader", dead: true, forMs: 3_200 },
    ],
  },
  allStoodStill: {
    name: "a holder that stood still, as all the others did, while etcd lost its quorum serves again within seconds",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: false,
    probeMs: 50,
    faults: [
      { atMs: 60_000, kind: "quorum", forMs: 40_000 },
      ...[0, 1, 2].map((node) => ({ atMs: 60_000, kind: "pause", node, forMs: 4_300 }) as const),
    ],
  },
  etcdLosesItsLeader: {
    name: "a holder whose renewal was lost with etcd's leader sends it again, and stays confirmed",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [0, 1, 2, 3, 4, 5].map((nth) => ({
      atMs: 40_000 + nth * 15_300,
      kind: "leader",
      dead: true,
      forMs: 1_450,
    })),
  },
  lostAfterARestart: {
    name: "a holder that is lost just after its agent was restarted is replaced as fast as any other",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 80_000, kind: "crash", node: 0, forMs: 1_000 },
      { atMs: 81_400, kind: "power", node: 0, forMs: 20_000 },
    ],
  },
  cutFromTheRouter: {
    name: "a node that is cut off with one other asks it before it says that nobody is on its link",
    bases: [150, 78, 97],
    nopreempt: false,
    profile: "persistent",
    faults: [{ atMs: 60_000, kind: "partition", mask: 5, layer: "segment", forMs: 300_000 }],
  },
  frozenHolder: {
    name: "a holder whose agent is frozen or killed is not dead: its kernel answers",
    bases: [100, 90, 80],
    nopreempt: true,
    probeMs: 50,
    faults: [
      { atMs: 80_000, kind: "pause", node: 0, forMs: 3_000 },
      { atMs: 95_000, kind: "crash", node: 0, forMs: 1_500 },
    ],
  },
  estranged: {
    name: "a cut between the holder and one candidate alone moves the VIP once at most",
    bases: [100, 90, 80],
    nopreempt: true,
    probeMs: 50,
    faults: [{ atMs: 80_000, kind: "estranged", nodes: [0, 1], forMs: 40_000 }],
  },
  deafCandidate: {
    name: "so does a candidate that does not hear the holder and is heard by it",
    bases: [100, 90, 80],
    nopreempt: true,
    probeMs: 50,
    faults: [{ atMs: 80_000, kind: "one-way", from: 0, to: 1, layer: "segment", forMs: 40_000 }],
  },
  flappingLink: {
    name: "a link that flaps every second for ten minutes moves the VIP twice at most",
    bases: [100, 90, 80],
    nopreempt: false,
    profile: "persistent",
    faults: [{ atMs: 60_000, kind: "flap", node: 0, everyMs: 1_000, downMs: 400, forMs: 600_000 }],
  },
  flappingWithoutALeader: {
    name: "nor does one that begins to flap while claims have to wait for another leader of etcd",
    bases: [100, 90, 80],
    nopreempt: false,
    profile: "persistent",
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 60_000, kind: "flap", node: 0, everyMs: 1_000, downMs: 500, forMs: 60_000 },
      { atMs: 60_000, kind: "leader", dead: false, forMs: 1_200 },
    ],
  },
  allRefuse: {
    name: "while every API server refuses the VIP stays where it is, for minutes",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [{ atMs: 40_000, kind: "outage", forMs: 120_000 }],
  },
  noQuorum: {
    name: "nor does it move while etcd has no quorum",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [{ atMs: 40_000, kind: "quorum", forMs: 120_000 }],
  },
  noQuorumAndKilled: {
    name: "a holder that holds on and is killed lets the kernel count, and after it another one serves when it can",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 40_000, kind: "quorum", forMs: 60_000 },
      { atMs: 70_000, kind: "crash", node: 0, forMs: 60_000 },
    ],
  },
  heldThenCutOff: {
    name: "a holder that holds on and is then cut off lets go with its link",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 40_000, kind: "quorum", forMs: 60_000 },
      { atMs: 70_000, kind: "isolate", node: 0, forMs: 60_000 },
      { atMs: 70_500, kind: "server", server: 1, how: "deaf", ms: 0, forMs: 60_000 },
    ],
  },
  apiServersStart: {
    name: "a holder keeps the VIP while API servers that were down listen and do not serve yet",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 40_000, kind: "outage", forMs: 30_000 },
      ...everyServer("hung", 60_000, 5_000, [0, 1, 2]),
    ],
  },
  apiServersNeverStart: {
    name: "and where they stay silent, until another one that can write claims the VIP",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 40_000, kind: "outage", forMs: 60_000 },
      ...everyServer("hung", 60_000, 30_000, [0, 1, 2]),
    ],
  },
  credentialsRevoked: {
    name: "a holder that the API refuses by its own word has the VIP until another one claims it, and no moment longer",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [{ atMs: 40_000, kind: "refusal", node: 0, status: 403, forMs: 60_000 }],
  },
  cutOffFromTheApi: {
    name: "a holder that only its network to the API servers leaves has the VIP until another one claims it",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [{ atMs: 40_000, kind: "partition", mask: 1, layer: "routed", forMs: 60_000 }],
  },
  tooManyRequests: {
    name: "so does one that is told that it asks too much (429): others can write",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 40_000, kind: "refusal", node: 0, status: 429, forMs: 120_000 },
      // The watch that it had would go on to tell it of the next holder.
      ...[0, 1, 2].map(
        (server) => ({ atMs: 40_500, kind: "server", server, how: "torn", ms: 0, forMs: 0 }) as const,
      ),
    ],
  },
  allRefused: {
    name: "when every credential is refused at once, the VIP stays, for minutes",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: refuseAll(403, 120_000),
  },
  refusedAndRestarted: {
    name: "and when the holder dies meanwhile, or all agents are started again, another one serves",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: [
      ...refuseAll(401, 180_000),
      { atMs: 70_000, kind: "power", node: 0, forMs: 60_000 },
      ...[0, 1, 2].map((node) => ({ atMs: 160_000 + node, kind: "crash", node, forMs: 8_000 }) as const),
    ],
  },
  allDistrusted: {
    name: "so it is when no agent trusts the API servers' certificates",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: [...refuseAll(DISTRUST, 120_000), { atMs: 80_000, kind: "power", node: 0, forMs: 60_000 }],
  },
  webhookDenies: {
    name: "when a webhook denies every write of the Lease, the VIP stays, and another one serves when the holder dies",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: [
      { atMs: 40_000, kind: "admission", status: 403, forMs: 180_000 },
      { atMs: 80_000, kind: "power", node: 0, forMs: 60_000 },
    ],
  },
  webhookFailsAndAllRestart: {
    name: "when a webhook fails with 500 and all agents are restarted, one of them serves",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: [
      { atMs: 40_000, kind: "admission", status: 500, forMs: 180_000 },
      ...[0, 1, 2].map((node) => ({ atMs: 80_000 + node, kind: "crash", node, forMs: 8_000 }) as const),
      ...[0, 1, 2].map((node) => ({ atMs: 140_000 + node, kind: "crash", node, forMs: 900 }) as const),
    ],
  },
  webhookRewrites: {
    name: "when a webhook puts another holder into every write of the Lease, the VIP stays, and another one serves when the holder dies",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: [
      { atMs: 40_000, kind: "admission", status: REWRITES, forMs: 180_000 },
      { atMs: 80_000, kind: "power", node: 0, forMs: 60_000 },
    ],
  },
  webhookNamesANode: {
    name: "when such a webhook puts a node's own name into the Lease, that node is not confirmed by another one's write",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: [
      { atMs: 40_000, kind: "admission", status: REWRITES, holder: "n2", forMs: 180_000 },
      { atMs: 80_000, kind: "power", node: 0, forMs: 60_000 },
      { atMs: 110_000, kind: "pause", node: 1, forMs: 20_000 },
    ],
  },
  webhookRewritesAndAllRestart: {
    name: "when such a webhook is there and all agents are restarted, one of them serves",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    faults: [
      { atMs: 40_000, kind: "admission", status: REWRITES, forMs: 180_000 },
      ...[0, 1, 2].map((node) => ({ atMs: 80_000 + node, kind: "crash", node, forMs: 8_000 }) as const),
      ...[0, 1, 2].map((node) => ({ atMs: 140_000 + node, kind: "crash", node, forMs: 900 }) as const),
    ],
  },
  refusedWithRelease: {
    name: "with `release` a holder that is refused is gone by its deadline, and serves when it is not refused any more",
    bases: [100, 90, 80],
    nopreempt: true,
    profile: "refused",
    onApiLoss: "release",
    faults: refuseAll(403, 60_000),
  },
  refusedWithHold: {
    name: "with `hold` a holder that is refused has the VIP until it is told of another holder",
    bases: [80, 90, 100],
    nopreempt: true,
    profile: "refused",
    onApiLoss: "hold",
    faults: [{ atMs: 40_000, kind: "refusal", node: 0, status: 403, forMs: 60_000 }],
  },
  firstNode: {
    name: "the first node of a cluster has the VIP before there is an API server, where it hears its router",
    bases: [100],
    nopreempt: true,
    lease: "absent",
    gateway: true,
    faults: [
      { atMs: 0, kind: "outage", forMs: 70_000 },
      { atMs: 0, kind: "refusal", node: 0, status: 403, forMs: 80_000 },
    ],
  },
  firstNodeAlone: {
    name: "and after 30 s where it hears nobody",
    bases: [100],
    nopreempt: true,
    lease: "absent",
    gateway: false,
    faults: [{ atMs: 0, kind: "outage", forMs: 70_000 }],
  },
  joinsMeanwhile: {
    name: "nodes that join before there is an API server find the VIP taken",
    bases: [100, 150, 120],
    nopreempt: true,
    lease: "absent",
    faults: [
      { atMs: 0, kind: "outage", forMs: 60_000 },
      ...[0, 1, 2].map((node) => ({ atMs: 0, kind: "refusal", node, status: 404, forMs: 70_000 }) as const),
    ],
  },
  allAtOnce: {
    name: "nodes that are switched on at one moment do not all take the VIP",
    bases: [100, 100, 100],
    nopreempt: true,
    startsMs: [10, 12, 14],
    faults: [{ atMs: 0, kind: "outage", forMs: 70_000 }],
  },
  wholeClusterBack: {
    name: "after a power failure of all the VIP is there before the API, once",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [0, 1, 2].map((node) => ({ atMs: 40_000 + node, kind: "power", node, forMs: 20_000 }) as const),
  },
  holderNeverHeard: {
    name: "a holder that a candidate has never heard is not taken for dead by it",
    bases: [100, 90, 80],
    nopreempt: true,
    probeMs: 50,
    faults: [{ atMs: 10_000, kind: "estranged", nodes: [0, 1], forMs: 60_000 }],
  },
  minorityTakesOver: {
    name: "one that takes over by proof, on the side that cannot claim, gives way when the cut heals",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 80_000, kind: "partition", mask: 2, layer: "routed", forMs: 40_000 },
      { atMs: 80_000, kind: "estranged", nodes: [0, 1], forMs: 40_000 },
    ],
  },
  twoWithoutAnApi: {
    name: "two that were cut from each other and took the VIP without an API find out when they meet",
    bases: [100, 90],
    nopreempt: true,
    lease: "absent",
    startsMs: [100, 5_000],
    faults: [
      { atMs: 0, kind: "outage", forMs: 150_000 },
      { atMs: 4_000, kind: "estranged", nodes: [0, 1], forMs: 20_000 },
    ],
  },
  misledUnheard: {
    name: "neighbours that heard a claim which the holder could not hear are led back by its next announcement",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 79_000, kind: "refusal", node: 1, status: 403, forMs: 60_000 },
      { atMs: 80_000, kind: "estranged", nodes: [0, 1], forMs: 2_000 },
      { atMs: 170_000, kind: "compact" },
    ],
  },
  heardAgain: {
    name: "one that serves without the Lease on the other side of a cut, and was restarted there, gives way within a second when the cut heals",
    bases: [100, 90, 80, 70, 60],
    nopreempt: true,
    faults: [
      { atMs: 40_000, kind: "partition", mask: 24, layer: "both", forMs: 40_000 },
      { atMs: 68_000, kind: "crash", node: 3, forMs: 900 },
      { atMs: 68_000, kind: "crash", node: 4, forMs: 900 },
      // It learns by reads alone that the holder renews, and reads every 2 s.
      ...everyServer("deaf", 70_000, 20_000, [0, 1, 2, 3, 4]),
    ],
  },
  switchedOnWithoutARouter: {
    name: "nodes that know of no neighbour, and have no API server, hear each other ask and serve",
    bases: [100, 90, 80],
    nopreempt: true,
    lease: "absent",
    gateway: false,
    startsMs: [100, 4_000, 20_000],
    faults: [{ atMs: 0, kind: "outage", forMs: 70_000 }],
  },
  healthyOnesCameLate: {
    name: "a node with a light fault serves when the healthy ones do not claim: they were restarted, and wait for the Lease from the start",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 30_000, kind: "check", node: 1, check: "balancer", forMs: 60_000 },
      { atMs: 38_000, kind: "crash", node: 2, forMs: 10_000 },
      { atMs: 40_000, kind: "power", node: 0, forMs: 50_000 },
    ],
  },
  bootstrapBehindACut: {
    name: "a node that took the VIP without an API server, behind a cut, asks the wire when it first reads the Lease",
    bases: [100, 90, 80],
    nopreempt: true,
    lease: "absent",
    startsMs: [100, 300, 500],
    gateway: false,
    faults: [
      { atMs: 1_500, kind: "isolate", node: 0, forMs: 30_000 },
      ...everyServer("deaf", 25_000, 20_000, [0, 1, 2]),
    ],
  },
  cutOffOnItsWireOnly: {
    name: "a holder that is alone on its link, and still says that it is eligible, is not offered the VIP back",
    bases: [100, 90, 80],
    nopreempt: false,
    profile: "persistent",
    faults: [{ atMs: 60_000, kind: "partition", mask: 1, layer: "segment", forMs: 700_000 }],
  },
  manyBetterNodesWait: {
    name: "after a wrong proof of death the VIP goes back to the best node, and not to each better one in turn",
    bases: [150, 60, 80, 100, 120],
    nopreempt: false,
    preemptDelayMs: 9_800,
    profile: "persistent",
    faults: [{ atMs: 60_000, kind: "one-way", from: 1, to: 0, layer: "segment", forMs: 40_000 }],
  },
  slowFlap: {
    name: "a link that goes down every 15 s moves the VIP once",
    bases: [100, 90, 80],
    nopreempt: false,
    profile: "persistent",
    faults: [{ atMs: 60_000, kind: "flap", node: 0, everyMs: 15_000, downMs: 200, forMs: 150_000 }],
  },
  frozenWithinARefresh: {
    name: "a holder that is frozen within a refresh, goes on for a moment and is frozen again leaves its address 2 s at most",
    bases: [100, 90],
    nopreempt: true,
    faults: [
      { atMs: 60_000, kind: "stall", node: 0, forMs: 3_300 },
      { atMs: 61_000, kind: "pause", node: 0, forMs: 20_000 },
    ],
  },
  askedBeforeTheCutHealed: {
    name: "a node that finds the API servers silent asks the wire again: the holder is back from behind a cut",
    bases: [100, 90],
    nopreempt: true,
    lease: "absent",
    startsMs: [100, 5_000],
    faults: [
      { atMs: 0, kind: "refusal", node: 0, status: 403, forMs: 60_000 },
      { atMs: 30_000, kind: "estranged", nodes: [0, 1], forMs: 3_700 },
      ...everyServer("hung", 30_500, 20_000, [0, 1]),
    ],
  },
  claimedJustBeforeTheApiWasGone: {
    name: "a stranger's claim that the holder may not answer yet is answered also when the API is gone for a moment",
    bases: [100, 90, 80],
    nopreempt: true,
    faults: [
      { atMs: 60_000, kind: "foreign", everyMs: 700, forMs: 8_000 },
      { atMs: 61_000, kind: "estranged", nodes: [1, 2], forMs: 5_000 },
      { atMs: 65_900, kind: "outage", forMs: 3_700 },
    ],
  },
  foreignHostFirst: {
    name: "a foreign host that has the VIP before anybody starts is not fought with, and when it is gone the VIP is served",
    bases: [100, 90, 80],
    nopreempt: true,
    lease: "shipped",
    faults: [{ atMs: 0, kind: "foreign", everyMs: 5_000, forMs: 40_000 }],
  },
  takenOver: {
    name: "a VIP is taken over from a foreign host within a second, and given back when it returns",
    bases: [100, 90, 80],
    nopreempt: false,
    takeOver: true,
    lease: "shipped",
    startsMs: [5_000, 5_500, 6_000],
    faults: [
      { atMs: 0, kind: "foreign", everyMs: 60_000, forMs: 40_000 },
      { atMs: 70_000, kind: "foreign", everyMs: 60_000, forMs: 30_000 },
      { atMs: 130_000, kind: "foreign", everyMs: 3_000, forMs: 30_000 },
    ],
  },
  takenOverOnItsMachines: {
    name: "a VIP is taken over from other software on the nodes' own machines, which hands it from one to the other",
    bases: [100, 90, 80],
    nopreempt: false,
    takeOver: true,
    lease: "shipped",
    startsMs: [5_000, 5_500, 6_000],
    faults: [
      { atMs: 0, kind: "squatter", node: 0, everyMs: 60_000, forMs: 40_000 },
      { atMs: 40_500, kind: "squatter", node: 1, everyMs: 60_000, forMs: 20_000 },
      { atMs: 90_000, kind: "squatter", node: 2, everyMs: 60_000, forMs: 20_000 },
      { atMs: 140_000, kind: "squatter", node: 0, everyMs: 60_000, forMs: 20_000 },
    ],
  },
  takenOverByAMachineWithoutItsAgent: {
    name: "every node stands by for other software on a machine whose agent was killed as MASTER, and so does that agent when it is back",
    bases: [100, 90, 80],
    nopreempt: true,
    takeOver: true,
    lease: "shipped",
    startsMs: [5_000, 5_500, 6_000],
    faults: [
      { atMs: 40_000, kind: "crash", node: 0, forMs: 40_000 },
      { atMs: 44_000, kind: "squatter", node: 0, everyMs: 60_000, forMs: 60_000 },
    ],
  },
  takenOverWhileItFlaps: {
    name: "other software that comes and goes is given way to each time",
    bases: [100, 90, 80],
    nopreempt: true,
    takeOver: true,
    lease: "shipped",
    faults: [
      ...Array.from({ length: 12 }, (_, n): Fault => ({
        atMs: 40_000 + n * 2_500,
        kind: n % 3 === 0 ? "squatter" : "foreign",
        node: n % 2,
        everyMs: 60_000,
        forMs: 900 + n * 100,
      })),
      { atMs: 72_000, kind: "crash", node: 0, forMs: 1_000 },
    ],
  },
  withdrawnOfferIsTaken: {
    name: "a holder whose successor takes the offer that it is withdrawing keeps the VIP until that one has bound it",
    bases: [100, 90, 80],
    nopreempt: false,
    profile: "planned",
    // While the offer is under way the holder is the best again.
    faults: Array.from({ length: 24 }, (_, n): Fault => ({
      atMs: 40_000 + n * 15_000,
      kind: "priority",
      node: 0,
      delta: -15,
      forMs: 3 + n * 0.5,
    })),
  },
  provenByOneThatCannotClaim: {
    name: "a node that serves by proof of death, and whose claim is not answered, gives way within a second to the one that took the holder's offer",
    bases: [100, 95, 90],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 39_500, kind: "partition", mask: 2, layer: "routed", forMs: 15_000 },
      { atMs: 40_000, kind: "link", node: 0, api: false, forMs: 10_000 },
    ],
  },
  provenAndServedByAnother: {
    name: "candidates that cannot write the Lease take nothing by proof of death while another one of them serves",
    bases: [100, 90, 80, 70],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    gateway: true,
    profile: "refused",
    faults: [
      { atMs: 40_000, kind: "admission", status: 500, forMs: 60_000 },
      { atMs: 42_000, kind: "power", node: 0, forMs: 40_000 },
    ],
  },
  namedByAWebhook: {
    name: "a node whose name a webhook puts beside the instance of the holder serves when that one has lost power",
    bases: [100, 90],
    nopreempt: true,
    profile: "refused",
    faults: [
      { atMs: 40_000, kind: "admission", status: 200, holder: "n2", forMs: 100_000 },
      { atMs: 70_000, kind: "power", node: 0, forMs: 60_000 },
    ],
  },
  aloneAfterItsLinkFlapped: {
    name: "a node whose link has flapped serves again when it is the only one, though its agent was restarted and has never read the Lease",
    bases: [100, 90],
    nopreempt: true,
    faults: [
      { atMs: 40_000, kind: "power", node: 0, forMs: 120_000 },
      { atMs: 50_000, kind: "crash", node: 1, forMs: 3_000 },
      { atMs: 55_000, kind: "flap", node: 1, everyMs: 3_000, downMs: 1_000, forMs: 16_000 },
    ],
  },
  deletedWhileAllWereAlone: {
    name: "nodes that heard nobody when the Lease was deleted ask one another again, and one of them serves",
    bases: [100, 90],
    nopreempt: true,
    gateway: false,
    faults: [
      // They learn of it a minute later.
      ...everyServer("deaf", 39_000, 61_000, [0, 1]),
      { atMs: 40_000, kind: "person", does: { kind: "delete" } },
      { atMs: 40_020, kind: "quorum", forMs: 60_000 },
      { atMs: 41_000, kind: "partition", mask: 1, layer: "segment", forMs: 79_000 },
    ],
  },
  linkLostAndWatchesSilent: {
    name: "a holder without a link gives the VIP to a candidate whose watch is silent",
    bases: [100, 90],
    nopreempt: true,
    fastPath: false,
    probeMs: 500,
    faults: [
      ...everyServer("deaf", 39_000, 60_000, [0, 1]),
      { atMs: 40_000, kind: "link", node: 0, api: false, forMs: 60_000 },
    ],
  },
  emptiedAsACutHeals: {
    name: "a node that serves behind a cut leaves the Lease to its holder when the cut heals, though a person has just emptied it",
    bases: [100, 90, 80, 70, 60],
    nopreempt: true,
    gateway: true,
    faults: [
      { atMs: 40_000, kind: "partition", mask: 24, layer: "both", forMs: 40_000 },
      { atMs: 79_600, kind: "person", does: { kind: "empty" } },
    ],
  },
  serversRestartAsTheHolderDies: {
    name: "a claim by proof of death that every living server has refused is sent to them again, though the dead one is silent",
    bases: [100, 90, 80, 70, 60],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 60_000, kind: "power", node: 0, forMs: 40_000 },
      { atMs: 60_100, kind: "outage", forMs: 700 },
    ],
  },
  waitsAndAsks: {
    name: "a node that has to wait before it may serve keeps no other one from it, though it asks the wire meanwhile",
    bases: [100, 90, 80, 70],
    nopreempt: true,
    profile: "refused",
    faults: [
      ...[0, 1, 2, 3].map((node): Fault => ({
        atMs: 40_000,
        kind: "refusal",
        node,
        status: 403,
        forMs: 90_000,
      })),
      // n2 serves, whom the Lease does not name.
      { atMs: 42_000, kind: "power", node: 0, forMs: 80_000 },
      { atMs: 66_000, kind: "pause", node: 2, forMs: 11_000 },
      { atMs: 70_000, kind: "stop", node: 1, forMs: 50_000 },
    ],
  },
  faultyAndRestarted: {
    name: "a holder in FAULT that is not displaced keeps the VIP when its agent is restarted",
    bases: [100, 90],
    nopreempt: true,
    profile: "planned",
    nopreemptStrict: true,
    faults: [
      { atMs: 40_000, kind: "check", node: 0, check: "exec", forMs: 60_000 },
      { atMs: 60_000, kind: "crash", node: 0, forMs: 1_200 },
    ],
  },
  unknownBehindACut: {
    name: "a node that no Lease names finds out that a holder has the VIP as well, though that one may not answer it yet",
    bases: [100, 90, 80],
    nopreempt: true,
    gateway: true,
    profile: "birth",
    lease: "shipped",
    startsMs: [0, 15_000, 15_500],
    faults: [
      { atMs: 0, kind: "refusal", node: 0, status: 401, forMs: 100_000 },
      ...[1, 2].map((node): Fault => ({ atMs: 45_000, kind: "estranged", nodes: [0, node], forMs: 20_000 })),
      { atMs: 60_000, kind: "outage", forMs: 3_600 },
    ],
  },
  betterThanTheLeaseSays: {
    name: "of two that serve without an API one gives way, though its priority has risen since the Lease could be written",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: [
      { atMs: 40_000, kind: "outage", forMs: 40_000 },
      { atMs: 41_000, kind: "estranged", nodes: [1, 2], forMs: 17_000 },
      { atMs: 42_000, kind: "crash", node: 0, forMs: 60_000 },
      { atMs: 50_000, kind: "priority", node: 2, delta: 20, forMs: 40_000 },
    ],
  },
  resumedInAnOutage: {
    name: "a holder that was suspended and replaced, and that no API server tells so, gives way to the better one at its renew deadline",
    bases: [100, 100, 100],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: resumedInAnOutage,
  },
  resumedInAnOutageAndBetter: {
    name: "so does the one that has replaced it when it is the worse one",
    bases: [100, 90, 80],
    nopreempt: true,
    fastPath: true,
    probeMs: 50,
    faults: resumedInAnOutage,
  },
} satisfies Readonly<Record<string, Scenario>>;

export function scenarioPlan(scenario: Scenario, seed: string): Plan {
  const random = new Random(`scenario/${scenario.name}/${seed}`);
  const wire = random.fork("wire");
  const endMs = Math.max(
    ...scenario.faults.map((fault) => fault.atMs + ("forMs" in fault ? fault.forMs : 0)),
  );
  return {
    seed,
    profile: scenario.profile ?? "chaos",
    nodes: scenario.bases.map((base, index) => ({
      base,
      rate: random.chance(0.4) ? random.pick([0.95, 1.05]) : random.between(0.95, 1.05),
      wallOffsetMs: random.between(-3_600_000, 3_600_000),
      // n1 has the Lease to itself at first: it holds also where nobody preempts.
      startMs: scenario.startsMs?.[index] ?? (index === 0 ? 0 : random.between(15_000, 17_000)),
    })),
    nopreempt: scenario.nopreempt,
    nopreemptStrict: scenario.nopreemptStrict ?? false,
    preemptDelayMs: scenario.preemptDelayMs ?? 0,
    vips: ["10.0.0.100"],
    fastPath: scenario.fastPath ?? wire.chance(0.5),
    probeMs: scenario.probeMs ?? wire.pick([50, 250]),
    gateway: scenario.gateway ?? true,
    lease: scenario.lease ?? "shipped",
    onApiLoss: scenario.onApiLoss ?? "auto",
    takeOver: scenario.takeOver ?? false,
    faults: scenario.faults,
    lengthMs: endMs + 60_000,
  };
}
