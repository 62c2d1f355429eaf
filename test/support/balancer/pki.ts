/** A CA and certificates made on the spot, with node:crypto and as much DER (X.690, RFC 5280) as that takes. */
import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";

export interface Issued {
  readonly cert: string;
  readonly key: string;
}

interface Authority extends Issued {
  readonly name: string;
  readonly privateKey: KeyObject;
}

const ECDSA_WITH_SHA256 = der(0x30, Buffer.from("06082a8648ce3d040302", "hex"));
const COMMON_NAME = Buffer.from("0603550403", "hex");
const BASIC_CONSTRAINTS = Buffer.from("0603551d13", "hex");
const SUBJECT_ALT_NAME = Buffer.from("0603551d11", "hex");
const TRUE = Buffer.from("0101ff", "hex");

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

function name(commonName: string): Buffer {
  return der(0x30, der(0x31, der(0x30, COMMON_NAME, der(0x0c, Buffer.from(commonName)))));
}

/** UTCTime, to the second. */
function time(date: Date): Buffer {
  return der(0x17, Buffer.from(`${date.toISOString().replaceAll(/[-:T]|\.\d+/gu, "").slice(2, 14)}Z`));
}

function certificate(
  subject: string,
  extension: Buffer,
  issuer: { readonly name: string; readonly privateKey: KeyObject } | undefined,
): Authority {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const by = issuer ?? { name: subject, privateKey };
  const day = 86_400_000;
  const body = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1, ...Buffer.from(subject).subarray(0, 8)])),
    ECDSA_WITH_SHA256,
    name(by.name),
    der(0x30, time(new Date(Date.now() - day)), time(new Date(Date.now() + day))),
    name(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(0x30, extension)),
  );
  const signature = der(0x03, Buffer.from([0]), sign("sha256", body, by.privateKey));
  const base64 = der(0x30, body, ECDSA_WITH_SHA256, signature).toString("base64");
  const cert = `-----BEGIN CERTIFICATE-----\n${base64.replaceAll(/(.{64})/gu, "$1\n")}\n-----END CERTIFICATE-----\n`;
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(), name: subject, privateKey };
}

export function authority(commonName: string): Authority {
  const constraints = der(0x30, BASIC_CONSTRAINTS, TRUE, der(0x04, der(0x30, TRUE)));
  return certificate(commonName, constraints, undefined);
}

/** For a server of that DNS name, or a client of that common name. */
export function issue(ca: Authority, commonName: string): Issued {
  const names = der(0x30, SUBJECT_ALT_NAME, der(0x04, der(0x30, der(0x82, Buffer.from(commonName)))));
  const { cert, key } = certificate(commonName, names, ca);
  return { cert, key };
}
