/**
 * Events as watches get them: which came, and how late, told from what was only the API server's own delay.
 */

/**
 * The body of an HTTP answer in chunks. An API server that has several events to send puts them into one
 * buffer, and then a chunk ends anywhere, in the middle of a number too.
 */
export class ChunkedBody {
  #rest = "";
  #state:
    | { readonly kind: "head" }
    | { readonly kind: "size" }
    | { readonly kind: "data"; readonly left: number } = { kind: "head" };

  /** Answers what of the body came with it. */
  read(part: string): string {
    let text = this.#rest + part;
    let body = "";
    for (;;) {
      if (this.#state.kind === "data") {
        const { left } = this.#state;
        // The chunk and the line end after it.
        body += text.slice(0, Math.max(0, left - 2));
        const taken = Math.min(left, text.length);
        text = text.slice(taken);
        this.#state = taken === left ? { kind: "size" } : { kind: "data", left: left - taken };
        if (taken < left) break;
        continue;
      }
      const mark = this.#state.kind === "head" ? "\r\n\r\n" : "\r\n";
      const end = text.indexOf(mark);
      if (end < 0) break;
      const size = Number.parseInt(text.slice(0, end), 16);
      text = text.slice(end + mark.length);
      this.#state = this.#state.kind === "head" ? { kind: "size" } : { kind: "data", left: size + 2 };
    }
    this.#rest = text;
    return body;
  }
}

/** An event's number and the time it was made at, as test/support/lab/ticker.ts writes them. */
const START = '"data":{"n":"';
const EVENT = /"data":\{"n":"(\d+)","t":"([\d.]+)"/g;
/** No longer than this is an event's part that {@link EVENT} looks at. */
const LONGEST = 80;

/** All that any connection has seen: the first to see an event tells when its API server had it. */
export class EventFeed {
  readonly #first = new Map<string, number>();
  readonly #numbers = new Set<number>();

  /** When `server` sent this event for the first time, as far as anybody knows. */
  arrived(server: string, n: number, nowMs: number): number {
    const key = `${server} ${n}`;
    const firstMs = this.#first.get(key);
    if (firstMs !== undefined) return firstMs;
    this.#first.set(key, nowMs);
    this.#numbers.add(n);
    return nowMs;
  }

  /** An event of this number was made. (Not every number is: a patch may have failed.) */
  has(n: number): boolean {
    return this.#numbers.has(n);
  }
}

export interface EventsSeen {
  /** Number of the last. */
  readonly last: number;
  /** Others saw them, and this connection did not although later ones came. */
  readonly missed: number;
  /** Since the mark: the longest time from an event's making to its arrival here, ms. */
  readonly latestMs: number;
  /**
   * Since the mark: the longest time from an event's first arrival from the same API server to its arrival
   * here, ms.
   */
  readonly behindMs: number;
}

export class EventCounter {
  readonly #feed: EventFeed;
  readonly #server: string;
  readonly #gaps: number[] = [];
  readonly #body = new ChunkedBody();
  #text = "";
  #last = -1;
  #latestMs = 0;
  #behindMs = 0;

  constructor(feed: EventFeed, server: string) {
    this.#feed = feed;
    this.#server = server;
  }

  get any(): boolean {
    return this.#last >= 0;
  }

  /** The next part of the stream, as it came. */
  read(chunk: string, nowMs: number): void {
    this.#text += this.#body.read(chunk);
    let end = 0;
    for (const match of this.#text.matchAll(EVENT)) {
      end = match.index + match[0].length;
      this.#see(Number(match[1]), Number(match[2]), nowMs);
    }
    // What may yet become an event's beginning: from its START on, or less than that.
    const begun = this.#text.indexOf(START, end);
    this.#text = this.#text.slice(begun >= 0 ? begun : Math.max(end, this.#text.length - LONGEST));
  }

  #see(n: number, madeMs: number, nowMs: number): void {
    const firstMs = this.#feed.arrived(this.#server, n, nowMs);
    // The first is the state that the watch began with.
    if (this.#last >= 0) {
      for (let gap = this.#last + 1; gap < n; gap++) this.#gaps.push(gap);
      this.#latestMs = Math.max(this.#latestMs, nowMs - madeMs);
      this.#behindMs = Math.max(this.#behindMs, nowMs - firstMs);
    }
    this.#last = n;
  }

  mark(): void {
    this.#latestMs = 0;
    this.#behindMs = 0;
  }

  seen(): EventsSeen {
    return {
      last: this.#last,
      missed: this.#gaps.filter((n) => this.#feed.has(n)).length,
      latestMs: this.#latestMs,
      behindMs: this.#behindMs,
    };
  }
}
