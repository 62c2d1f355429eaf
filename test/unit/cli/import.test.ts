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
import { splitCommand } from "../../../src/config/command-line.ts";
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

/** The words of a vrrp_instance, but for those whose block the other tests have. */
const INSTANCE_KEYWORDS =
  "state interface vrf use_vmac use_vmac_addr vmac_xmit_base use_ipvlan native_ipv6 dont_track_primary mcast_src_ip unicast_src_ip mcast_dst_ip track_src_ip version check_unicast_src unicast_fault_no_peer unicast_ttl old_unicast_checksum garp_master_delay garp_master_repeat garp_lower_prio_delay garp_lower_prio_repeat garp_master_refresh garp_master_refresh_repeat garp_extra_if down_timer_adverts lower_prio_no_advert higher_prio_send_advert virtual_router_id priority advert_int promote_secondaries accept no_accept nopreempt preempt_delay strict_mode skip_check_adv_addr debug notify_master notify_backup notify_fault notify_stop notify_deleted notify notify_master_rx_lower_pri notify_priority_changes smtp_alert kernel_rx_buf_size linkbeat_use_polling lvs_sync_daemon_interface".split(
    " ",
  );

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
    ["preempt", instance("preempt"), { NOPREEMPT: "false" }],
    [
      "down_timer_adverts, by the same number of probes",
      instance("down_timer_adverts 5"),
      { NOPREEMPT: "false", PROBE_MISSES: "5" },
    ],
    [
      "BFD, by the probes of the holder",
      instance(
        "track_bfd {\n b\n }",
        "bfd_instance b {\n neighbor_ip 192.0.2.12\n min_rx 100\n multiplier 4\n}",
      ),
      { NOPREEMPT: "false", PROBE_INTERVAL: "100ms", PROBE_MISSES: "4" },
    ],
    [
      "track_process of HAProxy",
      instance(
        "track_process {\n p\n }",
        'vrrp_track_process p {\n process "haproxy"\n quorum 1\n weight -20\n}',
      ),
      { NOPREEMPT: "false", TRACK_BALANCER_WEIGHT: "-20" },
    ],
    [
      "track_script that asks a URL",
      instance(
        "track_script {\n c\n }",
        'vrrp_script c {\n script "/usr/bin/curl -sf --max-time 2 http://127.0.0.1:8080/ok"\n weight -7\n}',
      ),
      { NOPREEMPT: "false", TRACK_HTTP: "http://127.0.0.1:8080/ok", TRACK_HTTP_WEIGHT: "-7" },
    ],
    [
      "track_script of a program that no container can run",
      instance("track_script {\n c\n }", 'vrrp_script c {\n script "killall -0 nginx"\n interval 2\n}'),
      { NOPREEMPT: "false" },
    ],
    [
      "vrrp_sync_group, whose checks are the instance's",
      instance(
        "",
        'vrrp_track_file f {\n file "/etc/k/prio"\n}\nvrrp_sync_group G {\n group {\n VI_1\n }\n track_file {\n f weight 3\n }\n track_interface {\n eth0 weight -4\n }\n}',
      ),
      {
        NOPREEMPT: "false",
        TRACK_FILE: "/etc/k/prio",
        TRACK_FILE_WEIGHT: "3",
        TRACK_INTERFACE_WEIGHT: "-4",
      },
    ],
    [
      "notify",
      instance('notify "/etc/keepalived/notify.sh vip"'),
      { NOPREEMPT: "false", NOTIFY: "/etc/keepalived/notify.sh vip" },
    ],
    [
      "vrrp_notify_fifo",
      `global_defs {\n vrrp_notify_fifo /run/keepalived/fifo\n}\n${instance("")}`,
      { NOPREEMPT: "false", NOTIFY_FIFO: "/run/keepalived/fifo" },
    ],
    [
      "notify_fifo in a directory that the pod cannot mount",
      `global_defs {\n notify_fifo /run/vrrp.fifo root\n}\n${instance("")}`,
      { NOPREEMPT: "false", NOTIFY_FIFO: "/var/lib/leasehold/vrrp.fifo" },
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
    const text = `include /etc/keepalived/conf.d/*.conf\n@high vrrp_script x {\n script /x\n}\n${instance("@low priority 5\n track_process {\n haproxy\n }\n frobnicate 7")}`;
    const out = left(text).join("\n");
    for (const expected of [
      /^1: include .*: included files are not read/m,
      /^2: @high vrrp_script x: whether this holds depends/m,
      /@low priority 5: whether/,
      /frobnicate 7: there is no such setting/,
    ])
      assert.match(out, expected);
  });

  describe("notify scripts", () => {
    /** keepalived 2.2.7 called such scripts in this order, with these arguments. */
    const SAID: Readonly<Record<string, readonly string[]>> = {
      BACKUP: ["backup", "inst a b INSTANCE leasehold BACKUP 100", "group GROUP G 1 BACKUP 0"],
      MASTER: [
        "master",
        "gmaster it's",
        "inst a b INSTANCE leasehold MASTER 100",
        "group GROUP G 1 MASTER 0",
      ],
      FAULT: ["inst a b INSTANCE leasehold FAULT 100", "group GROUP G 1 FAULT 0"],
      STOP: ["stop", "inst a b INSTANCE leasehold STOP 100", "group GROUP G 1 STOP 0"],
    };

    test("become one hook that runs each when keepalived does, with its arguments", (t) => {
      const directory = mkdtempSync(join(tmpdir(), "leasehold-import-"));
      t.after(() => rmSync(directory, { recursive: true, force: true }));
      const program = join(directory, "say.sh");
      const out = join(directory, "out");
      writeFileSync(program, `#!/bin/sh\necho "$@" >> ${out}\n`, { mode: 0o755 });
      const text = instance(
        `notify "${program} inst 'a b'"\n notify_master "${program} master" root\n notify_backup "${program} backup"\n notify_stop "${program} stop"`,
        `vrrp_sync_group "G 1" {\n group {\n VI_1\n }\n notify "${program} group"\n notify_master "${program} gmaster it\\'s"\n}`,
      );
      const hook = settings(text)["NOTIFY"] ?? "";
      const [path = "", ...args] = splitCommand(hook) ?? [];
      for (const [state, said] of Object.entries(SAID)) {
        writeFileSync(out, "");
        const run = spawnSync(path, [...args, "INSTANCE", "leasehold", state, "100"], { encoding: "utf8" });
        assert.deepEqual([run.status, run.stderr], [0, ""], hook);
        assert.deepEqual(readFileSync(out, "utf8").trim().split("\n"), said);
      }
      assert.ok(
        left(text).some((line) => /notify_master \.\.\. root: checks and hooks run as uid 0/.test(line)),
      );
    });

    test("are mounted into the pod", () => {
      const text = instance('notify_master "/etc/keepalived/m.sh"\n notify_fault "/opt/vip/bin/f.sh now"');
      const env = Object.fromEntries(imported(text).settings.map(({ name, value }) => [name, value]));
      const answer = manifest(["pod"], env);
      assert.ok(answer.kind === "ok", answer.message);
      assert.match(answer.text, /mountPath: \/etc\/keepalived\n/);
      assert.match(answer.text, /mountPath: \/opt\/vip\/bin\n/);
      assert.deepEqual(imported(text).todo, []);
    });

    test("that the pod cannot mount are something to do", () => {
      const todo = imported(instance("notify_master /usr/local/bin/vip\n notify_backup /etc/vip.sh")).todo;
      assert.match(
        todo.join("\n"),
        /\/usr\/local\/bin\/vip is not in the pod, .*copy the script to \/etc\/leasehold/,
      );
      assert.match(todo.join("\n"), /\/etc\/vip\.sh is not in the pod, because \/etc holds more/);
    });

    test("say what cannot be kept", () => {
      const { settings: all } = imported(instance('notify "/etc/keepalived/n.sh"'));
      const note = all.find(({ name }) => name === "LEASEHOLD_NOTIFY")?.note ?? "";
      assert.match(note, /uid 0 in the agent's container/);
      assert.match(note, /keepalived says `INSTANCE VI_1` the agent says `INSTANCE leasehold`/);
      const fifo = imported(
        `global_defs {\n notify_fifo /run/f root\n notify_fifo_script "/x y"\n}\n${instance("")}`,
      );
      assert.match(
        fifo.settings.find(({ name }) => name === "LEASEHOLD_NOTIFY_FIFO")?.note ?? "",
        /\/run holds more/,
      );
      assert.deepEqual(
        fifo.leftOut.map(({ text, reason }) => `${text}: ${reason}`),
        [
          "notify_fifo ... root: the pipe is root's, with mode 0600",
          "notify_fifo_script /x y: the agent starts no program that reads the pipe: a service of the node does (docs/operations.md, Notify hooks)",
        ],
      );
    });
  });

  test("options of an address without a value do not hide its device", () => {
    const text = instance("").replace("192.0.2.10", "192.0.2.10 no_track dev eth3 noprefixroute");
    assert.equal(settings(text)["INTERFACE"], "eth3");
  });

  test("each keyword of keepalived.conf(5) is taken or has a reason of its own", () => {
    for (const keyword of INSTANCE_KEYWORDS) {
      const out = left(instance(`${keyword} 1`)).filter((line) => line.includes(`: ${keyword}`));
      assert.ok(!out.some((line) => line.endsWith("there is no such setting")), `${keyword}: ${out.join()}`);
    }
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
    [
      "a server's own words before default-server",
      listen(`default-server inter 2s fall 5\n ${SERVERS} inter 700ms`),
      { CONNECT_TIMEOUT: "3s", CHECK_INTERVAL: "700ms", CHECK_FALL: "5" },
    ],
    [
      "threads and the end of old connections",
      `global\n nbthread 4\n hard-stop-after 30s\n${listen(SERVERS)}`,
      { CONNECT_TIMEOUT: "3s", BALANCER_WORKERS: "4", DRAIN_TIMEOUT: "30s" },
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

  test("other words of a server and of a section have a reason of their own", () => {
    const server = `${SERVERS} port 80 on-marked-down shutdown-sessions observe layer4 resolvers dns send-proxy source 192.0.2.1`;
    const out = left(
      listen(
        `http-check expect ! rstatus ^5\n option mysql-check\n server-template a 1-3 api:6443\n rate-limit sessions 5\n ${server}`,
      ),
    );
    assert.ok(out.length >= 10, out.join("\n"));
    assert.deepEqual(
      out.filter((line) => line.endsWith("there is no such setting")),
      [],
    );
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
      "notify", "notify_master", "/a/b", "vrrp_sync_group", "group", "global_defs", "notify_fifo", "track_process",
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
