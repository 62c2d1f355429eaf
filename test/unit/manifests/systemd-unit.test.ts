/** The unit of systemd: what systemd says of it, and that it gives the agent what the static pod gives it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { loadYaml } from "@kubernetes/client-node";
import type { V1Pod } from "@kubernetes/client-node";
import { manifest } from "../../../src/cli/manifest.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { attempt } from "../../support/lab/command.ts";
import { containerOf } from "../../support/manifests/kubelet.ts";
import { missingTools } from "../../support/sandbox/tools.ts";

const VIP = ["--vip", "192.0.2.10"] as const;

function printed(kind: string, ...words: readonly string[]): string {
  const answer = manifest([kind, ...words], {});
  assert.ok(answer.kind === "ok", answer.message);
  return answer.text;
}

/** The unit's settings by name, each command in one line. */
function settings(unit: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const line of unit.replaceAll(/\\\n\s*/g, "").split("\n")) {
    const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (name !== "") found.set(name, [...(found.get(name) ?? []), value]);
  }
  return found;
}

const start = (unit: string): string => settings(unit).get("ExecStart")?.[0] ?? "";

/** What systemd complains of, of this unit and not of the machine's own. */
async function complaints(t: TestContext, unit: string): Promise<readonly string[]> {
  const missing = missingTools(["systemd-analyze", "ctr"]);
  if (missing !== undefined) throw new Error(missing);
  const directory = mkdtempSync(join(tmpdir(), "leasehold-unit-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "leasehold.service");
  writeFileSync(file, unit);
  const { code, stdout, stderr } = await attempt(["systemd-analyze", "verify", "--man=no", file], {
    timeoutMs: 25_000,
  });
  const lines = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("leasehold"));
  return code === 0 ? lines : [`exit status ${code}`, ...lines];
}

describe("the unit of systemd", () => {
  test("is one that systemd takes, with the values of every kind of setting", async (t) => {
    assert.deepEqual(await complaints(t, printed("systemd", ...VIP)), []);
    const strange = `/etc/leasehold/check 'a "b" 100% $HOME \\x'`;
    assert.deepEqual(await complaints(t, printed("systemd", ...VIP, "--track-exec", strange)), []);
    // The check itself finds what is wrong.
    const wrong = printed("systemd", ...VIP).replace("RestartSec=1", "RestartSecs=1");
    assert.match((await complaints(t, wrong)).join(), /RestartSecs/);
  });

  test("gives a value that systemd would expand as it was written", () => {
    const unit = printed("systemd", ...VIP, "--track-exec", `/etc/leasehold/check 'a "b" 100% $HOME \\x'`);
    assert.match(
      start(unit),
      / --env "LEASEHOLD_TRACK_EXEC=\/etc\/leasehold\/check 'a \\"b\\" 100%% \$\$HOME \\\\x'" /,
    );
  });

  test("gives the agent what the static pod gives it", () => {
    const words = [...VIP, "--priority", "150", "--data-dir", "/srv/leasehold", "--drain-timeout", "9s"];
    const unit = printed("systemd", ...words);
    const command = start(unit);
    const pod: V1Pod = loadYaml(printed("pod", ...words));
    const container = containerOf(pod);
    assert.deepEqual(
      [...command.matchAll(/--mount type=bind,src=(\S+?),dst=(\S+?),options=rbind:(r[ow]) /g)].map(
        ([, from, to, access]) => [from, to, access],
      ),
      (container.volumeMounts ?? []).map(({ mountPath, readOnly }) => [
        mountPath,
        mountPath,
        readOnly === true ? "ro" : "rw",
      ]),
    );
    // The whole set of ctr's own, less what the pod has.
    const capabilities = new Set(
      "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE".split(
        " ",
      ),
    );
    for (const [, what, name = ""] of command.matchAll(/--cap-(add|drop) CAP_(\S+)/g))
      if (what === "add") capabilities.add(name);
      else assert.ok(capabilities.delete(name), name);
    assert.deepEqual([...capabilities].toSorted(), container.securityContext?.capabilities?.add);
    assert.match(command, / --net-host --read-only --seccomp /);
    assert.match(command, new RegExp(` --memory-limit ${512 * 1024 * 1024} `));
    assert.equal(container.resources?.limits?.["memory"], "512Mi");
    assert.equal(
      settings(unit).get("TimeoutStopSec")?.[0],
      String(pod.spec?.terminationGracePeriodSeconds),
    );
    const env = Object.fromEntries(
      [...command.matchAll(/--env "(\w+)=([^"]*)"/g)].map(([, name, value]) => [name, value]),
    );
    const parsed = parseConfig(env, "N1");
    assert.ok(parsed.kind === "ok");
    assert.deepEqual(
      [parsed.config.nodeName, parsed.config.priority, parsed.config.dataDir],
      ["n1", 150, "/srv/leasehold"],
    );
    assert.match(command, / docker\.io\/library\/leasehold:\S+ leasehold leasehold run$/);
  });

  test("makes each folder that it mounts, and removes what a run without an end has left", () => {
    const unit = settings(printed("systemd", ...VIP));
    const before = unit.get("ExecStartPre") ?? [];
    assert.ok(before.includes("mkdir -p /etc/kubernetes /run/leasehold /var/lib/leasehold"), before.join());
    const remove = before.filter((command) => command.startsWith("-ctr -n leasehold "));
    assert.deepEqual(unit.get("ExecStopPost"), remove);
    assert.equal(remove.length, 2);
  });

  test("of a worker has the worker's mounts", () => {
    const kubelet = "/etc/kubernetes/kubelet.conf";
    const unit = printed("systemd", ...VIP, "--role", "balancer", "--kubeconfig", kubelet);
    assert.match(start(unit), /,src=\/var\/lib\/kubelet\/pki,/);
    assert.doesNotMatch(start(unit), /machine-id/);
    assert.deepEqual(
      (settings(unit).get("ExecStartPre") ?? []).filter((command) => command.startsWith("mkdir")),
      ["mkdir -p /var/lib/leasehold"],
    );
  });
});
