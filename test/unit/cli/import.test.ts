/** What `leasehold import` makes of keepalived's and HAProxy's files, right and wrong ones. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseHaproxy } from "../../../src/cli/haproxy-cfg.ts";
import { importCommand, importFiles, importText } from "../../../src/cli/import.ts";
import type { Imported } from "../../../src/cli/import-draft.ts";
import { parseKeepalived } from "../../../src/cli/keepalived-conf.ts";
import type { Statement } from "../../../src/cli/keepalived-conf.ts";
import { manifest } from "../../../src/cli/manifest.ts";
import { parseConfig } from "../../../src/config/config.ts";

const file = (name: string): string => readFileSync(new URL(`import/${name}`, import.meta.url), "utf8");
const KEEPALIVED = file("kubeadm-keepalived.conf");
const HAPROXY = file("kubeadm-haproxy.cfg");

function imported(...texts: readonly string[]): Imported {
  const answer = importFiles(texts.map((text, at) => ({ name: `file${at + 1}`, text })));
  assert.ok(answer.kind === "ok", JSON.stringify(answer));
  return answer.imported;
}

function settings(...texts: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    imported(...texts).settings.map(({ name, value }) => [name.replace("LEASEHOLD_", ""), value]),
  );
}

/** The reasons by the line that was left out. */
function left(...texts: readonly string[]): readonly string[] {
  return imported(...texts).leftOut.map(({ line, text, reason }) => `${line}: ${text}: ${reason}`);
}

function problems(...texts: readonly string[]): readonly string[] {
  const answer = importFiles(texts.map((text, at) => ({ name: `file${at + 1}`, text })));
  assert.ok(answer.kind === "error", JSON.stringify(answer));
  return answer.problems;
}

const instance = (lines: string, more = ""): string =>
  `${more}\nvrrp_instance VI_1 {\n  interface eth0\n  virtual_ipaddress {\n    192.0.2.10\n  }\n${lines}\n}\n`;

describe("the files of kubeadm's guide", () => {
  test("become these settings", () => {
    assert.deepEqual(settings(KEEPALIVED, HAPROXY), {
      VIP: "192.0.2.10",
      NOPREEMPT: "false",
      INTERFACE: "eth0",
      PRIORITY: "101",
      TRACK_APISERVER_WEIGHT: "-2",
      TRACK_INTERVAL: "3s",
      TRACK_FALL: "10",
      TRACK_RISE: "2",
      CHECK_PATH: "/healthz",
      ALGORITHM: "roundrobin",
      BALANCER_PORT: "8443",
      VIP_PORTS: "6443,8443",
      BACKENDS: "192.0.2.11:6443,192.0.2.12:6443,192.0.2.13:6443",
      CONNECT_TIMEOUT: "5s",
      CHECK_TIMEOUT: "10s",
    });
  });

  test("are accepted by the shell, by the agent and by `leasehold manifest pod`", (t) => {
    const directory = mkdtempSync(join(tmpdir(), "leasehold-import-"));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const answer = importFiles([
      { name: "a", text: KEEPALIVED.replace("check_apiserver.sh", `check.sh 'a b' \\"c\\" $HOME`) },
      { name: "b", text: HAPROXY },
    ]);
    assert.ok(answer.kind === "ok");
    const path = join(directory, "leasehold.env");
    writeFileSync(path, importText(answer.imported, answer.warnings));
    const shell = spawnSync("sh", ["-c", `set -a; . ${path}; env -0`], { encoding: "utf8", env: {} });
    assert.equal(shell.stderr, "");
    const env = Object.fromEntries(
      shell.stdout
        .split("\0")
        .filter((line) => line.startsWith("LEASEHOLD_"))
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
    assert.equal(env["LEASEHOLD_TRACK_EXEC"], `/etc/keepalived/check.sh 'a b' "c" $HOME`);
    assert.deepEqual(
      env,
      Object.fromEntries(answer.imported.settings.map(({ name, value }) => [name, value])),
    );
    assert.equal(parseConfig(env, "n1").kind, "ok");
    assert.equal(manifest(["pod"], env).kind, "ok");
  });

  test("are named line by line: each is a setting's or is left out with a reason", () => {
    const both = imported(KEEPALIVED, HAPROXY);
    const named = new Set([
      ...both.settings.flatMap(({ from }) => from.map((text) => text.split(":").slice(0, 2).join(":"))),
      ...both.leftOut.map(({ file: name, line }) => `${name}:${line}`),
    ]);
    const leaves = (statements: readonly Statement[]): readonly Statement[] =>
      statements.flatMap((one) => (one.block === undefined ? [one] : leaves(one.block)));
    const lines = [
      ...leaves(parseKeepalived("file1", KEEPALIVED)),
      ...parseHaproxy("file2", HAPROXY).flatMap((section) => section.lines),
    ];
    assert.ok(lines.length > 35);
    for (const { file: name, line, words } of lines)
      assert.ok(named.has(`${name}:${line}`), `${name}:${line}: ${words.join(" ")}`);
    for (const { reason } of both.leftOut)
      assert.ok(reason.length > 10 && reason !== "there is no such setting");
  });

  test("keep their secrets", () => {
    const text = importText(imported(KEEPALIVED), []);
    assert.doesNotMatch(text, /s3cret/);
    assert.match(text, /auth_pass \.\.\.: the API authenticates/);
  });
});

describe("keepalived's", () => {
  const CASES: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
    ["nopreempt", instance("state BACKUP\n nopreempt\n preempt_delay 5"), { NOPREEMPT: "true" }],
    ["nopreempt with state MASTER", instance("state MASTER\n nopreempt"), { NOPREEMPT: "false" }],
    ["preempt_delay", instance("preempt_delay 300"), { NOPREEMPT: "false", PREEMPT_DELAY: "300s" }],
    ["advert_int", instance("advert_int 0.5"), { NOPREEMPT: "false", RENEW_INTERVAL: "0.5s" }],
    ["advert_int that is too long for the Lease", instance("advert_int 30"), { NOPREEMPT: "false" }],
    ["priority of the address owner", instance("priority 255"), { NOPREEMPT: "false" }],
    [
      "unicast",
      instance("unicast_src_ip 192.0.2.11\n unicast_peer {\n 192.0.2.12\n 192.0.2.13\n }"),
      { NOPREEMPT: "false", NODE_IP: "192.0.2.11" },
    ],
    [
      "track_interface",
      instance("track_interface {\n eth0 weight -30\n eth1\n }"),
      { NOPREEMPT: "false", TRACK_INTERFACE_WEIGHT: "-30" },
    ],
    [
      "track_script with a weight of its own",
      instance(
        "track_script {\n chk weight -5\n }",
        'vrrp_script chk {\n script "pidof haproxy"\n weight 2\n}',
      ),
      { NOPREEMPT: "false", TRACK_BALANCER_WEIGHT: "-5" },
    ],
    [
      "track_file",
      instance("track_file {\n f weight 2\n }", 'vrrp_track_file f {\n file "/etc/prio"\n}'),
      { NOPREEMPT: "false", TRACK_FILE: "/etc/prio", TRACK_FILE_WEIGHT: "2" },
    ],
    [
      "garp_master_refresh",
      instance("garp_master_refresh 60"),
      { NOPREEMPT: "false", ANNOUNCE_REFRESH: "60s" },
    ],
    [
      "definitions",
      `$IF=eth7\n$VIP=192.0.2.77\n${instance("").replace("eth0", "$IF").replace("192.0.2.10", "${VIP}")}`,
      { NOPREEMPT: "false", INTERFACE: "eth7", VIP: "192.0.2.77" },
    ],
  ];
  for (const [what, text, expected] of CASES)
    test(what, () => {
      assert.deepEqual(settings(text), { VIP: "192.0.2.10", INTERFACE: "eth0", ...expected });
    });

  test("addresses in each of their forms", () => {
    const list = `
      192.0.2.10/24 dev eth0 label eth0:vip brd 192.0.2.255 scope global
      2001:DB8::10/64
      api.example.com
      192.0.2.10`;
    const text = `vrrp_instance V { interface eth1\n virtual_ipaddress {${list}\n }\n virtual_ipaddress_excluded { 192.0.2.20 } }`;
    assert.deepEqual(settings(text), {
      VIP: "192.0.2.10,2001:db8::10,192.0.2.20",
      INTERFACE: "eth0",
      NOPREEMPT: "false",
    });
    const out = left(text);
    for (const expected of [
      /3: \/24: a VIP is always bound/,
      /3: label eth0:vip: /,
      /3: brd 192\.0\.2\.255: /,
      /4: \/64: /,
      /5: api\.example\.com: it is no numeric address/,
      /1: interface eth1: LEASEHOLD_INTERFACE is eth0 already, by file1:3/,
    ])
      assert.ok(
        out.some((line) => expected.test(line)),
        `${expected}\n${out.join("\n")}`,
      );
  });

  test("instances that move together become one list, and others are left out whole", () => {
    const one = (name: string, address: string, priority: number): string =>
      `vrrp_instance ${name} {\n interface eth0\n priority ${priority}\n virtual_ipaddress {\n ${address}\n }\n}\n`;
    const [first, same, other] = [
      one("A", "192.0.2.10", 100),
      one("B", "2001:db8::10", 100),
      one("C", "192.0.2.30", 50),
    ];
    assert.equal(settings(first, same)["VIP"], "192.0.2.10,2001:db8::10");
    assert.equal(settings(first, other)["VIP"], "192.0.2.10");
    assert.ok(
      left(first, other).some((line) => line.startsWith("5: 192.0.2.30: an agent has one list of VIPs")),
    );
    const group = "vrrp_sync_group G {\n group {\n A\n C\n }\n notify /x\n}\n";
    assert.equal(settings(group, first, other)["VIP"], "192.0.2.10,192.0.2.30");
    assert.ok(left(group, first, other).some((line) => /PRIORITY is 100 already/.test(line)));
  });

  test("what depends on something else is said", () => {
    const text = `include /etc/keepalived/conf.d/*.conf\n@high vrrp_script x {\n script /x\n}\n${instance('@low priority 5\n notify_master "/bin/n a"\n track_process {\n haproxy\n }\n frobnicate 7')}`;
    const out = left(text).join("\n");
    for (const expected of [
      /^1: include .*: included files are not read/m,
      /^2: @high vrrp_script x: whether this holds depends/m,
      /@low priority 5: whether/,
      /notify_master .*: the agent runs no such script/,
      /frobnicate 7: there is no such setting/,
    ])
      assert.match(out, expected);
  });

  test("a second program is left out, because there is one LEASEHOLD_TRACK_EXEC", () => {
    const scripts =
      'vrrp_script a {\n script "/bin/a"\n}\nvrrp_script b {\n script "/bin/b"\n}\nvrrp_script c {\n script "/bin/c"\n}';
    const text = instance("track_script {\n a\n b\n d\n }", scripts);
    assert.equal(settings(text)["TRACK_EXEC"], "/bin/a");
    const out = left(text).join("\n");
    assert.match(out, /script \/bin\/b: LEASEHOLD_TRACK_EXEC is \/bin\/a already/);
    assert.match(out, /d: there is no vrrp_script of that name/);
    assert.match(out, /script \/bin\/c: no instance that was taken over tracks it/);
  });
});

describe("HAProxy's", () => {
  const listen = (lines: string): string => `defaults\n timeout connect 3000\nlisten kube-api\n ${lines}\n`;
  const SERVERS = "server a 192.0.2.11:6443 check\n server b 192.0.2.12:6443 check";
  const CASES: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
    [
      "times, which are milliseconds",
      listen(`${SERVERS} inter 1500 rise 3 fall 2 slowstart 60s`),
      {
        CONNECT_TIMEOUT: "3s",
        CHECK_INTERVAL: "1500ms",
        CHECK_RISE: "3",
        CHECK_FALL: "2",
        SLOW_START: "60s",
      },
    ],
    [
      "default-server",
      listen(`default-server inter 2s downinter 5s maxconn 250 weight 100\n ${SERVERS}`),
      { CONNECT_TIMEOUT: "3s", CHECK_INTERVAL: "2s" },
    ],
    [
      "port 6443 of the VIP",
      listen(`bind *:6443\n ${SERVERS}`),
      { CONNECT_TIMEOUT: "3s", VIP_PORTS: "6443,8443" },
    ],
    [
      "port 6443 before API servers on 6444",
      listen(`bind :::6443\n ${SERVERS.replaceAll("6443", "6444")}`),
      {
        CONNECT_TIMEOUT: "3s",
        BACKEND_PORT: "6444",
        BALANCER_PORT: "6443",
        VIP_PORTS: "6443",
        BACKENDS: "192.0.2.11:6444,192.0.2.12:6444",
      },
    ],
    [
      "another port",
      listen(`bind 0.0.0.0:7443\n ${SERVERS}`),
      { CONNECT_TIMEOUT: "3s", BALANCER_PORT: "7443", VIP_PORTS: "6443,7443" },
    ],
    [
      "servers of IPv6, by name, without a port and as a backup",
      listen(
        "server a [2001:db8::11]:6443\n server b api2:6443\n server c 192.0.2.13\n server d 192.0.2.14:6443 backup",
      ),
      { CONNECT_TIMEOUT: "3s", BACKENDS: "[2001:db8::11]:6443,192.0.2.13:6443" },
    ],
    [
      "option httpchk",
      listen(`option httpchk GET /livez\n ${SERVERS}`),
      { CONNECT_TIMEOUT: "3s", CHECK_PATH: "/livez" },
    ],
    [
      "balance",
      listen(`balance static-rr\n maxconn 500\n ${SERVERS}`),
      { CONNECT_TIMEOUT: "3s", ALGORITHM: "roundrobin", MAX_CONNECTIONS: "500" },
    ],
    ["a balance that there is not", listen(`balance uri\n ${SERVERS}`), { CONNECT_TIMEOUT: "3s" }],
    ["a balance that objects have", listen(`balance __proto__\n ${SERVERS}`), { CONNECT_TIMEOUT: "3s" }],
  ];
  for (const [what, text, expected] of CASES)
    test(what, () => {
      assert.deepEqual(settings(text), { BACKENDS: "192.0.2.11:6443,192.0.2.12:6443", ...expected });
    });

  test("other services are left out, and a file without a VIP says what is missing", () => {
    const text = `${listen(SERVERS)}listen stats\n bind *:9000\n stats enable\nfrontend web\n bind *:80\n default_backend site\nbackend site\n server w 192.0.2.50:80\n`;
    const out = left(text).join("\n");
    assert.match(out, /bind \*:9000: it is another service's/);
    assert.match(out, /server w 192\.0\.2\.50:80: it is another service's/);
    assert.deepEqual(imported(text).todo, ["no file names a VIP: add LEASEHOLD_VIP"]);
    const none = imported("frontend web\n bind *:80\nfrontend mail\n bind *:25\n");
    assert.match(none.todo.join(" "), /no frontend or listen of HAProxy leads to API servers/);
  });

  test("quotes, escapes and variables", () => {
    const text = listen(`log "a # b" 'c d' e\\ f # comment\n server a "\${HOST}:6443"`);
    const out = left(text).join("\n");
    assert.match(out, /log a # b c d e f: the agent has its own log/);
    assert.match(out, /server a \$\{HOST\}:6443: the variable in it is not known here/);
  });
});

describe("a wrong file", () => {
  const CASES: readonly (readonly [string, string, RegExp])[] = [
    [
      "a block without its end",
      "vrrp_instance A {\n virtual_ipaddress {\n 192.0.2.1\n }\n",
      /^file1:1: the block that begins here has no }/,
    ],
    ["an end without a block", "global_defs {\n}\n}\n", /^file1:3: a } without a { before it/],
    ["a block without a keyword", "global_defs {\n}\n{\n}\n", /^file1:3: a { without a keyword before it/],
    ["an open quote", 'vrrp_script a {\n script "x\n}\n', /^file1:2: the quote " is not closed/],
    ["a circle of definitions", "$A=x$B\n$B=y$B\nvrrp_instance $B {\n}\n", /^file1:\d: the definitions/],
    ["blocks without end", `vrrp_instance A ${"{\n x ".repeat(30)}`, /too deep/],
    ["a backslash at the end", "vrrp_instance A {\n}\nx \\", /^file1:3: the last line ends in a backslash/],
    ["a line before a section", "mode tcp\nfrontend a\n", /^file1:1: "mode" stands before the first section/],
    ["a section without a name", "defaults\nfrontend\n", /^file1:2: frontend needs a name/],
    ["an open quote of HAProxy", "global\n log 'x\n", /^file1:2: the quote ' is not closed/],
    ["neither of the two", "[Unit]\nDescription=x\n", /^file1: this is neither/],
    ["nothing", "", /^file1: this is neither/],
    ["no text", "global_defs {\n\0\n}\n", /^file1:2: the line has a control character/],
    ["a very long file", `global_defs {\n${"x\n".repeat(600_000)}}`, /longer than/],
    ["a file of many lines", `global_defs {\n${"\n".repeat(60_000)}}`, /too many lines/],
  ];
  for (const [what, text, expected] of CASES)
    test(`with ${what} is refused, with the line`, () => {
      assert.match(problems(text).join("\n"), expected);
    });

  test("does not hide the mistakes of another", () => {
    assert.equal(problems("global_defs {", "frontend\n", KEEPALIVED).length, 2);
  });

  test("of any content ends in an answer, and what comes out is accepted", () => {
    const words = fc.constantFrom(
      "vrrp_instance", "V", "{", "}", "\n", "virtual_ipaddress", "192.0.2.10", "192.0.2.10/24", "dev", "eth0",
      "priority", "300", "-1", "nopreempt", "state", "MASTER", "advert_int", "track_script", "track_interface",
      "weight", '"', "\\", "#", "!", "$A", "$A=b", "include", "@x", "frontend", "listen", "api", "server", "bind",
      "*:6443", ":::8443", "balance", "default-server", "inter", "check", "timeout", "option", "httpchk", "global",
    ); // prettier-ignore
    fc.assert(
      fc.property(fc.array(words, { maxLength: 120 }), (parts) => {
        const answer = importFiles([
          { name: "f", text: `vrrp_instance\n${parts.join(" ")}` },
          { name: "g", text: `global\n${parts.join(" ")}` },
        ]);
        if (answer.kind === "error") return;
        const env = Object.fromEntries(answer.imported.settings.map(({ name, value }) => [name, value]));
        const role = env["LEASEHOLD_VIP"] === undefined ? { LEASEHOLD_ROLE: "balancer" } : {};
        assert.equal(parseConfig({ ...env, ...role }, "n1").kind, "ok");
      }),
      { numRuns: 500 },
    );
  });
});

describe("leasehold import", () => {
  function run(files: readonly string[], output: "text" | "json" | "yaml" = "text") {
    let out = "";
    let errors = "";
    const status = importCommand(
      { kind: "import", files, output },
      { print: (text) => (out += text), printError: (text) => (errors += text) },
    );
    return { status, out, errors };
  }
  const path = (name: string): string => new URL(`import/${name}`, import.meta.url).pathname;

  test("prints text, JSON and YAML, and exits with 0", () => {
    const files = [path("kubeadm-keepalived.conf"), path("kubeadm-haproxy.cfg")];
    const { status, out } = run(files);
    assert.equal(status, 0);
    assert.match(out, /^# kubeadm-keepalived\.conf:\d+: priority 101\nLEASEHOLD_PRIORITY=101$/m);
    assert.match(out, /^# Left out:\n# kubeadm-haproxy\.cfg:6: log /m);
    const { settings: all, leftOut }: Imported = JSON.parse(run(files, "json").out);
    assert.ok(all.length > 10 && leftOut.length > 20);
    assert.match(run(files, "yaml").out, /^settings:\n {2}- name: LEASEHOLD_VIP/);
  });

  test("prints nothing and exits with 2 when a file cannot be read or parsed", () => {
    for (const files of [["/nonexistent"], ["/"], [path("kubeadm-haproxy.cfg"), import.meta.filename]]) {
      const { status, out, errors } = run(files);
      assert.deepEqual([status, out], [2, ""]);
      assert.match(errors, /^leasehold: nothing was imported:\n {2}\S+: /);
    }
  });
});
