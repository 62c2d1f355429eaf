/** What the log tells of the fast path. Each fact is told once, although it is seen again with each round. */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { MOST_MEMBERS } from "./ruleset.ts";
import type { Mode } from "./status.ts";

export interface Journal {
  /** Tells the mode. Answers false, and tells nothing, when it is the same as before. */
  mode(before: Mode, now: Mode): boolean;
  /** Tells that a round has failed, once for each reason. */
  readonly roundFailed: (error: unknown) => void;
  /** Tells the names of nodes that take no part, once for each change. */
  leftOut(names: readonly string[]): void;
  /** Tells that the kernel could not be read. The same error is told again after ten minutes. */
  readonly unread: (error: unknown) => void;
  /** Ends what {@link Journal.unread} remembers: the kernel could be read. */
  read(): void;
}

/** Milliseconds until a read that fails for the same reason is told again. */
const TELL_AGAIN_MS = 600_000;

const TOO_MANY =
  "Too many nodes have the rules: these take no part, and get no connections by the fast path. " +
  "Set LEASEHOLD_FASTPATH=off on nodes that need not be members";

const CHANGED = "The fast path has another mode now";

/** @param deps.demanded is true with LEASEHOLD_FASTPATH=on: another mode is an error then */
export function createJournal(deps: {
  readonly clock: Clock;
  readonly log: Logger;
  readonly demanded: boolean;
}): Journal {
  const { clock, log, demanded } = deps;
  let failure = "";
  let leftOut = "";
  let unread: { readonly text: string; readonly toldMs: number } | undefined;

  return {
    mode(before, now) {
      if (JSON.stringify(before) === JSON.stringify(now)) return false;
      switch (now.kind) {
        case "fast-path":
          log.info({ mode: now.kind }, CHANGED);
          break;
        case "proxy":
          if (demanded) log.error({ mode: now.kind, reason: now.reason }, CHANGED);
          else log.info({ mode: now.kind, reason: now.reason }, CHANGED);
          break;
        case "off":
          log.warn({ mode: now.kind, reason: now.reason }, CHANGED);
          break;
        case "starting":
          break;
      }
      return true;
    },
    roundFailed(error) {
      const text = String(error);
      if (text !== failure)
        log.warn({ err: error }, "The agent cannot look after the fast path, and tries again");
      failure = text;
    },
    leftOut(names) {
      const text = names.join(" ");
      if (text === leftOut) return;
      leftOut = text;
      if (names.length === 0) log.info({}, "All nodes that have the rules take part again");
      else log.warn({ leftOut: names, most: MOST_MEMBERS }, TOO_MANY);
    },
    unread(error) {
      const text = String(error);
      if (unread?.text === text && clock.now() < unread.toldMs + TELL_AGAIN_MS) return;
      unread = { text, toldMs: clock.now() };
      log.warn(
        { err: error },
        "The kernel did not answer about the agent's nftables rules, they stay as they are",
      );
    },
    read() {
      unread = undefined;
    },
  };
}
