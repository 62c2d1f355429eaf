/** Translates places in a bundle to places in the source. Pure. */
import { SourceMap } from "node:module";
import type { SourceMapPayload } from "node:module";

/** A bundle, line and column as V8 writes them into a stack, after whatever folder the bundle lies in. */
const PLACE = /(?:file:\/\/)?[^\s()"\\]*\/(main|agent|commands|page-picture|proxy-worker)\.js:(\d+):(\d+)/g;

/**
 * Returns `text` with every place that `mapOf` has a map for replaced. `mapOf` is asked once for each bundle,
 * by its file's name, and may return undefined. A place that the map does not know stays as it is.
 */
export function readableStacks(
  text: string,
  mapOf: (bundle: string) => SourceMapPayload | undefined,
): string {
  const maps = new Map<string, SourceMap | undefined>();
  return text.replaceAll(PLACE, (place, name: string, line: string, column: string) => {
    const bundle = `${name}.js`;
    if (!maps.has(bundle)) {
      const payload = mapOf(bundle);
      maps.set(bundle, payload === undefined ? undefined : new SourceMap(payload));
    }
    // V8 counts both from 1, a source map from 0.
    const entry = maps.get(bundle)?.findEntry(Number(line) - 1, Number(column) - 1);
    if (entry === undefined || !("originalSource" in entry)) return place;
    return `${entry.originalSource.replace(/^(?:\.\.\/)+/, "")}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}
