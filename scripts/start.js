/**
 * `node scripts/start.js [SCRIPT [ARGUMENT]...]`: runs a TypeScript program of this repository with a Node
 * that can. Where a person's Node is too old, that is the one which `npm ci` has brought; where there is
 * none, one sentence says what to do and the exit code is 69. Without a SCRIPT it only looks.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { EX_UNAVAILABLE, nodeObstacle, startModule } from "../src/needed-node.js";

const own = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
// npm writes it last: it is not there after an installation that was interrupted.
const installed = existsSync(new URL("../node_modules/.package-lock.json", import.meta.url));
const obstacle = nodeObstacle(process.versions.node);
const [script, ...args] = process.argv.slice(2);

if (!installed || (obstacle !== undefined && !existsSync(own))) {
  const reason = obstacle === undefined ? "The npm packages are not installed" : obstacle;
  process.stderr.write(
    `${reason}: run \`npm ci\` first, which brings ${obstacle === undefined ? "them" : "it"}.\n`,
  );
  process.exitCode = EX_UNAVAILABLE;
} else if (script !== undefined) {
  const path = resolve(script);
  if (obstacle === undefined) {
    process.argv.splice(1, 2, path);
    startModule(pathToFileURL(path).href);
  } else {
    runWithOwn([path, ...args]);
  }
}

/**
 * Ends as the program does. Signals reach it too, also when they were sent to this process alone.
 * @param {readonly string[]} argv
 */
function runWithOwn(argv) {
  const child = spawn(own, argv, { stdio: "inherit" });
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
    process.on(signal, () => child.kill(signal));
  child.once("error", (error) => {
    process.stderr.write(`${own}: ${error.message}\n`);
    process.exit(EX_UNAVAILABLE);
  });
  child.once("exit", (code, signal) =>
    process.exit(code === null ? 128 + (signal === null ? 0 : constants.signals[signal]) : code),
  );
}
