/**
 * `npm run programs -- demo|test|bench ...`: installs the programs that these call, or says which are missing
 * and how to have them. Exit code 0 when all are there, 69 when some are not, 2 for wrong arguments.
 */
import { EX_UNAVAILABLE } from "../src/needed-node.js";
import { PURPOSES } from "../test/support/sandbox/tools.ts";
import type { PurposeName } from "../test/support/sandbox/tools.ts";
import { setUp } from "../test/support/set-up/set-up.ts";

const isPurpose = (word: string): word is PurposeName => Object.hasOwn(PURPOSES, word);
const words = process.argv.slice(2);
const unknown = words.filter((word) => !isPurpose(word));

if (words.length === 0 || unknown.length > 0) {
  const problem = words.length === 0 ? "for what?" : `unknown: ${unknown.join(" ")};`;
  process.stderr.write(`${problem} one or more of ${Object.keys(PURPOSES).join(", ")}\n`);
  process.exitCode = 2;
} else {
  const { missing } = await setUp(words.filter(isPurpose));
  if (missing.length > 0) process.exitCode = EX_UNAVAILABLE;
}
