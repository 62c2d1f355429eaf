/**
 * Three bundles: the entry, which any Node can read, the agent and the balancer's worker thread. All
 * dependencies are inside but koffi, whose native part is found next to it in node_modules.
 *
 * `npm run build -- [OUTDIR]`, default dist/.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Plugin } from "esbuild";
import { NEEDED_NODE } from "../src/needed-node.js";
import { PAGE_FILES } from "../src/ops/page-files.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const outdir = resolve(process.argv[2] ?? `${root}dist`);
const { version }: { readonly version: string } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

/**
 * What the agent uses of packages that are one CommonJS graph, from which a bundler can leave nothing out.
 * All of undici and prom-client would cost an agent 35 MB of resident memory. An import that is not listed
 * here fails the build.
 */
const USED_PARTS: Readonly<Record<string, string>> = {
  undici: 'export { default as Pool } from "undici/lib/dispatcher/pool.js";',
  "prom-client": `
    export { default as Counter } from "prom-client/lib/counter.js";
    export { default as Gauge } from "prom-client/lib/gauge.js";
    export { default as Histogram } from "prom-client/lib/histogram.js";
    export { default as Registry } from "prom-client/lib/registry.js";`,
};

const usedParts: Plugin = {
  name: "used-parts",
  setup(bundler) {
    bundler.onResolve({ filter: /^[a-z-]+$/ }, ({ path }) =>
      path in USED_PARTS ? { path, namespace: "used-parts" } : undefined,
    );
    bundler.onLoad({ filter: /.*/, namespace: "used-parts" }, ({ path }) => ({
      contents: USED_PARTS[path] ?? "",
      resolveDir: root,
    }));
  },
};

// Written beside and renamed: whoever starts an agent meanwhile gets the old bundle or the new one, never
// none.
const staging = mkdtempSync(join(dirname(outdir), ".build-"));

const result = await build({
  absWorkingDir: root,
  entryPoints: { leasehold: "src/leasehold.js", agent: "src/main.ts", "proxy-worker": "src/proxy/worker.ts" },
  outdir: staging,
  bundle: true,
  platform: "node",
  target: `node${NEEDED_NODE}`,
  format: "esm",
  external: ["koffi"],
  plugins: [usedParts],
  define: {
    LEASEHOLD_BUNDLE_VERSION: JSON.stringify(version),
    LEASEHOLD_BUNDLE_PAGE: JSON.stringify([...PAGE_FILES]),
  },
  // CommonJS dependencies ask for Node's own modules with require, which an ES module does not have.
  banner: {
    js: 'import { createRequire as bundleRequire } from "node:module"; const require = bundleRequire(import.meta.url);',
  },
  sourcemap: "linked",
  sourcesContent: false,
  // Licences of what is inside travel with it.
  legalComments: "eof",
  logLevel: "warning",
  metafile: true,
});

mkdirSync(outdir, { recursive: true });
for (const name of readdirSync(staging)) {
  renameSync(join(staging, name), join(outdir, name));
}
rmSync(staging, { recursive: true });

for (const [file, { bytes }] of Object.entries(result.metafile.outputs)) {
  if (file.endsWith(".js")) console.log(`${basename(file)}  ${Math.round(bytes / 1024)} KiB`);
}
