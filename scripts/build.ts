/**
 * The bundles, one for each of {@link ENTRIES}, and the page's files. All dependencies are inside but koffi,
 * whose native part is found next to it in node_modules.
 *
 * `npm run build -- [OUTDIR]`, default dist/.
 */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { isBuiltin } from "node:module";
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
 * The source of each bundle, by the bundle's name. The first one can be read by any Node. What the sources
 * import dynamically is a bundle of its own, which a process loads when it needs it: the agent (`run`), all
 * other commands, and the picture of the page.
 */
const ENTRIES: Readonly<Record<string, string>> = {
  leasehold: "src/leasehold.js",
  main: "src/main.ts",
  agent: "src/cli/agent-process.ts",
  commands: "src/cli/command-process.ts",
  "page-picture": "src/cli/page-picture.ts",
  "proxy-worker": "src/proxy/worker.ts",
};

const bundles = new Map(Object.entries(ENTRIES).map(([name, source]) => [`${root}${source}`, name]));

/** Lets a dynamic import load the bundle that was made of that source. */
const ownBundles: Plugin = {
  name: "own-bundles",
  setup(bundler) {
    bundler.onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
      if (kind !== "dynamic-import") return undefined;
      const name = bundles.get(resolve(resolveDir, path));
      return name === undefined
        ? { errors: [{ text: `${path} is imported dynamically, and is not in ENTRIES` }] }
        : { path: `./${name}.js`, external: true };
    });
  },
};

/**
 * What the agent uses of a package that is one CommonJS graph, from which a bundler can leave nothing out. An
 * import that is not listed here fails the build.
 */
const USED_PARTS: Readonly<Record<string, string>> = {
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

/**
 * Takes Node's own modules as CommonJS has them. An `import` of one reads every property of it, to make the
 * names that an ES module exports. For node:http that loads the whole of Node's own undici, for the sake of a
 * `WebSocket` that nothing here uses: megabytes in each agent and each worker thread.
 */
const builtins: Plugin = {
  name: "builtins",
  setup(bundler) {
    bundler.onResolve({ filter: /.*/ }, ({ path }) =>
      isBuiltin(path) ? { path, namespace: "builtin" } : undefined,
    );
    bundler.onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

// Written beside and renamed: whoever starts an agent meanwhile gets the old bundle or the new one, never
// none.
const staging = mkdtempSync(join(dirname(outdir), ".build-"));

const result = await build({
  absWorkingDir: root,
  entryPoints: { ...ENTRIES },
  outdir: staging,
  bundle: true,
  platform: "node",
  target: `node${NEEDED_NODE}`,
  format: "esm",
  external: ["koffi"],
  plugins: [builtins, usedParts, ownBundles],
  define: { LEASEHOLD_BUNDLE_VERSION: JSON.stringify(version) },
  sourcemap: "linked",
  sourcesContent: false,
  // Licences of what is inside travel with it.
  legalComments: "eof",
  logLevel: "warning",
  metafile: true,
});

// Wherever the folder lies, Node need not read a bundle twice to find out that it is an ES module.
writeFileSync(join(staging, "package.json"), '{ "type": "module" }\n');
for (const name of PAGE_FILES) copyFileSync(`${root}src/ops/${name}`, join(staging, name));
mkdirSync(outdir, { recursive: true });
for (const name of readdirSync(staging)) {
  renameSync(join(staging, name), join(outdir, name));
}
rmSync(staging, { recursive: true });

for (const [file, { bytes }] of Object.entries(result.metafile.outputs)) {
  if (file.endsWith(".js")) console.log(`${basename(file)}  ${Math.round(bytes / 1024)} KiB`);
}
