/**
 * Loads one plan into the kernel, with the set elements that belong to it. The shorter time-outs of conntrack
 * are a strategy of their own: a kernel that lacks them gets all the rest.
 */
import type { Clock } from "../clock.ts";
import { errorMessage } from "../errors.ts";
import type { Logger } from "../log.ts";
import { familiesOf } from "../net.ts";
import { NoVerdict } from "./nft.ts";
import type { Nft } from "./nft.ts";
import { ruleset } from "./ruleset.ts";
import { OWN_SET, SETTLING_SET, VIPS_SET, ingressVipsSet } from "./tables.ts";
import type { RulesetPlan } from "./tables.ts";
import type { SetElements } from "./transaction.ts";

/**
 * What became of a plan. After a failure the kernel has what it had before. `plan` is what was loaded, which
 * may lack the shorter time-outs. Only `refused` says something about the rules; `no-verdict` means that nft
 * did not get to them.
 */
export type LoadResult =
  | { readonly kind: "loaded"; readonly plan: RulesetPlan }
  | { readonly kind: "refused" | "no-verdict"; readonly why: string };

export interface Loader {
  /** True while plans may ask for the shorter conntrack time-outs. */
  wantsShortConntrackTimeouts(): boolean;
  /** Replaces the rules. @param before is the plan that was loaded last */
  load(plan: RulesetPlan, before: RulesetPlan | undefined): Promise<LoadResult>;
}

/** What is known of the kernel's support for conntrack time-outs of our own (CONFIG_NF_CONNTRACK_TIMEOUT). */
type TimeoutSupport =
  | { readonly kind: "unknown" }
  /** The kernel has taken them, so no failure is due to them. */
  | { readonly kind: "present" }
  | { readonly kind: "absent"; readonly askAgainAtMs: number };

/**
 * Milliseconds until a kernel that refused the time-outs is asked again. The refusal may have had another
 * cause. If the kernel really lacks them, each retry costs one failed transaction.
 */
const TIMEOUTS_RETRY_MS = 600_000;

export function createLoader({
  clock,
  log,
  nft,
}: {
  readonly clock: Clock;
  readonly log: Logger;
  readonly nft: Nft;
}): Loader {
  let timeouts: TimeoutSupport = { kind: "unknown" };

  /** Answers the plan that was loaded. @throws {LeaseholdError} LH_NFT */
  async function put(plan: RulesetPlan, elements: readonly SetElements[]): Promise<RulesetPlan> {
    const { wire } = plan;
    if (wire?.shortConntrackTimeouts !== true) {
      await nft.load(ruleset(plan), elements);
      return plan;
    }
    try {
      await nft.load(ruleset(plan), elements);
      timeouts = { kind: "present" };
      return plan;
    } catch (error) {
      if (timeouts.kind === "present" || error instanceof NoVerdict) throw error;
      return await putWithoutTimeouts(
        { ...plan, wire: { ...wire, shortConntrackTimeouts: false } },
        elements,
        error,
      );
    }
  }

  /** @throws {LeaseholdError} LH_NFT: the time-outs were not the cause */
  async function putWithoutTimeouts(
    plan: RulesetPlan,
    elements: readonly SetElements[],
    cause: unknown,
  ): Promise<RulesetPlan> {
    await nft.load(ruleset(plan), elements);
    const first = timeouts.kind === "unknown";
    timeouts = { kind: "absent", askAgainAtMs: clock.now() + TIMEOUTS_RETRY_MS };
    if (first)
      log.info(
        { err: cause },
        "The kernel has no conntrack time-outs for the VIP alone: ended connections are known for 120 s instead of 5 s",
      );
    return plan;
  }

  return {
    wantsShortConntrackTimeouts: () => timeouts.kind !== "absent" || clock.now() >= timeouts.askAgainAtMs,
    async load(plan, before) {
      try {
        return {
          kind: "loaded",
          plan: await put(plan, [...timedElements(plan), ...settlingElements(plan, before)]),
        };
      } catch (error) {
        const why = errorMessage(error);
        return { kind: error instanceof NoVerdict ? "no-verdict" : "refused", why };
      }
    },
  };
}

/**
 * Answers the elements that keep the rules in force: those of own clients for 30 s, all others for an hour.
 * They have to be refreshed before they time out. The sets of idle rules have none.
 */
export function timedElements(plan: RulesetPlan): readonly SetElements[] {
  return tableFamiliesOf(plan).flatMap(({ family, version }) => {
    const vips = plan.vips.filter((vip) => vip.family === version).map((vip) => vip.text);
    const elements = plan.idle === true ? [] : vips;
    const timed: SetElements[] = [{ family, set: VIPS_SET, elements }];
    if (plan.wire?.hasIngress === true)
      timed.push({ family: "netdev", set: ingressVipsSet(version), elements });
    if (plan.own.some((target) => target.address.family === version))
      timed.push({ family, set: OWN_SET, elements });
    return timed;
  });
}

/**
 * Answers the elements that keep the last node of the ring from resetting connections for a moment after the
 * members changed: only a node with the other member list may know them. A change of grade causes no such
 * doubt, because hops are counted by members.
 */
function settlingElements(plan: RulesetPlan, before: RulesetPlan | undefined): readonly SetElements[] {
  if (plan.wire === undefined || before === undefined || membersOf(plan) === membersOf(before)) return [];
  return tableFamiliesOf(plan).map(({ family }) => ({
    family,
    set: SETTLING_SET,
    elements: plan.ports.map(String),
  }));
}

function membersOf({ wire }: RulesetPlan): string {
  return JSON.stringify(wire?.peers.map((peer) => [peer.name, peer.mac]) ?? null);
}

function tableFamiliesOf({
  vips,
}: RulesetPlan): readonly { readonly family: "ip" | "ip6"; readonly version: 4 | 6 }[] {
  return familiesOf(vips).map((version) => ({
    family: version === 4 ? "ip" : "ip6",
    version,
  }));
}
