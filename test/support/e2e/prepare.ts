/**
 * What needs registries and so happens outside of the sandbox, before the tests of a real cluster: programs,
 * the control plane's images, and Leasehold's own image by the README's command.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../control-plane/go-build.ts";
import { blockOf } from "../guide/guide.ts";
import { ROOT } from "../runner/layers.ts";
import { missingTools } from "../sandbox/tools.ts";
import type { Tool } from "../sandbox/tools.ts";
import { cgroupObstacle } from "./cgroups.ts";
import { findImages } from "./images.ts";
import type { ClusterImages } from "./images.ts";
import { replaced } from "./kubeadm.ts";
import { findOlderKubeadm, findPrograms } from "./programs.ts";
import type { ClusterPrograms } from "./programs.ts";

/** Everything that the tests bring to their machines. */
export interface Prepared {
  readonly programs: ClusterPrograms;
  readonly images: ClusterImages;
  /** The archive of Leasehold's image. */
  readonly leasehold: string;
  /** The folder with kubeadm 1.36.0, for the layer that needs it. */
  readonly olderKubeadm: string | undefined;
}

/** Where the runner tells the tests what it has prepared, as JSON. */
const VARIABLE = "LAB_PREPARED";
const TOOLS: readonly Tool[] = ["runc", "host-local", "nft", "curl", "buildah", "mmdebstrap"];
const IMAGE_LIMIT_MS = 15 * 60_000;

/** Why there can be no cluster here, as one sentence; undefined when nothing known forbids it. */
function obstacle(): string | undefined {
  if (process.getuid?.() !== 0) return "a kubelet needs root";
  return missingTools(TOOLS) ?? cgroupObstacle();
}

/**
 * Prepares a cluster and leaves word of it in this process's environment. `older`: kubeadm 1.36.0 as well.
 * @throws Error with one sentence where there can be no cluster
 */
export async function prepareCluster(
  progress: (line: string) => void,
  { older }: { readonly older: boolean },
): Promise<void> {
  const reason = obstacle();
  if (reason !== undefined) throw new Error(reason);
  const programs = await findPrograms(progress);
  const images = await findImages(programs);
  const prepared: Prepared = {
    programs,
    images,
    leasehold: buildLeasehold(progress),
    olderKubeadm: older ? await findOlderKubeadm(progress) : undefined,
  };
  process.env[VARIABLE] = JSON.stringify(prepared);
}

/** What {@link prepareCluster} has prepared. */
export function prepared(): Prepared {
  const text = process.env[VARIABLE];
  if (text === undefined) throw new Error("a cluster is prepared by the runner: use `node test/run.ts e2e`");
  // Written by prepareCluster() in the parent of this process.
  return JSON.parse(text);
}

/** What the image is made of, below the repository. */
const INPUTS = [
  "Dockerfile",
  "LICENSE",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "scripts/build.ts",
  "scripts/image.ts",
  "scripts/image/*",
  "src/**/*.*",
];
/** A day, as for the image's base: it gets the fixes of Debian's security team. */
const MAX_AGE_MS = 24 * 60 * 60_000;

/** Builds the image, unless the cache has one of the same files and of today. Returns its archive. */
function buildLeasehold(progress: (line: string) => void): string {
  const hash = createHash("sha256").update(String(Math.floor(Date.now() / MAX_AGE_MS)));
  for (const file of globSync(INPUTS, { cwd: ROOT }).sort())
    hash.update(file).update(readFileSync(join(ROOT, file)));
  const folder = cacheFolder(process.env);
  const file = join(folder, `leasehold-${hash.digest("hex").slice(0, 12)}.tar`);
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  const made = `${file}.${process.pid}`;
  const command = replaced(blockOf("README.md", { has: "npm run image" }).text, [
    { text: "npm ci && ", by: "", because: "npm ci has been run, and would remove what runs now" },
    { text: "leasehold.tar", by: made, because: "this folder is the repository's" },
  ]);
  progress(command);
  const { status } = spawnSync("bash", ["-c", command], {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    timeout: IMAGE_LIMIT_MS,
  });
  if (status !== 0) throw new Error(`${command} failed`);
  for (const old of globSync(join(folder, "leasehold-*.tar"))) rmSync(old);
  renameSync(made, file);
  return file;
}
