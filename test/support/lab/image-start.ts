/**
 * How the image starts the agent, read from the Dockerfile: the lab and the benchmarks start it in the same
 * way, so that what they measure is what runs in a cluster.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const dockerfile = readFileSync(fileURLToPath(new URL("../../../Dockerfile", import.meta.url)), "utf8");

function entryPoint(): readonly string[] {
  const words: readonly string[] = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(dockerfile)?.[1] ?? "[]");
  if (words[0] !== "node" || words.at(-1)?.endsWith("/leasehold.js") !== true)
    throw new Error(`the Dockerfile's ENTRYPOINT is not node [FLAG]... leasehold.js: ${words.join(" ")}`);
  return words;
}

/** Node's own flags. */
export const IMAGE_NODE_FLAGS: readonly string[] = entryPoint().slice(1, -1);

/** The environment without PATH, which is the image's file system's. */
export const IMAGE_ENV: Readonly<Record<string, string>> = Object.fromEntries(
  [...dockerfile.matchAll(/^ENV (\w+)=(\S+)$/gm)]
    .map(([, name = "", value = ""]) => [name, value] as const)
    .filter(([name]) => name !== "PATH"),
);
