/**
 * Says why a port cannot be opened, for the log, the `balancer` check and the status, and how long the
 * balancer waits before the next try. Pure.
 */
import { LeaseholdError } from "../errors.ts";
import type { ErrorCode } from "../errors.ts";

/** A failure to open the balancer's port. */
export interface ListenFailure {
  /** One clause that names the port and says what to do about it. */
  readonly detail: string;
  readonly error: LeaseholdError;
}

const FIRST_RETRY_MS = 1000;
/** After the program that has the port frees it, the balancer listens within this time. */
const LAST_RETRY_MS = 10_000;

/**
 * Describes a failure to listen.
 * @param code error code of the system call, e.g. EADDRINUSE
 * @param message Node's message, which is used for a code that is not known here
 */
export function listenFailure(port: number, code: string, message: string): ListenFailure {
  const detail = `port ${port} cannot be opened: ${listenReason(code, message)}`;
  return { detail, error: new LeaseholdError(listenCode(code), `the balancer's ${detail}`) };
}

/** Returns what an operator reads about it: a missing address is no taken port. */
export function listenCode(code: string): ErrorCode {
  return code === "EADDRNOTAVAIL" ? "LH_LISTEN_ADDRESS" : "LH_LISTEN";
}

/**
 * Says why a port cannot be opened, with the error code in brackets.
 * @param host the address to listen on; undefined for all of them
 */
export function listenReason(code: string, message: string, host?: string): string {
  return `${wordsFor(code, message, host)} (${code})`;
}

function wordsFor(code: string, message: string, host: string | undefined): string {
  switch (code) {
    case "EADDRINUSE":
      return "another program has it, `ss -ltnp` names it";
    case "EACCES":
      return "not permitted, a port below 1024 needs CAP_NET_BIND_SERVICE";
    case "EADDRNOTAVAIL":
      return host === undefined
        ? "this machine has no address to listen on"
        : `this machine does not have the address ${host}`;
    case "EMFILE":
    case "ENFILE":
      return "no file descriptor is left";
    default:
      return message;
  }
}

/**
 * Returns the milliseconds until the next try.
 * @param failures in a row, 1 or more
 */
export function retryMs(failures: number): number {
  return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
}
