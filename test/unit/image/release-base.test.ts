/** The step of the release's workflow that finds the digest of the base image. The registry's answer is given. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { loadYaml } from "@kubernetes/client-node";
import { ROOT } from "../../support/runner/layers.ts";

interface Step {
  readonly id?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, string>>;
}

const { jobs } = loadYaml<{ readonly jobs: { readonly image: { readonly steps: readonly Step[] } } }>(
  readFileSync(join(ROOT, ".github/workflows/release.yml"), "utf8"),
);
const { steps } = jobs.image;
const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const IMAGE = /^ARG NODE_IMAGE=(.+)$/m.exec(readFileSync(join(ROOT, "Dockerfile"), "utf8"))?.[1] ?? "";

/** Runs the step as GitHub does, with a `docker` that prints this. */
function play(t: TestContext, answer: string) {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-release-"));
  t.after(() => rmSync(directory, { recursive: true }));
  cpSync(join(ROOT, "Dockerfile"), join(directory, "Dockerfile"));
  const asked = join(directory, "asked");
  writeFileSync(join(directory, "answer"), answer);
  writeFileSync(join(directory, "docker"), `#!/bin/sh\necho "$@" > asked\ncat answer\n`, { mode: 0o755 });
  const output = join(directory, "output");
  writeFileSync(output, "");
  const { status, stderr } = spawnSync(
    "bash",
    ["--norc", "-e", "-c", steps.find(({ id }) => id === "base")?.run ?? "false"],
    {
      cwd: directory,
      encoding: "utf8",
      env: { PATH: `${directory}:${process.env["PATH"] ?? ""}`, GITHUB_OUTPUT: output },
    },
  );
  return { status, stderr, output: readFileSync(output, "utf8"), asked: readFileSync(asked, "utf8") };
}

describe("a release", () => {
  test("is built on its base image by the digest that the registry names", (t) => {
    const played = play(
      t,
      `Name:      docker.io/library/${IMAGE}\nMediaType: application/vnd.oci.image.index.v1+json\nDigest:    ${DIGEST}\n\n` +
        `Manifests: \n  Name:      docker.io/library/${IMAGE}@sha256:${"f".repeat(64)}\n  Platform:  linux/amd64\n`,
    );
    assert.deepEqual(played, {
      status: 0,
      stderr: "",
      output: `image=${IMAGE}@${DIGEST}\n`,
      asked: `buildx imagetools inspect ${IMAGE}\n`,
    });
    assert.match(
      steps.find(({ id }) => id === "push")?.with?.["build-args"] ?? "",
      /^NODE_IMAGE=\$\{\{ steps\.base\.outputs\.image \}\}$/m,
    );
  });

  test("is not built where the registry names none", (t) => {
    for (const answer of ["", "Digest: \n", "Digest: sha256:12\n", `  Digest: ${DIGEST}\n`]) {
      const { status, stderr, output } = play(t, answer);
      assert.equal(status, 1, answer);
      assert.match(stderr, /names no digest/);
      assert.equal(output, "");
    }
  });
});
