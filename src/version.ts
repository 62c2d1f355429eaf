/** What differs between running from source and from the bundle. scripts/build.ts sets the constant. */
import { readFileSync } from "node:fs";

declare const LEASEHOLD_BUNDLE_VERSION: string | undefined;

const bundled = typeof LEASEHOLD_BUNDLE_VERSION === "string" ? LEASEHOLD_BUNDLE_VERSION : undefined;

function sourceVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  if (typeof manifest === "object" && manifest !== null && "version" in manifest)
    return String(manifest.version);
  throw new TypeError("package.json has no version");
}

/** The agent's version, as in package.json. */
export const VERSION: string = bundled ?? sourceVersion();

/** The file of the balancer's worker thread. */
export const PROXY_WORKER: URL = new URL(
  bundled === undefined ? "./proxy/worker.ts" : "./proxy-worker.js",
  import.meta.url,
);
