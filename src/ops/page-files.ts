/** The page's three files. Running from source they are read; scripts/build.ts puts them into the bundle. */
import { readFileSync } from "node:fs";

declare const LEASEHOLD_BUNDLE_PAGE: Readonly<Record<string, string>> | undefined;

export interface PageFile {
  readonly type: string;
  readonly text: string;
}

const FILES = [
  ["/", "page.html", "text/html; charset=utf-8"],
  ["/page.css", "page.css", "text/css; charset=utf-8"],
  ["/page.js", "page.js", "text/javascript; charset=utf-8"],
] as const;

const bundled = typeof LEASEHOLD_BUNDLE_PAGE === "object" ? LEASEHOLD_BUNDLE_PAGE : undefined;

/** The files by the path that leads to them. */
export const PAGE_FILES: ReadonlyMap<string, PageFile> = new Map(
  FILES.map(([path, name, type]) => [
    path,
    { type, text: bundled?.[name] ?? readFileSync(new URL(`./${name}`, import.meta.url), "utf8") },
  ]),
);
