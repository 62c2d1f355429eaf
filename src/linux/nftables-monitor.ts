/**
 * Reports which program changes the packet filter, and what it changes, from nf_tables' own notifications.
 * All but `watchRuleset` is pure. Layouts: linux/netfilter/nf_tables.h.
 *
 * Notifications come after a transaction is in force (nf_tables_commit): a message for each thing made or
 * deleted, and one NEWGEN. `nft flush ruleset` deletes each table by name. The kernel reports nothing that
 * happens outside a transaction, tried on Linux 6.18: elements that packets add to or update in a dynamic
 * set, and elements that time out. So traffic does not wake a program that keeps flows in sets.
 */
import { decodeCString, parseAttributes, type NetlinkMessage } from "./netlink.ts";
import { NFGENMSG_LENGTH, NFNL_SUBSYS_NFTABLES, NFPROTO, nfnetlinkType, readBe32 } from "./nfnetlink.ts";
import { NETLINK_NETFILTER, subscribeMessages } from "./sockets.ts";

/** From enum nfnetlink_groups: NFNLGRP_NFTABLES is 7, and sockaddr_nl has the bit n - 1. */
const GROUP_NFTABLES = 1 << 6;
const NFT_MSG_NEWGEN = 15;
const NFT_MSG_TRACE = 17;
/**
 * NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE,
 * NFTA_OBJ_TABLE and NFTA_FLOWTABLE_TABLE are all the first attribute.
 */
const NFTA_TABLE = 1;
const NFTA_GEN_PROC_PID = 2;
const NFTA_GEN_PROC_NAME = 3;
const FAMILIES: ReadonlyMap<number, string> = new Map(
  Object.entries(NFPROTO).map(([word, number]) => [number, word]),
);
/**
 * A transaction of kube-proxy may have some thousand rules. The default of 208 KiB would lose it. Unused
 * space costs nothing.
 */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** One finished transaction on the ruleset, as nftables reported it, with the tables that it touched. */
export interface RulesetChange {
  /**
   * Id of the thread that made the change, in the first process namespace (task_pid_nr), for people to read.
   * In a container it cannot be compared with a process id of its own namespace. Use `port` for that.
   */
  readonly pid: number | undefined;
  /** The thread's name ("nft", "iptables-nft-re"), at most 15 bytes, which the thread chooses itself. */
  readonly program: string | undefined;
  /** Tables such as "ip leasehold", with nft's names of the families: ip ip6 inet arp bridge netdev. */
  readonly tables: ReadonlySet<string>;
  /**
   * True when the kernel dropped messages (ENOBUFS): anything may have changed until now, and the caller must
   * look. `tables` has what was reported before. Messages that the kernel had kept come after this, so the
   * next change may bring tables of a transaction whose end is lost.
   */
  readonly lost: boolean;
  /**
   * The netlink port of the socket that sent the change. For a program with one socket it is its process id
   * as that program sees it (netlink_autobind). So where child and parent share a process namespace, a
   * child's own pid shows that the change was our child's.
   */
  readonly port?: number | undefined;
}

/**
 * Calls back after each transaction on the ruleset, until closed.
 * @throws {SystemCallError} EPERM without CAP_NET_ADMIN, EPROTONOSUPPORT on a kernel without nfnetlink
 */
export function watchRuleset(onChange: (change: RulesetChange) => void): { close(): void } {
  const collector = createCollector(onChange);
  return subscribeMessages(NETLINK_NETFILTER, GROUP_NFTABLES, RECEIVE_BUFFER_BYTES, collector);
}

/** Collects messages into transactions. */
export function createCollector(
  onChange: (change: RulesetChange) => void,
): (messages: readonly NetlinkMessage[] | "lost") => void {
  let tables = new Set<string>();
  const finish = (change: Omit<RulesetChange, "tables">): void => {
    const touched = tables;
    tables = new Set();
    onChange({ ...change, tables: touched });
  };
  return (messages) => {
    // Reported at once: the end of the transaction may be among the lost messages.
    if (messages === "lost") return finish({ pid: undefined, program: undefined, lost: true });
    for (const message of messages) {
      const event = parseRulesetEvent(message);
      if (event?.kind === "touched") tables.add(event.table);
      if (event?.kind === "finished")
        finish({ pid: event.pid, program: event.program, lost: false, port: message.port });
    }
  };
}

export type RulesetEvent =
  | { readonly kind: "touched"; readonly table: string }
  | { readonly kind: "finished"; readonly pid: number | undefined; readonly program: string | undefined };

/** Parses a notification; undefined for any other message, and for a malformed one. */
export function parseRulesetEvent(message: NetlinkMessage): RulesetEvent | undefined {
  const { type, payload } = message;
  if (type >> 8 !== NFNL_SUBSYS_NFTABLES || type === nfnetlinkType(NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE))
    return undefined;
  if (payload.length < NFGENMSG_LENGTH) return undefined;
  const attributes = parseAttributes(payload.subarray(NFGENMSG_LENGTH));
  if (attributes === undefined) return undefined;
  if (type === nfnetlinkType(NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN)) {
    const program = attributes.get(NFTA_GEN_PROC_NAME);
    return {
      kind: "finished",
      pid: readBe32(attributes.get(NFTA_GEN_PROC_PID)),
      program: program && decodeCString(program),
    };
  }
  const family = FAMILIES.get(payload[0] ?? 0);
  const name = attributes.get(NFTA_TABLE);
  return family === undefined || name === undefined
    ? undefined
    : { kind: "touched", table: `${family} ${decodeCString(name)}` };
}
