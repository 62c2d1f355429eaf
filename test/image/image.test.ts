/**
 * The image, as the README builds it without Docker, brings it to a node and takes manifests from it: with
 * a real containerd.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { VERSION } from "../../src/version.ts";
import { blockOf } from "../support/guide/guide.ts";
import { LAYERS, ROOT } from "../support/runner/layers.ts";
import { missingTools, TOOL_PATH } from "../support/sandbox/tools.ts";

const skip = process.getuid?.() === 0 ? false : "an image is built in a chroot, which needs root";
/** What it may take, so that it does not grow unseen. docs/image.md says what it takes. */
const MOST_PACKED_BYTES = 100e6;
const MOST_UNPACKED_MB = 250;
const LIMIT_MS = LAYERS.find(({ name }) => name === "image")?.testTimeoutMs ?? 0;

const directory = mkdtempSync(join(tmpdir(), "leasehold-image-test-"));
const socket = join(directory, "containerd.sock");
const etcKubernetes = join(directory, "etc-kubernetes");
let containerd: ChildProcess | undefined;
let built = "";

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Parts of the OCI image format that the test reads. */
interface Index {
  readonly manifests: readonly {
    readonly digest: string;
    readonly annotations: Readonly<Record<string, string>>;
  }[];
}

interface Manifest {
  readonly config: { readonly digest: string };
}

interface Image {
  readonly config: {
    readonly Labels: Readonly<Record<string, string>>;
    readonly Entrypoint: unknown;
    readonly Cmd: unknown;
    readonly User: string;
  };
}

/** In bash, in the repository's folder, against the containerd of this test. */
function bash(commands: string): Ran {
  return spawnSync("bash", ["-c", `set -o pipefail\n${commands}`], {
    cwd: ROOT,
    encoding: "utf8",
    timeout: LIMIT_MS,
    maxBuffer: 1 << 26,
    env: { ...process.env, PATH: TOOL_PATH, CONTAINERD_ADDRESS: socket },
  });
}

function succeeds(commands: string): string {
  const { status, stdout, stderr } = bash(commands);
  assert.equal(status, 0, `${commands}\n${stdout}${stderr}`);
  return stdout;
}

/** The image's containers have names, and one at a time has this one. */
const inImage = (command: string): string =>
  `ctr -n k8s.io run --rm docker.io/library/leasehold:${VERSION} leasehold-test ${command}`;

/** The README's commands that contain `text`, as they are printed. `here` stands for /etc/kubernetes. */
function readme(text: string, here = etcKubernetes): string {
  return blockOf("README.md", { has: text }).text.replaceAll("/etc/kubernetes", here);
}

before(async () => {
  if (skip !== false) return;
  const missing = missingTools(["buildah", "ctr", "runc"]);
  if (missing !== undefined) throw new Error(missing);
  mkdirSync(etcKubernetes);
  const config = join(directory, "containerd.toml");
  // As root and with a root of its own; without the part that is for a kubelet.
  writeFileSync(
    config,
    `version = 2\nroot = "${directory}/root"\nstate = "${directory}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${socket}"\n`,
  );
  const log = openSync(join(directory, "containerd.log"), "w");
  containerd = spawn("containerd", ["--config", config], {
    stdio: ["ignore", log, log],
    env: { ...process.env, PATH: TOOL_PATH },
  });
  for (let turn = 0; turn < 300 && bash("ctr version").status !== 0; turn++) await sleep(100);
});

after(async () => {
  if (containerd !== undefined && containerd.exitCode === null) {
    bash("ctr -n k8s.io images ls -q | xargs -r ctr -n k8s.io images rm --sync");
    containerd.kill("SIGTERM");
    await once(containerd, "exit");
  }
  rmSync(directory, { recursive: true, force: true });
});

describe("the image", { skip }, () => {
  test(
    "is built by the README's command without Docker, is small, and is imported by the README's command",
    { timeout: LIMIT_MS },
    () => {
      const archive = join(directory, "leasehold.tar");
      const build = readme("npm run image").replace("npm ci && ", "").replace("leasehold.tar", archive);
      built = succeeds(build);
      const [, unpacked = ""] =
        new RegExp(
          `^${archive}  \\d+ MB: docker\\.io/library/leasehold:${VERSION.replaceAll(".", "\\.")}, linux/\\w+, (\\d+) MB unpacked, 5 layers$`,
          "m",
        ).exec(built) ?? [];
      assert.ok(unpacked !== "", built);
      assert.ok(Number(unpacked) < MOST_UNPACKED_MB, built);
      assert.ok(statSync(archive).size < MOST_PACKED_BYTES, built);
      process.stderr.write(built);
      const bring = readme("images import").trim();
      assert.match(bring, /^ssh n1 /);
      succeeds(bring.replace("ssh n1 ", "").replace("leasehold.tar", archive));
      assert.equal(succeeds("ctr -n k8s.io images ls -q").trim(), `docker.io/library/leasehold:${VERSION}`);
    },
  );

  test(
    "prints the manifests by the README's commands, which put them in place",
    { timeout: LIMIT_MS },
    () => {
      succeeds(readme("manifest pod --vip"));
      const pod = join(etcKubernetes, "manifests", "leasehold.yaml");
      assert.equal(readFileSync(pod, "utf8"), readFileSync(join(ROOT, "manifests/leasehold.yaml"), "utf8"));
      assert.equal(statSync(pod).mode & 0o777, 0o600);
      succeeds(readme("manifest worker --vip").replace(/^ *curl .*$/m, ""));
      assert.equal(
        readFileSync(join(etcKubernetes, "manifests", "leasehold-worker.yaml"), "utf8"),
        readFileSync(join(ROOT, "manifests/worker.yaml"), "utf8"),
      );
      for (const [text, files] of [
        ["manifest rbac |", ["rbac.yaml", "admission.yaml", "flowschema.yaml"]],
        ["manifest worker-rbac |", ["worker-rbac.yaml"]],
      ] as const) {
        const line =
          readme(text)
            .split("\n")
            .find((each) => each.includes(text)) ?? "";
        assert.match(line, /\| kubectl apply -f -$/);
        assert.equal(
          succeeds(line.replace("kubectl apply -f -", "cat")),
          files.map((file) => readFileSync(join(ROOT, "manifests", file), "utf8")).join("---\n"),
        );
      }
    },
  );

  test("puts no manifest in place when a setting is wrong", { timeout: LIMIT_MS }, () => {
    const elsewhere = join(directory, "elsewhere");
    mkdirSync(elsewhere);
    const { status, stderr } = bash(
      readme("manifest pod --vip", elsewhere).replace("192.0.2.10", "192.0.2.300"),
    );
    assert.equal(status, 2);
    assert.match(stderr, /--vip="192\.0\.2\.300" has "192\.0\.2\.300", which is not a numeric address/);
    assert.deepEqual(readdirSync(join(elsewhere, "manifests")), []);
  });

  test(
    "runs the agent by itself, with its own Node, nft and the native part of koffi",
    { timeout: LIMIT_MS },
    () => {
      assert.match(
        succeeds(inImage("leasehold version")),
        new RegExp(`^leasehold ${VERSION.replaceAll(".", "\\.")} \\(node v24\\.`),
      );
      const alone = bash(inImage(""));
      assert.equal(alone.status, 2);
      assert.match(alone.stderr, /the configuration is wrong:\n {2}LEASEHOLD_VIP is not set/);
      assert.match(succeeds(inImage("nft --version")), /nftables v1\./);
      // Asks the kernel by netlink, and finds this container's network and no other.
      const lonely = bash(inImage("leasehold cleanup --rules-only"));
      assert.equal(lonely.status, 1);
      assert.match(lonely.stderr, /no interface but loopback/);
    },
  );

  test(
    "has nothing of the machine that built it, and nothing to install packages of npm with",
    { timeout: LIMIT_MS },
    () => {
      const found = succeeds(
        inImage(
          "sh -c 'command -v npm npx corepack yarn; ls -A /run /tmp /root/.npm* /etc/apt/sources.list* 2>/dev/null; find / -xdev \\( -name .npmrc -o -name npmrc -o -name sources.list \\) -print'",
        ),
      );
      assert.deepEqual(
        found.split("\n").filter((line) => line !== "" && !line.endsWith(":")),
        [],
      );
      for (const file of ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"])
        assert.equal(succeeds(inImage(`cat ${file}`)), "");
    },
  );

  test("says what it is", { timeout: LIMIT_MS }, () => {
    const archive = join(directory, "leasehold.tar");
    const member = (name: string): string => succeeds(`tar -xOf ${archive} ${name}`);
    const blob = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
    const index: Index = JSON.parse(member("index.json"));
    assert.deepEqual(
      index.manifests.map(({ annotations }) => annotations["org.opencontainers.image.ref.name"]),
      [`docker.io/library/leasehold:${VERSION}`],
    );
    const manifest: Manifest = JSON.parse(member(blob(index.manifests[0]?.digest ?? "")));
    const { config }: Image = JSON.parse(member(blob(manifest.config.digest)));
    assert.equal(config.Labels["org.opencontainers.image.version"], VERSION);
    assert.equal(config.Labels["org.opencontainers.image.licenses"], "Apache-2.0");
    assert.deepEqual(
      [config.Entrypoint, config.Cmd, config.User],
      [["/app/dist/leasehold.js"], ["run"], "0"],
    );
  });
});
