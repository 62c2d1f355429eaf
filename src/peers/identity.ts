/**
 * The key by which the other nodes' agents know this one. It is made once and kept on disk, so that they know
 * it again after a restart while no API server can tell them of another.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { errorCode } from "../errors.ts";
import type { Logger } from "../log.ts";
import { replaceFile } from "../remembered-file.ts";
import { keyId, selfSigned } from "./certificate.ts";

/** What this agent shows in TLS, as a server and as a client. */
export interface PeerIdentity {
  /** PEM, PKCS #8. */
  readonly key: string;
  /** PEM. */
  readonly cert: string;
  /** See {@link keyId}. */
  readonly id: string;
}

const KEY_FILE = "peer-key.pem";

/**
 * Reads the key from the data directory, or makes one and keeps it there. Never throws: a key that cannot be
 * kept is logged, serves until the agent ends, and the Lease names the next one.
 */
export function peerIdentity(dataDir: string, node: string, log: Logger): PeerIdentity {
  const path = join(dataDir, KEY_FILE);
  const privateKey = keptKey(path, log) ?? newKey(path, log);
  return {
    key: pem(privateKey),
    // X.520 gives a common name 64 characters.
    cert: selfSigned(privateKey, node.slice(0, 64)),
    id: keyId(createPublicKey(privateKey)),
  };
}

const pem = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }).toString();

function keptKey(path: string, log: Logger): KeyObject | undefined {
  try {
    const key = createPrivateKey(readFileSync(path));
    if (key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1") return key;
    log.warn({ path }, "The key for the peers is of another kind, and is replaced");
  } catch (error) {
    if (errorCode(error) !== "ENOENT")
      log.warn({ path, err: error }, "The key for the peers cannot be read, and is replaced");
  }
  return undefined;
}

function newKey(path: string, log: Logger): KeyObject {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  try {
    replaceFile(path, pem(privateKey));
  } catch (error) {
    log.warn({ path, err: error }, "The key for the peers cannot be kept: it changes with each start");
  }
  return privateKey;
}
