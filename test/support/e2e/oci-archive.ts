/** OCI archives for `ctr images import`, made of single programs: no registry brings the images here. */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../lab/command.ts";

export interface ScratchImage {
  /** All of its names, with registry and tag. */
  readonly names: readonly string[];
  readonly entrypoint: readonly string[];
  /** Path in the image to the file on this machine. */
  readonly files: Readonly<Record<string, string>>;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const OCI = "application/vnd.oci.image";

/**
 * Writes `file`, whole or not at all: an OCI layout with all of `images`, each of one layer. Besides its
 * files an image has an empty /tmp.
 */
export async function writeArchive(file: string, images: readonly ScratchImage[]): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-oci-"));
  try {
    const layout = join(directory, "layout");
    const blobs = join(layout, "blobs", "sha256");
    mkdirSync(blobs, { recursive: true });
    const put = (mediaType: string, data: Buffer): Descriptor => {
      const hash = createHash("sha256").update(data).digest("hex");
      writeFileSync(join(blobs, hash), data);
      return { mediaType, digest: `sha256:${hash}`, size: data.length };
    };
    const putJson = (mediaType: string, value: unknown): Descriptor =>
      put(mediaType, Buffer.from(JSON.stringify(value)));
    const platform = { architecture: process.arch === "x64" ? "amd64" : process.arch, os: "linux" };

    const manifests = [];
    for (const [number, { names, entrypoint, files }] of images.entries()) {
      const root = join(directory, `root-${number}`);
      mkdirSync(join(root, "tmp"), { recursive: true });
      for (const [path, source] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        copyFileSync(source, join(root, path));
      }
      const tar = join(directory, "layer.tar");
      await run(["tar", "-C", root, "--owner=0", "--group=0", "--sort=name", "--mtime=@0", "-cf", tar, "."], {
        timeoutMs: 60_000,
      });
      const layer = put(`${OCI}.layer.v1.tar`, readFileSync(tar));
      const config = putJson(`${OCI}.config.v1+json`, {
        ...platform,
        config: { Entrypoint: entrypoint, Env: ["PATH=/usr/local/bin:/usr/bin:/bin"], WorkingDir: "/" },
        rootfs: { type: "layers", diff_ids: [layer.digest] },
      });
      const manifest = putJson(`${OCI}.manifest.v1+json`, {
        schemaVersion: 2,
        mediaType: `${OCI}.manifest.v1+json`,
        config,
        layers: [layer],
      });
      for (const name of names)
        manifests.push({ ...manifest, platform, annotations: { "io.containerd.image.name": name } });
      rmSync(root, { recursive: true });
    }
    writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    writeFileSync(
      join(layout, "index.json"),
      JSON.stringify({ schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests }),
    );
    const made = `${file}.${process.pid}`;
    await run(["tar", "-C", layout, "-cf", made, "."], { timeoutMs: 120_000 });
    renameSync(made, file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
