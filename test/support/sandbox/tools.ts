/** System tools that the lab and the demo call, with the Debian package that brings each. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Debian keeps ip, nft and tc in /usr/sbin, which an ordinary user's PATH may lack. */
export const TOOL_PATH = [process.env["PATH"] ?? "/usr/bin:/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter);

const PACKAGES = {
  ip: "iproute2",
  tc: "iproute2",
  nft: "nftables",
  "iptables-restore": "iptables",
  unshare: "util-linux",
  nsenter: "util-linux",
  setpriv: "util-linux",
  mount: "mount",
  tcpdump: "tcpdump",
  newuidmap: "uidmap",
  prometheus: "prometheus",
  promtool: "prometheus",
} as const;

export type Tool = keyof typeof PACKAGES;

/** Everything the sandbox and a lab need; tcpdump only for captures. */
export const LAB_TOOLS: readonly Tool[] = ["ip", "nft", "iptables-restore", "unshare", "nsenter", "setpriv", "mount"];

function isInstalled(tool: Tool): boolean {
  return TOOL_PATH.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** One sentence that names each missing tool and its package; undefined when nothing is missing. */
export function missingTools(tools: readonly Tool[]): string | undefined {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing.map((tool) => PACKAGES[tool]))];
  return (
    `missing: ${missing.map((tool) => `${tool} (Debian package ${PACKAGES[tool]})`).join(", ")}. ` +
    `Install with: apt-get install ${packages.join(" ")}`
  );
}
