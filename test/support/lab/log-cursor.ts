/** Reads the whole lines that a process has appended to its log since the last call. */
import { closeSync, openSync, readSync } from "node:fs";

export class LogCursor {
  readonly #file: string;
  readonly #buffer = Buffer.alloc(1 << 16);
  #offset = 0;
  #partial = "";

  constructor(file: string) {
    this.#file = file;
  }

  lines(): string[] {
    const descriptor = openSync(this.#file, "r");
    try {
      let text = this.#partial;
      for (;;) {
        const read = readSync(descriptor, this.#buffer, 0, this.#buffer.length, this.#offset);
        if (read === 0) break;
        this.#offset += read;
        text += this.#buffer.toString("latin1", 0, read); // the writers write ASCII
      }
      const lines = text.split("\n");
      this.#partial = lines.pop() ?? "";
      return lines.filter((line) => line !== "");
    } finally {
      closeSync(descriptor);
    }
  }
}
