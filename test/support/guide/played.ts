/** Which test plays which commands of the pages, and which commands none can play. */
import type { Block, Where } from "./guide.ts";

const UPGRADE = "docs/guides/upgrade.md";
const EXISTING = "docs/guides/existing-cluster.md";
const CHANGE = "docs/guides/change-the-vip.md";
const REPLACE = "docs/guides/replace-a-node.md";
const QUORUM = "docs/guides/quorum-lost.md";
const SYSTEMD = "docs/guides/systemd.md";
const OPERATIONS = "docs/operations.md";
const IPV6 = "docs/guides/ipv6.md";

/** The pages, and their headings whose blocks have to be in the list below; undefined means all of them. */
export const PAGES: readonly { readonly page: string; readonly headings?: readonly string[] }[] = [
  {
    page: "README.md",
    headings: [
      "Quick start: three kubeadm nodes",
      "An existing cluster",
      "Upgrade",
      "Uninstall",
      "Workers",
      "Commands",
    ],
  },
  { page: OPERATIONS, headings: ["Ask first"] },
  { page: UPGRADE },
  { page: REPLACE },
  { page: EXISTING },
  { page: CHANGE },
  { page: QUORUM },
  { page: SYSTEMD },
  { page: IPV6 },
];

/** A test of test/image, test/e2e or test/e2e-all. */
export type Story = "image" | "cluster" | "guides" | "existing-cluster" | "ipv6";

export interface Played extends Where {
  readonly page: string;
  /** The test that plays the block, or why none can. */
  readonly by: Story | { readonly cannot: string };
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
  { page: README, heading: QUICK_START, step: 1, has: "ssh n1", by: "cluster" },
  { page: README, heading: QUICK_START, step: 2, by: "cluster" },
  { page: README, heading: QUICK_START, step: 3, by: "cluster" },
  { page: README, heading: QUICK_START, step: 4, by: "cluster" },
  { page: README, heading: QUICK_START, step: 5, by: "cluster" },
  { page: README, heading: QUICK_START, step: 6, by: "cluster" },
  { page: README, heading: "Uninstall", has: "leasehold cleanup", by: "cluster" },
  { page: README, heading: "Uninstall", has: "leasehold forget", by: "guides" },
  { page: README, heading: "Uninstall", has: "delete -k", by: "cluster" },
  { page: README, heading: "Workers", has: "manifest worker-rbac", by: "guides" },
  { page: README, heading: "Workers", has: "manifest worker --vip", by: "guides" },
  { page: README, heading: "Commands", has: "manifest cli", by: "cluster" },
  { page: README, heading: "Commands", has: "manifest kubectl-plugin", by: "cluster" },
  { page: OPERATIONS, heading: "Ask first", has: "manifest cli", by: "cluster" },
  { page: OPERATIONS, heading: "Ask first", has: "crictl exec", by: "cluster" },
  { page: OPERATIONS, heading: "Ask first", has: "manifest kubectl-plugin", by: "cluster" },
  ...[1, 2, 3, 4, 5, 6].map((step): Played => ({ page: EXISTING, step, by: "existing-cluster" })),
  { page: CHANGE, step: 1, has: "umask", by: "existing-cluster" },
  { page: CHANGE, step: 1, has: "readyz", by: "existing-cluster" },
  { page: CHANGE, step: 3, by: "existing-cluster" },
  { page: UPGRADE, step: 2, by: "guides" },
  { page: UPGRADE, step: 3, by: "guides" },
  { page: REPLACE, has: "kubeadm reset", by: "guides" },
  { page: REPLACE, has: "member remove", by: "guides" },
  { page: REPLACE, has: "delete node", by: "guides" },
  { page: REPLACE, has: "upload-certs", by: "guides" },
  { page: QUORUM, step: 1, by: "guides" },
  { page: QUORUM, step: 2, by: "guides" },
  { page: QUORUM, step: 3, has: "sed", by: "guides" },
  { page: QUORUM, step: 3, has: "get lease", by: "guides" },
  { page: IPV6, step: 2, by: "ipv6" },
  { page: SYSTEMD, step: 1, by: "guides" },
  { page: SYSTEMD, step: 2, by: "guides" },
  { page: SYSTEMD, step: 3, by: "guides" },
  { page: SYSTEMD, has: "leasehold cleanup", by: "guides" },
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

/** `untyped` returns what a story has to play and has not asked for yet. `asked` is what it has asked for. */
export function untyped(story: Story, asked: readonly Block[]): readonly Played[] {
  return PLAYED.filter((entry) => entry.by === story && !asked.some((block) => isMeant(entry, block)));
}
