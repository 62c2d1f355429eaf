/** The pictures of the documentation. `npm run docs` writes them to docs/pictures/. */
import { readFileSync } from "node:fs";
import { SETTINGS } from "../../src/config/settings.ts";
import { TRANSITIONS } from "../../src/election/transitions.ts";
import { cluster } from "./cluster.ts";
import { lostHolder } from "./lost-holder.ts";
import type { LostHolder } from "./lost-holder.ts";
import { packet } from "./packet.ts";
import { states } from "./states.ts";

const ROOT = new URL("../../", import.meta.url);

/** SVG by its path in the repository. */
export function pictures(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/pictures/cluster.svg", cluster()],
    ["docs/pictures/packet.svg", packet()],
    ["docs/pictures/lost-holder.svg", lostHolder(figures())],
    ["docs/pictures/states.svg", states(TRANSITIONS)],
  ]);
}

/**
 * Our own column of the row "gap, node lost" of the benchmark, and the defaults that it was measured with.
 */
function figures(): LostHolder {
  const page = readFileSync(new URL("docs/benchmarks.md", ROOT), "utf8");
  const row = /^\| gap, node lost \|.*\| (\d+) \((\d+)-(\d+)\) \| [\d.]+ \| [^|]*\|$/m;
  const [, median, least, most] = row.exec(page) ?? [];
  if (median === undefined) throw new Error('docs/benchmarks.md has no row "gap, node lost"');
  return {
    intervalMs: numberIn(SETTINGS.PROBE_INTERVAL.fallback),
    misses: numberIn(SETTINGS.PROBE_MISSES.fallback),
    measured: { median: Number(median), least: Number(least), most: Number(most) },
  };
}

function numberIn(setting: string | undefined): number {
  const number = Number.parseInt(setting ?? "", 10);
  if (Number.isNaN(number)) throw new Error(`no number: ${setting}`);
  return number;
}
