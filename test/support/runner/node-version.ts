/** The project's own Node (the `node` package) where a person's is too old. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const OWN = fileURLToPath(new URL("../../../node_modules/.bin/node", import.meta.url));
const NEEDED = 24;

/** Returns when this Node will do; otherwise runs the same script with the project's and exits as that does. */
export function useProjectNode(): void {
  const major = Number.parseInt(process.versions.node, 10);
  if (major >= NEEDED) return;
  if (!existsSync(OWN)) {
    process.stderr.write(`Node ${NEEDED} is needed, this is ${process.versions.node}: run \`npm ci\`, which brings it\n`);
    process.exit(69);
  }
  const result = spawnSync(OWN, process.argv.slice(1), { stdio: "inherit" });
  process.exit(result.status ?? 1);
}
