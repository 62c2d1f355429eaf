/**
 * Two bundles: the agent and the balancer's worker thread. All dependencies are inside but koffi, whose native
 * part is found next to it in node_modules.
 *
 * `node scripts/build.ts [OUTDIR]`, default dist/.
 */
import { readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const outdir = process.argv[2] ?? `${root}dist`;
const { version }: { readonly version: string } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

// A file that an older build left must not be shipped. Only what this script makes is removed.
for (const name of ["leasehold.js", "proxy-worker.js"]) {
  for (const file of [name, `${name}.map`]) rmSync(`${outdir}/${file}`, { force: true });
}

const result = await build({
  absWorkingDir: root,
  entryPoints: { leasehold: "src/main.ts", "proxy-worker": "src/balancer/proxy/worker.ts" },
  outdir,
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  external: ["koffi"],
  define: { LEASEHOLD_BUNDLE_VERSION: JSON.stringify(version) },
  // CommonJS dependencies ask for Node's own modules with require, which an ES module does not have.
  banner: { js: 'import { createRequire as bundleRequire } from "node:module"; const require = bundleRequire(import.meta.url);' },
  sourcemap: "linked",
  sourcesContent: false,
  // Licences of what is inside travel with it.
  legalComments: "eof",
  logLevel: "warning",
  metafile: true,
});

for (const [file, { bytes }] of Object.entries(result.metafile.outputs)) {
  if (file.endsWith(".js")) console.log(`${file}  ${Math.round(bytes / 1024)} KiB`);
}
