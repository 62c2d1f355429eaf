/**
 * Which Node the programs here need. Plain JavaScript, and old words only, in every file that an old Node
 * gets to read: what it cannot read it answers with a stack trace about a file extension or a syntax error.
 */

/**
 * The first major version of Node that runs the sources and the bundle. package.json brings one of it
 * (`node`).
 */
export const NEEDED_NODE = 24;

/** EX_UNAVAILABLE of sysexits.h: something that the program needs is not there. */
export const EX_UNAVAILABLE = 69;

/** What Node itself ends with when a top-level await never settles. */
const EX_UNSETTLED = 13;

/**
 * @param {string} version as `process.versions.node` has it
 * @returns {string | undefined} one sentence; undefined where this Node will do
 */
export function nodeObstacle(version) {
  return parseInt(version, 10) >= NEEDED_NODE
    ? undefined
    : `Node ${NEEDED_NODE} or later is needed, this is Node ${version}`;
}

/**
 * Runs a module as if it were the one that Node was started with.
 * @param {string} href where it is
 */
export function startModule(href) {
  let settled = false;
  // Comes when there is nothing left to wait for, and not after process.exit().
  process.once("beforeExit", () => {
    if (!settled) process.exitCode = EX_UNSETTLED;
  });
  // No handler for a rejection: Node prints it and exits with 1. No top-level await: Node 12 does not know
  // it.
  void import(href).then(() => (settled = true));
}
