/** `kubectl leasehold`: run by the machine's own shell, with a kubectl that plays a cluster. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { manifest } from "../../../src/cli/manifest.ts";

const VIP = "https://192.0.2.10:6443";
const [A, B] = ["https://192.0.2.11:6443", "https://[2001:db8::12]:6443"] as const;
const CACHE = "leasehold/https___192.0.2.10_6443";

interface Cluster {
  /** Servers that answer. */
  readonly alive: readonly string[];
  /** Lines of `get pods`: name, node and phase. */
  readonly pods?: readonly string[];
  /** Pods in which nothing can be run. */
  readonly dead?: readonly string[];
  /** Exit status of the command in the pod. */
  readonly status?: number;
  /** What the cache file has; undefined: there is none. */
  readonly cache?: string;
  /** The server in the kubeconfig. */
  readonly own?: string;
}

const script = (() => {
  const answer = manifest(["kubectl-plugin"], {});
  assert.ok(answer.kind === "ok", answer.message);
  return answer.text;
})();

/** A kubectl that writes down its words, and answers as the cluster does. */
const FAKE = String.raw`#!/bin/sh
printf '%s\n' "$*" >> "$FAKE/calls"
server=$OWN
words=" $* "
case "$words" in *" --server "*) server=$(printf '%s' "$words" | sed 's/ -- .*//; s/.* --server \([^ ]*\) .*/\1/') ;; esac
case "$words" in
  *" config view "*) printf '%s' "$OWN"; exit 0 ;;
esac
case " $ALIVE " in *" $server "*) ;; *) echo "Unable to connect to the server" >&2; exit 1 ;; esac
case "$words" in
  *" get --raw /version "*) echo '{}' ;;
  *" get endpointslices "*) printf '6443 192.0.2.11 2001:db8::12\n' ;;
  *" get pods "*) cat "$FAKE/pods" ;;
  *" exec "*)
    for pod in $DEAD; do case "$words" in *" $pod "*) echo "error dialing backend" >&2; exit 1 ;; esac; done
    case "$words" in *" leasehold version "*) echo 'leasehold 0.1.0'; exit 0 ;; esac
    printf 'RAN %s\n' "$*"
    exit "$STATUS"
    ;;
  *) echo "unexpected: $*" >&2; exit 9 ;;
esac
`;

function run(context: TestContext, args: readonly string[], cluster: Cluster) {
  const directory = mkdtempSync(join(tmpdir(), "kubectl-leasehold-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const bin = join(directory, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "kubectl"), FAKE);
  chmodSync(join(bin, "kubectl"), 0o755);
  const { alive, dead = [], status = 0, own = VIP } = cluster;
  const { pods = ["leasehold-n1 n1 Running", "leasehold-n2 n2 Running"] } = cluster;
  writeFileSync(join(directory, "pods"), `${pods.join("\n")}\n`);
  const file = join(directory, "cache", CACHE);
  if (cluster.cache !== undefined) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, cluster.cache);
  }
  const plugin = join(directory, "kubectl-leasehold");
  writeFileSync(plugin, script);
  const ran = spawnSync("sh", [plugin, ...args], {
    encoding: "utf8",
    env: {
      PATH: [bin, "/usr/bin", "/bin"].join(delimiter),
      XDG_CACHE_HOME: join(directory, "cache"),
      FAKE: directory,
      OWN: own,
      ALIVE: alive.join(" "),
      DEAD: dead.join(" "),
      STATUS: String(status),
    },
  });
  const calls = join(directory, "calls");
  return {
    status: ran.status,
    out: ran.stdout,
    stderr: ran.stderr,
    calls: existsSync(calls) ? readFileSync(calls, "utf8").split("\n") : [],
    cache: existsSync(file) ? readFileSync(file, "utf8") : undefined,
  };
}

test("the script has nothing that shellcheck objects to", () => {
  const checked = spawnSync("shellcheck", ["-s", "sh", "-"], { input: script, encoding: "utf8" });
  assert.equal(checked.error, undefined, "shellcheck is needed: apt-get install shellcheck");
  assert.equal(checked.status, 0, checked.stdout);
});

describe("kubectl leasehold", () => {
  test("runs the command in an agent's pod, passes words and exit status on, and remembers the servers", (t) => {
    const ran = run(t, ["move", "--to", "n 2"], { alive: [VIP], status: 3 });
    assert.equal(ran.status, 3);
    assert.match(ran.out, /^RAN exec -n kube-system leasehold-n1 -c leasehold -- leasehold move --to n 2$/m);
    assert.equal(ran.stderr, "");
    assert.equal(ran.cache, `${A}\n${B}\n`);
  });

  test("asks the servers that it remembers while the VIP is dead, by a name that every certificate has", (t) => {
    const ran = run(t, ["status"], { alive: [B], cache: `${A}\n${B}\n` });
    assert.equal(ran.status, 0, ran.stderr);
    assert.match(ran.stderr, /192\.0\.2\.10:6443 does not answer, asking https:\/\/\[2001:db8::12\]:6443/);
    assert.match(ran.out, /^RAN --server https:\/\/\[2001:db8::12\]:6443 --tls-server-name kubernetes exec /m);
  });

  for (const [what, cluster, pattern] of [
    ["remembers none", { alive: [] }, /none is remembered in .*Type one of these/],
    ["remembers only dead ones", { alive: [], cache: `${A}\n` }, /Asked: https:\/\/192\.0\.2\.10:6443 https:\/\/192\.0\.2\.11:6443/],
    ["has a damaged memory", { alive: [A], cache: "$(touch /tmp/owned)\nhttps://evil.example\n-x\n" }, /none is remembered/],
  ] as const)
    test(`says what to type when the VIP is dead and it ${what}`, (t) => {
      const ran = run(t, ["status"], cluster);
      assert.equal(ran.status, 1);
      assert.match(ran.stderr, pattern);
      assert.match(ran.stderr, /kubectl leasehold --server https:\/\/NODE:6443 status/);
      assert.match(ran.stderr, /ssh NODE leasehold status/);
      assert.ok(!ran.calls.some((call) => call.includes("evil")));
      // What is remembered outlives the failure.
      assert.equal(ran.cache, "cache" in cluster ? cluster.cache : undefined);
    });

  test("takes the flags of kubectl before the command, and leaves those after it to the command", (t) => {
    const ran = run(
      t,
      ["--context=prod", "--kubeconfig", "/k", "--server", A, "why", "--server", "x"],
      { alive: [A] },
    );
    assert.equal(ran.status, 0, ran.stderr);
    assert.match(
      ran.out,
      /^RAN --kubeconfig \/k --context prod --server https:\/\/192\.0\.2\.11:6443 .* -- leasehold why --server x$/m,
    );
  });

  test("asks another node's agent when the first one's node is lost, or the one of the node that is named", (t) => {
    const lost = run(t, ["status"], { alive: [VIP], dead: ["leasehold-n1"] });
    assert.match(lost.stderr, /asking leasehold-n2/);
    assert.match(lost.out, /RAN exec -n kube-system leasehold-n2 /);
    assert.match(run(t, ["--node=n2", "doctor"], { alive: [VIP] }).out, /RAN exec -n kube-system leasehold-n2 /);
    const pods = ["leasehold-n1 n1 Pending", "leasehold-n2 n2 Running"];
    assert.match(run(t, ["status"], { alive: [VIP], pods }).out, /leasehold-n2 /);
  });

  for (const [what, args, cluster, status, pattern] of [
    ["no pod runs", ["status"], { alive: [VIP], pods: [] }, 1, /no agent's pod runs in kube-system/],
    ["the named node has none", ["--node", "n9", "status"], { alive: [VIP] }, 1, /no agent's pod runs on n9.*\n.*leasehold-n1 n1 Running/],
    ["no pod takes commands", ["status"], { alive: [VIP], dead: ["leasehold-n1", "leasehold-n2"] }, 1, /error dialing backend[^]*pods\/exec/],
    ["no command is given", [], { alive: [VIP] }, 2, /^$/],
    ["a flag is unknown", ["--nod", "n1", "status"], { alive: [VIP] }, 2, /unknown flag --nod/],
    ["a flag has no value", ["--node"], { alive: [VIP] }, 2, /--node needs a value/],
    ["the agent shall run here", ["run"], { alive: [VIP] }, 2, /static pod/],
    ["the kubeconfig is empty", ["status"], { alive: [], own: "" }, 1, /the kubeconfig names no server/],
  ] as const)
    test(`says so when ${what}`, (t) => {
      const ran = run(t, args, cluster);
      assert.equal(ran.status, status, ran.stderr);
      assert.match(ran.stderr, pattern);
      assert.doesNotMatch(ran.out, /RAN/);
    });

  test("--help says how it is used, and asks nothing", (t) => {
    const ran = run(t, ["--help"], { alive: [] });
    assert.equal(ran.status, 0);
    assert.match(ran.out, /^Usage: kubectl leasehold /);
    assert.deepEqual(ran.calls, []);
  });
});
