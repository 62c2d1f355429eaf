/**
 * The connections of clients elsewhere, as the holder's ingress has seen them. There may be more than a hundred
 * thousand after a flood, so they are kept as the kernel's keys, and each is read when it is asked for. Pure.
 */
import { formatMac } from "../linux/mac.ts";
import { ipFromBytes } from "../net.ts";
import type { Family } from "../net.ts";

/** A client's connection, as the holder's ingress saw its first packet. */
export interface Flow {
  /**
   * The MAC address that the packet came from: the client's, or that of the router before it. It is the way
   * back.
   */
  readonly mac: string;
  readonly client: string;
  readonly clientPort: number;
  readonly vip: string;
  readonly vipPort: number;
}

/** Where a connection comes from, as texts that are equal where the origins are. They need not be readable. */
interface Origin {
  readonly mac: string;
  readonly client: string;
}

/** Connections by number. An array of them is one as well. */
export interface FlowList {
  readonly length: number;
  at(index: number): Flow | undefined;
  /** Saves making the whole connection. */
  originOf?(index: number): Origin | undefined;
  /** The kernel's key, a byte a character (latin1). Only lists that the kernel's keys were put in have it. */
  keyAt?(index: number): string | undefined;
}

/** Connections of one family, packed. */
export interface PackedFlows extends FlowList {
  /** Copies the key of a connection. A key of another length is left out. */
  add(key: Uint8Array): void;
}

const MAC_LENGTH = 6;
/** Each part begins at a multiple of four bytes, as in the kernel's registers. */
const CLIENT_AT = 8;

function addressLength(family: Family): number {
  return family === 4 ? 4 : 16;
}

/** Bytes of a key. */
export function keyLength(family: Family): number {
  return CLIENT_AT + 2 * (addressLength(family) + 4);
}

/** Starts an empty list. */
export function packFlows(family: Family): PackedFlows {
  const size = keyLength(family);
  let keys = new Uint8Array(size * 64);
  let count = 0;

  function bytesAt(index: number): Uint8Array | undefined {
    return index < 0 || index >= count ? undefined : keys.subarray(index * size, (index + 1) * size);
  }

  return {
    get length() {
      return count;
    },
    at(index) {
      const key = bytesAt(index);
      return key && parseFlow(family, key);
    },
    keyAt(index) {
      const key = bytesAt(index);
      return key && Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
    },
    originOf(index) {
      if (index < 0 || index >= count) return undefined;
      const client = Buffer.from(keys.buffer, index * size, CLIENT_AT + addressLength(family)).toString(
        "latin1",
      );
      return { mac: client.slice(0, MAC_LENGTH), client };
    },
    add(key) {
      if (key.length !== size) return;
      if ((count + 1) * size > keys.length) {
        const larger = new Uint8Array(keys.length * 2);
        larger.set(keys);
        keys = larger;
      }
      keys.set(key, count * size);
      count += 1;
    },
  };
}

/** Answers one list of the connections of several. */
export function joinFlows(lists: readonly FlowList[]): FlowList {
  function find<T>(index: number, ask: (list: FlowList, at: number) => T): T | undefined {
    let at = index;
    for (const list of lists) {
      if (at < list.length) return ask(list, at);
      at -= list.length;
    }
    return undefined;
  }
  return {
    length: lists.reduce((sum, list) => sum + list.length, 0),
    at: (index) => find(index, (list, at) => list.at(at)),
    originOf: (index) => find(index, originOf),
    keyAt: (index) => find(index, (list, at) => list.keyAt?.(at)),
  };
}

function originOf(list: FlowList, index: number): Origin | undefined {
  if (list.originOf !== undefined) return list.originOf(index);
  const flow = list.at(index);
  return flow && { mac: flow.mac, client: `${flow.mac} ${flow.client}` };
}

/**
 * Reads a key of the flows' sets: MAC address, client, its port, VIP, its port. Answers undefined for a key of
 * another length.
 */
export function parseFlow(family: Family, key: Uint8Array): Flow | undefined {
  if (key.length !== keyLength(family)) return undefined;
  const size = addressLength(family);
  const client = CLIENT_AT;
  const clientPort = client + size;
  const vip = clientPort + 4;
  const vipPort = vip + size;
  const address = (offset: number): string => ipFromBytes(key.subarray(offset, offset + size)).text;
  const port = (offset: number): number => ((key[offset] ?? 0) << 8) | (key[offset + 1] ?? 0);
  return {
    mac: formatMac(key.subarray(0, MAC_LENGTH)),
    client: address(client),
    clientPort: port(clientPort),
    vip: address(vip),
    vipPort: port(vipPort),
  };
}

/** The connections that are put in order between two pauses. They take some 4 ms. */
const BATCH = 2_000;

/**
 * Answers the numbers of all connections in turns: the first one of each MAC address, the second one of each,
 * and so on, and within a MAC address the first one of each client, the second one of each, and so on. So
 * forged connections, from one machine or from one address, stand behind those of the others.
 * @param pause lets other work of this thread go first
 */
export async function inTurns(flows: FlowList, pause: () => Promise<void>): Promise<readonly number[]> {
  async function rounds(
    indexes: readonly number[],
    nameOf: (origin: Origin) => string,
  ): Promise<readonly number[]> {
    const turns = new Map<string, number>();
    const byTurn: number[][] = [];
    for (const [at, index] of indexes.entries()) {
      if (at % BATCH === BATCH - 1) await pause();
      const origin = originOf(flows, index);
      if (origin === undefined) continue;
      const name = nameOf(origin);
      const turn = turns.get(name) ?? 0;
      turns.set(name, turn + 1);
      (byTurn[turn] ??= []).push(index);
    }
    return byTurn.flat();
  }
  const all = Array.from({ length: flows.length }, (_, index) => index);
  const byClient = await rounds(all, ({ client }) => client);
  return rounds(byClient, ({ mac }) => mac);
}
