/** Finds "did you mean": the nearest of a few known words. */

/**
 * Computes the optimal string alignment distance: insertions, deletions, substitutions and swaps of
 * neighbours.
 */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/**
 * Longest word that is compared. A longer one is no typing error, and the limit keeps the table of distances
 * small.
 */
const MAX_LENGTH = 64;

/** Shorter beginnings fit too many words. */
const MIN_PART = 3;

/**
 * Returns the known word that `word` is a part of: its beginning (`PRIO`) or its last part (`INTERVAL` in
 * `RENEW_INTERVAL`). Of several, one counts only if the others are longer forms of it.
 */
function whole(word: string, known: readonly string[]): string | undefined {
  if (word.length < MIN_PART) return undefined;
  const lower = word.toLowerCase();
  for (const fits of [
    (name: string) => name.startsWith(lower),
    (name: string) => /[_-]/.test(name) && (name.endsWith(`_${lower}`) || name.endsWith(`-${lower}`)),
  ]) {
    const found = known.filter((name) => fits(name.toLowerCase())).toSorted((a, b) => a.length - b.length);
    const [shortest] = found;
    if (shortest !== undefined && found.every((name) => name.startsWith(shortest))) return shortest;
  }
  return undefined;
}

/** Returns the known word that `word` was probably meant to be; undefined when none is near. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  if (word.length > MAX_LENGTH) return undefined;
  const limit = Math.max(1, Math.floor(word.length / 3));
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const name of known) {
    const distance = editDistance(word.toLowerCase(), name.toLowerCase());
    if (distance <= limit && (best === undefined || distance < best.distance)) best = { name, distance };
  }
  return best?.name ?? whole(word, known);
}
