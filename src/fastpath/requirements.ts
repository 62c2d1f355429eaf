/**
 * What the fast path needs as well as nftables, and whether this machine has it. Reads /proc and /sys only.
 */
import { readFileSync } from "node:fs";
import type { IpAddress } from "../net.ts";

/**
 * Modes of bonds that send from several MAC addresses. The network check knows a peer by one, and the answer
 * to ARP would differ from client to client.
 */
const MANY_MAC_BONDS = new Set(["balance-tlb", "balance-alb"]);

interface RequiredSysctl {
  readonly file: string;
  readonly wanted: string;
  readonly because: string;
}

/**
 * Answers what is missing, each with what to do; empty when nothing is. A file that does not exist says
 * nothing, because the kernel may be built another way.
 * @param read answers a file's text without blanks at its ends, or undefined
 */
export function missingRequirements(
  interfaceName: string,
  vips: readonly IpAddress[],
  read: (file: string) => string | undefined = readTrimmed,
): readonly string[] {
  const switches: RequiredSysctl[] = [
    // The second chance needs packets of connections that conntrack has not seen from their start. Without
    // this switch they are invalid.
    {
      file: "/proc/sys/net/netfilter/nf_conntrack_tcp_loose",
      wanted: "1",
      because: "net.netfilter.nf_conntrack_tcp_loose",
    },
  ];
  // Packets of this node's pods are forwarded. kubeadm's preflight demands this switch of every node.
  if (vips.some((vip) => vip.family === 4))
    switches.push({ file: "/proc/sys/net/ipv4/ip_forward", wanted: "1", because: "net.ipv4.ip_forward" });
  const missing = switches.flatMap(({ file, wanted, because }) => {
    const value = read(file);
    return value === undefined || value === wanted ? [] : [`${because} is ${value}, set it to ${wanted}`];
  });
  const [bond] = (read(`/sys/class/net/${interfaceName}/bonding/mode`) ?? "").split(" ");
  if (bond !== undefined && MANY_MAC_BONDS.has(bond))
    missing.push(
      `${interfaceName} is a bond in mode ${bond}, which sends from several MAC addresses; use active-backup or 802.3ad`,
    );
  return missing;
}

function readTrimmed(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return undefined;
  }
}
