/** The images of the control plane, under the names that kubeadm asks for, in one archive in the cache. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../control-plane/go-build.ts";
import { run } from "../lab/command.ts";
import { findProgram } from "../sandbox/tools.ts";
import { writeArchive } from "./oci-archive.ts";
import type { ScratchImage } from "./oci-archive.ts";
import type { ClusterPrograms } from "./programs.ts";

export interface ClusterImages {
  readonly archive: string;
  /** The image of every pod's first container. */
  readonly pause: string;
}

/** `program` and the libraries that it is linked with, each at its own path. */
async function withLibraries(program: string): Promise<Readonly<Record<string, string>>> {
  const libraries = [...(await run(["ldd", program])).matchAll(/(?:=> |^\s+)(\/\S+)/gm)].map(
    ([, path = ""]) => path,
  );
  return Object.fromEntries([program, ...libraries].map((path) => [path, path]));
}

/** Finds the archive, or writes it. @throws Error when kubeadm asks for an image that is not known here */
export async function findImages(programs: ClusterPrograms): Promise<ClusterImages> {
  const path = (name: string): string => {
    const found = findProgram(name, programs.folders.join(":"));
    if (found === undefined) throw new Error(`${name} has not been built`);
    return found;
  };
  const listed = await run([
    path("kubeadm"),
    "config",
    "images",
    "list",
    "--kubernetes-version",
    programs.version,
  ]);
  const names = listed.trim().split("\n");
  const named = (name: string): string => {
    const found = names.find((each) => each.includes(`/${name}:`));
    if (found === undefined) throw new Error(`kubeadm asks for no image ${name}: ${names.join(" ")}`);
    return found;
  };
  const nft = findProgram("nft") ?? "/usr/sbin/nft";
  const program = (name: string, others: Readonly<Record<string, string>> = {}): ScratchImage => ({
    names: [named(name)],
    entrypoint: [name],
    files: { [`/usr/local/bin/${name}`]: path(name), ...others },
  });
  const images: readonly ScratchImage[] = [
    // CoreDNS is not installed (see kubeadm.ts), but kubeadm wants its image to be there.
    { names: [named("pause"), named("coredns")], entrypoint: ["/pause"], files: { "/pause": path("pause") } },
    program("etcd", { "/usr/local/bin/etcdctl": path("etcdctl") }),
    program("kube-apiserver"),
    program("kube-controller-manager"),
    program("kube-scheduler"),
    // In its mode nftables it calls nft.
    program("kube-proxy", { "/usr/bin/nft": nft, ...(await withLibraries(nft)) }),
  ];
  const sizes = images.flatMap(({ files }) =>
    Object.entries(files).map(([to, from]) => [to, statSync(from).size, statSync(from).mtimeMs]),
  );
  const hash = createHash("sha256")
    .update(JSON.stringify([images, sizes]))
    .digest("hex")
    .slice(0, 12);
  const archive = join(cacheFolder(process.env), `images-${programs.version}-${hash}.tar`);
  mkdirSync(cacheFolder(process.env), { recursive: true });
  if (!existsSync(archive)) await writeArchive(archive, images);
  return { archive, pause: named("pause") };
}
