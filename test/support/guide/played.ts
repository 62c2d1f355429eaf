/** Which test plays which commands of the pages, and which commands none can play. */
import type { Block, Where } from "./guide.ts";

const UPGRADE = "docs/guides/upgrade.md";
const REPLACE = "docs/guides/replace-a-node.md";

/** The pages, and their headings whose blocks have to be in the list below; undefined means all of them. */
export const PAGES: readonly { readonly page: string; readonly headings?: readonly string[] }[] = [
  {
    page: "README.md",
    headings: ["Quick start: three kubeadm nodes", "An existing cluster", "Upgrade", "Uninstall", "Workers"],
  },
  { page: UPGRADE },
  { page: REPLACE },
];

export interface Played extends Where {
  readonly page: string;
  /** The layer whose test plays the block, or why no test can. */
  readonly by: "image" | "e2e" | "e2e-all" | { readonly cannot: string };
}

const README = "README.md";
const QUICK_START = "Quick start: three kubeadm nodes";

export const PLAYED: readonly Played[] = [
  {
    page: README,
    heading: QUICK_START,
    step: 1,
    has: "docker buildx",
    by: { cannot: "Docker's registry cannot be reached where the tests run; the release workflow builds so" },
  },
  { page: README, heading: QUICK_START, step: 1, has: "npm run image", by: "image" },
  { page: README, heading: QUICK_START, step: 1, has: "ssh n1", by: "e2e" },
  { page: README, heading: QUICK_START, step: 2, by: "e2e" },
  { page: README, heading: QUICK_START, step: 3, by: "e2e" },
  { page: README, heading: QUICK_START, step: 4, by: "e2e" },
  { page: README, heading: QUICK_START, step: 5, by: "e2e" },
  { page: README, heading: QUICK_START, step: 6, by: "e2e" },
  { page: README, heading: "Uninstall", has: "leasehold cleanup", by: "e2e" },
  { page: README, heading: "Uninstall", has: "leasehold forget", by: "e2e-all" },
  { page: README, heading: "Uninstall", has: "delete -k", by: "e2e" },
  { page: README, heading: "Workers", has: "manifest worker-rbac", by: "e2e-all" },
  { page: README, heading: "Workers", has: "manifest worker --vip", by: "e2e-all" },
  { page: UPGRADE, step: 2, by: "e2e-all" },
  { page: UPGRADE, step: 3, by: "e2e-all" },
  { page: REPLACE, has: "kubeadm reset", by: "e2e-all" },
  { page: REPLACE, has: "delete node", by: "e2e-all" },
  { page: REPLACE, has: "upload-certs", by: "e2e-all" },
];

/** `isMeant` says whether an entry of the list means this block. */
export function isMeant(entry: Played, block: Block): boolean {
  return (
    entry.page === block.page &&
    (entry.heading === undefined || entry.heading === block.heading) &&
    (entry.step === undefined || entry.step === block.step) &&
    (entry.has === undefined || block.text.includes(entry.has))
  );
}
