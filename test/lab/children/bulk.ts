/** Bytes that both ends can make: each chunk differs from all others, so that a lost or doubled one shows. */
export const CHUNK = 1 << 20;

const pattern = Buffer.alloc(CHUNK, "leasehold ");

export function chunkAt(index: number): Buffer {
  const chunk = Buffer.from(pattern);
  chunk.writeUInt32BE(index, 0);
  chunk.writeUInt32BE(index, CHUNK - 4);
  return chunk;
}
