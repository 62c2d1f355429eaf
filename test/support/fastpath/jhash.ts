/**
 * The kernel's hash of a client's connection (include/linux/jhash.h), so that the model knows which slot a
 * real packet has.
 */
import { SLOTS } from "../../../src/fastpath/slots.ts";
import type { IpAddress } from "../../../src/net.ts";

const SEED = 0x4c484f4c;
const INITIAL = 0xdeadbeef;

const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by));

/**
 * `jhash ip saddr . tcp sport mod 1024`: the port is in a register of its own, padded to 4 bytes
 * (nft_hash.c).
 */
export function slotOf(source: IpAddress, port: number): number {
  const key = Buffer.alloc(source.bytes.length + 4);
  key.set(source.bytes);
  key.writeUInt16BE(port, source.bytes.length);
  let a = (INITIAL + key.length + SEED) | 0;
  let b = a;
  let c = a;
  let at = 0;
  for (; key.length - at > 12; at += 12) {
    a = (a + key.readInt32LE(at)) | 0;
    b = (b + key.readInt32LE(at + 4)) | 0;
    c = (c + key.readInt32LE(at + 8)) | 0;
    a = ((a - c) | 0) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = ((a - c) | 0) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 4);
    b = (b + a) | 0;
  }
  // Eight bytes are left in either family.
  a = (a + key.readInt32LE(at)) | 0;
  b = (b + key.readInt32LE(at + 4)) | 0;
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return Number((BigInt(c >>> 0) * BigInt(SLOTS)) >> 32n);
}
