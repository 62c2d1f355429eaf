/**
 * Opens one watch with one set of credentials. The answer is a stream with one JSON object per
 * line.
 */
import type { Clock } from "../clock.ts";
import type { Exchange, ExchangeHandlers } from "./connections.ts";
import { LineSplitter } from "./line-splitter.ts";
import { noAnswerReason } from "./no-answer.ts";
import { plainText } from "./plain-text.ts";
import { ApiNoAnswer } from "./transport.ts";
import type { WatchHandlers } from "./transport.ts";

const MAX_EVENT_BYTES = 1024 * 1024;
/** Time from opening a watch to its response headers, which kube-apiserver sends at once. */
const WATCH_OPEN_MS = 5000;

/** Why a watch has ended. */
export type WatchEnd = Parameters<WatchHandlers["onEnd"]>[0];

export interface WatchDeps {
  readonly clock: Clock;
  readonly request: (handlers: ExchangeHandlers) => Exchange;
  /** Called when the HTTP status has come. */
  readonly onAnswer: (status: number) => void;
  readonly onEvent: WatchHandlers["onEvent"];
  /** Called when the stream has ended. `error` says why there was no HTTP status at all. */
  readonly onEnd: (reason: WatchEnd, error?: ApiNoAnswer) => void;
}

/** Opens the watch. `close()` of the returned object ends it without a call of `onEnd`. */
export function openWatch(server: string, deps: WatchDeps): { close(): void } {
  let over = false;
  let sent = false;
  let status = 0;
  const lines = new LineSplitter(MAX_EVENT_BYTES);
  const end = (reason: WatchEnd | undefined, error?: ApiNoAnswer): void => {
    if (over) return;
    over = true;
    opening.cancel();
    if (reason !== undefined) deps.onEnd(reason, error);
    call.abort();
  };
  const fail = (message: string, error?: ApiNoAnswer): void =>
    end({ kind: "error", message: `${server}: ${message}` }, error);
  const opening = deps.clock.after(WATCH_OPEN_MS, () => fail(`no answer within ${WATCH_OPEN_MS} ms`));
  const call = deps.request({
    onSent: () => void (sent = true),
    onStatus(code) {
      status = code;
      opening.cancel();
      deps.onAnswer(status);
      if (status !== 200) end({ kind: "status", status });
    },
    onData(chunk) {
      const complete = lines.push(chunk);
      if (complete === undefined) return fail(`an event exceeds ${MAX_EVENT_BYTES} bytes`);
      for (const line of complete) {
        const event = parseEvent(line);
        if (event === undefined) return fail("sent something that is no watch event");
        deps.onEvent(event.type, event.object);
        if (over) return;
      }
    },
    onEnd: () => end({ kind: "end" }),
    onError(error) {
      const message = plainText(error.message);
      const unheard =
        status > 0
          ? undefined
          : new ApiNoAnswer(server, noAnswerReason(error), sent, message, { cause: error });
      fail(message, unheard);
    },
  });
  return { close: () => end(undefined) };
}

/** Parses JSON. Other text is returned as it is, and an empty body as undefined. */
export function parseBody(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined;
  const text = bytes.toString("utf8");
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function parseEvent(line: string): { readonly type: string; readonly object: unknown } | undefined {
  const event = parseBody(Buffer.from(line));
  if (typeof event !== "object" || event === null || !("type" in event) || !("object" in event))
    return undefined;
  return typeof event.type === "string" ? { type: event.type, object: event.object } : undefined;
}
