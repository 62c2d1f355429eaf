/**
 * Netlink framing (RFC 3549 section 2, linux/netlink.h): messages, attributes, acknowledgements. Integers are
 * in host order. Every message and attribute is padded to four bytes. Pure.
 */
import { concatBytes, viewOf } from "./bytes.ts";

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
/** A change interrupted the dump. It may be inconsistent and has to be repeated. */
export const NLM_F_DUMP_INTR = 0x10;
/** The acknowledgement has attributes after its error code (NETLINK_EXT_ACK). */
const NLM_F_ACK_TLVS = 0x200;
/** The acknowledgement does not repeat the request's payload (NETLINK_CAP_ACK). */
const NLM_F_CAPPED = 0x100;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_LENGTH = 16;
const ATTRIBUTE_HEADER_LENGTH = 4;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER are flags in the attribute's type. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;
const NLMSGERR_ATTR_MSG = 1;

export const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

const align4 = (length: number): number => (length + 3) & ~3;

export interface NetlinkRequest {
  readonly type: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /**
   * `port` is nlmsg_pid: the netlink port of the socket whose request this answers, or which made the
   * reported change.
   */
  readonly port: number;
  readonly payload: Uint8Array;
}

export function encodeMessage(request: NetlinkRequest, sequence: number): Uint8Array {
  const length = HEADER_LENGTH + request.payload.length;
  const bytes = new Uint8Array(align4(length));
  const view = viewOf(bytes);
  view.setUint32(0, length, LITTLE_ENDIAN);
  view.setUint16(4, request.type, LITTLE_ENDIAN);
  view.setUint16(6, request.flags, LITTLE_ENDIAN);
  view.setUint32(8, sequence, LITTLE_ENDIAN);
  bytes.set(request.payload, HEADER_LENGTH);
  return bytes;
}

export function encodeAttribute(type: number, value: Uint8Array): Uint8Array {
  const length = ATTRIBUTE_HEADER_LENGTH + value.length;
  const bytes = new Uint8Array(align4(length));
  const view = viewOf(bytes);
  view.setUint16(0, length, LITTLE_ENDIAN);
  view.setUint16(2, type, LITTLE_ENDIAN);
  bytes.set(value, ATTRIBUTE_HEADER_LENGTH);
  return bytes;
}

/**
 * Returns the messages of one datagram; undefined when any of it is malformed, because then none of it can be
 * trusted.
 */
export function parseMessages(datagram: Uint8Array): readonly NetlinkMessage[] | undefined {
  const messages: NetlinkMessage[] = [];
  const view = viewOf(datagram);
  let offset = 0;
  while (offset < datagram.length) {
    if (datagram.length - offset < HEADER_LENGTH) return undefined;
    const length = view.getUint32(offset, LITTLE_ENDIAN);
    if (length < HEADER_LENGTH || length > datagram.length - offset) return undefined;
    messages.push({
      type: view.getUint16(offset + 4, LITTLE_ENDIAN),
      flags: view.getUint16(offset + 6, LITTLE_ENDIAN),
      sequence: view.getUint32(offset + 8, LITTLE_ENDIAN),
      port: view.getUint32(offset + 12, LITTLE_ENDIAN),
      payload: datagram.subarray(offset + HEADER_LENGTH, offset + length),
    });
    offset += align4(length);
  }
  return messages;
}

/** Returns attributes by type (the last of a type counts, as in the kernel); undefined when malformed. */
export function parseAttributes(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> | undefined {
  const attributes = new Map<number, Uint8Array>();
  return eachAttribute(bytes, (type, value) => attributes.set(type, value)) ? attributes : undefined;
}

/**
 * Returns the values of `type`, in order, from a list in which every attribute has the same type; undefined
 * when malformed.
 */
export function parseAttributeList(bytes: Uint8Array, type: number): readonly Uint8Array[] | undefined {
  const values: Uint8Array[] = [];
  return eachAttribute(bytes, (found, value) => found === type && values.push(value)) ? values : undefined;
}

/** Calls `take` for each attribute. Returns false when they are malformed. */
function eachAttribute(bytes: Uint8Array, take: (type: number, value: Uint8Array) => unknown): boolean {
  const view = viewOf(bytes);
  let offset = 0;
  // Fewer than four bytes at the end are padding.
  while (bytes.length - offset >= ATTRIBUTE_HEADER_LENGTH) {
    const length = view.getUint16(offset, LITTLE_ENDIAN);
    if (length < ATTRIBUTE_HEADER_LENGTH || length > bytes.length - offset) return false;
    take(
      view.getUint16(offset + 2, LITTLE_ENDIAN) & ATTRIBUTE_TYPE_MASK,
      bytes.subarray(offset + ATTRIBUTE_HEADER_LENGTH, offset + length),
    );
    offset += align4(length);
  }
  return true;
}

export function encodeNested(type: number, ...attributes: readonly Uint8Array[]): Uint8Array {
  return encodeAttribute(type | NLA_F_NESTED, concatBytes(attributes));
}

export type Reply =
  | { readonly kind: "data" }
  | { readonly kind: "done"; readonly errno: number }
  /** `errno` is 0 for success. `text` is the kernel's own explanation, if it gives one. */
  | { readonly kind: "ack"; readonly errno: number; readonly text: string | undefined }
  | { readonly kind: "malformed" };

/** Says what a message means to the socket that asked. */
export function classifyReply(message: NetlinkMessage): Reply {
  if (message.type === NLMSG_DONE) {
    // Old kernels end a dump without a code.
    if (message.payload.length < 4) return { kind: "done", errno: 0 };
    return { kind: "done", errno: Math.abs(viewOf(message.payload).getInt32(0, LITTLE_ENDIAN)) };
  }
  if (message.type !== NLMSG_ERROR) return { kind: "data" };
  // struct nlmsgerr has the code, the request's header, the request's payload unless capped, and attributes.
  if (message.payload.length < 4 + HEADER_LENGTH) return { kind: "malformed" };
  const view = viewOf(message.payload);
  const errno = Math.abs(view.getInt32(0, LITTLE_ENDIAN));
  return { kind: "ack", errno, text: ackText(message, view) };
}

function ackText(message: NetlinkMessage, view: DataView): string | undefined {
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return undefined;
  const requestLength =
    (message.flags & NLM_F_CAPPED) === 0 ? view.getUint32(4, LITTLE_ENDIAN) : HEADER_LENGTH;
  const start = 4 + align4(Math.max(requestLength, HEADER_LENGTH));
  if (start < 4 || start > message.payload.length) return undefined;
  const text = parseAttributes(message.payload.subarray(start))?.get(NLMSGERR_ATTR_MSG);
  return text === undefined ? undefined : decodeCString(text);
}

export function decodeCString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

export function encodeCString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
