/**
 * Splits a byte stream at line feeds, because a watch sends one JSON document per line. It works on bytes, so
 * that a character that a packet's end cuts in two stays whole.
 */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #parts: Buffer[] = [];
  #length = 0;

  /** @param maxBytes the longest line that is accepted, in bytes */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Returns the lines that `chunk` completes, without line ends and without empty lines. undefined if one is
   * too long.
   */
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
