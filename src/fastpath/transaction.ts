/** From tables to one nft script: what is there is replaced as a whole, and the kernel switches from the old to the new at one moment. Pure. */
import type { Table } from "./tables.ts";

export const TABLE_NAME = "leasehold";
export const FAMILIES = ["netdev", "ip", "ip6"] as const;
export type TableFamily = (typeof FAMILIES)[number];

/** A chain that is in the kernel now, in one of our tables. */
export interface PresentChain {
  readonly family: TableFamily;
  readonly name: string;
}

export interface SetElements {
  readonly family: TableFamily;
  readonly set: string;
  readonly elements: readonly string[];
}

/**
 * Sets and counters of the same definition are kept with what they hold: flows, refreshed addresses, totals. Chains are emptied and
 * filled again; those no longer wanted, and tables no longer wanted, go.
 *
 * @param present what the kernel has, as far as is known: one that is left out stays behind, empty
 * @param refresh elements to put in anew, with their set's own time-out
 */
export function transaction(tables: readonly Table[], present: readonly PresentChain[], refresh: readonly SetElements[]): string {
  const lines: string[] = [];
  const leftovers = FAMILIES.filter((family) => !tables.some((table) => table.family === family));
  for (const family of leftovers) lines.push(...removeTable(family));
  for (const table of tables) lines.push(...replaceTable(table, present.filter((chain) => chain.family === table.family)));
  for (const { family, set, elements } of refresh) lines.push(...putAnew(family, set, elements));
  return `${lines.join("\n")}\n`;
}

/** Everything of ours, gone. `add` first: deleting what is not there fails (`destroy` needs nft 1.0.7 and Linux 6.3). */
export function removal(): string {
  return `${FAMILIES.flatMap(removeTable).join("\n")}\n`;
}

/** An element's time-out starts anew only when it is put in anew; in one transaction nobody sees it missing. */
export function putAnew(family: TableFamily, set: string, elements: readonly string[]): readonly string[] {
  if (elements.length === 0) return [];
  const list = `{ ${elements.join(", ")} }`;
  const where = `element ${family} ${TABLE_NAME} ${set} ${list}`;
  // Added first, so that there is something to delete.
  return [`add ${where}`, `delete ${where}`, `add ${where}`];
}

function removeTable(family: TableFamily): readonly string[] {
  return [`add table ${family} ${TABLE_NAME}`, `delete table ${family} ${TABLE_NAME}`];
}

function replaceTable(table: Table, present: readonly PresentChain[]): readonly string[] {
  const { family } = table;
  const own = `${family} ${TABLE_NAME}`;
  // Rules go whatever chains they are in, `present` may be wrong; sets keep their elements, counters their totals.
  const lines = [`add table ${own}`, `flush table ${own}`];
  // A base chain is bound to its device when it is made: one whose interface was replaced would hear nothing.
  const remade = family === "netdev" ? table.chains.filter((chain) => chain.hook !== undefined).map((chain) => chain.name) : [];
  const wanted = new Set(table.chains.map((chain) => chain.name));
  for (const name of remade) lines.push(...removeChain(own, name));
  for (const { name, spec } of table.sets) lines.push(`add set ${own} ${name} { ${spec} }`);
  for (const name of table.counters) lines.push(`add counter ${own} ${name}`);
  for (const { name, spec } of table.timeouts ?? []) lines.push(`add ct timeout ${own} ${name} { ${spec} }`);
  for (const { name, hook } of table.chains) lines.push(`add chain ${own} ${name}${hook === undefined ? "" : ` { ${hook} }`}`);
  for (const { name, rules } of table.chains) for (const rule of rules) lines.push(`add rule ${own} ${name} ${rule}`);
  for (const { name } of present) if (!wanted.has(name)) lines.push(...removeChain(own, name));
  return lines;
}

/**
 * Added first: without a hook that changes nothing of a chain that is there, base chain or not, and deleting
 * one that is not there fails.
 */
function removeChain(own: string, name: string): readonly string[] {
  return [`add chain ${own} ${name}`, `delete chain ${own} ${name}`];
}
