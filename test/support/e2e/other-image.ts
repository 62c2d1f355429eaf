/**
 * The image of another release, for upgrades: Leasehold's own with another version in its labels and name.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../lab/command.ts";

interface Descriptor {
  digest: string;
  size: number;
}

interface Index {
  readonly manifests: (Descriptor & { annotations: Record<string, string> })[];
}

interface Manifest {
  readonly config: Descriptor;
}

interface Config {
  readonly config: { readonly Labels: Record<string, string> };
}

/**
 * Writes an OCI archive with the same files as `archive`.
 * @param folder where the archive may be made
 * @param version for example `0.2.0`
 * @returns the archive's path
 */
export async function imageOfVersion(archive: string, folder: string, version: string): Promise<string> {
  const layout = mkdtempSync(join(folder, "image-"));
  const file = join(folder, `leasehold-${version}.tar`);
  try {
    await run(["tar", "-C", layout, "-xf", archive], { timeoutMs: 60_000 });
    const blob = (digest: string): string => join(layout, "blobs", digest.replace(":", "/"));
    /** Writes a changed blob under its new digest. */
    const put = (descriptor: Descriptor, value: unknown): void => {
      const data = Buffer.from(JSON.stringify(value));
      descriptor.digest = `sha256:${createHash("sha256").update(data).digest("hex")}`;
      descriptor.size = data.length;
      writeFileSync(blob(descriptor.digest), data);
    };
    const index: Index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
    const [top] = index.manifests;
    if (top === undefined) throw new Error(`${archive} has no image`);
    const manifest: Manifest = JSON.parse(readFileSync(blob(top.digest), "utf8"));
    const config: Config = JSON.parse(readFileSync(blob(manifest.config.digest), "utf8"));
    config.config.Labels["org.opencontainers.image.version"] = version;
    put(manifest.config, config);
    put(top, manifest);
    for (const [key, value] of Object.entries(top.annotations))
      top.annotations[key] = value.replace(/:[^:/]+$/, `:${version}`);
    writeFileSync(join(layout, "index.json"), JSON.stringify(index));
    await run(["tar", "-C", layout, "-cf", file, "."], { timeoutMs: 60_000 });
    return file;
  } finally {
    rmSync(layout, { recursive: true });
  }
}
