/**
 * Splits a byte stream at line feeds, as a watch needs it: one JSON document a line. Works on bytes, so that a character
 * cut in two by a packet's end stays whole.
 */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #parts: Buffer[] = [];
  #length = 0;

  /** @param maxBytes the longest line that is accepted */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that `chunk` completes, without their ends and without empty ones; undefined when one is too long. */
  push(chunk: Buffer): readonly string[] | undefined {
    const lines: string[] = [];
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      const part = chunk.subarray(start, end === -1 ? chunk.length : end);
      this.#length += part.length;
      if (this.#length > this.#maxBytes) return undefined;
      this.#parts.push(part);
      if (end === -1) return lines;
      const line = Buffer.concat(this.#parts, this.#length).toString("utf8").trim();
      if (line !== "") lines.push(line);
      this.#parts.length = 0;
      this.#length = 0;
      start = end + 1;
    }
  }
}
