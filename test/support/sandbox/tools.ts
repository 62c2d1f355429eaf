/**
 * The one list of the programs that demo, tests and benchmarks call, with the Debian package that brings
 * each, and of who calls which. What is missing is installed by ../set-up/set-up.ts; .ci/run goes through it
 * too.
 */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Debian keeps ip, nft and tc in /usr/sbin, which an ordinary user's PATH may lack. */
export const TOOL_PATH = [
  process.env["PATH"] ?? "/usr/bin:/bin",
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin",
  // Debian keeps the plugins for pods' networks here.
  "/usr/lib/cni",
].join(delimiter);

const PACKAGES = {
  ip: "iproute2",
  ss: "iproute2",
  tc: "iproute2",
  nft: "nftables",
  "iptables-restore": "iptables",
  unshare: "util-linux",
  nsenter: "util-linux",
  setpriv: "util-linux",
  mount: "mount",
  sysctl: "procps",
  ping: "iputils-ping",
  curl: "curl",
  tcpdump: "tcpdump",
  newuidmap: "uidmap",
  faketime: "faketime",
  keepalived: "keepalived",
  prometheus: "prometheus",
  promtool: "prometheus",
  "systemd-analyze": "systemd",
  haproxy: "haproxy",
  iperf3: "iperf3",
  sockperf: "sockperf",
  wrk: "wrk",
  buildah: "buildah",
  mmdebstrap: "mmdebstrap",
  ctr: "containerd",
  runc: "runc",
  groff: "groff-base",
  shellcheck: "shellcheck",
  "host-local": "containernetworking-plugins",
  chromium: "chromium",
} as const;

export type Tool = keyof typeof PACKAGES;

/** Without these there are no network namespaces to run in. */
export const SANDBOX_TOOLS: readonly Tool[] = ["ip", "unshare", "nsenter", "setpriv", "mount"];

/** Without these it makes no sense to begin with the lab's tests. */
export const LAB_TOOLS: readonly Tool[] = [...SANDBOX_TOOLS, "nft", "iptables-restore"];

export interface Purpose {
  /** Without these it does not begin. */
  readonly needs: readonly Tool[];
  /** Without these it does less. */
  readonly wants: readonly Tool[];
  /** What becomes of it without some of `wants`, as the end of a sentence that names them. */
  readonly without: string;
}

export const PURPOSES = {
  demo: { needs: SANDBOX_TOOLS, wants: ["nft"], without: "the demo runs in proxy mode" },
  test: {
    // The layers differ: unit tests begin without any of them.
    needs: [],
    wants: [
      ...LAB_TOOLS,
      "ss",
      "tc",
      "sysctl",
      "ping",
      "curl",
      "tcpdump",
      "faketime",
      "keepalived",
      "prometheus",
      "promtool",
      "systemd-analyze",
      "buildah",
      "mmdebstrap",
      "ctr",
      "runc",
      "host-local",
      "chromium",
      "groff",
      "shellcheck",
    ],
    without: "the tests that call them fail",
  },
  bench: {
    needs: [],
    wants: [...LAB_TOOLS, "ss", "tc", "curl", "haproxy", "keepalived", "iperf3", "sockperf", "wrk"],
    without: "the benchmarks that call them cannot run",
  },
} as const satisfies Readonly<Record<string, Purpose>>;

export type PurposeName = keyof typeof PURPOSES;

/** The packages that bring `tools`, each once, in alphabetical order. */
export function packagesOf(tools: readonly Tool[]): readonly string[] {
  return [...new Set(tools.map((tool) => PACKAGES[tool]))].sort();
}

/** What a person enters to have `tools`. */
export function installCommand(tools: readonly Tool[]): string {
  return `apt-get update && apt-get install --yes --no-install-recommends ${packagesOf(tools).join(" ")}`;
}

/** The path of a program; undefined where there is none that this user may run. */
export function findProgram(name: string, path = TOOL_PATH): string | undefined {
  return path
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** `ip (Debian package iproute2), nft (Debian package nftables)`. */
export function withPackages(tools: readonly Tool[]): string {
  return tools.map((tool) => `${tool} (Debian package ${PACKAGES[tool]})`).join(", ");
}

/**
 * One sentence that names each missing tool, its package and the command; undefined when nothing is missing.
 */
export function missingTools(tools: readonly Tool[]): string | undefined {
  const missing = tools.filter((tool) => findProgram(tool) === undefined);
  return missing.length === 0
    ? undefined
    : `missing: ${withPackages(missing)}. Install with, as root: ${installCommand(missing)}`;
}
