/**
 * Turns tables into one nft script. The script replaces what is there as a whole, and the kernel switches
 * from the old rules to the new ones at one moment. Pure.
 */
import type { Table } from "./tables.ts";

export const TABLE_NAME = "leasehold";
export const FAMILIES = ["netdev", "ip", "ip6"] as const;
export type TableFamily = (typeof FAMILIES)[number];

/** A chain that is in the kernel now, in one of Leasehold's tables. */
export interface PresentChain {
  readonly family: TableFamily;
  readonly name: string;
}

/** Elements of a set: addresses or ports as text. */
export interface SetElements {
  readonly family: TableFamily;
  readonly set: string;
  readonly elements: readonly string[];
}

/**
 * Answers the script that loads `tables`. Sets and counters of the same definition keep what they hold:
 * flows, refreshed addresses, totals. Chains are emptied and filled again. Chains and tables that are no
 * longer wanted are deleted.
 * @param present names the chains in the kernel, as far as known. A chain that is left out stays behind,
 * empty
 * @param refresh names elements that are put in again, with the time-out of their set
 */
export function transaction(
  tables: readonly Table[],
  present: readonly PresentChain[],
  refresh: readonly SetElements[],
): string {
  const lines: string[] = [];
  const leftovers = FAMILIES.filter((family) => !tables.some((table) => table.family === family));
  for (const family of leftovers) lines.push(...removeTable(family));
  for (const table of tables)
    lines.push(
      ...replaceTable(
        table,
        present.filter((chain) => chain.family === table.family),
      ),
    );
  for (const { family, set, elements } of refresh) lines.push(...renewed(family, set, elements));
  return `${lines.join("\n")}\n`;
}

/**
 * Answers the script that deletes all of Leasehold's tables. It adds each table first, because deleting a
 * table that is not there fails (`destroy` needs nft 1.0.7 and Linux 6.3).
 */
export function removal(): string {
  return `${FAMILIES.flatMap(removeTable).join("\n")}\n`;
}

/**
 * Answers the lines that start the time-outs of elements again. An element has to be put in again for that.
 * In one transaction no packet finds it missing.
 */
export function renewed(family: TableFamily, set: string, elements: readonly string[]): readonly string[] {
  if (elements.length === 0) return [`flush set ${family} ${TABLE_NAME} ${set}`];
  const list = `{ ${elements.join(", ")} }`;
  const where = `element ${family} ${TABLE_NAME} ${set} ${list}`;
  // The element is added first, so that there is something to delete.
  return [`add ${where}`, `delete ${where}`, `add ${where}`];
}

function removeTable(family: TableFamily): readonly string[] {
  return [`add table ${family} ${TABLE_NAME}`, `delete table ${family} ${TABLE_NAME}`];
}

function replaceTable(table: Table, present: readonly PresentChain[]): readonly string[] {
  const { family } = table;
  const own = `${family} ${TABLE_NAME}`;
  // This deletes all rules, in whatever chains they are, as `present` may be wrong. Sets keep their elements,
  // counters their totals.
  const lines = [`add table ${own}`, `flush table ${own}`];
  // A base chain is bound to its device when it is created. A chain whose interface was replaced would see no
  // packet.
  const remade =
    family === "netdev"
      ? table.chains.filter((chain) => chain.hook !== undefined).map((chain) => chain.name)
      : [];
  const wanted = new Set(table.chains.map((chain) => chain.name));
  for (const name of remade) lines.push(...removeChain(own, name));
  for (const { name, spec } of table.sets) lines.push(`add set ${own} ${name} { ${spec} }`);
  for (const name of table.counters) lines.push(`add counter ${own} ${name}`);
  for (const { name, spec } of table.timeouts ?? []) lines.push(`add ct timeout ${own} ${name} { ${spec} }`);
  for (const { name, hook } of table.chains)
    lines.push(`add chain ${own} ${name}${hook === undefined ? "" : ` { ${hook} }`}`);
  for (const { name, rules } of table.chains)
    for (const rule of rules) lines.push(`add rule ${own} ${name} ${rule}`);
  for (const { name } of present) if (!wanted.has(name)) lines.push(...removeChain(own, name));
  return lines;
}

/**
 * Answers the lines that delete a chain. They add it first, because deleting a chain that is not there fails.
 * Adding it without a hook changes nothing of a chain that is there, base chain or not.
 */
function removeChain(own: string, name: string): readonly string[] {
  return [`add chain ${own} ${name}`, `delete chain ${own} ${name}`];
}
