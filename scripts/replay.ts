/**
 * Takes the decisions of a flight recorder's file again with this version's election machine, and shows them.
 * `npm run replay FILE` exits 1 if any decision comes out otherwise, and 2 if the file is no recording. `-`
 * reads standard input: `curl -s 127.0.0.1:10081/decisions | npm run replay -- -`.
 */
import { readFileSync } from "node:fs";
import { parseRecording, replay } from "../src/recorder/recording.ts";

const [path, ...more] = process.argv.slice(2);

if (path === undefined || more.length > 0 || path === "--help" || path === "-h") {
  process.stdout.write(
    "Usage: npm run replay FILE\n\nFILE is a recording of the agent's data directory, or - for standard input.\n",
  );
  process.exit(path === undefined || more.length > 0 ? 2 : 0);
}

try {
  process.exitCode = show(readFileSync(path === "-" ? 0 : path, "utf8"));
} catch (error) {
  process.stderr.write(`${path}: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}

function show(text: string): number {
  const { node, agent, cause, writtenAt, decisions } = parseRecording(text);
  console.log(`${node}, agent ${agent}, written at ${writtenAt} (${cause}), ${decisions.length} decisions\n`);
  let different = 0;
  for (const { decision, differences } of replay(text)) {
    const { step, at, from, to, state, told, did, repeats } = decision;
    const role = from === to ? to : `${from} -> ${to}`;
    console.log(
      `${at}  step ${step}  ${role} (${state})  ${told}${repeats > 0 ? ` And ${repeats} times more.` : ""}`,
    );
    for (const line of did) console.log(`    ${line}`);
    for (const { what, recorded, replayed } of differences)
      console.log(`    DIFFERENT ${what}\n      recorded ${recorded}\n      replayed ${replayed}`);
    if (differences.length > 0) different += 1;
  }
  console.log(
    different === 0
      ? `\nEvery decision came out the same.`
      : `\n${different} of ${decisions.length} decisions came out otherwise: this version decides differently, or the file was edited.`,
  );
  return different === 0 ? 0 : 1;
}
