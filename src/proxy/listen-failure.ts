/** Why the balancer's port cannot be opened, for the log, the `balancer` check and the status; and how long until it is tried again. Pure. */
import { LeaseholdError } from "../errors.ts";

export interface ListenFailure {
  /** One clause, with the port and what to do about it. */
  readonly detail: string;
  readonly error: LeaseholdError;
}

const FIRST_RETRY_MS = 1000;
/** Whoever frees the port is waited for no longer than this. */
const LAST_RETRY_MS = 10_000;

/** @param code of the system call, e.g. EADDRINUSE @param message what Node says of it, where the code says nothing to us */
export function listenFailure(port: number, code: string, message: string): ListenFailure {
  const detail = `port ${port} cannot be opened: ${wordsFor(code, message)} (${code})`;
  return { detail, error: new LeaseholdError("LH_LISTEN", `the balancer's ${detail}`) };
}

function wordsFor(code: string, message: string): string {
  switch (code) {
    case "EADDRINUSE":
      return "another program has it, `ss -ltnp` names it";
    case "EACCES":
      return "not permitted, a port below 1024 needs CAP_NET_BIND_SERVICE";
    case "EADDRNOTAVAIL":
      return "this machine has no address to listen on";
    case "EMFILE":
    case "ENFILE":
      return "no file descriptor is left";
    default:
      return message;
  }
}

/** @param failures in a row, 1 or more */
export function retryMs(failures: number): number {
  return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
}
