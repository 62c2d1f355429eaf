import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadAllYaml, loadYaml } from "@kubernetes/client-node";
import type { V1Lease, V1Pod, V1Role } from "@kubernetes/client-node";
import fc from "fast-check";
import { manifest, manifestHelp } from "../../../src/cli/manifest.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { SETTING_NAMES, SETTINGS } from "../../../src/config/settings.ts";
import { MANIFESTS } from "../../../src/manifests/manifests.ts";
import { containerOf, environment } from "../../support/manifests/kubelet.ts";

const MAIN = fileURLToPath(new URL("../../../src/main.ts", import.meta.url));
const VIP = ["--vip", "192.0.2.10"] as const;
const committed = (name: string): string =>
  readFileSync(new URL(`../../../manifests/${name}`, import.meta.url), "utf8");
const flag = (name: string): string => `--${name.toLowerCase().replaceAll("_", "-")}`;

function printed(words: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const answer = manifest(words, env);
  if (answer.kind === "error") assert.fail(answer.message);
  return answer.text;
}

function warned(words: readonly string[]): string {
  const answer = manifest(words, {});
  if (answer.kind === "error") assert.fail(answer.message);
  return answer.message;
}

/** The problems, one a line, without the headline. */
function refused(words: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const answer = manifest(words, env);
  if (answer.kind === "ok") assert.fail("it was printed");
  const [headline = "", ...lines] = answer.message.trimEnd().split("\n");
  assert.equal(headline, "leasehold: no manifest can be printed:");
  return lines.map((line) => line.trim()).join("\n");
}

const pod = (...words: readonly string[]): V1Pod => loadYaml(printed(["pod", ...VIP, ...words]));
const worker = (...words: readonly string[]): V1Pod => loadYaml(printed(["worker", ...words]));
const mounts = (of: V1Pod): Record<string, string> =>
  Object.fromEntries(
    (containerOf(of).volumeMounts ?? []).map(({ name, mountPath, readOnly }) => {
      const host = of.spec?.volumes?.find((volume) => volume.name === name)?.hostPath;
      assert.equal(host?.path, mountPath);
      return [mountPath, `${host?.type ?? ""} ${readOnly === true ? "ro" : "rw"}`];
    }),
  );

describe("leasehold manifest", () => {
  test("prints what the repository has, word for word", () => {
    for (const [words, files] of [
      [["pod", ...VIP], ["leasehold.yaml"]],
      [["worker", ...VIP], ["worker.yaml"]],
      [["rbac"], ["rbac.yaml", "admission.yaml", "flowschema.yaml"]],
      [["worker-rbac"], ["worker-rbac.yaml"]],
      [
        ["monitoring"],
        ["monitoring/podmonitor.yaml", "monitoring/prometheusrule.yaml", "monitoring/rbac.yaml"],
      ],
      [["dashboard"], ["monitoring/dashboard.json"]],
      [["cli", ...VIP], ["leasehold.sh"]],
      [["systemd", ...VIP], ["leasehold.service"]],
    ] as const)
      assert.equal(printed(words), files.map(committed).join("---\n"), words.join(" "));
  });

  test("is a command: YAML on standard output and status 0, or the problems on standard error and status 2", () => {
    const run = (...words: readonly string[]) =>
      spawnSync(process.execPath, [MAIN, "manifest", ...words], { encoding: "utf8", env: {} });
    const good = run("pod", ...VIP, "--ops-address", "0.0.0.0:10081");
    assert.equal(good.status, 0);
    assert.equal(good.stdout, printed(["pod", ...VIP, "--ops-address", "0.0.0.0:10081"]));
    assert.match(
      good.stderr,
      /^leasehold: warning: --ops-address="0\.0\.0\.0:10081" is reachable from other machines.*\n$/,
    );
    const bad = run("pod", "--vip", "192.0.2.300");
    assert.deepEqual([bad.status, bad.stdout], [2, ""]);
    assert.match(
      bad.stderr,
      /--vip="192\.0\.2\.300" has "192\.0\.2\.300", which is not a numeric address; use a numeric IPv4 or IPv6 address/,
    );
    const help = run("pod", "--help");
    assert.deepEqual([help.status, help.stdout], [0, manifestHelp()]);
  });

  test("has help that names every kind, and examples that work", () => {
    const help = manifestHelp();
    for (const kind of MANIFESTS) assert.match(help, new RegExp(`^  ${kind} `, "m"));
    for (const line of help.split("\n")) assert.ok(line.length <= 110, line);
    const examples = [...help.matchAll(/^ +leasehold manifest (.*)$/gm)].map(([, words = ""]) =>
      words.replace(/ \|.*/, "").split(" "),
    );
    assert.ok(examples.length > 4);
    for (const words of examples) printed(words);
  });
});

describe("a setting as a flag", () => {
  const VALUES: Partial<Record<string, string>> = {
    VIP: "192.0.2.10",
    ROLE: "control-plane",
    NODE_NAME: "n7",
    NODE_IP: "192.0.2.1",
    INTERFACE: "bond0.7",
    TRACK_FILE: "/run/checks/weight",
    TRACK_EXEC: "/etc/leasehold/check -x",
    TRACK_HTTP: "http://127.0.0.1:8080/a?b=#c",
    NOTIFY: "/etc/leasehold/notify 'a b'",
    NOTIFY_FIFO: "/run/hooks/vip",
    API_SERVERS: "192.0.2.1,[2001:db8::1]:6443",
    BACKENDS: "192.0.2.1:6443",
    BALANCER_ADDRESSES: "192.0.2.0/24",
    BALANCER_WORKERS: "3",
    RUNBOOK_URL: "https://example.com/ops?page=1",
  };

  for (const name of SETTING_NAMES) {
    const value = VALUES[name] ?? SETTINGS[name].fallback;
    test(`${flag(name)} is LEASEHOLD_${name} in the pod's environment`, () => {
      assert.ok(value !== undefined, "the test has no value for it");
      const words = name === "VIP" ? [] : [flag(name), value];
      assert.equal(environment(pod(...words), "n1")[`LEASEHOLD_${name}`], value);
      assert.equal(
        environment(
          loadYaml(printed(["pod", ...VIP, ...(name === "VIP" ? [] : [`${flag(name)}=${value}`])])),
          "n1",
        )[`LEASEHOLD_${name}`],
        value,
      );
      // For the others it may be without effect, and is no mistake: one list of flags does for all.
      for (const kind of ["rbac", "worker-rbac", "monitoring"]) printed([kind, flag(name), value]);
    });
  }

  test("is in force once, and what is not given stays commented out", () => {
    const text = printed(["pod", ...VIP, "--priority", "150"]);
    assert.match(text, /^ {8}- \{name: LEASEHOLD_PRIORITY, value: "150"\}$/m);
    assert.equal(text.match(/LEASEHOLD_PRIORITY/g)?.length, 1);
    assert.deepEqual(Object.keys(environment(loadYaml(text), "n1")), [
      "LEASEHOLD_VIP",
      "LEASEHOLD_NODE_NAME",
      "LEASEHOLD_PRIORITY",
    ]);
  });

  test("may be a word of its own where it is true or false", () => {
    for (const words of [
      ["--nopreempt", "pod", ...VIP],
      ["pod", "--nopreempt", ...VIP],
      ["pod", ...VIP, "--nopreempt"],
    ]) {
      assert.equal(environment(loadYaml(printed(words)), "n1")["LEASEHOLD_NOPREEMPT"], "true");
    }
    assert.equal(environment(pod("--nopreempt", "false"), "n1")["LEASEHOLD_NOPREEMPT"], "false");
  });

  test("may be negative", () =>
    assert.equal(
      environment(pod("--track-apiserver-weight", "-20", "--nopreempt=false"), "n1")[
        "LEASEHOLD_TRACK_APISERVER_WEIGHT"
      ],
      "-20",
    ));

  test("goes before the variable of the environment, which counts too", () => {
    const env = { LEASEHOLD_VIP: "192.0.2.20", LEASEHOLD_PRIORITY: "150", HOME: "/root" };
    assert.deepEqual(environment(loadYaml(printed(["pod", "--priority", "7"], env)), "n1"), {
      LEASEHOLD_VIP: "192.0.2.20",
      LEASEHOLD_NODE_NAME: "n1",
      LEASEHOLD_PRIORITY: "7",
    });
    assert.equal(printed(["pod", ...VIP], { LEASEHOLD_INTERFACE: "" }), committed("leasehold.yaml"));
  });

  test("arrives in the container as it was written, whatever characters it has", () => {
    const shown = (command: string): string =>
      environment(pod(`--track-exec=${command}`), "n1")["LEASEHOLD_TRACK_EXEC"] ?? "";
    for (const command of [
      `/etc/leasehold/check "a b" # no comment`,
      `/etc/leasehold/check {a: b}, [c]`,
      "/etc/leasehold/check $(LEASEHOLD_VIP) $$ $(date) $HOME $",
      "/etc/leasehold/check '\"'",
      "/etc/leasehold/check %TAG ! & * ? | > - : ` @",
      "/etc/leasehold/chéck \u0085\u2028\u{1f600}\u007f",
      "/etc/leasehold/check a\n  b: c\n---\nx: y",
      "check\ttab",
      "yes",
      "~",
      "0x10",
    ])
      assert.equal(shown(command), command);
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (noise) => {
        const command = `/etc/leasehold/check ${noise.replaceAll(/["'\\]/g, "")}`.trim();
        assert.equal(shown(command), command);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("$", "(", ")", "LEASEHOLD_VIP", "x") }), (noise) =>
        assert.equal(shown(`c ${noise}`.trim()), `c ${noise}`.trim()),
      ),
    );
  });
});

describe("what follows from the settings", () => {
  test("several VIPs of both families", () => {
    const env = environment(loadYaml(printed(["pod", "--vip", "192.0.2.10,2001:db8::10"])), "n1");
    const parsed = parseConfig(env, "n1");
    assert.ok(parsed.kind === "ok");
    assert.deepEqual(
      parsed.config.vips.map(({ text }) => text),
      ["192.0.2.10", "2001:db8::10"],
    );
  });

  for (const [kind, words] of [
    ["pod", VIP],
    ["worker", VIP],
  ] as const) {
    test(`the ${kind}'s probes ask LEASEHOLD_HEALTH_PORT, and its port is that of LEASEHOLD_OPS_ADDRESS`, () => {
      const made: V1Pod = loadYaml(
        printed([kind, ...words, "--health-port", "20084", "--ops-address", "[::]:9100"]),
      );
      const { livenessProbe, readinessProbe, startupProbe, ports } = containerOf(made);
      assert.deepEqual(
        [livenessProbe, readinessProbe, startupProbe].map((probe) => probe?.httpGet?.port),
        [20084, 20084, 20084],
      );
      assert.deepEqual(
        ports?.map(({ name, containerPort }) => [name, containerPort]),
        [["metrics", 9100]],
      );
      assert.equal(environment(made, "n1")["LEASEHOLD_OPS_ADDRESS"], "[::]:9100");
    });

    test(`the ${kind} has the time that LEASEHOLD_DRAIN_TIMEOUT takes, and more`, () => {
      const grace = (drain: string): number =>
        loadYaml<V1Pod>(printed([kind, ...words, "--drain-timeout", drain])).spec
          ?.terminationGracePeriodSeconds ?? 0;
      assert.deepEqual(["0s", "3s", "3500ms", "2m"].map(grace), [10, 10, 11, 127]);
    });

    test(`the ${kind}'s image is the one that is given`, () => {
      const image = (reference: string): string | undefined =>
        containerOf(loadYaml(printed([kind, ...words, "--image", reference]))).image;
      for (const reference of [
        "leasehold:0.1.0",
        "registry.example:5000/net/leasehold:v1",
        `leasehold@sha256:${"0".repeat(64)}`,
        `a/b:1@sha256:${"9".repeat(64)}`,
        "true",
        "1",
        "1e3",
        "[::1]:5000/x:1",
      ]) {
        assert.equal(image(reference), reference);
      }
    });
  }

  test("a path outside the mounted directories is mounted: the directory, read-only", () => {
    const standard = {
      "/run/leasehold": "DirectoryOrCreate rw",
      "/var/lib/leasehold": "DirectoryOrCreate rw",
      "/etc/machine-id": "FileOrCreate ro",
    };
    const etc = { "/etc/kubernetes": "DirectoryOrCreate ro" };
    const manifests = { "/etc/kubernetes/manifests": "DirectoryOrCreate ro" };
    for (const [words, expected] of [
      [[], { ...etc, ...standard }],
      [["--kubeconfig", "/srv/k/config"], { ...etc, "/srv/k": "DirectoryOrCreate ro", ...standard }],
      [
        ["--kubeconfig", "/srv/k/config", "--admin-kubeconfig", "/srv/k/admin"],
        { "/srv/k": "DirectoryOrCreate ro", ...manifests, ...standard },
      ],
      [
        ["--kubeconfig", "/srv/k/config", "--admin-kubeconfig", "/opt/a/admin"],
        { "/srv/k": "DirectoryOrCreate ro", "/opt/a": "DirectoryOrCreate ro", ...manifests, ...standard },
      ],
      [
        ["--admin-kubeconfig", "/opt/a/admin"],
        {
          "/etc/kubernetes/leasehold": "DirectoryOrCreate ro",
          "/opt/a": "DirectoryOrCreate ro",
          ...manifests,
          ...standard,
        },
      ],
      [
        ["--admin-kubeconfig", "none"],
        { "/etc/kubernetes/leasehold": "DirectoryOrCreate ro", ...manifests, ...standard },
      ],
      [
        ["--admin-kubeconfig", "none", "--kubeconfig", "/srv/k/config"],
        { "/srv/k": "DirectoryOrCreate ro", ...manifests, ...standard },
      ],
      // Not below it, though the text begins alike.
      [
        ["--kubeconfig", "/etc/kubernetes-old/config"],
        { ...etc, "/etc/kubernetes-old": "DirectoryOrCreate ro", ...standard },
      ],
      [
        ["--kubeconfig", "/etc/kubernetes/../leasehold/config"],
        { ...etc, "/etc/leasehold": "DirectoryOrCreate ro", ...standard },
      ],
      [
        ["--state-dir", "/run/lh/state/", "--data-dir", "/srv/lh"],
        {
          ...etc,
          "/run/lh/state": "DirectoryOrCreate rw",
          "/srv/lh": "DirectoryOrCreate rw",
          "/etc/machine-id": "FileOrCreate ro",
        },
      ],
      [
        ["--data-dir", "/srv/lh", "--state-dir", "/srv/lh/run"],
        {
          ...etc,
          "/srv/lh/run": "DirectoryOrCreate rw",
          "/srv/lh": "DirectoryOrCreate rw",
          "/etc/machine-id": "FileOrCreate ro",
        },
      ],
      // What the agent writes to is mounted once, writable, whatever else lies in there.
      [["--kubeconfig", "/var/lib/leasehold/config"], { ...etc, ...standard }],
      [
        ["--data-dir", "/etc/kubernetes/leasehold"],
        {
          ...etc,
          "/run/leasehold": "DirectoryOrCreate rw",
          "/etc/kubernetes/leasehold": "DirectoryOrCreate rw",
          "/etc/machine-id": "FileOrCreate ro",
        },
      ],
      [
        ["--data-dir", "/etc/kubernetes"],
        {
          "/run/leasehold": "DirectoryOrCreate rw",
          "/etc/kubernetes": "DirectoryOrCreate rw",
          "/etc/machine-id": "FileOrCreate ro",
        },
      ],
      [
        ["--machine-id-file", "/var/lib/dbus/machine-id"],
        {
          ...etc,
          "/run/leasehold": "DirectoryOrCreate rw",
          "/var/lib/leasehold": "DirectoryOrCreate rw",
          "/var/lib/dbus/machine-id": "FileOrCreate ro",
        },
      ],
      [
        ["--machine-id-file", "/proc/sys/kernel/random/boot_id"],
        { ...etc, "/run/leasehold": "DirectoryOrCreate rw", "/var/lib/leasehold": "DirectoryOrCreate rw" },
      ],
      [
        ["--track-file", "/run/checks/weight"],
        { ...etc, ...standard, "/run/checks": "DirectoryOrCreate ro" },
      ],
      [["--track-file", "/sys/class/net/eth0/carrier"], { ...etc, ...standard }],
      [
        ["--track-exec", "'/opt/my checks/run' -v"],
        { ...etc, ...standard, "/opt/my checks": "DirectoryOrCreate ro" },
      ],
      [["--track-exec", "/etc/kubernetes/check"], { ...etc, ...standard }],
      [
        ["--notify", "/etc/leasehold/notify.sh first"],
        { ...etc, ...standard, "/etc/leasehold": "DirectoryOrCreate ro" },
      ],
      [["--notify-fifo", "/var/lib/leasehold/notify"], { ...etc, ...standard }],
      [["--notify-fifo", "/run/hooks/vip"], { ...etc, ...standard, "/run/hooks": "DirectoryOrCreate rw" }],
    ] as const)
      assert.deepEqual(mounts(pod(...words)), expected, words.join(" "));
  });

  test("a path that cannot be mounted is refused, with what would do", () => {
    for (const [words, pattern] of [
      [
        ["--kubeconfig", "/config"],
        /^--kubeconfig="\/config" cannot be mounted: \/ holds more than the pod may see/,
      ],
      [["--kubeconfig", "/root/config"], /\/root holds more than the pod may see/],
      [["--state-dir", "/run"], /^--state-dir="\/run" cannot be mounted: \/run holds more/],
      [["--data-dir", "/usr/share/leasehold"], /would hide the image's own files/],
      [["--data-dir", "/app"], /would hide the image's own files/],
      [["--track-file", "/usr/local/etc/weight"], /^--track-file=.* would hide the image's own files/],
      [["--state-dir", "/dev/shm/leasehold"], /each container's own/],
      [["--kubeconfig", "/srv/a:b/config"], /has a colon/],
      [["--track-exec", "check 'x"], /^--track-exec="check 'x" is not a command line/],
    ] as const)
      assert.match(refused(["pod", ...VIP, ...words]), pattern);
  });

  test("a check's program of the image is taken from there, with a warning", () => {
    for (const command of ["nft list tables", "/usr/bin/test -e /x"])
      assert.match(
        warned(["pod", ...VIP, "--track-exec", command]),
        /^leasehold: warning: --track-exec=.* of the image, not of the node/,
      );
    assert.equal(warned(["pod", ...VIP, "--track-exec", "/etc/leasehold/check"]), "");
    const alone = ["pod", ...VIP, "--admin-kubeconfig", "none"];
    assert.equal(warned(alone), "");
    assert.match(
      warned([...alone, "--kubeconfig", "/etc/kubernetes/leasehold.conf"]),
      /^leasehold: warning: --kubeconfig=.* mount all of \/etc\/kubernetes, with the keys of the cluster/,
    );
  });

  test("the Lease's name and namespace are in RBAC, the FlowSchema and the alerts", () => {
    const words = ["--lease-name", "123", "--lease-namespace", "null"];
    const made: readonly {
      readonly kind: string;
      readonly metadata: { readonly name: string; readonly namespace?: string };
      readonly spec?: unknown;
    }[] = loadAllYaml(printed(["rbac", ...words]));
    assert.deepEqual(
      made.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ""}/${metadata.name}`),
      [
        "Lease null/123",
        "Role null/leasehold",
        "RoleBinding null/leasehold",
        "Role default/leasehold-events",
        "RoleBinding default/leasehold-events",
        "Role default/leasehold-endpoints",
        "RoleBinding default/leasehold-endpoints",
        "ClusterRole /leasehold-health",
        "ClusterRoleBinding /leasehold-health",
        "ValidatingAdmissionPolicy /leasehold",
        "ValidatingAdmissionPolicyBinding /leasehold",
        "FlowSchema /leasehold",
      ],
    );
    const role: V1Role | undefined = loadAllYaml(printed(["rbac", ...words]))[1];
    const lease: V1Lease | undefined = loadAllYaml(printed(["rbac", ...words]))[0];
    assert.deepEqual(role?.rules?.[0]?.resourceNames, ["123"]);
    assert.equal(lease?.spec, undefined);
    assert.deepEqual(structuredClone(made.at(-1)?.spec), {
      ...structuredClone(loadYaml<{ readonly spec: object }>(committed("flowschema.yaml")).spec),
      rules: [
        {
          subjects: [{ kind: "User", user: { name: "leasehold" } }],
          resourceRules: [
            {
              apiGroups: ["coordination.k8s.io"],
              resources: ["leases"],
              namespaces: ["null"],
              verbs: ["get", "list", "watch", "create", "update", "patch"],
            },
          ],
        },
      ],
    });
    assert.match(JSON.stringify(made.at(-3)?.spec), /name == '123' .*namespace == 'null'/);
    assert.match(printed(["monitoring", ...words]), /kubectl get lease -n null 123 -o yaml/);
    assert.doesNotMatch(printed(["rbac", ...words]), /kube-system/);
  });

  test("a worker is a worker: role, credentials and rights", () => {
    const standard = {
      "/etc/kubernetes": "Directory ro",
      "/var/lib/kubelet/pki": "Directory ro",
      "/var/lib/leasehold": "DirectoryOrCreate rw",
    };
    assert.deepEqual(mounts(worker(...VIP)), standard);
    assert.deepEqual(environment(worker(...VIP, "--role", "balancer", "--algorithm", "local"), "w1"), {
      LEASEHOLD_VIP: "192.0.2.10",
      LEASEHOLD_NODE_NAME: "w1",
      LEASEHOLD_ROLE: "balancer",
      LEASEHOLD_KUBECONFIG: "/etc/kubernetes/kubelet.conf",
      LEASEHOLD_ALGORITHM: "local",
    });
    const own = worker(...VIP, "--kubeconfig", "/srv/k/config");
    assert.deepEqual(mounts(own), {
      "/srv/k": "DirectoryOrCreate ro",
      "/var/lib/leasehold": "DirectoryOrCreate rw",
    });
    assert.equal(environment(own, "w1")["LEASEHOLD_KUBECONFIG"], "/srv/k/config");
    assert.deepEqual(mounts(worker(...VIP, "--admin-kubeconfig", "/srv/a/config")), {
      "/etc/kubernetes": "Directory ro",
      "/var/lib/kubelet/pki": "Directory ro",
      "/srv/a": "DirectoryOrCreate ro",
      "/var/lib/leasehold": "DirectoryOrCreate rw",
    });
    // Without a VIP there are no rules to write.
    const proxy = worker("--api-servers", "192.0.2.1");
    assert.deepEqual(containerOf(proxy).securityContext?.capabilities?.add, ["NET_RAW"]);
    const parsed = parseConfig(environment(proxy, "w1"), "w1");
    assert.ok(parsed.kind === "ok");
    assert.deepEqual([parsed.config.role, parsed.config.vips], ["balancer", []]);
    assert.match(
      warned(["worker", ...VIP, "--priority", "150"]),
      /--priority has no effect with --role=balancer/,
    );
  });
});

describe("wrong input", () => {
  for (const [words, pattern] of [
    [
      [],
      /^which manifest\? use one of pod, rbac, worker, worker-rbac, monitoring, dashboard, cli, kubectl-plugin, systemd$/,
    ],
    [VIP, /^which manifest\?/],
    [["pods", ...VIP], /^"pods" is not a manifest; did you mean pod\?$/],
    [["everything", ...VIP], /^"everything" is not a manifest; use one of pod, rbac/],
    [["pod", "rbac", ...VIP], /^"rbac" is one word too many/],
    [["pod", "192.0.2.10", ...VIP], /^"192\.0\.2\.10" is one word too many/],
    [["pod"], /^--vip is not set; use a numeric IPv4 or IPv6 address/],
    [["pod", "--vip"], /^--vip has no value; use a numeric IPv4/],
    [["pod", "--vip", "--priority", "7"], /^--vip has no value/],
    [["worker"], /^--vip is not set; .*set --api-servers$/],
    [["systemd"], /^--vip is not set; use a numeric IPv4/],
    [["systemd", "--role", "balancer"], /^--vip is not set; .*set --api-servers$/],
    [["systemd", ...VIP, "--state-dir", "/srv/a b"], /^"\/srv\/a b" cannot be mounted by ctr/],
    [
      ["pod", ...VIP, "--role", "balancer"],
      /^--role="balancer" is a worker's; use `leasehold manifest worker`$/,
    ],
    [
      ["worker", ...VIP, "--role", "control-plane"],
      /^--role="control-plane" is not a worker's; use `leasehold manifest pod`$/,
    ],
    [["pod", ...VIP, ...VIP], /^--vip is given twice; use it once$/],
    [["pod", ...VIP, "--image"], /^--image has no value; use an image such as/],
    [
      ["pod", ...VIP, "--image", "Leasehold:1"],
      /^--image="Leasehold:1" is not the reference of an image; use an image such as/,
    ],
    [["pod", ...VIP, "--image", "leasehold:1", "--image", "leasehold:2"], /^--image is given twice/],
    [["pod", ...VIP, "--nopreempt", "flase"], /^"flase" is one word too many/],
    [["pod", ...VIP, "--preempt"], /^--preempt is not a flag; use --nopreempt=false$/],
    [["pod", ...VIP, "--preempt=true"], /^--preempt is not a flag; use --nopreempt=false$/],
    [["pod", ...VIP, "--preempt", "false"], /^--preempt is not a flag; use --nopreempt=true$/],
    [["pod", ...VIP, "--preempt", "maybe"], /did you mean --nopreempt, which is its opposite\?$/],
    [["pod", ...VIP, "--prio", "150"], /^--prio is not a flag; did you mean --priority\?$/],
    [["pod", "--vip", '"192.0.2.10"'], /^--vip="\\"192\.0\.2\.10\\"" has quotes, .*; remove the quotes$/],
    [["pod", ...VIP, "--image", "'leasehold:1'"], /^--image="'leasehold:1'" .*remove the quotes/],
    [["pod", ...VIP, "--vi\u200bp=1"], /^--vi\\u200bp is not a flag; did you mean --vip\?$/],
    [["pod\u200b", ...VIP], /^"pod\\u200b" is not a manifest; did you mean pod\?$/],
    [
      ["pod", ...VIP, "--nopreempt=flase"],
      /^--nopreempt="flase" is neither true nor false; use true or false$/,
    ],
    [["pod", ...VIP, "--priorty", "7"], /^--priorty is not a flag; did you mean --priority\?$/],
    [["pod", "--address", "192.0.2.10", ...VIP], /^--address is not a flag; did you mean --vip\?$/],
    [["pod", "--adress=192.0.2.10", ...VIP], /^--adress is not a flag; did you mean --vip\?$/],
    [["pod", ...VIP, "--leaseName", "x"], /^--leaseName is not a flag; did you mean --lease-name\?$/],
    [
      ["pod", ...VIP, "--leaseRenewDuration", "5"],
      /^--leaseRenewDuration is not a flag; did you mean --renew-deadline\?$/,
    ],
    [["pod", ...VIP, "--LEASEHOLD_PRIORITY", "7"], /^--LEASEHOLD_PRIORITY is not a flag/],
    [["pod", ...VIP, "-priority", "7"], /^-priority is not a flag; did you mean --priority\?$/],
    [["pod", ...VIP, "--imag", "x"], /did you mean --image\?$/],
    [
      ["pod", ...VIP, "--constructor", "x"],
      /^--constructor is not a flag; `leasehold --help` lists the settings$/,
    ],
    [
      ["pod", ...VIP, "--node-ip", "192.0.2.10"],
      /^--vip="192\.0\.2\.10" is this node's own address \(--node-ip\)/,
    ],
    [
      ["pod", ...VIP, "--renew-deadline", "9s"],
      /^--renew-deadline=9s is too long for --lease-duration=10s: .*--lease-duration of at least 14s$/,
    ],
    [
      ["pod", ...VIP, "--health-port", "10081"],
      /^--health-port="10081" has the port of --ops-address="127\.0\.0\.1:10081"; use another such as 10084$/,
    ],
    [["rbac", "--lease-name", "A_b"], /^--lease-name="A_b" is not a Kubernetes name; use lower-case letters/],
    [["monitoring", "--priority", "300"], /^--priority="300" is out of range/],
  ] as const)
    test(`${JSON.stringify(words)} is refused with advice`, () => assert.match(refused(words), pattern));

  test("is reported all at once, each under the name by which it was given", () => {
    const env = { LEASEHOLD_PRIORITY: "300", LEASEHOLD_VPI: "1", LEASEHOLD_HEALTH_PORT: "x" };
    assert.deepEqual(
      refused(["wroker", "--vip", "nope", "--intreface", "eth0", "--image", "A", "--health-port", "0"], env)
        .split("\n")
        .map((line) => line.replace(/;.*/, "")),
      [
        '"wroker" is not a manifest',
        "--intreface is not a flag",
        'LEASEHOLD_VPI="1" is not a setting',
        '--image="A" is not the reference of an image',
        '--vip="nope" has "nope", which is not a numeric address',
        'LEASEHOLD_PRIORITY="300" is out of range',
        '--health-port="0" is out of range',
      ],
    );
  });

  test("of any kind is an answer, never an exception, and what is printed is one pod that the agent accepts", () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom(
        "pod",
        "worker",
        "--vip",
        "192.0.2.10",
        "--image",
        "=",
        "--",
        "-",
        "--vip=",
        "__proto__",
        "--nopreempt",
        ...SETTING_NAMES.map(flag),
      ),
    );
    fc.assert(
      fc.property(fc.array(word), (words) => {
        const answer = manifest(["pod", "--vip", "192.0.2.10", ...words], {});
        if (answer.kind === "error") return;
        const [made, ...more]: readonly V1Pod[] = loadAllYaml(answer.text);
        assert.ok(made !== undefined && more.length === 0);
        const parsed = parseConfig(environment(made, "n1"), "n1");
        assert.deepEqual(parsed.kind === "error" ? parsed.problems : [], []);
      }),
    );
  });
});
