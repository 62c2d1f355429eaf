/**
 * Tells the operator's programs of a change of state, as keepalived does: a command (LEASEHOLD_NOTIFY) with
 * the arguments `INSTANCE NAME STATE PRIORITY`, and a named pipe (LEASEHOLD_NOTIFY_FIFO) with a line of the
 * same words.
 */
import { closeSync, constants, fstatSync, openSync, statSync, writeSync } from "node:fs";
import type { Clock } from "../clock.ts";
import { splitCommand } from "../config/command-line.ts";
import type { AgentState } from "../election/states.ts";
import { errorCode, LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { runProgram } from "../linux/program.ts";
import type { ProgramEnd } from "../linux/program.ts";

/** keepalived's states. */
export type NotifyState = "MASTER" | "BACKUP" | "FAULT" | "STOP";

/** Returns what a hook is told; undefined: nothing, as with keepalived. */
export function notifyState(state: AgentState): NotifyState | undefined {
  switch (state) {
    case "INIT":
      return undefined;
    case "MASTER":
    case "PROVISIONAL":
      return "MASTER";
    case "BACKUP":
    case "FAULT":
      return state;
    case "RELEASING":
    case "STOPPED":
      return "STOP";
  }
}

export interface NotifierDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** The command line; undefined: none is wanted. */
  readonly command: string | undefined;
  /** Milliseconds that one run may take. */
  readonly timeoutMs: number;
  /** Path of the named pipe; undefined: none is wanted. */
  readonly fifo: string | undefined;
  /** The name that the hook is told: that of the Lease. */
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** Makes a named pipe, as mkfifo(3). */
  readonly makeFifo: (path: string, mode: number) => void;
}

export interface Notifier {
  /** @param priority the effective priority, 1-254 */
  tell(state: AgentState, priority: number): void;
  /** Resolves when the last hook has ended, and after `mostMs` at the latest. Hooks that still run are ended. */
  close(mostMs: number): Promise<void>;
}

interface News {
  readonly state: NotifyState;
  readonly priority: number;
}

export function createNotifier(deps: NotifierDeps): Notifier {
  const { clock, log, name } = deps;
  const [path, ...args] = splitCommand(deps.command ?? "") ?? [];
  const fifo = deps.fifo === undefined ? undefined : createFifo(deps.fifo, deps);
  let last: NotifyState | undefined;
  /** The newest state that no hook has been told. An older one would be out of date when its turn comes. */
  let waiting: News | undefined;
  let skipped = 0;
  let running: { readonly abort: AbortController; readonly ended: Promise<void> } | undefined;

  function begin(): void {
    if (path === undefined || path === "" || running !== undefined || waiting === undefined) return;
    const news = waiting;
    waiting = undefined;
    if (skipped > 0)
      log.info(
        { state: news.state, skipped },
        "The notify hook was behind, so it is told the newest state only",
      );
    skipped = 0;
    const abort = new AbortController();
    running = { abort, ended: run(path, news, abort) };
  }

  async function run(program: string, { state, priority }: News, abort: AbortController): Promise<void> {
    let late = false;
    const timer = clock.after(deps.timeoutMs, () => {
      late = true;
      abort.abort();
    });
    const end = await runProgram({
      path: program,
      args: [...args, "INSTANCE", name, state, String(priority)],
      env: deps.env,
      signal: abort.signal,
      clock,
    });
    timer.cancel();
    report(state, end, late);
    running = undefined;
    begin();
  }

  function report(state: NotifyState, end: ProgramEnd, late: boolean): void {
    const hook = { hook: path ?? "", state };
    if (late)
      log.warn(
        { ...hook, timeoutMs: deps.timeoutMs },
        "The notify hook took longer than LEASEHOLD_NOTIFY_TIMEOUT, so the agent ended it",
      );
    else if (end.kind === "failed")
      log.error(
        { ...hook, err: end.error },
        "The notify hook could not be started: check that LEASEHOLD_NOTIFY is an executable file in the agent's container",
      );
    else if (end.kind === "killed")
      log.warn({ ...hook, by: end.by, stderr: end.words }, "The notify hook was killed");
    else if (end.status !== 0)
      log.warn({ ...hook, exitStatus: end.status, stderr: end.words }, "The notify hook failed");
    else log.debug(hook, "The notify hook ended");
  }

  return {
    tell(state, priority) {
      const told = notifyState(state);
      // PROVISIONAL and MASTER are one state for a hook.
      if (told === undefined || told === last) return;
      last = told;
      fifo?.write(`INSTANCE "${name}" ${told} ${priority}\n`);
      if (waiting !== undefined) skipped++;
      waiting = { state: told, priority };
      // To start a process takes some milliseconds. The VIP is bound, or unbound, first.
      clock.after(0, begin);
    },
    async close(mostMs) {
      begin();
      const stop = clock.after(mostMs, () => {
        waiting = undefined;
        running?.abort.abort();
      });
      // At most two: the one that runs, and the newest state.
      for (let one = running; one !== undefined; one = running) await one.ended;
      stop.cancel();
      fifo?.close();
    },
  };
}

interface Fifo {
  write(line: string): void;
  close(): void;
}

/**
 * Writes lines to a named pipe and never waits. The pipe is open for reading as well, as keepalived has it, so
 * that the kernel keeps the lines (64 KiB) until a reader comes.
 */
function createFifo(path: string, { log, makeFifo }: Pick<NotifierDeps, "log" | "makeFifo">): Fifo {
  let fd: number | undefined;

  function close(): void {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  }

  /** A person may have removed the pipe, and made another one. */
  function isSame(): boolean {
    if (fd === undefined) return false;
    try {
      const [own, there] = [fstatSync(fd), statSync(path)];
      return own.ino === there.ino && own.dev === there.dev;
    } catch {
      return false;
    }
  }

  function open(): number {
    close();
    try {
      if (!statSync(path).isFIFO())
        throw new LeaseholdError(
          "LH_CONFIG",
          `LEASEHOLD_NOTIFY_FIFO=${path} is no named pipe, so the agent does not write to it`,
        );
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      makeFifo(path, 0o600);
    }
    fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    return fd;
  }

  function write(line: string): void {
    try {
      // A line is shorter than PIPE_BUF, so it is written as a whole or not at all (pipe(7)).
      writeSync(isSame() && fd !== undefined ? fd : open(), line);
    } catch (error) {
      log.warn(
        { fifo: path, line: line.trim(), err: error },
        "A change of state could not be written to LEASEHOLD_NOTIFY_FIFO: its reader does not read, or the pipe cannot be made",
      );
    }
  }

  return { write, close };
}
