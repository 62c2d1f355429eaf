/**
 * `npm run image -- [--out FILE] [--base pull|debian]`: builds the image without Docker, and writes an OCI
 * archive for `ctr images import`. Needs root, Debian's buildah, and where no registry brings NODE_IMAGE
 * mmdebstrap too. Exit code 0 when the archive is written, 69 when a program is missing, 2 for wrong
 * arguments, 1 for a failure.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { EX_UNAVAILABLE } from "../src/needed-node.js";
import { VERSION } from "../src/version.ts";
import { missingTools } from "../test/support/sandbox/tools.ts";
import { makeBase } from "./image/base.ts";
import { capture, CommandError, createBuildah } from "./image/commands.ts";
import type { Buildah } from "./image/commands.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** As containerd calls `leasehold:VERSION`, which is what the manifests ask for. */
const IMAGE = `docker.io/library/leasehold:${VERSION}`;
const BASES = ["pull", "debian"] as const;
type Base = (typeof BASES)[number];

interface Wanted {
  readonly out: string;
  /** undefined: pulled where that works. */
  readonly base: Base | undefined;
}

function wanted(argv: readonly string[]): Wanted | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { out: { type: "string" }, base: { type: "string" } },
      strict: true,
    });
    const base = BASES.find((name) => name === values.base);
    if (values.base !== undefined && base === undefined)
      return `--base is pull or debian, not ${JSON.stringify(values.base)}`;
    return { out: resolve(values.out ?? `leasehold-${VERSION}.tar`), base };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Debian's and the OCI's word for this machine's processor. */
function architecture(): string {
  return process.arch === "x64" ? "amd64" : process.arch;
}

/** What npm needs to reach its registry from here. As build secrets they get into no layer. */
function secrets(scratch: string): string[] {
  const config = (name: string): string | undefined => {
    const value = capture(["npm", "config", "get", name])?.trim() ?? "";
    return ["", "null", "undefined", "false"].includes(value) ? undefined : value;
  };
  const npmrc = join(scratch, "npmrc");
  const lines = ["registry", "proxy", "https-proxy", "noproxy"].flatMap((name) => {
    const value = config(name);
    return value === undefined ? [] : [`${name}=${value}\n`];
  });
  writeFileSync(npmrc, lines.join(""), { mode: 0o600 });
  const ca = config("cafile") ?? process.env["NODE_EXTRA_CA_CERTS"] ?? process.env["SSL_CERT_FILE"];
  return ["--secret", `id=npmrc,src=${npmrc}`, ...(ca === undefined ? [] : ["--secret", `id=ca,src=${ca}`])];
}

/** Name of the image to build on: of NODE_IMAGE in the environment, of the Dockerfile, or made here. */
function base(buildah: Buildah, asked: Base | undefined, scratch: string): string {
  const named =
    process.env["NODE_IMAGE"] ??
    /^ARG NODE_IMAGE=(\S+)$/m.exec(readFileSync(join(ROOT, "Dockerfile"), "utf8"))?.[1];
  if (named === undefined) throw new CommandError("the Dockerfile names no NODE_IMAGE");
  const name = named.includes("/") ? named : `docker.io/library/${named}`;
  if (asked !== "debian") {
    if (buildah.try(["pull", "--quiet", name], 5 * 60_000)) return name;
    if (asked === "pull") throw new CommandError(`${name} cannot be pulled`);
    say(`${name} cannot be pulled: the base is made from Debian's packages instead`);
  }
  const missing = missingTools(["mmdebstrap"]);
  if (missing !== undefined) throw new Missing(missing);
  const prefix = join(scratch, "npm");
  mkdirSync(prefix);
  // Not process.execPath: the image gets the version that package.json names.
  return makeBase(buildah, architecture(), join(ROOT, "node_modules", "node", "bin", "node"), prefix);
}

class Missing extends Error {}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function build({ out, base: asked }: Wanted): void {
  const missing = missingTools(["buildah"]);
  if (missing !== undefined) throw new Missing(missing);
  if (process.getuid?.() !== 0)
    throw new Missing("an image is built in a chroot, which needs root: sudo npm run image");
  const scratch = mkdtempSync(join(tmpdir(), "leasehold-image-"));
  const buildah = createBuildah(join(scratch, "store"));
  try {
    const node = base(buildah, asked, scratch);
    const revision = capture(["git", "-C", ROOT, "rev-parse", "HEAD"])?.trim();
    buildah.call([
      "bud",
      "--quiet",
      "--layers",
      "--pull-never",
      "--platform",
      `linux/${architecture()}`,
      "--build-arg",
      `NODE_IMAGE=${node}`,
      "--build-arg",
      `VERSION=${VERSION}`,
      ...(revision === undefined ? [] : ["--build-arg", `REVISION=${revision}`]),
      ...secrets(scratch),
      "--tag",
      IMAGE,
      ROOT,
    ]);
    mkdirSync(dirname(out), { recursive: true });
    rmSync(out, { force: true });
    buildah.call(["push", "--quiet", IMAGE, `oci-archive:${out}:${IMAGE}`]);
    const { size, layers } = contents(buildah);
    process.stdout.write(
      `${out}  ${Math.round(statSync(out).size / 1e6)} MB: ${IMAGE}, linux/${architecture()}, ${size} unpacked, ${layers} layers\n`,
    );
    process.stdout.write(`On each node: ctr -n k8s.io images import ${out}\n`);
  } finally {
    // Its mounts first: below them is what they show.
    buildah.try(["rm", "--all"], 60_000);
    buildah.try(["rmi", "--all", "--force"], 60_000);
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What buildah says of it. `size`, such as `190 MB`, is that of the unpacked files. */
function contents(buildah: Buildah): { readonly size: string; readonly layers: number } {
  const [listed]: readonly { readonly size: string }[] = JSON.parse(
    buildah.capture(["images", "--json", IMAGE]),
  );
  const inspected: { readonly OCIv1: { readonly rootfs: { readonly diff_ids: readonly string[] } } } =
    JSON.parse(buildah.capture(["inspect", "--type", "image", IMAGE]));
  return { size: listed?.size ?? "?", layers: inspected.OCIv1.rootfs.diff_ids.length };
}

const order = wanted(process.argv.slice(2));
if (typeof order === "string") {
  say(`${order}. Usage: npm run image -- [--out FILE] [--base pull|debian]`);
  process.exitCode = 2;
} else {
  try {
    build(order);
  } catch (error) {
    if (!(error instanceof Missing) && !(error instanceof CommandError)) throw error;
    say(error.message);
    process.exitCode = error instanceof Missing ? EX_UNAVAILABLE : 1;
  }
}
