/**
 * Reads the counters, rules and set elements of one nf_tables table, and restarts the time-outs of elements.
 * The codecs are pure. Layouts: linux/netfilter/nf_tables.h.
 *
 * Each request names its table, and the kernel looks at no other (nf_tables_dump_obj, nf_tables_dump_rules,
 * nf_tables_dump_set). The `nft` program cannot do that: for `list counters` nft 1.0.6 fetches every rule,
 * chain, set and element of the machine. Dumps and gets run under RCU and never wait. A change waits for the
 * mutex that another program's transaction holds, so it is sent from another thread.
 */
import { LeaseholdError } from "../errors.ts";
import { concatBytes } from "./bytes.ts";
import { SystemCallError } from "./libc.ts";
import {
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  decodeCString,
  encodeAttribute,
  encodeCString,
  encodeNested,
  parseAttributeList,
  parseAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink.ts";
import {
  NFGENMSG_LENGTH,
  NFNL_SUBSYS_NFTABLES,
  NFPROTO,
  nfnetlinkType,
  readBe32,
  readBe64,
} from "./nfnetlink.ts";
import {
  DUMP_TRIES,
  NETLINK_NETFILTER,
  netlinkBuffer,
  openNetlinkSocket,
  type NetlinkSocket,
} from "./sockets.ts";

const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;
const NFT_MSG_DELSETELEM = 14;
const NFT_MSG_NEWOBJ = 18;
const NFT_MSG_GETOBJ = 19;
/** From linux/netfilter/nfnetlink.h: types of no subsystem, which begin and end a batch. */
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
/**
 * NFTA_TABLE_NAME, NFTA_RULE_TABLE, NFTA_OBJ_TABLE and NFTA_SET_ELEM_LIST_TABLE are all the first attribute.
 */
const NFTA_TABLE = 1;
const NFTA_TABLE_FLAGS = 2;
const NFTA_TABLE_HANDLE = 4;
const NFTA_RULE_CHAIN = 2;
const NFTA_RULE_HANDLE = 3;
const NFTA_OBJ_NAME = 2;
const NFTA_OBJ_TYPE = 3;
const NFTA_OBJ_DATA = 4;
const NFT_OBJECT_COUNTER = 1;
const NFTA_COUNTER_BYTES = 1;
const NFTA_COUNTER_PACKETS = 2;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_DATA_VALUE = 1;

/** A table is named by its family, in nft's words, and its name. */
export interface TableId {
  readonly family: keyof typeof NFPROTO;
  readonly name: string;
}

/** A named counter. Numbers above 2^53 are rounded. */
export interface NamedCounter {
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
}

export interface PlacedRule {
  readonly chain: string;
  /** The kernel gives each rule, chain and set of a table the next number, and never the same one twice. */
  readonly handle: bigint;
}

export interface TableState {
  /** A number that no other table of this network namespace has or will have. */
  readonly handle: bigint;
  /** NFT_TABLE_F_*. The bit 1 means that the table is dormant: its chains are not in force. */
  readonly flags: number;
}

/** Names elements of one set by their keys. */
export interface SetKeys {
  readonly table: TableId;
  readonly set: string;
  /** Keys as they are in packets: an address has 4 or 16 bytes, a port 2. */
  readonly keys: readonly Uint8Array[];
}

/**
 * Every method rejects with a SystemCallError (EPERM, ENOENT, ENOBUFS, ...), or with a LeaseholdError
 * LH_NATIVE when the kernel's answer cannot be read.
 */
export interface Nftables {
  /** Lists the named counters of a table; none when there is no such table. */
  counters(table: TableId): Promise<readonly NamedCounter[]>;
  /**
   * Lists the rules of a table in order, chain by chain; none when there is no such table. A chain without
   * rules does not appear.
   */
  rules(table: TableId): Promise<readonly PlacedRule[]>;
  /** Reads a table's state; undefined when the kernel says that there is no such table. */
  table(table: TableId): Promise<TableState | undefined>;
  /**
   * Collects what `parse` returns for each element's key, without undefined. `parse` must copy what it keeps.
   * The elements come in pieces of some hundred, and other work goes first between two pieces. Elements that
   * packets add meanwhile may be missing. Resolves with undefined when the kernel says that there is no such
   * set.
   */
  elements<T>(
    table: TableId,
    set: string,
    parse: (key: Uint8Array) => T | undefined,
  ): Promise<readonly T[] | undefined>;
  /**
   * Adds elements again in one transaction. Only in this way does their time-out start again while no packet
   * sees them missing. It may take as long as another program's transaction. `sender` is told first by which
   * netlink port notifications will name the sender, because they may come before this resolves.
   */
  renew(elements: readonly SetKeys[], sender: (port: number) => void): Promise<void>;
}

/**
 * Creates the reader.
 * @param pause lets other work of this thread go first
 */
export function createNftables(pause: () => Promise<void>): Nftables {
  const buffer = netlinkBuffer();

  /**
   * Opens a socket for each question: a socket whose dump was given up half-way would answer EBUSY to the
   * next.
   */
  async function withSocket<T>(ask: (netlink: NetlinkSocket) => Promise<T>): Promise<T> {
    const netlink = openNetlinkSocket(NETLINK_NETFILTER, undefined, buffer);
    try {
      return await ask(netlink);
    } finally {
      netlink.close();
    }
  }

  async function dump<T>(
    request: NetlinkRequest,
    what: string,
    parse: (message: NetlinkMessage) => T | undefined,
  ): Promise<readonly T[]> {
    for (let i = 0; i < DUMP_TRIES; i++) {
      const found: T[] = [];
      const take = (message: NetlinkMessage): void => {
        const parsed = parse(message);
        if (parsed !== undefined) found.push(parsed);
      };
      if ((await withSocket((netlink) => netlink.pieces(request, what, take, pause))) === "whole")
        return found;
    }
    throw new LeaseholdError("LH_NATIVE", `${what}: netlink: interrupted by changes ${DUMP_TRIES} times`);
  }

  return {
    counters: (table) => dump(getCounters(table), "list counters", (message) => parseCounter(message, table)),
    rules: (table) => dump(getRules(table), "list rules", (message) => parseRule(message, table)),
    async table(table) {
      let state: TableState | undefined;
      const take = (message: NetlinkMessage): void => void (state ??= parseTable(message, table));
      const found = await absent(
        withSocket((netlink) => netlink.pieces(getTable(table), "look for a table", take, pause)),
      );
      if (found !== undefined && state === undefined) {
        throw new LeaseholdError("LH_NATIVE", "look for a table: netlink: the answer is malformed");
      }
      return state;
    },
    async elements(table, set, parse) {
      const found: ReturnType<typeof parse>[] = [];
      const take = (message: NetlinkMessage): void => {
        for (const key of parseKeys(message, table, set)) {
          const parsed = parse(key);
          if (parsed !== undefined) found.push(parsed);
        }
      };
      // Another program's transaction (NLM_F_DUMP_INTR) removes nothing from this set, so the elements that
      // were found count.
      const end = await absent(
        withSocket((netlink) => netlink.pieces(getElements(table, set), "list elements", take, pause)),
      );
      return end === undefined ? undefined : found.filter((element) => element !== undefined);
    },
    renew: (elements, sender) =>
      withSocket((netlink) => {
        sender(netlink.port());
        return netlink.commit(renewRequests(elements), "renew set elements");
      }),
  };
}

/** Resolves with undefined for ENOENT, by which the kernel says that a table or set does not exist. */
async function absent<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof SystemCallError && error.errnoName === "ENOENT") return undefined;
    throw error;
  }
}

function request(
  operation: number,
  flags: number,
  { family, name }: TableId,
  ...attributes: readonly Uint8Array[]
): NetlinkRequest {
  return {
    type: nfnetlinkType(NFNL_SUBSYS_NFTABLES, operation),
    flags: NLM_F_REQUEST | flags,
    payload: concatBytes([
      Uint8Array.of(NFPROTO[family], 0, 0, 0),
      encodeAttribute(NFTA_TABLE, encodeCString(name)),
      ...attributes,
    ]),
  };
}

export function getCounters(table: TableId): NetlinkRequest {
  return request(
    NFT_MSG_GETOBJ,
    NLM_F_DUMP,
    table,
    encodeAttribute(NFTA_OBJ_TYPE, Uint8Array.of(0, 0, 0, NFT_OBJECT_COUNTER)),
  );
}

export function getRules(table: TableId): NetlinkRequest {
  return request(NFT_MSG_GETRULE, NLM_F_DUMP, table);
}

export function getTable(table: TableId): NetlinkRequest {
  return request(NFT_MSG_GETTABLE, 0, table);
}

export function getElements(table: TableId, set: string): NetlinkRequest {
  return request(
    NFT_MSG_GETSETELEM,
    NLM_F_DUMP,
    table,
    encodeAttribute(NFTA_SET_ELEM_LIST_SET, encodeCString(set)),
  );
}

/**
 * Builds the batch for `renew`. The elements are added first, so that there is something to delete. Adding an
 * element that exists is no error.
 */
export function renewRequests(elements: readonly SetKeys[]): readonly NetlinkRequest[] {
  // struct nfgenmsg with the subsystem as its resource, in network order.
  const bound = (type: number): NetlinkRequest => ({
    type,
    flags: NLM_F_REQUEST,
    payload: Uint8Array.of(0, 0, 0, NFNL_SUBSYS_NFTABLES),
  });
  const changes = elements.flatMap(({ table, set, keys }) => {
    const element = (key: Uint8Array): Uint8Array =>
      encodeNested(NFTA_LIST_ELEM, encodeNested(NFTA_SET_ELEM_KEY, encodeAttribute(NFTA_DATA_VALUE, key)));
    const list = [
      encodeAttribute(NFTA_SET_ELEM_LIST_SET, encodeCString(set)),
      encodeNested(NFTA_SET_ELEM_LIST_ELEMENTS, ...keys.map(element)),
    ];
    const add = request(NFT_MSG_NEWSETELEM, NLM_F_ACK | NLM_F_CREATE, table, ...list);
    return [add, request(NFT_MSG_DELSETELEM, NLM_F_ACK, table, ...list), add];
  });
  return [bound(NFNL_MSG_BATCH_BEGIN), ...changes, bound(NFNL_MSG_BATCH_END)];
}

/**
 * Returns the attributes of a message of that kind about that table; undefined for any other message, and for
 * a malformed one.
 */
function attributesOf(
  { type, payload }: NetlinkMessage,
  operation: number,
  table: TableId,
): ReadonlyMap<number, Uint8Array> | undefined {
  if (type !== nfnetlinkType(NFNL_SUBSYS_NFTABLES, operation) || payload.length < NFGENMSG_LENGTH)
    return undefined;
  const attributes = parseAttributes(payload.subarray(NFGENMSG_LENGTH));
  // Checked again, because a kernel that selects less than it was asked to must not make other programs'
  // things ours.
  return payload[0] === NFPROTO[table.family] && textOf(attributes, NFTA_TABLE) === table.name
    ? attributes
    : undefined;
}

function textOf(attributes: ReadonlyMap<number, Uint8Array> | undefined, type: number): string | undefined {
  const bytes = attributes?.get(type);
  return bytes && decodeCString(bytes);
}

/**
 * Parses a counter. All parsers here return undefined for any other message, for other objects, for those of
 * other tables, and for a malformed message.
 */
export function parseCounter(message: NetlinkMessage, table: TableId): NamedCounter | undefined {
  const attributes = attributesOf(message, NFT_MSG_NEWOBJ, table);
  const name = textOf(attributes, NFTA_OBJ_NAME);
  const data = attributes?.get(NFTA_OBJ_DATA);
  if (
    name === undefined ||
    data === undefined ||
    readBe32(attributes?.get(NFTA_OBJ_TYPE)) !== NFT_OBJECT_COUNTER
  )
    return undefined;
  const values = parseAttributes(data);
  const packets = readBe64(values?.get(NFTA_COUNTER_PACKETS));
  const bytes = readBe64(values?.get(NFTA_COUNTER_BYTES));
  return packets === undefined || bytes === undefined
    ? undefined
    : { name, packets: Number(packets), bytes: Number(bytes) };
}

export function parseRule(message: NetlinkMessage, table: TableId): PlacedRule | undefined {
  const attributes = attributesOf(message, NFT_MSG_NEWRULE, table);
  const chain = textOf(attributes, NFTA_RULE_CHAIN);
  const handle = readBe64(attributes?.get(NFTA_RULE_HANDLE));
  return chain === undefined || handle === undefined ? undefined : { chain, handle };
}

export function parseTable(message: NetlinkMessage, table: TableId): TableState | undefined {
  const attributes = attributesOf(message, NFT_MSG_NEWTABLE, table);
  const handle = readBe64(attributes?.get(NFTA_TABLE_HANDLE));
  const flags = readBe32(attributes?.get(NFTA_TABLE_FLAGS));
  return handle === undefined || flags === undefined ? undefined : { handle, flags };
}

/** Returns the keys of the elements in one message, as views of it. */
export function parseKeys(message: NetlinkMessage, table: TableId, set: string): readonly Uint8Array[] {
  const attributes = attributesOf(message, NFT_MSG_NEWSETELEM, table);
  const list = attributes?.get(NFTA_SET_ELEM_LIST_ELEMENTS);
  if (list === undefined || textOf(attributes, NFTA_SET_ELEM_LIST_SET) !== set) return [];
  return (parseAttributeList(list, NFTA_LIST_ELEM) ?? []).flatMap((element) => {
    const key = parseAttributes(element)?.get(NFTA_SET_ELEM_KEY);
    const value = key && parseAttributes(key)?.get(NFTA_DATA_VALUE);
    return value === undefined ? [] : [value];
  });
}
