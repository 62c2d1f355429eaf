/**
 * Writes the certificate that TLS needs to carry an agent's public key. node:crypto can sign, but not write
 * X.509, so this is as much DER (X.690) as RFC 5280 asks of a self-signed certificate. Pure, apart from the
 * signature's random number.
 *
 * The peers look at the public key alone (see {@link keyIdOf}). So the certificate has no end (RFC 5280
 * section 4.1.2.5), no name that matters, and begins long before any machine's clock: a node without a clock
 * must be able to answer.
 */
import { createHash, createPublicKey, sign } from "node:crypto";
import type { KeyObject, X509Certificate } from "node:crypto";

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

/** RFC 5758 section 3.2. */
const ECDSA_WITH_SHA256 = Buffer.from("06082a8648ce3d040302", "hex");
/** RFC 5280 appendix A.1: id-at-commonName. */
const COMMON_NAME = Buffer.from("0603550403", "hex");

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

/** The identity of a public key: SHA-256 of its SubjectPublicKeyInfo (RFC 7469 section 2.4), 64 hex digits. */
export function keyId(publicKey: KeyObject): string {
  const bytes = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(bytes).digest("hex");
}

/** The identity of the key that a certificate carries; undefined for a key that this Node cannot read. */
export function keyIdOf(certificate: X509Certificate): string | undefined {
  try {
    return keyId(certificate.publicKey);
  } catch {
    return undefined;
  }
}

/** Returns a self-signed certificate for an EC key of the curve P-256, as PEM. */
export function selfSigned(privateKey: KeyObject, commonName: string): string {
  const publicKey = createPublicKey(privateKey);
  const algorithm = der(SEQUENCE, ECDSA_WITH_SHA256);
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from(commonName)))));
  const validity = der(
    SEQUENCE,
    der(UTC_TIME, Buffer.from("000101000000Z")),
    der(GENERALIZED_TIME, Buffer.from("99991231235959Z")),
  );
  // One key has one certificate, so its serial number may come from the key. It is positive, and its first
  // byte needs no padding.
  const serial = Buffer.from(keyId(publicKey).slice(0, 32), "hex");
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  const body = der(
    SEQUENCE,
    der(0xa0, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, serial),
    algorithm,
    name,
    validity,
    name,
    publicKey.export({ type: "spki", format: "der" }),
  );
  const signature = der(BIT_STRING, Buffer.from([0]), sign("sha256", body, privateKey));
  const lines =
    der(SEQUENCE, body, algorithm, signature)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
