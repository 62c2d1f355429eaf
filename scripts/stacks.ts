/**
 * `npm run stacks < LOG`: prints the same text, where each place in a bundle (`agent.js:LINE:COLUMN`) has
 * become its place in the source. The agent itself does not translate them, because Node's
 * --enable-source-maps costs 60 MB of resident memory for as long as it runs. The maps are those of dist/,
 * which must have been built from the commit that wrote the log.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readableStacks } from "./stacks/readable-stacks.ts";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));

process.stdout.write(
  readableStacks(readFileSync(0, "utf8"), (bundle) => {
    try {
      return JSON.parse(readFileSync(`${dist}${bundle}.map`, "utf8"));
    } catch {
      process.stderr.write(`dist/${bundle}.map cannot be read: run npm run build first\n`);
      process.exitCode = 1;
      return undefined;
    }
  }),
);
