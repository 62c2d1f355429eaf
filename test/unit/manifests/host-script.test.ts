/** The host's script: run by the machine's own shell, with programs that write down how they were called. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { manifest } from "../../../src/cli/manifest.ts";
import { fullReference } from "../../../src/manifests/image.ts";

function scriptOf(...words: readonly string[]): string {
  const answer = manifest(["cli", ...words], {});
  assert.ok(answer.kind === "ok", answer.message);
  return answer.text;
}

interface Host {
  /** The id that `crictl ps` finds; "" for none; undefined: there is no crictl. */
  readonly container: string | undefined;
  /** Exit status of the command in the container. */
  readonly status?: number;
  readonly uid?: number;
}

/** Runs the script. `called` has the words of crictl exec or ctr, one a line. */
function run(context: TestContext, script: string, args: readonly string[], host: Host) {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-script-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const bin = join(directory, "bin");
  mkdirSync(bin);
  const program = (name: string, text: string): void => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  const record = `printf '%s\\n' "$(basename "$0")" "$@"; exit ${host.status ?? 0}`;
  program("id", `echo ${host.uid ?? 0}`);
  program("ctr", record);
  if (host.container !== undefined)
    program(
      "crictl",
      `if [ "$1" = ps ]; then printf '${host.container}'; exit 0; fi
case "$*" in *' env') printf 'PATH=/bin\\nLEASEHOLD_VIP=192.0.2.77\\nLEASEHOLD_TRACK_EXEC=/bin/a b $HOME\\n'; exit 0 ;; esac
${record}`,
    );
  const file = join(directory, "leasehold");
  writeFileSync(file, script);
  const ran = spawnSync("sh", [file, ...args], {
    encoding: "utf8",
    env: { PATH: [bin, "/usr/bin", "/bin"].join(delimiter) },
  });
  return { status: ran.status, called: ran.stdout.split("\n").slice(0, -1), stderr: ran.stderr };
}

const SCRIPT = scriptOf("--vip", "192.0.2.10");

describe("leasehold on a host", () => {
  test("runs in the pod's container while there is one, and passes the words and the exit status on", (t) => {
    const { status, called } = run(t, SCRIPT, ["move", "--to", "n 2"], { container: "abc\\n", status: 3 });
    assert.equal(status, 3);
    assert.deepEqual(called, ["crictl", "exec", "--sync", "abc", "leasehold", "move", "--to", "n 2"]);
  });

  test("shows what --watch prints as it comes", (t) => {
    for (const flag of ["-w", "--watch"]) {
      const { called } = run(t, SCRIPT, ["status", flag], { container: "abc\\n" });
      assert.deepEqual(called, ["crictl", "exec", "abc", "leasehold", "status", flag]);
    }
  });

  for (const container of ["", undefined]) {
    test(`runs in a container of its own while ${container === "" ? "the pod is down" : "there is no crictl"}`, (t) => {
      const { called, stderr, status } = run(t, SCRIPT, ["status", "-o", "wide"], { container, status: 1 });
      assert.equal(status, 1);
      assert.match(stderr, /the pod does not run/);
      assert.deepEqual(called.slice(0, 4), ["ctr", "-n", "k8s.io", "run"]);
      for (const word of ["--net-host", "CAP_NET_ADMIN", "LEASEHOLD_VIP=192.0.2.10"])
        assert.ok(called.includes(word), word);
      assert.deepEqual(called.slice(-4), ["leasehold", "status", "-o", "wide"]);
      assert.match(called.at(-5) ?? "", /^leasehold-cli-\d+$/);
      assert.equal(called.at(-6), "docker.io/library/leasehold:0.1.0");
      // Only what exists can be mounted.
      assert.ok(called.includes("type=bind,src=/etc/machine-id,dst=/etc/machine-id,options=rbind:ro"));
      assert.ok(!called.some((word) => word.includes("src=/var/lib/leasehold,")));
    });
  }

  test("gives doctor a container that sees the machine, with the pod's settings while it runs", (t) => {
    const mounts = (called: readonly string[]): readonly string[] =>
      called.filter((word) => word.startsWith("type=bind,src=/proc,"));
    const { called, stderr } = run(t, SCRIPT, ["doctor", "-o", "json"], { container: "abc\\n", status: 3 });
    assert.deepEqual(called.slice(0, 4), ["ctr", "-n", "k8s.io", "run"]);
    assert.deepEqual(mounts(called), ["type=bind,src=/proc,dst=/host/proc,options=rbind:ro"]);
    for (const word of ["LEASEHOLD_VIP=192.0.2.77", "LEASEHOLD_TRACK_EXEC=/bin/a b $HOME"])
      assert.ok(called.includes(word), word);
    for (const word of ["LEASEHOLD_VIP=192.0.2.10", "PATH=/bin"]) assert.ok(!called.includes(word), word);
    assert.deepEqual(called.slice(-4), ["leasehold", "doctor", "-o", "json"]);
    assert.equal(stderr, "");
    const down = run(t, SCRIPT, ["doctor"], { container: "" });
    assert.equal(mounts(down.called).length, 1);
    assert.ok(down.called.includes("LEASEHOLD_VIP=192.0.2.10"));
    assert.deepEqual(mounts(run(t, SCRIPT, ["status"], { container: "" }).called), []);
  });

  test("gives import the files that it is to read, by their whole paths", (t) => {
    const { called } = run(t, SCRIPT, ["import", "/etc/hostname", "/nonexistent"], { container: "abc\\n" });
    assert.equal(called[0], "ctr");
    assert.ok(called.includes("type=bind,src=/etc/hostname,dst=/etc/hostname,options=rbind:ro"));
    assert.ok(!called.some((word) => word.includes("src=/nonexistent")));
    assert.deepEqual(called.slice(-4), ["leasehold", "import", "/etc/hostname", "/nonexistent"]);
    const relative = run(t, SCRIPT, ["import", "package.json"], { container: "abc\\n" });
    assert.deepEqual([relative.status, relative.called], [2, []]);
    assert.match(relative.stderr, /name package\.json by its whole path: \//);
  });

  test("never runs an agent, and without a command prints the help", (t) => {
    const agent = run(t, SCRIPT, ["run"], { container: "abc\\n" });
    assert.deepEqual([agent.status, agent.called], [2, []]);
    assert.match(agent.stderr, /static pod/);
    assert.equal(run(t, SCRIPT, ["--vip"], { container: "abc\\n" }).status, 2);
    const none = run(t, SCRIPT, [], { container: "abc\\n" });
    assert.deepEqual(none.called.at(-1), "--help");
  });

  test("asks for root", (t) => {
    const { status, stderr, called } = run(t, SCRIPT, ["status"], { container: "abc\\n", uid: 1_000 });
    assert.deepEqual([status, called], [2, []]);
    assert.match(stderr, /as root/);
  });

  test("has every setting and the image as they were given, whatever the shell makes of them", (t) => {
    const value = `/bin/check 'a' "$(id)" \`id\` $HOME`;
    const script = scriptOf("--vip", "192.0.2.10", "--track-exec", value, "--image", "registry.example:5000/a/b:1");
    const { called } = run(t, script, ["status"], { container: "" });
    assert.ok(called.includes(`LEASEHOLD_TRACK_EXEC=${value}`));
    assert.ok(called.includes("registry.example:5000/a/b:1"));
  });

  test("is refused for a path that ctr cannot name", () => {
    const answer = manifest(["cli", "--vip", "192.0.2.10", "--data-dir", "/var/lib/a b"], {});
    assert.ok(answer.kind === "error");
    assert.match(answer.message, /"\/var\/lib\/a b" cannot be mounted by ctr/);
  });
});

test("ctr is given the full reference of an image", () => {
  for (const [short, full] of [
    ["leasehold:0.1.0", "docker.io/library/leasehold:0.1.0"],
    ["me/leasehold", "docker.io/me/leasehold"],
    ["ghcr.io/me/leasehold:1", "ghcr.io/me/leasehold:1"],
    ["localhost/leasehold", "localhost/leasehold"],
    ["registry:5000/leasehold", "registry:5000/leasehold"],
  ] as const)
    assert.equal(fullReference(short), full);
});
