/**
 * The page's three files. scripts/build.ts puts them next to the bundle. The agent reads them when the first
 * person looks at the page, and not before.
 */
import { readFileSync } from "node:fs";

export interface PageFile {
  readonly type: string;
  readonly text: string;
}

/** What each path leads to: a file's name and type. */
const FILES: Readonly<Partial<Record<string, readonly [name: string, type: string]>>> = {
  "/": ["page.html", "text/html; charset=utf-8"],
  "/page.css": ["page.css", "text/css; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
};

/** The files' names. */
export const PAGE_FILES: readonly string[] = Object.values(FILES).flatMap((file) => file?.[0] ?? []);

const kept = new Map<string, PageFile>();

/** Returns the file that a path of a page leads to. undefined if there is none. */
export function pageFile(path: string): PageFile | undefined {
  const known = kept.get(path);
  const file = Object.hasOwn(FILES, path) ? FILES[path] : undefined;
  if (known !== undefined || file === undefined) return known;
  const [name, type] = file;
  const read = { type, text: readFileSync(new URL(name, import.meta.url), "utf8") };
  kept.set(path, read);
  return read;
}
