/**
 * Every change of role that exists, as data. The compiler refuses any other one in the code of the rules, and
 * the simulation and the unit tests fail on any other one. A unit test compares the header of machine.ts and
 * the drawing in docs/architecture.md with this table.
 */
import type { Role } from "./types.ts";

export interface Transition {
  readonly from: Role["kind"];
  readonly to: Role["kind"];
  /** What makes the node change its role. */
  readonly when: string;
  /** The file below src/election/ that decides it. */
  readonly file: string;
}

export const TRANSITIONS = [
  { from: "BACKUP", to: "MASTER", when: "the API accepts its claim", file: "master.ts" },
  {
    from: "BACKUP",
    to: "PROVISIONAL",
    when: "the holder is silent on the wire, and two holders do no harm",
    file: "backup.ts",
  },
  {
    from: "BACKUP",
    to: "PROVISIONAL",
    when: "no API server lets it read the Lease, and no machine has the VIP",
    file: "backup.ts",
  },
  {
    from: "BACKUP",
    to: "PROVISIONAL",
    when: "it cannot write the Lease, and no machine renews it or has the VIP",
    file: "unwritten.ts",
  },
  {
    from: "BACKUP",
    to: "STOPPED",
    when: "it is stopping and has withdrawn its candidacy, or 1 s is over",
    file: "stopping.ts",
  },
  { from: "PROVISIONAL", to: "MASTER", when: "the API accepts its claim or renewal", file: "master.ts" },
  {
    from: "PROVISIONAL",
    to: "BACKUP",
    when: "its reason has ended, its time is over, or it is stopping",
    file: "provisional.ts",
  },
  {
    from: "PROVISIONAL",
    to: "BACKUP",
    when: "it gives way to another machine that claims the VIP",
    file: "provisional.ts",
  },
  { from: "MASTER", to: "BACKUP", when: "the Lease names another machine", file: "master.ts" },
  { from: "MASTER", to: "BACKUP", when: "the renew deadline has passed", file: "fence.ts" },
  {
    from: "MASTER",
    to: "PROVISIONAL",
    when: "it cannot renew the Lease, and its link carries frames",
    file: "master.ts",
  },
  {
    from: "MASTER",
    to: "PROVISIONAL",
    when: "another candidate claims the VIP, and no server confirms this one",
    file: "master.ts",
  },
  {
    from: "MASTER",
    to: "BACKUP",
    when: "other software has the VIP, which it gives back",
    file: "take-over.ts",
  },
  {
    from: "MASTER",
    to: "RELEASING",
    when: "it is stopping, and no candidate has taken its offer",
    file: "stopping.ts",
  },
  {
    from: "RELEASING",
    to: "STOPPED",
    when: "the API has answered the release, or 1 s is over",
    file: "stopping.ts",
  },
] as const satisfies readonly Transition[];

export function isTransition(from: Role["kind"], to: Role["kind"]): boolean {
  return TRANSITIONS.some((row) => row.from === from && row.to === to);
}

/** The roles that one with the role `K` may change to. */
export type Next<K extends Role["kind"]> = Extract<(typeof TRANSITIONS)[number], { readonly from: K }>["to"];
