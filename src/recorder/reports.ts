/**
 * Says in sentences what the election reports to people: what was found, by which rule, and what a person should do
 * about it. Pure.
 */
import type { Report, Role } from "../election/types.ts";
import { whatToDo } from "../errors.ts";
import { plainText } from "../kube/plain-text.ts";

/** A rule of the election, and the file below src/election/ that has it. */
export interface Rule {
  readonly when: string;
  readonly file: string;
}

/** The rules about another machine with the VIP, and about a node with another VIP. None of them changes the role. */
export const RULES = {
  /** A node that is no holder found the VIP in use. */
  refused: {
    when: "before the first claim a node leaves the VIP to a machine that has it already, as RFC 5227 section 2.1 asks",
    file: "address-check.ts",
  },
  /** A machine that is no candidate claims the VIP of a MASTER. */
  defended: {
    when: "a holder keeps the VIP against a machine that is no candidate, and announces it again, once in 10 s at most, as RFC 5227 section 2.4 asks",
    file: "contention.ts",
  },
  /** A candidate claims the VIP of a MASTER. */
  confirmed: {
    when: "the Lease decides between two candidates, and as far as this node knows it is the holder",
    file: "contention.ts",
  },
  /** A machine that is no candidate claims the VIP of a PROVISIONAL node that has lost the API. */
  covered: {
    when: "a provisional node keeps the VIP against a machine that is no candidate while its last renewal covers it, and gives way after that",
    file: "provisional.ts",
  },
  mismatch: {
    when: "the VIPs that most nodes were given are the right ones (of equally many, the holder's), and a node with other ones is no candidate",
    file: "vip-agreement.ts",
  },
} as const satisfies Readonly<Record<string, Rule>>;

/** What follows a MAC address: whose it is. @param node the candidate; null: it is no candidate's */
export const whose = (node: string | null): string =>
  ` (${node === null ? "no candidate" : plainText(node)})`;

/** What was found or done; none where another sentence says it. */
export function reported(report: Report): readonly string[] {
  switch (report.kind) {
    case "transition":
      return [`It went from ${report.from} to ${report.to}: ${report.reason}.`];
    case "handover":
      return report.to === null
        ? []
        : [`It began to hand over to ${plainText(report.to)} (${report.reason}).`];
    case "namesake":
      return ["It found that another machine has its node name."];
    case "recreate":
      return ["It wrote the Lease again, because a client other than the agents had deleted or emptied it."];
    case "vip-mismatch": {
      const nodes = report.nodes.map((node) => plainText(node));
      return [
        `It was given the ${report.own.length === 1 ? "VIP" : "VIPs"} ${report.own.join(", ")}, and ${nodes.join(", ")} ${nodes.length === 1 ? "was" : "were"} given ${report.vips.join(", ")}.`,
      ];
    }
    case "departed":
      return [`It removed ${report.nodes.map((node) => plainText(node)).join(", ")} from the Lease.`];
    case "prober":
      return [
        report.outcome === "waits"
          ? `It waited, because ${report.mac} asked for the VIP as well.`
          : `It waited no longer for ${report.mac}, which asked for the VIP and did not take it.`,
      ];
    case "proof":
      return [`It took ${plainText(report.holder)} for dead.`];
    case "taken":
      return [`It heard that ${report.mac} has the VIP, before it had read the Lease.`];
    case "other-owner":
      return [
        report.mac === null
          ? "It found that no other software has the VIP any more."
          : `It found that the machine ${report.mac} has the VIP by other software, which goes first.`,
      ];
    case "conflict":
      return [conflict(report)];
  }
}

function conflict({ mac, node, outcome }: Extract<Report, { kind: "conflict" }>): string {
  const machine = `the machine ${mac}${whose(node)}`;
  switch (outcome) {
    case "refused":
      return `It did not claim the VIP, because ${machine} has it${node === null ? "" : " by another program than the agent"}.`;
    case "defended":
      return `It kept the VIP against ${machine}.`;
    case "yielded":
      return `It let the VIP go to ${machine}.`;
  }
}

/** The rule by which the node did what it reports and kept its role; null: the report tells of no such rule. */
export function ruleOfReport(report: Report, role: Role["kind"]): Rule | null {
  if (report.kind === "vip-mismatch") return RULES.mismatch;
  if (report.kind !== "conflict" || report.outcome === "yielded") return null;
  if (report.outcome === "refused") return RULES.refused;
  if (role === "PROVISIONAL") return RULES.covered;
  return report.node === null ? RULES.defended : RULES.confirmed;
}

/** What a person should do about it; none where the nodes settle it by themselves. */
export function todo(report: Report): readonly string[] {
  if (report.kind === "vip-mismatch") return [whatToDo("LH_VIP_MISMATCH")];
  if (report.kind !== "conflict") return [];
  if (report.node === null) return [whatToDo("LH_VIP_CONFLICT")];
  const node = plainText(report.node);
  switch (report.outcome) {
    case "refused":
      return [
        `Stop the other program on ${node} that has the VIP, such as keepalived. See LH_VIP_FOREIGN in docs/operations.md.`,
      ];
    case "defended":
      return [
        `If it goes on, another program on ${node} claims the VIP, such as keepalived: run \`leasehold doctor\` on ${node}.`,
      ];
    case "yielded":
      return [];
  }
}
