/**
 * How the image starts the agent, read from the Dockerfile and from the first line of its entry: the lab and
 * the benchmarks start it in the same way, so that what they measure is what runs in a cluster.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const read = (path: string): string =>
  readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), "utf8");

const dockerfile = read("Dockerfile");

function nodeFlags(): readonly string[] {
  const entry: readonly string[] = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(dockerfile)?.[1] ?? "[]");
  if (entry.length !== 1 || entry[0]?.endsWith("/leasehold.js") !== true)
    throw new Error(`the Dockerfile's ENTRYPOINT is not leasehold.js alone: ${entry.join(" ")}`);
  const [, flags] = /^#!\/usr\/bin\/env -S node((?: --[\w-]+=\w+)*)\n/.exec(read("src/leasehold.js")) ?? [];
  if (flags === undefined) throw new Error("the first line of src/leasehold.js does not start node");
  return flags.split(" ").slice(1);
}

/** Node's own flags. */
export const IMAGE_NODE_FLAGS: readonly string[] = nodeFlags();

/** The environment without PATH, which is the image's file system's. */
export const IMAGE_ENV: Readonly<Record<string, string>> = Object.fromEntries(
  [...dockerfile.matchAll(/^ENV (\w+)=(\S+)$/gm)]
    .map(([, name = "", value = ""]) => [name, value] as const)
    .filter(([name]) => name !== "PATH"),
);
