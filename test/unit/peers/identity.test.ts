import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { silentLogger } from "../../../src/log.ts";
import type { Logger } from "../../../src/log.ts";
import { keyId, keyIdOf, selfSigned } from "../../../src/peers/certificate.ts";
import { peerIdentity } from "../../../src/peers/identity.ts";

function place(t: TestContext): { dataDir: string; file: string; log: Logger; warnings: string[] } {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-identity-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_, message) => void warnings.push(message) };
  const dataDir = join(directory, "lib");
  return { dataDir, file: join(dataDir, "peer-key.pem"), log, warnings };
}

describe("the certificate", () => {
  test("is what X.509 readers accept: signed by its own key, and without an end", () => {
    // The lengths of serial numbers, names and signatures differ from key to key.
    for (let round = 0; round < 50; round++) {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const certificate = new X509Certificate(selfSigned(privateKey, "n1"));
      assert.ok(certificate.verify(publicKey));
      assert.ok(certificate.checkIssued(certificate));
      assert.equal(certificate.subject, "CN=n1");
      assert.match(certificate.validTo, /^Dec 31 23:59:59 9999 GMT$/);
      assert.match(certificate.validFrom, /2000 GMT$/);
      assert.equal(keyIdOf(certificate), keyId(publicKey));
    }
  });

  test("a key's identity is the SHA-256 of its SubjectPublicKeyInfo", () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ type: "spki", format: "der" });
    assert.equal(keyId(publicKey), createHash("sha256").update(spki).digest("hex"));
  });
});

describe("the identity of an agent", () => {
  test("is made once, for its owner's eyes only, and is the same after a restart", (t) => {
    const { dataDir, file, log, warnings } = place(t);
    const first = peerIdentity(dataDir, "n1", log);
    assert.match(first.id, /^[0-9a-f]{64}$/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(readFileSync(file, "utf8"), first.key);
    const again = peerIdentity(dataDir, "n1", log);
    assert.deepEqual([again.id, again.key], [first.id, first.key]);
    assert.deepEqual(warnings, []);
  });

  test("a file that is no such key is replaced, with a warning", (t) => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    for (const content of ["", "no key", rsa.export({ type: "pkcs8", format: "pem" })]) {
      const { dataDir, file, log, warnings } = place(t);
      mkdirSync(dataDir);
      writeFileSync(file, content);
      const { id } = peerIdentity(dataDir, "n1", log);
      assert.equal(warnings.length, 1);
      assert.equal(peerIdentity(dataDir, "n1", log).id, id);
    }
  });

  test("without a disk there is one all the same, with a warning", (t) => {
    const { dataDir, log, warnings } = place(t);
    writeFileSync(dataDir, "a file where the directory should be");
    assert.match(peerIdentity(dataDir, "n1", log).id, /^[0-9a-f]{64}$/);
    assert.match(warnings.at(-1) ?? "", /changes with each start/);
  });

  test("a node's name may be longer than a common name", (t) => {
    const { dataDir, log } = place(t);
    const { cert } = peerIdentity(dataDir, `n${"1".repeat(250)}`, log);
    assert.equal(new X509Certificate(cert).subject.length, "CN=".length + 64);
  });
});
