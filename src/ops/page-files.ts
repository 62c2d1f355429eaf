/** The page's three files. Running from source they are read. scripts/build.ts puts the map into the bundle. */
import { readFileSync } from "node:fs";

export interface PageFile {
  readonly type: string;
  readonly text: string;
}

type Entry = readonly [path: string, file: PageFile];

declare const LEASEHOLD_BUNDLE_PAGE: readonly Entry[] | undefined;

const entry = (path: string, name: string, type: string): Entry => [
  path,
  { type, text: readFileSync(new URL(name, import.meta.url), "utf8") },
];

/** The files by the path that leads to them. */
export const PAGE_FILES: ReadonlyMap<string, PageFile> = new Map(
  typeof LEASEHOLD_BUNDLE_PAGE === "object"
    ? LEASEHOLD_BUNDLE_PAGE
    : [
        entry("/", "page.html", "text/html; charset=utf-8"),
        entry("/page.css", "page.css", "text/css; charset=utf-8"),
        entry("/page.js", "page.js", "text/javascript; charset=utf-8"),
      ],
);
