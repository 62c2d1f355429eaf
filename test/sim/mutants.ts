/**
 * Deliberate faults in the product's code, one at a time: a simulation that finds none of them proves
 * nothing. Each replaces one piece of text in one module while it is loaded; the files stay as they are. A
 * mutant whose text is gone fails its test, and is adapted.
 */
import { registerHooks } from "node:module";
import type { Profile } from "./plan.ts";
import { SCENARIOS } from "./scenarios.ts";
import type { Scenario } from "./scenarios.ts";

export interface Mutant {
  readonly name: string;
  /** Path below src/. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** A second defence against the same, in the same file: one alone is enough, so both have to go. */
  readonly also?: { readonly from: string; readonly to: string };
  /** Where it shows soonest. */
  readonly shows: Profile | Scenario;
  /** Any of these invariants is broken by it. */
  readonly caughtBy: readonly string[];
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "compares the renewTime that another node wrote with its own wall clock",
    file: "election/vacancy.ts",
    from: "const freeAtMs = view.changedAtMs + Math.max(settings.leaseDurationMs, record.leaseDurationMs);",
    to: "const freeAtMs = view.changedAtMs + Math.max(settings.leaseDurationMs, record.leaseDurationMs) + (Date.parse(record.renewTime ?? '') - Date.UTC(2026, 0, 1)) - view.changedAtMs;",
    shows: "fence",
    caughtBy: ["claimsOnlyWhatIsFree", "healthyHoldersStay", "boundInTime", "atMostOneSecondInTwoPlaces"],
  },
  {
    name: "refreshes the address after the deadline",
    file: "vip/vip.ts",
    from: "if (clock.now() < held.untilMs) return true;",
    to: "if (clock.now() < held.untilMs + 60_000) return true;",
    shows: "fence",
    caughtBy: [
      "theKernelIsTheFence",
      "claimsOnlyWhatIsFree",
      "oneConfirmedMaster",
      "atMostOneSecondInTwoPlaces",
    ],
  },
  {
    name: "releases before it unbinds",
    file: "election/stopping.ts",
    from: "  unbindVip(step);\n  const ours = view.record?.holder === step.settings.node;",
    to: "  const ours = view.record?.holder === step.settings.node;",
    shows: SCENARIOS.stopWithNobodyToTakeIt,
    caughtBy: ["releasesLeaveNoAddress"],
  },
  {
    name: "claims without naming the record it replaces",
    file: "kube/lease-change.ts",
    from: "      renewTime: from.renewTime,\n      ...(offered",
    to: "      ...(offered",
    shows: "fence",
    caughtBy: ["compareAndSwapDecides"],
  },
  {
    name: "believes records in whatever order they come",
    file: "election/lease-view.ts",
    from: "return version(record) > version(view.record);",
    to: "return version(record) !== version(view.record);",
    shows: SCENARIOS.oldNewsByWatch,
    caughtBy: [
      "holdersHold",
      "plannedMovesLoseNoTime",
      "oneConfirmedMaster",
      "unbindsBeforeAnythingElse",
      "endsWellAndWithTheBest",
    ],
  },
  {
    name: "takes a change of annotations for a sign of the holder's life",
    file: "election/lease-view.ts",
    from: "const changed = view === null || renewed;",
    to: "const changed = view === null || before?.resourceVersion !== record?.resourceVersion || renewed;",
    shows: SCENARIOS.lostAndNeverHeard,
    caughtBy: ["boundInTime", "servedWhileANodeLives"],
  },
  {
    name: "lets an equal priority preempt",
    file: "election/ranking.ts",
    from: "return challenger.effective > holder.effective;",
    to: "return challenger.effective >= holder.effective;",
    shows: "planned",
    caughtBy: ["healthyHoldersStay"],
  },
  {
    name: "lets go without an offer, and others claim in its stead",
    file: "election/handover.ts",
    from: "nowMs - view.offerAtMs < OFFER_FRESH_MS",
    to: "nowMs - view.offerAtMs < -1",
    shows: "planned",
    caughtBy: ["plannedMovesLoseNoTime", "endsWellAndWithTheBest"],
  },
  {
    name: "does not enforce its own deadline",
    file: "election/elector.ts",
    from: "return vip.hold(effect.untilMs);",
    to: "return vip.hold(effect.untilMs + 8_000);",
    shows: "fence",
    caughtBy: [
      "theKernelIsTheFence",
      "claimsOnlyWhatIsFree",
      "oneConfirmedMaster",
      "atMostOneSecondInTwoPlaces",
    ],
  },
  {
    name: "waits for the Lease to run out when its claim by proof was lost",
    file: "election/provisional.ts",
    from: "return view.record?.rewritten === true || holderIsDead(facts) ? atOnce : free.freeAtMs;",
    to: "return view.record?.rewritten === true || (holderIsDead(facts) && nowMs <= facts.sinceMs + 2_500) ? atOnce : free.freeAtMs;",
    also: {
      from: "function freeAt({ settings, facts }: StepBuilder",
      to: "function freeAt({ settings, facts, nowMs }: StepBuilder",
    },
    shows: SCENARIOS.claimLostWithTheLeaderAlone,
    caughtBy: ["serverByProofHasTheLease"],
  },
  {
    name: "takes the name that a webhook has put into its own write for another holder",
    file: "kube/lease-store.ts",
    from: "return renewTime !== null && ownTimes.includes(renewTime) ? { ...record, rewritten: true } : record;",
    to: "return record;",
    shows: SCENARIOS.webhookRewrites,
    caughtBy: ["servedWhileANodeLives"],
  },
  {
    name: "waits for the time-out of a claim before it knows that it cannot write",
    file: "election/step.ts",
    from: "const unwritten = this.facts.lease.unwritten ?? { sinceMs: this.nowMs, why: null };",
    to: "const { unwritten } = this.facts.lease;",
    shows: SCENARIOS.allStoodStill,
    caughtBy: ["holderServesAgain"],
  },
  {
    name: "asks each API server only once",
    file: "kube/api.ts",
    from: "this.#waiting.push(...this.#silent());",
    to: "",
    shows: SCENARIOS.etcdLosesItsLeader,
    caughtBy: ["renewsWhereItCan"],
  },
  {
    name: "has to get to know a holder again whose agent was restarted",
    file: "sentinel/sentinel.ts",
    from: "const goesOn = sameMachine && proof !== null && answersNow(proof);",
    to: "const goesOn = sameMachine && proof !== null && answersNow(proof) && watched.holder === holder;",
    shows: SCENARIOS.lostAfterARestart,
    caughtBy: ["provenDeathIsReplacedFast"],
  },
  {
    name: "takes its link for deserted when it has asked often enough, whomever",
    file: "sentinel/link-presence.ts",
    from: "known().every((neighbour) => lastAskedMs(neighbour) >= quietMs)",
    to: "asked >= known().length",
    also: {
      from: "const [first] = neighbours.toSorted((a, b) => lastAskedMs(a) - lastAskedMs(b));",
      to: "const first = neighbours[Math.floor(nowMs / QUIET_MS) % Math.max(1, neighbours.length)];",
    },
    shows: SCENARIOS.cutFromTheRouter,
    caughtBy: ["noFlapping"],
  },
  {
    name: "asks its own API server only",
    file: "kube/api.ts",
    from: "this.#hedge = clock.after(HEDGE_MS, () => this.#hedged());",
    to: "",
    shows: SCENARIOS.ownServerHangs,
    caughtBy: ["healthyHoldersStay", "plannedMovesLoseNoTime", "renewsWhereItCan"],
  },
  {
    name: "keeps the VIP when it sees another named",
    file: "election/master.ts",
    from: "letGo(step, role, loss)",
    to: 'step.become(role, { kind: "BACKUP", retryAtMs: step.nowMs, unclaimedSinceMs: null }, loss)',
    shows: "planned",
    caughtBy: ["unbindsBeforeAnythingElse"],
  },
  {
    name: "ties its renewals to the resourceVersion, which every candidate's write changes",
    file: "kube/lease-change.ts",
    from: '  test("/spec/leaseTransitions", tests.leaseTransitions);\n',
    to: '  test("/spec/leaseTransitions", tests.leaseTransitions);\n  test("/metadata/resourceVersion", from.resourceVersion);\n',
    shows: "planned",
    caughtBy: ["candidatesNeverBreakRenewals"],
  },
  {
    name: "keeps an offered VIP for as long as its Lease might last",
    file: "election/fence.ts",
    from: "const OFFER_HOLD_MS = 900;",
    to: "const OFFER_HOLD_MS = 900_000;",
    shows: SCENARIOS.answersLostAfterAnOffer,
    caughtBy: ["atMostOneSecondInTwoPlaces", "oneConfirmedMaster"],
  },
  {
    name: "lets the kernel keep the address for its whole lifetime, however soon the right ends",
    file: "vip/vip.ts",
    from: "Math.min(lifetimeSeconds, Math.ceil((held.untilMs - now) / 1000))",
    to: "lifetimeSeconds",
    shows: SCENARIOS.killedAfterItsOffer,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "does not tell the kernel that the VIP is on offer",
    file: "election/handover.ts",
    from: "  if (write.to !== null && !offered.unbound) limitVip(step, next);\n",
    to: "",
    shows: SCENARIOS.killedAfterItsOffer,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "refreshes the address while it is on offer",
    file: "vip/vip.ts",
    from: "if (missing || held.keptUntilMs < held.untilMs) bind(held);",
    to: "bind(held);",
    shows: SCENARIOS.deafAfterItsOfferAndKilled,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "takes a Lease of its name for its own, whichever machine holds it",
    file: "election/identity.ts",
    from: 'return instance === settings.instance ? "ours" : "namesake";',
    to: 'return "ours";',
    shows: SCENARIOS.cutOffAndReplacedByANamesake,
    caughtBy: ["namesakesNeverBothHold", "claimsOnlyWhatIsFree"],
  },
  {
    name: "announces in the first seconds only",
    file: "vip/announcer.ts",
    from: "(step - last) * refreshMs",
    to: "(step - last) * refreshMs * 1_000",
    shows: SCENARIOS.misledUnheard,
    caughtBy: ["theWireFollows"],
  },
  {
    name: "counts time as timers do, which stand still while the machine is suspended",
    file: "vip/vip.ts",
    from: "if (clock.now() < held.untilMs) return true;",
    to: "if (deadlineTimer !== undefined) return true;",
    shows: SCENARIOS.suspended,
    caughtBy: ["theKernelIsTheFence", "unbindsBeforeAnythingElse", "atMostOneSecondInTwoPlaces"],
  },
  {
    name: "releases and offers whatever has been renewed or restarted since",
    file: "kube/lease-change.ts",
    from: 'const tests = write.kind === "renew" ? tenure(from) : { ...tenure(from), renewTime: from.renewTime };',
    to: "const tests = tenure(from);",
    also: {
      from: "      acquireTime: now,\n",
      to: "      acquireTime: adopts ? (from.acquireTime ?? now) : now,\n",
    },
    shows: SCENARIOS.releaseOfAProcessThatHasGone,
    caughtBy: ["releasesLeaveNoAddress", "healthyHoldersStay"],
  },
  {
    name: "counts the deadline from the answer instead of from the request",
    file: "election/master.ts",
    from: "export function holdLease(step: StepBuilder, role: Role, sentAtMs: number, record: LeaseRecord): Role {\n",
    to: "export function holdLease(step: StepBuilder, role: Role, sentAtMs: number, record: LeaseRecord): Role {\n  sentAtMs = step.nowMs;\n",
    shows: SCENARIOS.lateAnswersThenCutOff,
    caughtBy: ["claimsOnlyWhatIsFree", "theKernelIsTheFence", "atMostOneSecondInTwoPlaces"],
  },
  {
    name: "takes a Lease that a person emptied for a released one",
    file: "election/vacancy.ts",
    from: 'return { kind: "free", sinceMs: afterFence, why: "emptied" };',
    to: 'return { kind: "free", sinceMs: view.changedAtMs, why: "emptied" };',
    shows: "people",
    caughtBy: ["claimsOnlyWhatIsFree", "healthyHoldersStay"],
  },
  {
    name: "takes a holder for dead though nobody else answers either",
    file: "sentinel/proof-rules.ts",
    from: "return isUnanswering(findings) && findings.witnessed;",
    to: "return isUnanswering(findings);",
    also: { from: "{ counts: witnessed || alive }", to: "{ counts: true }" },
    shows: SCENARIOS.powerLossWithoutAWitness,
    caughtBy: ["provesOnlyTheDead"],
  },
  {
    name: "takes a holder for dead of which it has never heard",
    file: "sentinel/proof-rules.ts",
    from: "if (targets.every(({ score }) => isCalibrated(score))) {",
    to: "if (targets.every(({ score }) => score >= 0)) {",
    also: {
      from: "after.targets.some(({ score }) => isUsedUp(score))",
      to: "after.targets.some(({ score }) => score < 0)",
    },
    shows: SCENARIOS.holderNeverHeard,
    caughtBy: ["provesOnlyTheDead", "provesOnlyWhatAnswered"],
  },
  {
    name: "goes on claiming by a proof that the holder has refuted",
    file: "election/evidence.ts",
    from: "if (facts.wire.proof?.term === evidence.tenure) step.setWire({ proof: null });",
    to: "",
    shows: SCENARIOS.cutOffWithoutAClaim,
    caughtBy: ["atMostOneSecondInTwoPlaces", "claimsOnlyWhatIsFree"],
  },
  {
    name: "keeps what it has without the Lease though another node holds the Lease",
    file: "election/provisional.ts",
    from: "if (isOld && record !== null && unchangedSince(why.seen ?? record, record)) return null;",
    to: 'if (why.kind !== "proof") return null;',
    also: { from: "  return yieldTo(step, role, mac);", to: "  return role;" },
    shows: SCENARIOS.minorityTakesOver,
    caughtBy: ["unbindsBeforeAnythingElse", "atMostOneSecondInTwoPlaces"],
  },
  {
    name: "takes it for sure that nobody can claim, though it is cut off",
    file: "election/api-loss.ts",
    from: "  return unable * 2 >= servers.length;",
    to: "  return unable * 2 >= servers.length || true;",
    shows: SCENARIOS.cutOffFromTheApi,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "does not give way to a claimant though the API refuses only itself",
    file: "election/api-loss.ts",
    from: "return alive === 0 || !isTurnedAway(facts, nowMs);",
    to: "return true;",
    shows: SCENARIOS.tooManyRequests,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "lets go at its deadline though nobody can claim",
    file: "election/master.ts",
    from: 'if (settings.onApiLoss === "release" ||',
    to: 'if (settings.onApiLoss !== "hold" ||',
    shows: SCENARIOS.allRefuse,
    caughtBy: ["nothingMovesWhileNobodyCanClaim"],
  },
  {
    name: "keeps the VIP beyond its deadline where `release` is wished",
    file: "election/master.ts",
    from: 'settings.onApiLoss === "release" || facts.stopping !== null',
    to: "facts.stopping !== null",
    shows: SCENARIOS.refusedWithRelease,
    caughtBy: ["theKernelIsTheFence"],
  },
  {
    name: "never serves without the Lease once it has seen it",
    file: "election/unwritten.ts",
    from: "if (unableMs === null ||",
    to: "if (unableMs === null || unableMs > 0 ||",
    shows: SCENARIOS.refusedAndRestarted,
    caughtBy: ["servedWhileANodeLives"],
  },
  {
    name: "serves without the Lease, and does not ask whether another machine has the VIP",
    file: "election/unwritten.ts",
    from: "const verdict = askWire(step, true, ASK_MS, isOver ? readyMs : dueAtMs, readyMs);",
    to: 'const verdict: string = "free";',
    shows: SCENARIOS.misledUnheard,
    caughtBy: ["atMostOneSecondInTwoPlaces", "asksBeforeItServes"],
  },
  {
    name: "serves without the Lease though its holder renews it",
    file: "election/unwritten.ts",
    from: "Math.min(provenMs ?? Number.POSITIVE_INFINITY, free.freeAtMs)",
    to: "Number.NEGATIVE_INFINITY",
    also: { from: 'return isOver && verdict === "free";', to: "return true;" },
    shows: SCENARIOS.tooManyRequests,
    caughtBy: ["atMostOneSecondInTwoPlaces", "asksBeforeItServes", "unbindsBeforeAnythingElse"],
  },
  {
    name: "takes the VIP for want of an API and does not ask who has it",
    file: "election/backup.ts",
    from: 'const wire = adopts ? "free" : askWire(step, true, ASKED_MS);',
    to: 'const wire: string = "free";',
    shows: SCENARIOS.joinsMeanwhile,
    caughtBy: ["asksBeforeItServes", "atMostOneSecondInTwoPlaces"],
  },
  {
    name: "asks nobody on a link where it has heard nobody",
    file: "election/backup.ts",
    from: 'adopts ? "free" : askWire(step, true, ASKED_MS);',
    to: 'adopts || !linkCarriesFrames(step, role) ? "free" : askWire(step, true, ASKED_MS);',
    shows: SCENARIOS.switchedOnWithoutARouter,
    caughtBy: ["servedWhileANodeLives"],
  },
  {
    name: "waits without end for better candidates that do not claim",
    file: "election/claim-order.ts",
    from: "const NOT_CLAIMED_MS = 4_000;",
    to: "const NOT_CLAIMED_MS = 4_000_000;",
    shows: SCENARIOS.healthyOnesCameLate,
    caughtBy: ["servedWhileANodeLives"],
  },
  {
    name: "asks who has the VIP and does not listen",
    file: "election/address-check.ts",
    from: "probed !== null && (probed.owner !== null || (alone && givesWay(step, probed, readyMs)));",
    to: "false;",
    shows: SCENARIOS.joinsMeanwhile,
    caughtBy: ["asksBeforeItServes", "atMostOneSecondInTwoPlaces"],
  },
  {
    name: "never takes the VIP for want of an API",
    file: "election/backup.ts",
    from: "const withoutApi = read.failingSinceMs !== null || refusal !== null;",
    to: "const withoutApi = read.failingSinceMs === null && refusal === null;",
    shows: SCENARIOS.firstNode,
    caughtBy: ["servesBeforeThereIsAnApi", "servedWhileANodeLives"],
  },
  {
    name: "yields to nobody without the Lease",
    file: "election/provisional.ts",
    from: "if (other !== undefined && !named && !isBack && rankDecides(step, role.why)) {",
    to: "if (step.nowMs > 0) {",
    also: {
      from: "if (ranksAbove(step, role, other)) {",
      to: "if (other === undefined || other.node !== step.settings.node) {",
    },
    shows: SCENARIOS.twoWithoutAnApi,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "lets go at once when the offer that it is withdrawing is taken",
    file: "election/handover.ts",
    from: "if (offered?.unbound !== false || role.linkLoss !== null) return null;",
    to: "if (offered?.unbound !== false || role.linkLoss !== null || role.handover === null) return null;",
    shows: SCENARIOS.withdrawnOfferIsTaken,
    caughtBy: ["plannedMovesLoseNoTime"],
  },
  {
    name: "takes a claim of its own that nobody answers for as good as any",
    file: "election/provisional.ts",
    from: "nowMs < unwritten.sinceMs + UNDER_WAY_MS",
    to: "nowMs < unwritten.sinceMs + 10 * UNDER_WAY_MS",
    shows: SCENARIOS.provenByOneThatCannotClaim,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "takes the VIP by an old proof beside the candidate that serves",
    file: "election/backup.ts",
    from: "if (mayBeTaken(step, view, provenMs)) return null;",
    to: "",
    shows: SCENARIOS.provenAndServedByAnother,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "begins and ends at once to serve where the Lease has its name and another machine's instance",
    file: "election/provisional.ts",
    from: "if (isOld && record !== null && unchangedSince",
    to: 'if (isOld && ownership === "another" && record !== null && unchangedSince',
    shows: SCENARIOS.namedByAWebhook,
    caughtBy: ["servedWhileANodeLives"],
  },
  {
    name: "does not serve without an API after its link has flapped, even if it is alone",
    file: "election/backup.ts",
    from: "if (!faults.every((fault) => LIGHT_FAULTS.includes(fault))) return role;",
    to: "if (faults.length > 0) return role;",
    shows: SCENARIOS.aloneAfterItsLinkFlapped,
    caughtBy: ["servedWhileANodeLives"],
  },
  {
    name: "does not wait longer each time that its link flaps",
    file: "election/flap-damping.ts",
    from: "Math.min(factor * 2 ** level * FIRST_MS, LONGEST_MS)",
    to: "FIRST_MS / 100",
    shows: SCENARIOS.flappingLink,
    caughtBy: ["noFlapping", "healthyHoldersStay"],
  },
  {
    name: "binds as soon as its link is back, whoever has the VIP by then",
    file: "election/link-loss.ts",
    from: "linkLoss === null ? role : comeBack(step, role, linkLoss)",
    to: "linkLoss === null ? role : takeBack(step, role)",
    shows: SCENARIOS.flappingWithoutALeader,
    caughtBy: ["noFlapping"],
  },
  {
    name: "finds nobody fit to claim by proof",
    file: "election/backup.ts",
    from: 'if (provenMs !== null && free.kind === "held") {',
    to: 'if (provenMs !== null && free.kind === "held" && provenMs < 0) {',
    shows: SCENARIOS.powerLoss,
    caughtBy: ["provenDeathIsReplacedFast"],
  },
  {
    name: "waits for the answer though two holders would do no harm",
    file: "election/candidates.ts",
    from: "return tracking.fastPath !== null && tracking.fastPath !== undefined;",
    to: "return tracking.fastPath === undefined;",
    shows: SCENARIOS.powerLossOfTheLeader,
    caughtBy: ["provenDeathIsReplacedFast"],
  },
  {
    name: "defends the VIP against the first of a stranger's claims only",
    file: "election/contention.ts",
    from: "contender.atMs <= defendedAtMs ||",
    to: "contender.atMs <= defendedAtMs + DEFEND_MS ||",
    shows: SCENARIOS.foreignHost,
    caughtBy: ["theWireFollows"],
  },
  {
    name: "waits for a renewal of the Lease that it reads for the first time, and announces nothing",
    file: "election/provisional.ts",
    from: 'if (ownership !== "another" && ownership !== "namesake") return role;\n  announceNow(step);\n',
    to: 'if (ownership !== "another" && ownership !== "namesake") return role;\n',
    shows: SCENARIOS.bootstrapBehindACut,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "offers the VIP back at once to the holder that was found dead",
    file: "election/handover.ts",
    from: "if (displaced === null || step.nowMs >= displaced.atMs + DISPLACED_MS) return able;",
    to: "if (displaced === null || step.nowMs >= displaced.atMs) return able;",
    shows: SCENARIOS.cutOffOnItsWireOnly,
    caughtBy: ["noFlapping"],
  },
  {
    name: "wants to preempt as soon as its own delay is over, whoever is better",
    file: "election/candidates.ts",
    from: "return preemptDelayMs * (1 + better.length / 8);",
    to: "return preemptDelayMs;",
    shows: SCENARIOS.manyBetterNodesWait,
    caughtBy: ["noFlapping"],
  },
  {
    name: "preempts as soon as it is a candidate again after its link has flapped",
    file: "election/candidates.ts",
    from: "if (settings.nopreempt || isShy(facts, nowMs)) return false;",
    to: "if (settings.nopreempt) return false;",
    shows: SCENARIOS.slowFlap,
    caughtBy: ["noFlapping"],
  },
  {
    name: "believes that the kernel counted an address's lifetime from before the process stood still",
    file: "vip/vip.ts",
    from: "if (stoodStillMs < STOOD_STILL_MS || held.keptUntilMs + stoodStillMs < held.untilMs + 1000) return;",
    to: "return;",
    shows: SCENARIOS.frozenWithinARefresh,
    caughtBy: ["theKernelIsTheFence", "atMostOneSecondInTwoPlaces"],
  },
  {
    name: "believes what the wire has answered before the API servers fell silent",
    file: "election/backup.ts",
    from: "askWire(step, true, ASKED_MS)",
    to: "askWire(step, true)",
    shows: SCENARIOS.askedBeforeTheCutHealed,
    caughtBy: ["asksBeforeItServes"],
  },
  {
    name: "gives up being MASTER when a claim was not answered by the API within half a second",
    file: "election/master.ts",
    from: "  const decideAtMs = decideBy(settings, validUntilMs);",
    to: "  const decideAtMs = role.contestedAtMs === null ? decideBy(settings, validUntilMs) : role.contestedAtMs + 500;",
    shows: SCENARIOS.forgedClaims,
    caughtBy: ["claimsAloneMoveNothing"],
  },
  {
    name: "waits for ever for the claim of a candidate that goes on claiming the VIP and never claims the Lease",
    file: "election/backup.ts",
    from: "nowMs < deadlineAfter(settings, contender.sinceMs)",
    to: "nowMs < deadlineAfter(settings, contender.atMs)",
    shows: SCENARIOS.forgedClaimsAndPowerLoss,
    caughtBy: ["provenDeathIsReplacedFast"],
  },
  {
    name: "forgets the claims that it has not answered when it is confirmed again",
    file: "election/master.ts",
    from: "if (contender !== null && contender.atMs > defendedAtMs) defendVip(step);",
    to: "if (false) defendVip(step);",
    shows: SCENARIOS.claimedJustBeforeTheApiWasGone,
    caughtBy: ["theWireFollows"],
  },
  {
    name: "keeps the VIP that other software wants back",
    file: "election/master.ts",
    from: "if (isTaken(step.facts)) return letGo(step, role, GIVEN_BACK);",
    to: "",
    shows: SCENARIOS.takenOver,
    caughtBy: ["standsByForOtherSoftware"],
  },
  {
    name: "believes for ever that other software has the VIP",
    file: "election/take-over.ts",
    from: "else probeWire(step, false);",
    to: "",
    shows: SCENARIOS.takenOver,
    caughtBy: ["standsByForOtherSoftware"],
  },
  {
    name: "takes other software on a candidate's machine for that candidate's agent",
    file: "election/take-over.ts",
    from: "return candidate.faults.includes(VIP_FAULT) && agoMs < HEARD_MS;",
    to: "return false;",
    shows: SCENARIOS.takenOverOnItsMachines,
    caughtBy: ["standsByForOtherSoftware"],
  },
  {
    name: "waits for a candidate's machine that has the VIP by other software, and does not say so",
    file: "election/take-over.ts",
    from: "probed.atMs >= sinceMs + CONFIRM_MS",
    to: "false",
    shows: SCENARIOS.takenOverByAMachineWithoutItsAgent,
    caughtBy: ["standsByForOtherSoftware"],
  },
  {
    name: "claims a Lease that a person has emptied though its holder has its right still",
    file: "election/provisional.ts",
    from: "return isDead ? atOnce : free.sinceMs;",
    to: "return atOnce;",
    shows: SCENARIOS.emptiedAsACutHeals,
    caughtBy: ["claimsOnlyWhatIsFree"],
  },
  {
    name: "judges itself by what the others cannot know",
    file: "election/provisional.ts",
    from: "compareCandidates(said ?? selfCandidate(step, role), other)",
    to: "compareCandidates(selfCandidate(step, role), other)",
    shows: SCENARIOS.betterThanTheLeaseSays,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "asks like one that would take the VIP while it has to wait",
    file: "election/address-check.ts",
    from: "probeWire(step, alone, isReady);",
    to: "probeWire(step, alone, true);",
    shows: SCENARIOS.waitsAndAsks,
    caughtBy: ["servedWhileANodeLives"],
  },
  {
    name: "gives the Lease back when it is restarted with a fault",
    file: "election/backup.ts",
    from: "const isUseless = faultsOf(step.facts, role).some((fault) => USELESS_FAULTS.includes(fault));",
    to: "const isUseless = faultsOf(step.facts, role).length > 0;",
    shows: SCENARIOS.faultyAndRestarted,
    caughtBy: ["plannedMovesLoseNoTime"],
  },
  {
    name: "serves without the Lease, and does not ask who else has the VIP",
    file: "election/provisional.ts",
    from: "  lookAround(step);",
    to: "",
    shows: SCENARIOS.unknownBehindACut,
    caughtBy: ["atMostOneSecondInTwoPlaces"],
  },
  {
    name: "asks nobody who is there when no agent is known to be alive",
    file: "election/watch-target.ts",
    from: "return isAlone ? everyPeer(settings, view) : alive;",
    to: "return alive;",
    shows: SCENARIOS.deletedWhileAllWereAlone,
    caughtBy: ["endsWellAndWithTheBest", "boundInTime"],
  },
  {
    name: "offers the Lease for a moment only when its link is dead",
    file: "election/handover.ts",
    from: "const isLost = role.linkLoss !== null && ",
    to: "const isLost = false && ",
    also: {
      from: "const isShort = role.linkLoss !== null || ",
      to: "const isShort = ",
    },
    shows: SCENARIOS.linkLostAndWatchesSilent,
    caughtBy: ["boundInTime", "servedWhileANodeLives"],
  },
];

const MARK = "?mutant=";
const SOURCE = new URL("../../src/", import.meta.url).href;
/**
 * Not loaded anew: what the simulated transport throws must be an instance of the class that the product
 * knows, or a refused connection passes for a silent one.
 */
const SHARED = `${SOURCE}kube/transport.ts`;

/**
 * The query that makes `loadProduction` load this mutant. Every module below src/ but one is loaded anew for
 * it.
 */
export function markOf(mutant: Mutant): string {
  return `${MARK}${MUTANTS.indexOf(mutant)}`;
}

/** Mutants whose text was found and replaced. */
export const applied = new Set<Mutant>();

export function installMutants(): void {
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      const mark = context.parentURL?.split(MARK)[1];
      if (
        mark === undefined ||
        !resolved.url.startsWith(SOURCE) ||
        resolved.url === SHARED ||
        resolved.url.includes(MARK)
      )
        return resolved;
      return { ...resolved, url: `${resolved.url}${MARK}${mark}` };
    },
    load(url, context, next) {
      const loaded = next(url, context);
      const mutant = MUTANTS[Number(url.split(MARK)[1] ?? "-1")];
      if (
        mutant === undefined ||
        !url.startsWith(`${SOURCE}${mutant.file}`) ||
        loaded.source === undefined ||
        loaded.source === null
      )
        return loaded;
      const text =
        typeof loaded.source === "string" ? loaded.source : new TextDecoder().decode(loaded.source);
      const replace = (
        source: string,
        { from, to }: { readonly from: string; readonly to: string },
      ): string => {
        if (source.split(from).length !== 2)
          throw new Error(`mutant "${mutant.name}": its text is not exactly once in ${mutant.file}`);
        return source.replace(from, () => to);
      };
      applied.add(mutant);
      const once = replace(text, mutant);
      return { ...loaded, source: mutant.also === undefined ? once : replace(once, mutant.also) };
    },
  });
}
