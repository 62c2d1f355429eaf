/**
 * X.509 certificates by node:crypto, which can sign but not write them: as much DER (X.690) as RFC 5280 needs
 * for TLS.
 */
import type { KeyObject } from "node:crypto";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { parseIp } from "../../../src/net.ts";

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

export interface Authority extends Certificate {
  readonly subject: Buffer;
  readonly privateKey: KeyObject;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** Several are written into one relative name, as Go does. */
  readonly organization?: string | readonly string[];
  /** DNS names and numeric addresses; with any, it is a server's certificate, without, a client's. */
  readonly names?: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

const OID = {
  commonName: "0603550403",
  organization: "060355040a",
  basicConstraints: "0603551d13",
  keyUsage: "0603551d0f",
  extendedKeyUsage: "0603551d25",
  subjectAltName: "0603551d11",
  serverAuth: "06082b06010505070301",
  clientAuth: "06082b06010505070302",
  ecdsaWithSha256: "06082a8648ce3d040302",
} as const;

const SEQUENCE = 0x30;
const SET = 0x31;

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const long = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...(length < 0x80 ? [length] : long)]), content]);
}

function oid(name: keyof typeof OID): Buffer {
  return Buffer.from(OID[name], "hex");
}

function distinguishedName({ commonName, organization }: CertificateRequest): Buffer {
  const attribute = (type: keyof typeof OID, ...texts: readonly string[]): Buffer =>
    der(SET, ...texts.map((text) => der(SEQUENCE, oid(type), der(0x0c, Buffer.from(text)))));
  const parts = organization === undefined ? [] : [attribute("organization", ...[organization].flat())];
  return der(SEQUENCE, ...parts, attribute("commonName", commonName));
}

/** UTCTime: good until 2049. */
function utcTime(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]/g, "").slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}

function extension(type: keyof typeof OID, critical: boolean, value: Buffer): Buffer {
  return der(SEQUENCE, oid(type), ...(critical ? [Buffer.from("0101ff", "hex")] : []), der(0x04, value));
}

/** BIT STRING of one byte whose `unused` low bits do not count. */
function keyUsage(bits: number, unused: number): Buffer {
  return extension("keyUsage", true, Buffer.from([0x03, 0x02, unused, bits]));
}

function leafExtensions(names: readonly string[]): Buffer[] {
  // digitalSignature
  const usage = keyUsage(0x80, 7);
  if (names.length === 0)
    return [usage, extension("extendedKeyUsage", false, der(SEQUENCE, oid("clientAuth")))];
  const general = names.map((name) => {
    const ip = parseIp(name);
    return ip === undefined ? der(0x82, Buffer.from(name)) : der(0x87, Buffer.from(ip.bytes));
  });
  return [
    usage,
    extension("extendedKeyUsage", false, der(SEQUENCE, oid("serverAuth"))),
    extension("subjectAltName", false, der(SEQUENCE, ...general)),
  ];
}

function build(
  request: CertificateRequest,
  extensions: readonly Buffer[],
  issuer: Authority | undefined,
): Authority {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = der(SEQUENCE, oid("ecdsaWithSha256"));
  const subject = distinguishedName(request);
  // Positive, and with a first byte that needs no padding: 127 random bits.
  const serial = randomBytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  const body = der(
    SEQUENCE,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    algorithm,
    issuer?.subject ?? subject,
    der(SEQUENCE, utcTime(request.notBefore), utcTime(request.notAfter)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(SEQUENCE, ...extensions)),
  );
  const signature = sign("sha256", body, issuer?.privateKey ?? privateKey);
  const whole = der(SEQUENCE, body, algorithm, der(0x03, Buffer.from([0]), signature)).toString("base64");
  const lines = whole.match(/.{1,64}/g) ?? [];
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    subject,
    privateKey,
  };
}

export function makeAuthority(request: CertificateRequest): Authority {
  // keyCertSign and cRLSign
  const extensions = [
    extension("basicConstraints", true, Buffer.from("30030101ff", "hex")),
    keyUsage(0x06, 1),
  ];
  return build(request, extensions, undefined);
}

export function issue(authority: Authority, request: CertificateRequest): Certificate {
  const { cert, key } = build(request, leafExtensions(request.names ?? []), authority);
  return { cert, key };
}
