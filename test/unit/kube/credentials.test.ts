import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { createCredentials, renewalAdvice } from "../../../src/kube/credentials.ts";
import type { Credentials, CredentialsDeps } from "../../../src/kube/credentials.ts";
import { readKubeconfig } from "../../../src/kube/kubeconfig.ts";
import type { LogFields, Logger } from "../../../src/log.ts";
import { issue as issueFor, makeAuthority } from "../../support/embedded-api/certificates.ts";
import { authority, issue } from "../../support/backends/pki.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { kubeconfigText } from "./kubeconfig-fixture.ts";

const ca = authority("kubernetes-ca");
const ownText = kubeconfigText(ca, issue(ca, "leasehold"));
const adminText = kubeconfigText(ca, issue(ca, "admin"));
const directory = await mkdtemp(join(tmpdir(), "leasehold-credentials-"));
const running: Credentials[] = [];
let files = 0;
after(async () => {
  for (const credentials of running) credentials.stop();
  await rm(directory, { recursive: true });
});

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

function recorder(lines: Line[]): Logger {
  const at = (level: string) => (fields: LogFields, message: string) =>
    void lines.push({ level, message, fields });
  return {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    child: () => recorder(lines),
  };
}

/** The wall clock stands inside the test certificates' life of a day. */
async function setUp(
  content: { readonly own?: string; readonly admin?: string },
  wall = new Date(),
  more: Partial<Pick<CredentialsDeps, "adminPath" | "provenFile">> = {},
) {
  const folder = join(directory, String(files++));
  await mkdir(folder);
  const ownPath = join(folder, "leasehold.conf");
  const adminPath = join(folder, "admin.conf");
  if (content.own !== undefined) await writeFile(ownPath, content.own);
  if (content.admin !== undefined) await writeFile(adminPath, content.admin);
  const clock = new FakeClock(1_000_000, wall);
  const lines: Line[] = [];
  let changes = 0;
  const credentials = createCredentials({
    clock,
    log: recorder(lines),
    ownPath,
    adminPath,
    onChange: () => changes++,
    ...more,
  });
  running.push(credentials);
  await credentials.start();
  const inUse = () => credentials.usable().map(({ path }) => path.slice(folder.length + 1));
  return { ownPath, adminPath, clock, credentials, lines, inUse, changes: () => changes };
}

describe("which credentials", () => {
  test("ours before admin.conf", async () => {
    const { inUse, changes, lines } = await setUp({ own: ownText, admin: adminText });
    assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
    assert.equal(changes(), 1);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ["info", "info"],
    );
  });

  test("admin.conf with a warning while ours is missing, and ours when it has come", async () => {
    const { ownPath, credentials, inUse, lines, changes } = await setUp({ admin: adminText });
    assert.deepEqual(inUse(), ["admin.conf"]);
    credentials.accepted(credentials.current() ?? assert.fail());
    const warning = lines.find(({ message }) => message.startsWith("The agent uses admin.conf"));
    assert.equal(warning?.level, "warn");
    assert.equal(warning?.fields["reason"], "ours is missing");

    await writeFile(ownPath, ownText);
    await credentials.reload();
    assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
    assert.equal(changes(), 2);
    credentials.accepted(credentials.current() ?? assert.fail());
    assert.equal(lines.at(-1)?.message, "The agent uses its own kubeconfig again");
  });

  test("ours turned away: admin.conf goes first for half a minute, then ours is tried again", async () => {
    const { credentials, clock, inUse, lines } = await setUp({ own: ownText, admin: adminText });
    const [own, admin] = credentials.usable();
    assert.ok(own !== undefined && admin !== undefined);
    credentials.rejected(own, 403);
    credentials.accepted(admin);
    assert.deepEqual(inUse(), ["admin.conf", "leasehold.conf"]);
    assert.equal(lines.at(-1)?.fields["reason"], "ours was answered 403");
    clock.advance(30_000);
    assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
  });

  test("ours fails in TLS: a warning names the file and the reason, and admin.conf stays in force until a server has taken ours again", async () => {
    const { credentials, clock, inUse, lines, changes, ownPath } = await setUp({
      own: ownText,
      admin: adminText,
    });
    const [own, admin] = credentials.usable();
    assert.ok(own !== undefined && admin !== undefined);
    const why =
      "192.0.2.1:6443: its CA does not vouch for the server's certificate (SELF_SIGNED_CERT_IN_CHAIN)";
    for (let i = 0; i < 3; i++) credentials.rejected(own, why);
    credentials.accepted(admin);
    assert.deepEqual(
      lines.slice(2).map(({ level, message, fields }) => [level, message, fields["path"], fields["reason"]]),
      [
        [
          "warn",
          "TLS fails with this kubeconfig and not with the other one: write it again as LH_KUBECONFIG in docs/operations.md says",
          ownPath,
          why,
        ],
        [
          "warn",
          "The agent uses admin.conf in place of its own kubeconfig",
          admin.path,
          `ours failed in TLS: ${why}`,
        ],
      ],
    );
    assert.equal(changes(), 2);
    clock.advance(30_000);
    // A request tries ours; the health checks go on with what is known to be good.
    assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
    assert.equal(credentials.current()?.path, admin.path);
    credentials.accepted(own);
    assert.equal(credentials.current()?.path, ownPath);
    assert.equal(lines.at(-1)?.message, "The agent uses its own kubeconfig again");
    assert.equal(changes(), 3);
  });

  test("ours fails in TLS and admin.conf is answered 403: admin.conf is in force, for a health check 403 is an answer", async () => {
    const { credentials } = await setUp({ own: ownText, admin: adminText });
    const [own, admin] = credentials.usable();
    assert.ok(own !== undefined && admin !== undefined);
    credentials.rejected(own, "192.0.2.1:6443: TLS fails (EPROTO)");
    credentials.rejected(admin, 403);
    assert.equal(credentials.current(), admin);
  });

  test("both turned away: ours first again, for it is the one that gets its rights", async () => {
    const { credentials, inUse } = await setUp({ own: ownText, admin: adminText });
    for (const each of credentials.usable()) credentials.rejected(each, 403);
    assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
  });

  describe("a 403 to our own", () => {
    const aFile = () => ({ path: join(directory, `proven-${files++}.json`), mode: "write" as const });
    const first = (credentials: Credentials) => credentials.usable()[0] ?? assert.fail();

    test("that has used the Lease leads to nothing, and the problem says so", async () => {
      const { credentials, inUse, changes, ownPath } = await setUp({ own: ownText, admin: adminText });
      const own = first(credentials);
      assert.equal(credentials.mayTryOther(own, 403), true);
      credentials.proved(own);
      assert.equal(credentials.mayTryOther(own, 403), false);
      credentials.rejected(own, 403);
      assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
      assert.deepEqual([credentials.current(), changes()], [own, 1]);
      assert.equal(
        credentials.problem(),
        `${ownPath}: an API server answered 403, and this user could use the Lease before, so no other kubeconfig is tried`,
      );
      credentials.accepted(own);
      assert.equal(credentials.problem(), null);
    });

    test("after which 401, TLS and the end of the certificate lead to admin.conf all the same", async () => {
      for (const why of [401, "192.0.2.1:6443: its CA does not vouch for the server's certificate"]) {
        const { credentials, inUse } = await setUp({ own: ownText, admin: adminText });
        const own = first(credentials);
        credentials.proved(own);
        if (typeof why === "number") assert.equal(credentials.mayTryOther(own, why), true);
        credentials.rejected(own, why);
        assert.deepEqual(inUse(), ["admin.conf", "leasehold.conf"]);
        assert.equal(credentials.problem(), null);
      }
      const token = adminText.replace(/client-certificate-data: .*\n.*client-key-data: .*/, "token: abc");
      const { credentials, clock, inUse } = await setUp({ own: ownText, admin: token });
      credentials.proved(first(credentials));
      clock.advance(2 * 86_400_000);
      assert.deepEqual(inUse(), ["admin.conf", "leasehold.conf"]);
    });

    test("admin.conf proves nothing for ours", async () => {
      const { credentials } = await setUp({ own: ownText, admin: adminText });
      const [own, admin] = credentials.usable();
      assert.ok(own !== undefined && admin !== undefined);
      credentials.proved(admin);
      assert.equal(credentials.mayTryOther(own, 403), true);
    });

    test("is remembered over a restart, for that content of the file alone", async () => {
      const provenFile = aFile();
      const before = await setUp({ own: ownText, admin: adminText }, new Date(), { provenFile });
      before.credentials.proved(first(before.credentials));
      before.credentials.stop();
      assert.doesNotMatch(await readFile(provenFile.path, "utf8"), /BEGIN|LS0t/);

      const again = createCredentials({
        clock: before.clock,
        log: recorder([]),
        ownPath: before.ownPath,
        adminPath: before.adminPath,
        provenFile: { ...provenFile, mode: "read" },
        onChange: () => {},
      });
      running.push(again);
      await again.start();
      assert.equal(again.mayTryOther(first(again), 403), false);

      await writeFile(before.ownPath, kubeconfigText(ca, issue(ca, "leasehold-2")));
      await again.reload();
      assert.equal(again.mayTryOther(first(again), 403), true);
      // A reader leaves the file as it is.
      const text = await readFile(provenFile.path, "utf8");
      again.proved(first(again));
      assert.equal(again.mayTryOther(first(again), 403), false);
      assert.equal(await readFile(provenFile.path, "utf8"), text);
    });

    test("is remembered while the files that the kubeconfig names are renewed for the same user", async () => {
      const { ownPath, credentials } = await setUp({ admin: adminText });
      const pem = `${ownPath}.pem`;
      const write = async (user: string) => {
        const { cert, key } = issue(ca, user);
        await writeFile(pem, `${cert}\n${key}`);
        await credentials.reload();
      };
      await writeFile(
        ownPath,
        ownText
          .replace(/client-certificate-data: .*/, `client-certificate: ${pem}`)
          .replace(/client-key-data: .*/, `client-key: ${pem}`),
      );
      await write("leasehold");
      credentials.proved(first(credentials));
      await write("leasehold");
      assert.equal(credentials.mayTryOther(first(credentials), 403), false);
      await write("leasehold-2");
      assert.equal(credentials.mayTryOther(first(credentials), 403), true);
    });

    test("a damaged file is reported, and proves nothing", async () => {
      const provenFile = aFile();
      await writeFile(provenFile.path, '{"version":1,"proven":["x"]}');
      const { credentials, lines } = await setUp({ own: ownText }, new Date(), { provenFile });
      assert.match(lines[0]?.message ?? "", /is damaged/);
      assert.equal(credentials.mayTryOther(first(credentials), 403), true);
    });
  });

  test("without admin.conf (none) there is one kubeconfig, and its trouble is told", async () => {
    const { credentials, inUse, ownPath } = await setUp({ own: ownText, admin: adminText }, new Date(), {
      adminPath: null,
    });
    credentials.rejected(credentials.current() ?? assert.fail(), 401);
    assert.deepEqual(inUse(), ["leasehold.conf"]);
    assert.equal(credentials.problem(), `${ownPath}: an API server answered 401`);
  });

  test("a new file is tried at once, however its predecessor fared", async () => {
    const { credentials, ownPath, inUse } = await setUp({ own: ownText, admin: adminText });
    credentials.rejected(credentials.current() ?? assert.fail(), 401);
    await writeFile(ownPath, kubeconfigText(ca, issue(ca, "leasehold")));
    await credentials.reload();
    assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
  });

  test("expired ones come last but stay: our wall clock may be the wrong one", async () => {
    const tomorrow = new Date(Date.now() + 3 * 86_400_000);
    const { inUse, credentials, lines, adminPath } = await setUp({ own: ownText }, tomorrow);
    assert.deepEqual(inUse(), ["leasehold.conf"]);
    credentials.rejected(credentials.current() ?? assert.fail(), 401);
    assert.match(
      credentials.problem() ?? "",
      /leasehold\.conf: the client certificate ended at .*Z; /,
      "the end, and not the 401 that comes of it",
    );
    await writeFile(
      adminPath,
      kubeconfigText(ca, issue(ca, "admin")).replace(
        /client-certificate-data: .*\n.*client-key-data: .*/,
        "token: abc",
      ),
    );
    await credentials.reload();
    assert.deepEqual(inUse(), ["admin.conf", "leasehold.conf"]);
    credentials.accepted(credentials.current() ?? assert.fail());
    assert.equal(lines.at(-1)?.fields["reason"], "ours has expired");
  });

  describe("say before the end what ends", () => {
    const DAY_MS = 86_400_000;
    const beganMs = Date.UTC(2026, 0, 1);
    const at = (days: number): Date => new Date(beganMs + days * DAY_MS);
    const longCa = makeAuthority({ commonName: "kubernetes-ca", notBefore: at(0), notAfter: at(3_650) });
    const lasting = (user: string, days: number, issuer = longCa): string =>
      kubeconfigText(issuer, issueFor(issuer, { commonName: user, notBefore: at(0), notAfter: at(days) }));
    const warnings = (lines: readonly Line[]) =>
      lines
        .filter(({ message }) => message.startsWith("The client certificate"))
        .map(({ level, message, fields }) => [level, message, fields["daysLeft"], fields["path"]]);

    for (const [what, days, lifeDays, soon] of [
      ["a year, 31 days before", 334, 365, false],
      ["a year, 30 days before", 335, 365, true],
      ["ten years, a year before", 3_285, 3_650, false],
      ["ten years, a month before", 3_620, 3_650, true],
      ["30 days, as the kubelet has it, 4 days before", 26, 30, false],
      ["30 days that the kubelet has not renewed, 3 days before", 27, 30, true],
      ["that has ended", 366, 365, true],
    ] as const) {
      test(`a certificate of ${what}: ${soon ? "a warning" : "none"}`, async () => {
        const { credentials, lines, ownPath } = await setUp(
          { own: lasting("leasehold", lifeDays) },
          at(days),
        );
        const [end] = credentials.certificates();
        assert.deepEqual(end, {
          path: ownPath,
          kubeconfig: "own",
          expiresAt: at(lifeDays),
          endsSoon: soon,
        });
        assert.equal(credentials.warning() !== null, soon);
        assert.equal(warnings(lines).length, soon ? 1 : 0);
      });
    }

    test("once a day in the log, and once more when it ends", async () => {
      const { credentials, clock, lines, ownPath } = await setUp(
        { own: lasting("leasehold", 365) },
        at(363.5),
      );
      const live = async (days: number): Promise<void> => {
        clock.advance(days * DAY_MS);
        await credentials.reload();
      };
      for (let hour = 0; hour < 48; hour++) await live(1 / 24);
      assert.deepEqual(warnings(lines), [
        ["warn", "The client certificate ends soon", 1, ownPath],
        ["warn", "The client certificate ends soon", 0, ownPath],
        ["warn", "The client certificate has ended", 0, ownPath],
      ]);
      assert.match(
        credentials.warning() ?? "",
        new RegExp(
          `^${ownPath}: the client certificate ended at 2027-01-01T00:00:00.000Z; make a new one as LH_KUBECONFIG`,
        ),
      );
      // A new file ends it.
      await writeFile(ownPath, lasting("leasehold", 3_650));
      await credentials.reload();
      assert.equal(credentials.warning(), null);
    });

    test("of admin.conf while the agent uses it, and not otherwise", async () => {
      const { credentials, ownPath, adminPath, lines } = await setUp(
        { own: lasting("leasehold", 3_650), admin: lasting("admin", 365) },
        at(350),
      );
      const soon = () => credentials.certificates().map(({ kubeconfig, endsSoon }) => [kubeconfig, endsSoon]);
      assert.deepEqual(soon(), [
        ["own", false],
        ["admin", false],
      ]);
      await rm(ownPath);
      await credentials.reload();
      assert.deepEqual(soon(), [["admin", true]]);
      assert.match(credentials.warning() ?? "", /admin\.conf: .*kubeadm certs renew admin\.conf/);
      assert.deepEqual(
        warnings(lines).map(([, , , path]) => path),
        [adminPath],
      );
    });

    test("of our own after its end as well, while admin.conf serves", async () => {
      const { credentials, inUse } = await setUp(
        { own: lasting("leasehold", 365), admin: lasting("admin", 3_650) },
        at(400),
      );
      assert.deepEqual(inUse(), ["admin.conf", "leasehold.conf"]);
      assert.equal(credentials.problem(), null);
      assert.match(credentials.warning() ?? "", /leasehold\.conf: the client certificate ended/);
    });

    test("a certificate that outlives its CA ends with it; another CA in the file does not count", async () => {
      const shortCa = makeAuthority({ commonName: "kubernetes-ca", notBefore: at(0), notAfter: at(100) });
      const first = await setUp({ own: lasting("leasehold", 3_650, shortCa) }, at(91));
      assert.deepEqual(first.credentials.certificates()[0]?.expiresAt, at(100));
      assert.equal(first.credentials.certificates()[0]?.endsSoon, true);
      const other = kubeconfigText(
        shortCa,
        issueFor(longCa, { commonName: "leasehold", notBefore: at(0), notAfter: at(3_650) }),
      );
      const second = await setUp({ own: other }, at(91));
      assert.deepEqual(second.credentials.certificates()[0]?.expiresAt, at(3_650));
    });

    test("nothing of a token, which names no end", async () => {
      const { credentials } = await setUp({
        own: ownText.replace(/client-certificate-data: .*\n.*client-key-data: .*/, "token: abc"),
      });
      assert.deepEqual(credentials.certificates(), []);
      assert.equal(credentials.warning(), null);
    });
  });

  test("a file that breaks keeps its last good content, one that is removed does not", async () => {
    const { credentials, ownPath, inUse, lines } = await setUp({ own: ownText, admin: adminText });
    await writeFile(ownPath, ownText.slice(0, 300));
    await credentials.reload();
    await credentials.reload();
    assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
    assert.equal(lines.filter(({ level }) => level === "warn").length, 1, "each complaint once");
    await rm(ownPath);
    await credentials.reload();
    assert.deepEqual(inUse(), ["admin.conf"]);
  });

  for (const [what, text] of [
    ["an empty file", ""],
    ["blank lines", "\n \n"],
  ] as const) {
    test(`${what}, as a failed command leaves behind a ">", is no worse than none: admin.conf with a warning that names file and reason`, async () => {
      const { ownPath, credentials, inUse, lines } = await setUp({ own: text, admin: adminText });
      assert.deepEqual(inUse(), ["admin.conf"]);
      assert.equal(credentials.problem(), null);
      credentials.accepted(credentials.current() ?? assert.fail());
      const warning = lines.find(({ message }) => message.startsWith("The agent uses admin.conf"));
      assert.equal(warning?.level, "warn");
      assert.match(String(warning?.fields["reason"]), new RegExp(`^${ownPath}: is empty`));
      await writeFile(ownPath, ownText);
      await credentials.reload();
      assert.deepEqual(inUse(), ["leasehold.conf", "admin.conf"]);
    });
  }

  test("what is wrong with them is told for each file, and only while there are no good ones", async () => {
    const { ownPath, adminPath, credentials, clock } = await setUp({ own: "" });
    assert.match(
      credentials.problem() ?? "",
      new RegExp(
        `^${ownPath}: is empty.*; ${adminPath}: no such file \\(the fallback, which need not exist\\)$`,
      ),
    );
    await writeFile(ownPath, ownText);
    await credentials.reload();
    assert.equal(credentials.problem(), null);
    credentials.rejected(credentials.current() ?? assert.fail(), 401);
    assert.equal(
      credentials.problem(),
      `${ownPath}: an API server answered 401; ${adminPath}: no such file (the fallback, which need not exist)`,
    );
    clock.advance(30_000);
    assert.equal(credentials.problem(), null);
  });

  test("the kubelet's own kubeconfig: one file for certificate and key, behind a link that the kubelet turns when it rotates them", async () => {
    const folder = join(directory, String(files++));
    await mkdir(folder);
    const current = join(folder, "kubelet-client-current.pem");
    const rotate = async (name: string): Promise<string> => {
      const pair = issue(ca, "system:node:w1");
      await writeFile(join(folder, name), pair.cert + pair.key);
      // As client-go's certificate store does it.
      await symlink(join(folder, name), join(folder, "kubelet-client-current.pem.tmp"));
      await rename(join(folder, "kubelet-client-current.pem.tmp"), current);
      return pair.cert + pair.key;
    };
    const text = ownText
      .replace(/client-certificate-data: .*/, `client-certificate: ${current}`)
      .replace(/client-key-data: .*/, `client-key: ${current}`);
    const first = await rotate("kubelet-client-1.pem");
    const { credentials, clock, changes, lines } = await setUp({ own: text });
    assert.deepEqual(credentials.current()?.clientCertificate, { cert: first, key: first });
    assert.ok((credentials.current()?.expiresAt?.getTime() ?? 0) > Date.now());
    const second = await rotate("kubelet-client-2.pem");
    // Nothing in the kubeconfig's own directory has changed: the timer finds it.
    clock.advance(2_000);
    for (let i = 0; i < 400 && changes() < 2; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(credentials.current()?.clientCertificate, { cert: second, key: second });
    assert.deepEqual(
      lines.filter(({ level }) => level === "warn").map(({ fields }) => fields["path"]),
      [],
    );
  });

  test("a change of the file is noticed without being told: the directory is watched", async () => {
    const { clock, ownPath, inUse } = await setUp({});
    await writeFile(ownPath, ownText);
    // inotify is real and waited for; the poll (the one timer until then) never comes due.
    for (let i = 0; i < 2000 && inUse().length === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (clock.pendingTimers > 1) clock.advance(50);
    }
    assert.deepEqual(inUse(), ["leasehold.conf"]);
  });

  test("stopped, it leaves no timer", async () => {
    const { clock, credentials } = await setUp({ own: ownText });
    credentials.stop();
    assert.equal(clock.pendingTimers, 0);
  });
});

/** The kubeconfig with another user, of which `members` are the members. */
function withUser(members: string): string {
  return ownText.replace(/    client-certificate-data: .*\n    client-key-data: .*\n/, `    ${members}\n`);
}

describe("a token", () => {
  const tokenOf = (credentials: Credentials): string | undefined => credentials.current()?.token;

  test("of a tokenFile is read again when the file changes, and comes before one in the kubeconfig", async () => {
    const file = join(directory, `token-${files++}`);
    await writeFile(file, "first\n");
    const { credentials } = await setUp({ own: withUser(`token: inline\n    tokenFile: ${file}`) });
    assert.equal(tokenOf(credentials), "first");
    assert.equal(credentials.current()?.clientCertificate, undefined);
    const fingerprint = credentials.current()?.fingerprint;
    await writeFile(`${file}.new`, "second\n");
    await rename(`${file}.new`, file);
    await credentials.reload();
    assert.equal(tokenOf(credentials), "second");
    assert.notEqual(credentials.current()?.fingerprint, fingerprint);
    // A file that is empty for a moment is no reason to forget a token.
    await writeFile(file, "");
    await credentials.reload();
    assert.equal(tokenOf(credentials), "second");
  });

  test("and a relative tokenFile is next to the kubeconfig", async () => {
    await writeFile(join(directory, "beside"), "abc");
    const path = join(directory, `file-${files++}`);
    await writeFile(path, withUser("tokenFile: beside"));
    const result = await readKubeconfig(path);
    assert.equal(result.kind === "ok" && result.credentials.token, "abc");
  });
});

describe("reading a kubeconfig", () => {
  async function read(text: string) {
    const path = join(directory, `file-${files++}`);
    await writeFile(path, text);
    return { path, result: await readKubeconfig(path) };
  }

  test("embedded data: CA, certificate, key, the name kubernetes and the end of the certificate", async () => {
    const { result } = await read(ownText);
    assert.equal(result.kind, "ok");
    assert.equal(result.kind === "ok" && result.credentials.ca, ca.cert);
    assert.equal(result.kind === "ok" && result.credentials.servername, "kubernetes");
    const left = result.kind === "ok" ? (result.credentials.expiresAt?.getTime() ?? 0) - Date.now() : 0;
    assert.ok(left > 0 && left <= 86_400_000);
  });

  test("file references are relative to the kubeconfig, and a new content is a new fingerprint", async () => {
    const client = issue(ca, "leasehold");
    await writeFile(join(directory, "c.crt"), client.cert);
    await writeFile(join(directory, "c.key"), client.key);
    const text = ownText
      .replace(/client-certificate-data: .*/, "client-certificate: c.crt")
      .replace(/client-key-data: .*/, "client-key: c.key");
    const first = await read(text);
    assert.equal(first.result.kind === "ok" && first.result.credentials.clientCertificate?.cert, client.cert);
    const next = issue(ca, "leasehold");
    await writeFile(join(directory, "c.crt"), next.cert);
    await writeFile(join(directory, "c.key"), next.key);
    const second = await readKubeconfig(first.path);
    assert.ok(first.result.kind === "ok" && second.kind === "ok");
    assert.notEqual(first.result.credentials.fingerprint, second.credentials.fingerprint);
  });

  test("what has not changed is not checked again, and each file counts", async () => {
    const client = issue(ca, "leasehold");
    const [cert, key] = [join(directory, "again.crt"), join(directory, "again.key")];
    await writeFile(cert, client.cert);
    await writeFile(key, client.key);
    const text = ownText
      .replace(/client-certificate-data: .*/, "client-certificate: again.crt")
      .replace(/client-key-data: .*/, `client-key: ${key}`);
    const { path, result: first } = await read(text);
    assert.equal(first.kind, "ok");
    // Written again with the same text, as a tool does that renews what need not be renewed.
    await writeFile(key, client.key);
    assert.equal(await readKubeconfig(path, first), first);

    const next = issue(ca, "leasehold");
    await writeFile(cert, next.cert);
    await writeFile(key, next.key);
    const second = await readKubeconfig(path, first);
    assert.ok(second.kind === "ok" && second.credentials.clientCertificate?.cert === next.cert);
    await writeFile(key, client.key);
    const third = await readKubeconfig(path, second);
    assert.equal(third.kind, "broken");
    await rm(key);
    assert.equal((await readKubeconfig(path, second)).kind, "broken");
    await writeFile(key, next.key);
    assert.equal((await readKubeconfig(path, third)).kind, "ok");
    await writeFile(path, text.replace("    server:", "    tls-server-name: other\n    server:"));
    const named = await readKubeconfig(path, second);
    assert.equal(named.kind === "ok" && named.credentials.servername, "other");
    await rm(path);
    assert.equal((await readKubeconfig(path, named)).kind, "missing");
  });

  test("tls-server-name of the file is heeded", async () => {
    const { result } = await read(ownText.replace("    server:", "    tls-server-name: other\n    server:"));
    assert.equal(result.kind === "ok" && result.credentials.servername, "other");
  });

  test("a file that is missing, and a directory in its place, are missing", async () => {
    assert.equal((await readKubeconfig(join(directory, "none"))).kind, "missing");
    assert.equal((await readKubeconfig(directory)).kind, "missing");
  });

  const secret = Buffer.from("TOP-SECRET").toString("base64");
  const wrong: Record<string, [text: string, told: RegExp]> = {
    "an empty file": ["", /: is empty: the command that should have written it has failed/],
    "blank lines": ["\n \n", /: is empty/],
    text: ["hello", /its current-context names no cluster|is not a kubeconfig/],
    "a list": ["- a\n- b\n", /its current-context names no cluster|is not a kubeconfig/],
    "broken YAML beside a key": [
      `users:\n- client-key-data: ${secret}\n  b: [`,
      /is not a kubeconfig: .* \(line \d+\)/,
    ],
    "a user without a name": [
      ownText.replace("- name: leasehold\n", "- nam: leasehold\n"),
      /users\[0\]\.name is missing/,
    ],
    "no such context": [
      ownText.replace("current-context: leasehold@", "current-context: other@"),
      /current-context names no cluster/,
    ],
    "no CA": [ownText.replace(/ +certificate-authority-data: .*\n/, ""), /no certificate-authority/],
    "a CA that is none": [
      ownText.replace(/certificate-authority-data: .*/, `certificate-authority-data: ${secret}`),
      /certificate-authority is damaged/,
    ],
    "no verification": [
      ownText.replace("    server:", "    insecure-skip-tls-verify: true\n    server:"),
      /insecure-skip-tls-verify is not accepted/,
    ],
    "no credentials": [
      ownText.replace(/ +client-key-data: .*\n/, ""),
      /a client-certificate without its client-key; use client-certificate with client-key, token, or tokenFile$/,
    ],
    "another's key": [
      ownText.replace(/client-key-data: .*/, /client-key-data: .*/.exec(adminText)?.[0] ?? ""),
      /client-key is damaged or does not fit/,
    ],
    "a key that is none": [
      ownText.replace(/client-key-data: .*/, `client-key-data: ${secret}`),
      /client-key is damaged/,
    ],
    "no user's members": [
      withUser(""),
      /neither a client certificate with its key nor a token; use .* or tokenFile$/,
    ],
    "a program": [
      withUser("exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [SECRET]}"),
      /the user has exec, a program .*; use client-certificate with client-key, token, or tokenFile$/,
    ],
    "a provider": [withUser("auth-provider: {name: oidc}"), /auth-provider, which is not supported; use /],
    "a password": [withUser(`username: me\n    password: SECRET`), /a name and a password, .*; use /],
    "another identity": [withUser("token: abc\n    as: admin"), /act as another one \(`as`\)/],
    "a file for the token that is not there": [
      withUser("tokenFile: nowhere"),
      /tokenFile .*nowhere cannot be read: ENOENT/,
    ],
    "a token of two lines": [withUser(String.raw`token: "TOP\nSECRET"`), /the token has characters that no/],
    "a reference to nothing": [
      ownText.replace(/client-key-data: .*/, "client-key: nowhere.key"),
      /client-key .*nowhere\.key cannot be read: ENOENT/,
    ],
  };
  for (const [what, [text, told]] of Object.entries(wrong)) {
    test(`${what}: told with the path, without its contents`, async () => {
      const { path, result } = await read(text);
      assert.equal(result.kind, "broken");
      const { error } = result.kind === "broken" ? result : assert.fail();
      assert.equal(error.code, "LH_KUBECONFIG");
      assert.match(error.message, told);
      assert.ok(error.message.startsWith(path));
      assert.equal(error.cause, undefined, "a cause would be logged with its own words");
      assert.ok(!error.message.includes(secret) && !error.message.includes("SECRET"));
    });
  }
});

test("what ends is renewed where its kubeconfig comes from, whichever setting names the file", () => {
  for (const [kubeconfig, path, advice] of [
    ["own", "/etc/kubernetes/leasehold/kubeconfig", /LH_KUBECONFIG/],
    ["own", "/etc/kubernetes/admin.conf", /kubeadm certs renew admin\.conf/],
    ["admin", "/etc/kubernetes/admin.conf", /kubeadm certs renew admin\.conf/],
    ["own", "/etc/kubernetes/kubelet.conf", /the kubelet renews it/],
    ["own", "/etc/rancher/k3s/k3s.yaml", /k3s and RKE2 renew it/],
    ["admin", "/etc/rancher/rke2/rke2.yaml", /k3s and RKE2 renew it/],
  ] as const)
    assert.match(renewalAdvice({ kubeconfig, path }), advice, path);
});
