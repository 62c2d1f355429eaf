import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseConfig } from "../../../src/config/config.ts";
import type { Config } from "../../../src/config/config.ts";
import { SETTING_NAMES } from "../../../src/config/settings.ts";

const VIP = { LEASEHOLD_VIP: "192.0.2.10" };

function accepted(env: Record<string, string>): { config: Config; warnings: readonly string[] } {
  const result = parseConfig({ ...VIP, ...env }, "N1");
  if (result.kind === "error") assert.fail(result.problems.join("\n"));
  return result;
}

function refused(env: Record<string, string>): readonly string[] {
  const result = parseConfig({ ...VIP, ...env }, "n1");
  if (result.kind === "ok") assert.fail("was accepted");
  return result.problems;
}

function refusedOnce(env: Record<string, string>, ...patterns: readonly RegExp[]): void {
  const problems = refused(env);
  assert.equal(problems.length, 1, problems.join("\n"));
  for (const pattern of patterns) assert.match(problems[0] ?? "", pattern);
}

describe("a configuration", () => {
  test("needs the VIP and nothing else", () => {
    const { config, warnings } = accepted({});
    assert.deepEqual(warnings, []);
    assert.deepEqual(
      config.vips.map(({ text }) => text),
      ["192.0.2.10"],
    );
    assert.equal(config.nodeName, "n1");
    assert.equal(config.leaseDurationMs, 10_000);
    assert.equal(config.renewDeadlineMs, 4_000);
    assert.equal(config.renewIntervalMs, 1_000);
    assert.equal(config.addressLifetimeSeconds, 3);
    assert.equal(config.priority, 100);
    assert.equal(config.nopreempt, true);
    assert.equal(config.balancerPort, 8443);
    assert.equal(config.backendPort, 6443);
    assert.deepEqual([config.onApiLoss, config.probeIntervalMs, config.probeMisses], ["auto", 50, 3]);
    assert.deepEqual([config.opsHost, config.opsPort, config.healthPort], ["127.0.0.1", 10081, 10084]);
    assert.ok(Object.isFrozen(config));
    refusedOnceWithoutVip();
  });

  function refusedOnceWithoutVip(): void {
    const result = parseConfig({}, "n1");
    assert.equal(result.kind, "error");
    assert.ok(result.kind === "error" && result.problems.length === 1);
    assert.match(result.problems[0] ?? "", /^LEASEHOLD_VIP is not set; use a numeric IPv4/);
  }

  test("of a worker needs not even that, and says which settings mean nothing there", () => {
    const result = parseConfig(
      { LEASEHOLD_ROLE: "balancer", LEASEHOLD_PRIORITY: "200", LEASEHOLD_BALANCER_PORT: "6443" },
      "w1",
    );
    assert.ok(result.kind === "ok");
    assert.deepEqual(result.warnings, ["LEASEHOLD_PRIORITY has no effect with LEASEHOLD_ROLE=balancer"]);
  });

  test("reports every problem at once, each with variable, value and what would be right", () => {
    const problems = refused({
      LEASEHOLD_PRIORITY: "abc",
      LEASEHOLD_LEASE_DURATION: "10",
      LEASEHOLD_PRIORTY: "1",
      LEASEHOLD_LOG_LEVEL: "wran",
      LEASEHOLD_NODE_IP: "n1.example",
    });
    assert.deepEqual(problems, [
      'LEASEHOLD_PRIORTY="1" is not a setting; did you mean LEASEHOLD_PRIORITY?',
      'LEASEHOLD_NODE_IP="n1.example" is not a numeric address but a name, and a name server may be down when it is needed; use a numeric IPv4 or IPv6 address such as 192.0.2.11 or 2001:db8::11',
      'LEASEHOLD_LEASE_DURATION="10" has no unit; use a duration such as 250ms, 1s or 1m30s, from 2s to 10m, in whole seconds',
      'LEASEHOLD_PRIORITY="abc" is not a whole number; use a whole number from 1 to 254',
      'LEASEHOLD_LOG_LEVEL="wran" is not known (did you mean warn?); use one of error, warn, info, debug',
    ]);
  });

  test("knows the words of keepalived and client-go", () => {
    refusedOnce({ LEASEHOLD_RETRY_PERIOD: "2s" }, /did you mean LEASEHOLD_RENEW_INTERVAL\?/);
    refusedOnce({ LEASEHOLD_PRIO: "150" }, /did you mean LEASEHOLD_PRIORITY\?/);
    refusedOnce({ LEASEHOLD_INTERF: "eth0" }, /did you mean LEASEHOLD_INTERFACE\?/);
    refusedOnce({ LEASEHOLD_IFACE: "eth0" }, /did you mean LEASEHOLD_INTERFACE\?/);
    refusedOnce({ LEASEHOLD_NAMESPACE: "kube-system" }, /did you mean LEASEHOLD_LEASE_NAMESPACE\?/);
    refusedOnce({ LEASEHOLD_NOPRE: "true" }, /did you mean LEASEHOLD_NOPREEMPT\?/);
    // Several settings begin so.
    refusedOnce({ LEASEHOLD_CHECK: "1" }, /`leasehold --help` lists all of them/);
    refusedOnce({ LEASEHOLD_DOWN_TIMER_ADVERTS: "3" }, /did you mean LEASEHOLD_PROBE_MISSES\?/);
    refusedOnce({ LEASEHOLD_PRESERVE_ON_LEADERSHIP_LOSS: "true" }, /did you mean LEASEHOLD_ON_API_LOSS\?/);
    refusedOnce({ LEASEHOLD_QWERTZUIOP: "1" }, /`leasehold --help` lists all of them/);
    refusedOnce({ LEASEHOLD_constructor: "1" }, /is not a setting/);
    // keepalived's `state` does not mean STATE_DIR.
    refusedOnce({ LEASEHOLD_STATE: "MASTER" }, /did you mean LEASEHOLD_PRIORITY\?/);
    refusedOnce({ LEASEHOLD_API_PORT: "6443" }, /did you mean LEASEHOLD_BACKEND_PORT\?/);
    refusedOnce({ LEASEHOLD_METRICS_PORT: "10081" }, /did you mean LEASEHOLD_OPS_ADDRESS\?/);
    refusedOnce({ LEASEHOLD_HOSTNAME: "n1" }, /did you mean LEASEHOLD_NODE_NAME\?/);
    refusedOnce({ LEASEHOLD_DEBUG: "true" }, /use LEASEHOLD_LOG_LEVEL=debug$/);
  });

  test("knows its prefix where it is written otherwise, and no other program's variable", () => {
    for (const name of [
      "leasehold_priority",
      "Leasehold_PRIORITY",
      "LEASEHOLD-PRIORITY",
      "LEASEHOLDPRIORITY",
    ])
      refusedOnce(
        { [name]: "150" },
        new RegExp(`^${name}="150" is not a setting; did you mean LEASEHOLD_PRIORITY\\?$`),
      );
    accepted({
      LEASEHOLDER: "Doe",
      LEASEHOLDERS_VIP: "Doe",
      VIP: "192.0.2.1",
      MY_LEASEHOLD_VIP: "192.0.2.1",
    });
  });

  test("turns a setting that says the opposite round", () => {
    refusedOnce({ LEASEHOLD_PREEMPT: "true" }, /"true" is not a setting; use LEASEHOLD_NOPREEMPT=false$/);
    refusedOnce({ LEASEHOLD_PREEMPT: "Yes" }, /use LEASEHOLD_NOPREEMPT=false$/);
    refusedOnce({ LEASEHOLD_PREEMPT: "false" }, /use LEASEHOLD_NOPREEMPT=true$/);
    refusedOnce({ LEASEHOLD_PREEMTP: "1" }, /use LEASEHOLD_NOPREEMPT=false$/);
    refusedOnce({ LEASEHOLD_PREEMPTION: "true" }, /use LEASEHOLD_NOPREEMPT=false$/);
    refusedOnce({ LEASEHOLD_PREEMPT: "maybe" }, /did you mean LEASEHOLD_NOPREEMPT, which is its opposite\?$/);
    refusedOnce({ LEASEHOLD_NO_PREEMPT: "true" }, /did you mean LEASEHOLD_NOPREEMPT\?$/);
    refusedOnce({ LEASEHOLD_DISABLE_FASTPATH: "true" }, /use LEASEHOLD_FASTPATH=off$/);
  });

  test("suggests the word that means what another program's word means", () => {
    for (const [name, text, word] of [
      ["LOG_LEVEL", "warning", "warn"],
      ["LOG_LEVEL", "WARNING", "warn"],
      ["LOG_LEVEL", "err", "error"],
      ["LOG_LEVEL", "trace", "debug"],
      ["ROLE", "worker", "balancer"],
      ["ROLE", "controlplane", "control-plane"],
      ["ROLE", "control", "control-plane"],
      ["ROLE", "master", "control-plane"],
      ["FASTPATH", "true", "on"],
      ["FASTPATH", "false", "off"],
      ["LOG_FORMAT", "plain", "text"],
      ["ON_API_LOSS", "keep", "hold"],
      ["ALGORITHM", "rr", "roundrobin"],
      ["ALGORITHM", "least_conn", "leastconn"],
    ] as const)
      refusedOnce({ [`LEASEHOLD_${name}`]: text }, new RegExp(`did you mean ${word}\\?`));
    refusedOnce({ LEASEHOLD_ROLE: "constructor" }, /is not known; use one of/);
  });

  test("reads yes, on and 1 as true, as the documentation says", () => {
    const page = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
    assert.match(page, /`yes`, `on` and `1` mean `true`, and `no`, `off` and `0` mean `false`/);
    for (const text of ["true", "yes", "on", "1", "YES"])
      assert.equal(accepted({ LEASEHOLD_NOPREEMPT_STRICT: text }).config.nopreemptStrict, true);
    for (const text of ["false", "no", "off", "0", "No"])
      assert.equal(accepted({ LEASEHOLD_NOPREEMPT: text }).config.nopreempt, false);
    for (const text of ["y", "t", "enabled", "2"])
      refusedOnce({ LEASEHOLD_NOPREEMPT: text }, /true or false$/);
  });

  test("ignores other variables, and takes an empty one as not set", () => {
    assert.equal(accepted({ PATH: "/bin", LEASEHOLD_PRIORITY: " " }).config.priority, 100);
  });

  test("refuses VRRP's reserved priorities with VRRP's reasons", () => {
    refusedOnce({ LEASEHOLD_PRIORITY: "0" }, /give up the address/);
    refusedOnce({ LEASEHOLD_PRIORITY: "255" }, /address owner.*1 to 254/);
    refusedOnce({ LEASEHOLD_PRIORITY: "256" }, /out of range/);
    assert.equal(accepted({ LEASEHOLD_PRIORITY: "254" }).config.priority, 254);
  });

  test("takes weights from -253 to 253", () => {
    assert.equal(
      accepted({ LEASEHOLD_TRACK_APISERVER_WEIGHT: "-253", LEASEHOLD_NOPREEMPT: "false" }).config
        .trackApiserverWeight,
      -253,
    );
    refusedOnce({ LEASEHOLD_TRACK_APISERVER_WEIGHT: "-254" }, /from -253 to 253/);
  });

  test("takes what a holder does without an API server as one of three words", () => {
    for (const word of ["auto", "hold", "release"])
      assert.equal(accepted({ LEASEHOLD_ON_API_LOSS: word }).config.onApiLoss, word);
    refusedOnce({ LEASEHOLD_ON_API_LOSS: "relase" }, /did you mean release\?.*one of auto, hold, release/);
  });

  test("takes 0 for no proof of death, and otherwise a pace between 20 ms and 1 s", () => {
    for (const [text, ms] of [
      ["0", 0],
      ["0s", 0],
      ["20ms", 20],
      ["1s", 1_000],
    ] as const) {
      assert.equal(
        accepted({ LEASEHOLD_PROBE_INTERVAL: text, LEASEHOLD_PROBE_MISSES: "5" }).config.probeIntervalMs,
        ms,
      );
    }
    for (const text of ["19ms", "1001ms", "50", "off"])
      refusedOnce({ LEASEHOLD_PROBE_INTERVAL: text }, /from 20ms to 1s, or 0s/);
    assert.equal(accepted({ LEASEHOLD_PROBE_MISSES: "20" }).config.probeMisses, 20);
    for (const text of ["1", "21", "2.5"]) refusedOnce({ LEASEHOLD_PROBE_MISSES: text }, /from 2 to 20/);
  });

  test("takes several VIPs of both families, with a whole prefix at most, none of them twice", () => {
    const { config } = accepted({ LEASEHOLD_VIP: "192.0.2.10/32, 2001:DB8::0010/128,192.0.2.12" });
    assert.deepEqual(
      config.vips.map(({ text }) => text),
      ["192.0.2.10", "2001:db8::10", "192.0.2.12"],
    );
    refusedOnce({ LEASEHOLD_VIP: "192.0.2.10/24" }, /always bound as \/32/);
    refusedOnce({ LEASEHOLD_VIP: "2001:db8::1/32" }, /always bound as \/128/);
    refusedOnce({ LEASEHOLD_VIP: "192.0.2.10/32/32" }, /always bound/);
    refusedOnce({ LEASEHOLD_VIP: "2001:db8::1,2001:db8:0::1" }, /names 2001:db8::1 twice/);
    refusedOnce({ LEASEHOLD_VIP: "192.0.2.10,," }, /empty address/);
  });

  for (const [vip, reason] of [
    ["127.0.0.1", /loopback/],
    ["::1", /loopback/],
    ["0.0.0.0", /unspecified/],
    ["::", /unspecified/],
    ["224.0.0.18", /multicast/],
    ["ff02::12", /multicast/],
    ["255.255.255.255", /broadcast/],
    ["fe80::1", /link-local/],
    ["::ffff:192.0.2.1", /IPv4 address in IPv6 form/],
    ["::192.0.2.1", /IPv4 address in IPv6 form/],
    ["64:ff9b::192.0.2.1", /IPv4 address in IPv6 form/],
    ["fe80::1%eth0", /not a numeric address alone: it has a zone/],
    ["api.example.com", /not a numeric address but a name/],
    ["localhost", /not a numeric address but a name/],
    ["https://192.0.2.10", /is a URL; use the address alone/],
    ["192.0.2.010", /begins with 0/],
    ["192.0.2.10 192.0.2.20", /is several addresses; separate them by commas/],
    ["192.0.2.10;192.0.2.20", /is several addresses; separate them by commas/],
    ["192.0.2", /not a numeric address/],
  ] as const) {
    test(`refuses ${vip} as the VIP`, () => refusedOnce({ LEASEHOLD_VIP: vip }, reason, /LEASEHOLD_VIP="/));
  }

  test("refuses a VIP that is the node's own address, however it is written", () => {
    refusedOnce({ LEASEHOLD_NODE_IP: "192.0.2.10" }, /own address/);
    refusedOnce({ LEASEHOLD_VIP: "2001:db8::1", LEASEHOLD_NODE_IP: "2001:0db8::0001" }, /own address/);
  });

  test("keeps the VIP out of the backends and the API servers", () => {
    refusedOnce({ LEASEHOLD_BACKENDS: "192.0.2.11,192.0.2.10" }, /LEASEHOLD_BACKENDS has the VIP/);
    refusedOnce({ LEASEHOLD_API_SERVERS: "192.0.2.10:6443" }, /LEASEHOLD_API_SERVERS has the VIP/);
  });

  test("says what is wrong with an address that is nearly one", () => {
    refusedOnce({ LEASEHOLD_NODE_IP: "192.0.2.11/24" }, /has a prefix, .* leave the prefix out/);
    refusedOnce({ LEASEHOLD_NODE_IP: "192.0.2.11,192.0.2.12" }, /is a list, and this is one address/);
    refusedOnce({ LEASEHOLD_BACKENDS: "192.0.2.11/24" }, /has a prefix/);
    for (const [value, why] of [
      ["192.0.2.0/33", /has a prefix length that is no number from 0 to 32/],
      ["2001:db8::/129", /has a prefix length that is no number from 0 to 128/],
      ["192.0.2.0/24/24", /has a prefix length/],
      ["192.0.2.0/-1", /has a prefix length/],
      ["192.0.2.0/", /has a prefix length/],
      ["n2", /LEASEHOLD_BALANCER_ADDRESSES="n2"/],
      ["192.0.2.1:8443", /has a port/],
      ["0.0.0.0", /unspecified/],
      ["192.0.2.0/24,192.0.2.0/24", /twice/],
    ] as const)
      refusedOnce({ LEASEHOLD_BALANCER_ADDRESSES: value }, why);
    assert.equal(accepted({}).config.balancerAddresses, undefined);
    assert.deepEqual(
      accepted({ LEASEHOLD_BALANCER_ADDRESSES: "192.0.2.0/24, 2001:db8::5" }).config.balancerAddresses?.map(
        ({ address, prefixLength }) => [address.text, prefixLength],
      ),
      [
        ["192.0.2.0", 24],
        ["2001:db8::5", 128],
      ],
    );
    refusedOnce({ LEASEHOLD_BACKENDS: "192.0.2.11 192.0.2.12" }, /separate them by commas/);
    refusedOnce({ LEASEHOLD_API_SERVERS: "https://192.0.2.11:6443" }, /is a URL/);
    refusedOnce({ LEASEHOLD_API_SERVERS: "api.example.com:6443" }, /but a name/);
  });

  test("refuses an API server that a list names twice, with its port and without", () => {
    for (const name of ["BACKENDS", "API_SERVERS"]) {
      const list = "192.0.2.11,192.0.2.12,192.0.2.11:7443";
      refusedOnce(
        { [`LEASEHOLD_${name}`]: list, LEASEHOLD_BACKEND_PORT: "7443" },
        new RegExp(`^LEASEHOLD_${name} names 192\\.0\\.2\\.11:7443 twice`),
      );
      accepted({ [`LEASEHOLD_${name}`]: list });
    }
  });

  test("refuses what is no interface's name though the kernel would take it", () => {
    refusedOnce({ LEASEHOLD_INTERFACE: "eth0,eth1" }, /is a list/);
    accepted({ LEASEHOLD_INTERFACE: "eth0@if3" });
    refusedOnce({ LEASEHOLD_INTERFACE: "192.0.2.11" }, /is an address, and this is the interface's name/);
  });

  test("refuses a directory where a file is meant, and one directory for two purposes", () => {
    for (const name of ["KUBECONFIG", "ADMIN_KUBECONFIG", "TRACK_FILE", "MACHINE_ID_FILE"])
      refusedOnce({ [`LEASEHOLD_${name}`]: "/etc/kubernetes/" }, /is a directory, and this is a file/);
    refusedOnce({ LEASEHOLD_KUBECONFIG: "none" }, /absolute path/);
    assert.equal(accepted({ LEASEHOLD_ADMIN_KUBECONFIG: "none" }).config.adminKubeconfig, null);
    refusedOnce({ LEASEHOLD_STATE_DIR: "/var/lib/leasehold/" }, /contains LEASEHOLD_DATA_DIR/);
    refusedOnce({ LEASEHOLD_DATA_DIR: "/run/leasehold/data" }, /contains LEASEHOLD_DATA_DIR/);
    accepted({ LEASEHOLD_DATA_DIR: "/run/leasehold-data" });
  });

  test("does not check the VIP, which another node may have", () => {
    refusedOnce({ LEASEHOLD_TRACK_HTTP: "https://192.0.2.10:6443/livez" }, /asks the VIP/);
    refusedOnce(
      { LEASEHOLD_VIP: "2001:db8::10", LEASEHOLD_TRACK_HTTP: "https://[2001:db8:0::10]/" },
      /asks the VIP/,
    );
    accepted({ LEASEHOLD_TRACK_HTTP: "https://127.0.0.1:6443/livez" });
  });

  test("reads backends with and without a port", () => {
    const { config } = accepted({
      LEASEHOLD_NODE_IP: "192.0.2.11",
      LEASEHOLD_BACKEND_PORT: "7443",
      LEASEHOLD_BACKENDS: "192.0.2.11, 192.0.2.12:6443, [2001:db8::3]:6443, 2001:db8::4",
    });
    assert.deepEqual(config.backends, [
      { host: "192.0.2.11", port: 7443 },
      { host: "192.0.2.12", port: 6443 },
      { host: "2001:db8::3", port: 6443 },
      { host: "2001:db8::4", port: 7443 },
    ]);
    refusedOnce({ LEASEHOLD_BACKENDS: "n2:6443" }, /not a numeric address/);
    refusedOnce({ LEASEHOLD_BACKENDS: "192.0.2.12:0" }, /port that is out of range/);
    refusedOnce({ LEASEHOLD_BACKENDS: "127.0.0.1:8443" }, /own balancer/);
    refusedOnce({ LEASEHOLD_BACKENDS: "[::1]:10084" }, /own agent: the probes' port/);
    refusedOnce({ LEASEHOLD_BACKENDS: "127.0.0.1:10081" }, /own agent: the port of LEASEHOLD_OPS_ADDRESS/);
    refusedOnce(
      { LEASEHOLD_API_SERVERS: "192.0.2.11:8443", LEASEHOLD_NODE_IP: "192.0.2.11" },
      /LEASEHOLD_API_SERVERS has 192\.0\.2\.11:8443, .*own balancer/,
    );
    accepted({ LEASEHOLD_BACKENDS: "192.0.2.11:8443" });
  });

  for (const name of ["LEASEHOLD_BACKENDS", "LEASEHOLD_API_SERVERS"]) {
    test(`${name} with a port after an IPv6 address needs brackets`, () => {
      refusedOnce(
        { [name]: "2001:db8::11:6443" },
        new RegExp(
          `${name} has 2001:db8::11:6443, .*use \\[2001:db8::11\\]:6443, or \\[2001:db8::11:6443\\]`,
        ),
      );
      refusedOnce({ [name]: "2001:db8::12,2001:db8::11:443" }, /use \[2001:db8::11\]:443/);
      // Any port that a setting has is one, too.
      refusedOnce(
        { [name]: "2001:db8::11:7000", LEASEHOLD_BACKEND_PORT: "7000" },
        /use \[2001:db8::11\]:7000/,
      );
      // These are no addresses at all: a group of five digits, nine groups.
      for (const text of ["2001:db8::11:16443", "2001:db8:0:0:0:0:0:11:6443"])
        refusedOnce({ [name]: text }, /without brackets, as in \[2001:db8::11\]:1?6443/);
      accepted({ [name]: "[2001:db8::11:6443]" });
      accepted({ [name]: "2001:db8::6443,2001:db8::11:7000,2001:db8:0:0:0:0:11:6443" });
    });
  }

  test("says where a port does not belong, and where brackets are missing", () => {
    refusedOnce({ LEASEHOLD_VIP: "192.0.2.10:6443" }, /has a port, .*leave the port out/);
    refusedOnce({ LEASEHOLD_VIP: "[2001:db8::10]:6443" }, /has a port, .*leave the port out/);
    refusedOnce({ LEASEHOLD_VIP: "[2001:db8::10]" }, /has brackets/);
    refusedOnce({ LEASEHOLD_VIP: "2001:db8::10:6443" }, /looks like port 6443; .*all eight groups/);
    refusedOnce({ LEASEHOLD_NODE_IP: "192.0.2.11:6443" }, /has a port/);
    refusedOnce({ LEASEHOLD_OPS_ADDRESS: "::1:10081" }, /without brackets, as in \[::1\]:10081/);
    accepted({ LEASEHOLD_VIP: "2001:db8:0:0:0:0:10:6443" });
    accepted({ LEASEHOLD_VIP: "2001:db8::6443" });
  });

  test("refuses a command with a quote that is not closed, or a command that is one quoted word", () => {
    for (const text of [`check 'x`, `check "x`, `"check`, String.raw`check \ `.trim(), `check it's`])
      refusedOnce({ LEASEHOLD_TRACK_EXEC: text }, /LEASEHOLD_TRACK_EXEC=".*a quote is not closed, or/);
    refusedOnce({ LEASEHOLD_TRACK_EXEC: `"/etc/leasehold/check 6443"` }, /remove the quotes/);
    refusedOnce({ LEASEHOLD_TRACK_EXEC: `'/etc/leasehold/check 6443'` }, /remove the quotes/);
    refusedOnce({ LEASEHOLD_TRACK_EXEC: `"" x` }, /names no program/);
    for (const text of [
      `check "a b" 'c'`,
      `"/etc/my check" "a b"`,
      String.raw`/etc/my\ check`,
      `"/etc/check"`,
    ])
      assert.equal(accepted({ LEASEHOLD_TRACK_EXEC: text }).config.trackExec, text);
  });

  test("says that quotes are to be removed, in every setting but the command line", () => {
    for (const [name, text] of [
      ["VIP", `"192.0.2.10"`],
      ["VIP", `"192.0.2.10","192.0.2.12"`],
      ["VIP", `192.0.2.10,'192.0.2.12'`],
      ["VIP", `\u201c192.0.2.10\u201d`],
      ["VIP", `192.0.2.10"`],
      ["PRIORITY", `"150"`],
      ["NOPREEMPT", `'false'`],
      ["INTERFACE", `"eth0"`],
      ["INTERFACE", `eth0'`],
      ["KUBECONFIG", `"/etc/kubernetes/admin.conf"`],
      ["KUBECONFIG", `/etc/kubernetes/admin.conf"`],
      ["CHECK_PATH", `/readyz"`],
      ["LOG_LEVEL", `"debug"`],
      ["TRACK_HTTP", `"http://127.0.0.1/"`],
      ["TRACK_HTTP", `http://127.0.0.1/"`],
      ["LEASE_DURATION", `"10s"`],
    ] as const)
      refusedOnce({ [`LEASEHOLD_${name}`]: text }, new RegExp(`^LEASEHOLD_${name}=".*remove the quotes$`));
    refusedOnce({ LEASEHOLD_PRIORITY: `"300"` }, /remove the quotes, and use a whole number from 1 to 254$/);
    refusedOnce({ LEASEHOLD_VIP: `""` }, /remove the quotes$/);
  });

  test("prints what cannot be seen as an escape, and says that it is there", () => {
    for (const [char, escape] of [
      ["\u200b", "\\u200b"],
      ["\u2060", "\\u2060"],
      ["\u00ad", "\\u00ad"],
      ["\u202e", "\\u202e"],
      ["\ufe0f", "\\ufe0f"],
      ["\u3164", "\\u3164"],
      ["\u{e0020}", "\\u{e0020}"],
      ["\u007f", "\\u007f"],
      ["\u0007", "\\u0007"],
    ] as const) {
      for (const [name, text] of [
        ["VIP", "192.0.2.10"],
        ["INTERFACE", "eth0"],
        ["KUBECONFIG", "/etc/leasehold/kubeconfig"],
        ["LOG_LEVEL", "info"],
        ["TRACK_HTTP", "http://127.0.0.1/"],
      ] as const) {
        const [problem = "", ...more] = refused({ [`LEASEHOLD_${name}`]: `${text}${char}` });
        assert.deepEqual(more, []);
        assert.ok(problem.includes(`="${text}${escape}"`), problem);
        assert.match(problem, /cannot be seen, U\+[0-9A-F]{4,5}; remove it/);
        assert.ok(!problem.includes(char), problem);
      }
      const [unknown = ""] = refused({ [`LEASEHOLD_VIP${char}`]: "192.0.2.10" });
      assert.ok(unknown.startsWith(`LEASEHOLD_VIP${escape}="`), unknown);
      assert.match(unknown, /did you mean LEASEHOLD_VIP\?$/);
    }
    // White space inside a value is shown as well: no-break space, ideographic space.
    for (const char of ["\u00a0", "\u3000", "\u2003"])
      refusedOnce({ LEASEHOLD_PRIORITY: `1${char}0` }, /"1\\u[0-9a-f]{4}0" is not a whole number/);
    refusedOnce({ LEASEHOLD_VIP: "192.0.2.10,192.0.2\u00a0.11" }, /has "192\.0\.2\\u00a0\.11", which/);
  });

  test("keeps its ports apart", () => {
    refusedOnce(
      { LEASEHOLD_BALANCER_PORT: "6443" },
      /LEASEHOLD_BALANCER_PORT="6443" has .*own API server \(LEASEHOLD_BACKEND_PORT="6443"\); use another such as 8443$/,
    );
    refusedOnce({ LEASEHOLD_OPS_ADDRESS: "127.0.0.1:8443" }, /balancer's port/);
    refusedOnce({ LEASEHOLD_OPS_ADDRESS: "127.0.0.1:6443" }, /own API server/);
    refusedOnce({ LEASEHOLD_OPS_ADDRESS: "10081" }, /127\.0\.0\.1:10081/);
    refusedOnce(
      { LEASEHOLD_HEALTH_PORT: "8443" },
      /LEASEHOLD_HEALTH_PORT="8443" has the balancer's port .*such as 10084/,
    );
    refusedOnce(
      { LEASEHOLD_HEALTH_PORT: "6443" },
      /LEASEHOLD_HEALTH_PORT="6443" has the port of this node's own API server/,
    );
    refusedOnce(
      { LEASEHOLD_HEALTH_PORT: "10081" },
      /has the port of LEASEHOLD_OPS_ADDRESS="127\.0\.0\.1:10081"; use another such as 10084/,
    );
    refusedOnce(
      { LEASEHOLD_OPS_ADDRESS: "[2001:db8::11]:10084" },
      /LEASEHOLD_OPS_ADDRESS="\[2001:db8::11\]:10084" has the probes' port \(LEASEHOLD_HEALTH_PORT="10084"\); use another such as \[2001:db8::11\]:10081$/,
    );
    refusedOnce(
      { LEASEHOLD_OPS_ADDRESS: "127.0.0.1:10084", LEASEHOLD_HEALTH_PORT: "10084" },
      /LEASEHOLD_HEALTH_PORT="10084" has the port of LEASEHOLD_OPS_ADDRESS="127\.0\.0\.1:10084"; use another such as 10086$/,
    );
    refusedOnce({ LEASEHOLD_HEALTH_PORT: "127.0.0.1:10084" }, /a port from 1 to 65535/);
    for (const [port, words] of [
      ["6443", /port of this node's own API server/],
      ["8443", /the balancer's port/],
      ["10081", /the port of LEASEHOLD_OPS_ADDRESS=/],
      ["10084", /the probes' port/],
    ] as const)
      refusedOnce(
        { LEASEHOLD_PEER_PORT: port },
        new RegExp(`LEASEHOLD_PEER_PORT="${port}" has .*${words.source}.*; use another such as 10085$`),
      );
    refusedOnce(
      { LEASEHOLD_HEALTH_PORT: "10085" },
      /LEASEHOLD_HEALTH_PORT="10085" has the port for the other nodes' agents .*; use another such as 10084$/,
    );
    refusedOnce({ LEASEHOLD_PEER_PORT: "0" }, /a port from 1 to 65535, or off/);
    assert.equal(accepted({ LEASEHOLD_PEER_PORT: "off" }).config.peerPort, undefined);
    // A worker has no peers, so it opens no such port, makes no key for it, and nothing is taken from it.
    for (const peerPort of [{}, { LEASEHOLD_PEER_PORT: "10086" }])
      assert.equal(accepted({ LEASEHOLD_ROLE: "balancer", ...peerPort }).config.peerPort, undefined);
    accepted({ LEASEHOLD_ROLE: "balancer", LEASEHOLD_HEALTH_PORT: "10085" });
    assert.equal(
      accepted({ LEASEHOLD_ROLE: "balancer", LEASEHOLD_HEALTH_PORT: "6443" }).config.healthPort,
      6443,
    );
  });

  test("names a BACKEND_PORT that is a port of the agent's own, and what would be right", () => {
    for (const [port, words, advice] of [
      ["8443", /the balancer's port \(LEASEHOLD_BALANCER_PORT="8443"\)/, ["LEASEHOLD_BALANCER_PORT", "8444"]],
      ["10081", /the port of LEASEHOLD_OPS_ADDRESS=/, ["LEASEHOLD_OPS_ADDRESS", "127.0.0.1:10082"]],
      ["10084", /the probes' port/, ["LEASEHOLD_HEALTH_PORT", "10086"]],
      ["10085", /the port for the other nodes' agents/, ["LEASEHOLD_PEER_PORT", "10086"]],
    ] as const) {
      const [problem = "", ...more] = refused({ LEASEHOLD_BACKEND_PORT: port });
      assert.deepEqual(more, []);
      assert.ok(problem.startsWith(`LEASEHOLD_BACKEND_PORT="${port}" has `), problem);
      assert.match(problem, words);
      assert.match(problem, /such as 6443\./);
      assert.ok(
        problem.endsWith(`If it really is ${port}, set ${advice[0]} to another such as ${advice[1]}`),
        problem,
      );
      accepted({ LEASEHOLD_BACKEND_PORT: port, [advice[0]]: advice[1] });
    }
    // A worker has no API server of its own.
    accepted({ LEASEHOLD_ROLE: "balancer", LEASEHOLD_BACKEND_PORT: "8443" });
  });

  test("never advises a port that another setting has", () => {
    for (const env of [
      { LEASEHOLD_BALANCER_PORT: "10081" },
      { LEASEHOLD_BALANCER_PORT: "10084" },
      { LEASEHOLD_BACKEND_PORT: "10081" },
      { LEASEHOLD_BACKEND_PORT: "10084" },
      { LEASEHOLD_BACKEND_PORT: "8443" },
      { LEASEHOLD_BALANCER_PORT: "10085" },
      { LEASEHOLD_BACKEND_PORT: "10085" },
      { LEASEHOLD_OPS_ADDRESS: "127.0.0.1:10084" },
    ]) {
      const [problem = "", ...more] = refused(env);
      const [, first = "", advice = ""] = /^(LEASEHOLD_\w+)=.* another such as (\S+)$/.exec(problem) ?? [];
      const name = /set (LEASEHOLD_\w+) to another such as/.exec(problem)?.[1] ?? first;
      assert.ok(name !== "", problem);
      assert.deepEqual(more, []);
      accepted({ ...env, [name]: advice });
    }
  });

  test("does not serve the operator on the VIP, which changes hands", () => {
    refusedOnce({ LEASEHOLD_OPS_ADDRESS: "192.0.2.10:10081" }, /has the VIP.* 0\.0\.0\.0:10081/);
    refusedOnce(
      { LEASEHOLD_VIP: "2001:db8::10", LEASEHOLD_OPS_ADDRESS: "[2001:db8:0::10]:10081" },
      /has the VIP.* \[::\]:10081/,
    );
  });

  test("refuses a host name that is no node name, and a node name too long for an annotation", () => {
    const result = parseConfig(VIP, "under_score");
    assert.ok(result.kind === "error");
    assert.match(
      result.problems.join("\n"),
      /LEASEHOLD_NODE_NAME is not set and the host name "under_score"/,
    );
    assert.equal(accepted({ LEASEHOLD_NODE_NAME: "a".repeat(53) }).config.nodeName.length, 53);
    refusedOnce({ LEASEHOLD_NODE_NAME: "a".repeat(54) }, /at most 53/);
  });

  test("warns of wishes that will not come true", () => {
    assert.match(
      accepted({
        LEASEHOLD_TRACK_HTTP: "http://127.0.0.1/",
        LEASEHOLD_TRACK_HTTP_WEIGHT: "-20",
      }).warnings.join("\n"),
      /does not take the VIP from it/,
    );
    assert.match(
      accepted({ LEASEHOLD_PREEMPT_DELAY: "60s" }).warnings.join("\n"),
      /PREEMPT_DELAY has no effect/,
    );
    assert.match(
      accepted({ LEASEHOLD_NOPREEMPT: "no", LEASEHOLD_NOPREEMPT_STRICT: "yes" }).warnings.join("\n"),
      /NOPREEMPT_STRICT has no effect/,
    );
    assert.match(
      accepted({ LEASEHOLD_TRACK_EXEC_WEIGHT: "0" }).warnings.join("\n"),
      /no effect without LEASEHOLD_TRACK_EXEC/,
    );
    assert.match(
      accepted({ LEASEHOLD_OPS_ADDRESS: "0.0.0.0:10081" }).warnings.join("\n"),
      /reachable from other machines/,
    );
    assert.match(
      accepted({ LEASEHOLD_ON_API_LOSS: "hold" }).warnings.join("\n"),
      /ON_API_LOSS=hold keeps the VIP on a node that is cut off/,
    );
    assert.match(
      accepted({ LEASEHOLD_PROBE_INTERVAL: "0s", LEASEHOLD_PROBE_MISSES: "3" }).warnings.join("\n"),
      /PROBE_MISSES has no effect/,
    );
    assert.match(
      accepted({ LEASEHOLD_PROBE_INTERVAL: "500ms", LEASEHOLD_PROBE_MISSES: "20" }).warnings.join("\n"),
      /is 10s: the Lease expires before/,
    );
    assert.match(
      accepted({ LEASEHOLD_PROBE_INTERVAL: "33ms" }).warnings.join("\n"),
      /is 99ms: .* at least 100ms/,
    );
    assert.deepEqual(
      accepted({ LEASEHOLD_ON_API_LOSS: "release", LEASEHOLD_PROBE_INTERVAL: "0s" }).warnings,
      [],
    );
    assert.deepEqual(
      accepted({ LEASEHOLD_PROBE_INTERVAL: "50ms", LEASEHOLD_PROBE_MISSES: "2" }).warnings,
      [],
    );
    assert.deepEqual(
      accepted({
        LEASEHOLD_OPS_ADDRESS: "[::1]:10081",
        LEASEHOLD_NOPREEMPT: "false",
        LEASEHOLD_PREEMPT_DELAY: "60s",
      }).warnings,
      [],
    );
  });
});

describe("the timing rules", () => {
  test("shorten the address lifetime where 3 s do not fit", () => {
    assert.equal(
      accepted({ LEASEHOLD_LEASE_DURATION: "7s", LEASEHOLD_RENEW_DEADLINE: "3s" }).config
        .addressLifetimeSeconds,
      2,
    );
  });

  test("refuse a deadline that leaves no room, and name values that would do", () => {
    const [problem = ""] = refused({ LEASEHOLD_RENEW_DEADLINE: "8s" });
    const deadline = /RENEW_DEADLINE of at most (\S+)/.exec(problem)?.[1] ?? "";
    const lease = /LEASE_DURATION of at least (\S+)/.exec(problem)?.[1] ?? "";
    accepted({ LEASEHOLD_RENEW_DEADLINE: deadline });
    accepted({ LEASEHOLD_RENEW_DEADLINE: "8s", LEASEHOLD_LEASE_DURATION: lease });
    refused({
      LEASEHOLD_RENEW_DEADLINE: "8s",
      LEASEHOLD_LEASE_DURATION: `${Number.parseInt(lease, 10) - 1}s`,
    });
  });

  test("leave time for one failed renewal", () => {
    refusedOnce({ LEASEHOLD_RENEW_INTERVAL: "3400ms" }, /at most 3330ms/);
    accepted({ LEASEHOLD_RENEW_INTERVAL: "3330ms" });
  });

  test("always fence before another may claim, whatever is accepted", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 60 }),
        fc.integer({ min: 500, max: 60_000 }),
        (leaseSeconds, deadlineMs) => {
          const result = parseConfig(
            {
              ...VIP,
              LEASEHOLD_LEASE_DURATION: `${leaseSeconds}s`,
              LEASEHOLD_RENEW_DEADLINE: `${deadlineMs}ms`,
              LEASEHOLD_RENEW_INTERVAL: "100ms",
            },
            "n1",
          );
          if (result.kind === "error") {
            assert.ok((deadlineMs + 3_000) * 1.05 >= leaseSeconds * 950);
            return;
          }
          const { renewDeadlineMs, addressLifetimeSeconds, leaseDurationMs } = result.config;
          assert.ok(
            (renewDeadlineMs + addressLifetimeSeconds * 1_000 + 1_000) * 1.05 < leaseDurationMs * 0.95,
          );
        },
      ),
    );
  });
});

test("arbitrary text in any variable is an answer, never an exception", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...SETTING_NAMES),
      fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.webUrl()),
      (name, text) => {
        const result = parseConfig({ ...VIP, [`LEASEHOLD_${name}`]: text }, "n1");
        if (result.kind === "error")
          assert.ok(result.problems.some((problem) => problem.includes(`LEASEHOLD_${name}`)));
      },
    ),
    { numRuns: 500 },
  );
});
