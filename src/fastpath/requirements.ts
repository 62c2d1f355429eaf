/** What the kernel's data plane needs beside nftables itself, and whether this machine has it. Reads /proc and /sys only. */
import { readFileSync } from "node:fs";
import type { IpAddress } from "../net.ts";

/** Bonds that send from several MAC addresses: the network check knows a peer by one, and answers to ARP would differ from client to client. */
const MANY_MAC_BONDS = new Set(["balance-tlb", "balance-alb"]);

interface Switch {
  readonly file: string;
  readonly wanted: string;
  readonly because: string;
}

/** Empty when nothing is missing; each reason says what to do. A file that is not there says nothing: the kernel may have it built another way. */
export function missingRequirements(interfaceName: string, vips: readonly IpAddress[], read: (file: string) => string | undefined = readTrimmed): readonly string[] {
  const switches: Switch[] = [
    // A packet of a connection that conntrack has not seen from its start must not be called invalid: it is what the second chance is for.
    { file: "/proc/sys/net/netfilter/nf_conntrack_tcp_loose", wanted: "1", because: "net.netfilter.nf_conntrack_tcp_loose" },
  ];
  // Pods of this node are forwarded; kubeadm's preflight demands it of every node.
  if (vips.some((vip) => vip.family === 4)) switches.push({ file: "/proc/sys/net/ipv4/ip_forward", wanted: "1", because: "net.ipv4.ip_forward" });
  const missing = switches.flatMap(({ file, wanted, because }) => {
    const value = read(file);
    return value === undefined || value === wanted ? [] : [`${because} is ${value}, set it to ${wanted}`];
  });
  const [bond] = (read(`/sys/class/net/${interfaceName}/bonding/mode`) ?? "").split(" ");
  if (bond !== undefined && MANY_MAC_BONDS.has(bond)) missing.push(`${interfaceName} is a bond in mode ${bond}, which sends from several MAC addresses; use active-backup or 802.3ad`);
  return missing;
}

function readTrimmed(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return undefined;
  }
}
