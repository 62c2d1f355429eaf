/**
 * Turns one kubeconfig file into what a TLS connection needs. client-node knows the format (contexts,
 * embedded `*-data` or file references). Everything that it returns is checked here, and none of it ever
 * reaches a log.
 *
 * Only client-node's `config_types` is imported. Its `KubeConfig` class brings 784 modules with it, which
 * cost an agent some 30 MB of memory.
 */
import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { createSecureContext } from "node:tls";
import { newClusters, newContexts, newUsers } from "@kubernetes/client-node/dist/config_types.js";
import type { Cluster, User } from "@kubernetes/client-node/dist/config_types.js";
import { load } from "js-yaml";
import { errorCode, LeaseholdError } from "../errors.ts";
import { plainText } from "./plain-text.ts";
import { isObject } from "./record-codec.ts";
import type { JsonObject } from "./record-codec.ts";

/**
 * How the agent authenticates, and which CA it trusts. The server's address is not taken from the file: it
 * may be a name, or the VIP itself.
 */
export interface ClientCredentials {
  readonly path: string;
  readonly ca: string;
  /** PEM. undefined if the file has a token instead. */
  readonly clientCertificate: { readonly cert: string; readonly key: string } | undefined;
  /** Of the file itself or of the one that its tokenFile names. */
  readonly token: string | undefined;
  /**
   * Common name of the client certificate: the user that the API server takes us for. undefined with a token.
   */
  readonly user?: string | undefined;
  /**
   * `tls-server-name` of the file, `kubernetes` by default: the certificates of all API servers are valid for
   * that name.
   */
  readonly servername: string;
  /** When the client certificate began to be valid. null with a token. */
  readonly startsAt: Date | null;
  /** When the client certificate expires, or the CA that issued it, if that is sooner. null with a token. */
  readonly expiresAt: Date | null;
  /** A hash of the above, except `user`, `startsAt` and `expiresAt`, which follow from the certificate. */
  readonly fingerprint: string;
}

/**
 * What reading the file found. `missing`: the file does not exist (yet). A missing file that a pod mounts by
 * hostPath becomes an empty directory, so a directory counts as missing too.
 */
export type KubeconfigRead =
  | {
      readonly kind: "ok";
      readonly credentials: ClientCredentials;
      /**
       * Names the file's content and its user. It stays the same while the files that it names are renewed for
       * that user, as the kubelet renews its own.
       */
      readonly contentHash: string;
      /** All that was read, by the absolute or given path of each file: the kubeconfig and what it refers to. */
      readonly texts: ReadonlyMap<string, string>;
    }
  | { readonly kind: "missing"; readonly why: string }
  | { readonly kind: "broken"; readonly error: LeaseholdError };

/**
 * Reads and checks one kubeconfig file. Never rejects: a fault is part of the result (`LH_KUBECONFIG`).
 * @param earlier what an earlier read of the same path found. It is returned if every file still has the same
 *   text: checking certificates and keys takes milliseconds, and the agent reads for ever
 */
export async function readKubeconfig(path: string, earlier?: KubeconfigRead): Promise<KubeconfigRead> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return { kind: "missing", why: "no such file" };
    if (code === "EISDIR")
      return { kind: "missing", why: "it is a directory, as a hostPath of a missing file becomes" };
    return { kind: "broken", error: broken(path, `cannot be read: ${code}`) };
  }
  if (earlier?.kind === "ok" && earlier.texts.get(path) === text && (await areUnchanged(earlier.texts, path)))
    return earlier;
  try {
    const texts = new Map([[path, text]]);
    const credentials = await credentialsOf(path, text, texts);
    const contentHash = hashOf([path, text, credentials.user ?? ""]);
    return { kind: "ok", credentials, contentHash, texts };
  } catch (error) {
    if (error instanceof LeaseholdError) return { kind: "broken", error };
    return { kind: "broken", error: broken(path, "is not a kubeconfig") };
  }
}

const hashOf = (parts: readonly string[]): string =>
  createHash("sha256").update(JSON.stringify(parts)).digest("hex");

/** Tells whether the files, except the one at `read`, have these texts. */
async function areUnchanged(texts: ReadonlyMap<string, string>, read: string): Promise<boolean> {
  for (const [path, text] of texts) {
    if (path === read) continue;
    const now = await readFile(path, "utf8").catch(() => undefined);
    if (now !== text) return false;
  }
  return true;
}

/** @param texts gets the text of each file that the kubeconfig refers to */
async function credentialsOf(
  path: string,
  text: string,
  texts: Map<string, string>,
): Promise<ClientCredentials> {
  // The shell truncates the file after a `>` before it runs the command, and leaves it empty when the command
  // fails.
  if (text.trim() === "")
    throw broken(path, "is empty: the command that should have written it has failed, or has not ended yet");
  const { cluster, user, written } = parse(path, text);
  if (cluster === undefined) throw broken(path, "its current-context names no cluster");
  if (user === undefined) throw broken(path, "its current-context names no user");
  if (cluster.skipTLSVerify) throw broken(path, "insecure-skip-tls-verify is not accepted");
  const read = referenced(path, texts);
  const ca = await read("certificate-authority", cluster.caData, cluster.caFile);
  if (ca === undefined) throw broken(path, "the cluster has no certificate-authority");
  const authority = checked(path, "certificate-authority", () => new X509Certificate(ca));

  const cert = await read("client-certificate", user.certData, user.certFile);
  const key = await read("client-key", user.keyData, user.keyFile);
  const token = tokenOf(path, await read("tokenFile", undefined, written["tokenFile"]), user.token);
  const clientCertificate = cert !== undefined && key !== undefined ? { cert, key } : undefined;
  if (written["as"] !== undefined && written["as"] !== null)
    throw broken(path, "the user is to act as another one (`as`), which is not supported");
  if (clientCertificate === undefined && token === undefined)
    throw broken(path, whyNoUser(written, cert, key));
  const certificate =
    clientCertificate === undefined
      ? undefined
      : checked(path, "client-certificate", () => new X509Certificate(clientCertificate.cert));
  const expiresAt = certificate === undefined ? null : endOf(certificate, authority);
  checked(path, "client-key", () => createSecureContext({ ca, ...clientCertificate }));
  const servername =
    typeof cluster.tlsServerName === "string" && cluster.tlsServerName !== ""
      ? cluster.tlsServerName
      : "kubernetes";
  const parts = [path, ca, cert ?? "", key ?? "", token ?? "", servername];
  const fingerprint = hashOf(parts).slice(0, 16);
  return {
    path,
    ca,
    clientCertificate,
    token,
    user: commonName(certificate),
    servername,
    startsAt: certificate?.validFromDate ?? null,
    expiresAt,
    fingerprint,
  };
}

/**
 * A certificate that outlives its CA ends with it: `kubeadm kubeconfig user --validity-period` makes such
 * ones.
 */
function endOf(certificate: X509Certificate, authority: X509Certificate): Date {
  const end = certificate.validToDate;
  const last = authority.validToDate;
  return last < end && certificate.verify(authority.publicKey) ? last : end;
}

/** Returns the user's members as they are in the file: client-node leaves some out, `tokenFile` among them. */
function asWritten(users: unknown, name: string | undefined): JsonObject {
  const entry: unknown = Array.isArray(users)
    ? users.find((each: unknown) => isObject(each) && each["name"] === name)
    : undefined;
  return isObject(entry) && isObject(entry["user"]) ? entry["user"] : {};
}

/** The file comes before the token in the kubeconfig, as in client-go. Its content is read again for ever. */
function tokenOf(path: string, fromFile: string | undefined, inline: unknown): string | undefined {
  const text = (fromFile ?? (typeof inline === "string" ? inline : "")).trim();
  if (text === "") {
    if (fromFile !== undefined) throw broken(path, "the file that tokenFile names is empty");
    return undefined;
  }
  // It goes into a header, whose line it must not end.
  if (!/^[\x21-\x7e]+$/.test(text)) throw broken(path, "the token has characters that no token has");
  return text;
}

/** Says which members the user has that the agent cannot use, and which it could. */
function whyNoUser(user: JsonObject, cert: string | undefined, key: string | undefined): string {
  const supported = "use client-certificate with client-key, token, or tokenFile";
  const has = (member: string): boolean => user[member] !== undefined && user[member] !== null;
  if (has("exec"))
    return `the user has exec, a program that gets credentials, and the agent runs none; ${supported}`;
  if (has("auth-provider")) return `the user has auth-provider, which is not supported; ${supported}`;
  if (has("username") || has("password"))
    return `the user has a name and a password, which API servers no longer take; ${supported}`;
  if (cert !== undefined || key !== undefined)
    return `the user has a ${cert === undefined ? "client-key without its client-certificate" : "client-certificate without its client-key"}; ${supported}`;
  return `the user has neither a client certificate with its key nor a token; ${supported}`;
}

function commonName(certificate: X509Certificate | undefined): string | undefined {
  const name = /^CN=(.+)$/m.exec(certificate?.subject ?? "")?.[1];
  return name === undefined ? undefined : plainText(name, 100);
}

/** What the file's current-context names. undefined: it names none, or one that the file does not have. */
interface CurrentContext {
  readonly cluster: Cluster | undefined;
  readonly user: User | undefined;
  /** That user's members, by the names of the file. */
  readonly written: JsonObject;
}

function parse(path: string, text: string): CurrentContext {
  try {
    const file = load(text);
    if (!isObject(file)) throw new Error("a kubeconfig is a YAML mapping");
    const contexts = newContexts(file["contexts"]);
    const clusters = newClusters(file["clusters"]);
    const users = newUsers(file["users"]);
    const current = contexts.find(({ name }) => name === file["current-context"]);
    return {
      cluster: clusters.find(({ name }) => name === current?.cluster),
      user: users.find(({ name }) => name === current?.user),
      written: asWritten(file["users"], current?.user),
    };
  } catch (error) {
    throw broken(path, `is not a kubeconfig: ${parseFailure(error)}`);
  }
}

/**
 * The YAML parser's message quotes the lines around the fault, which may hold a key. So only the kind and the
 * place of the fault are returned.
 */
function parseFailure(error: unknown): string {
  if (typeof error === "object" && error !== null && "reason" in error && typeof error.reason === "string") {
    const mark = "mark" in error ? error.mark : undefined;
    const line = typeof mark === "object" && mark !== null && "line" in mark ? Number(mark.line) + 1 : "?";
    return `${error.reason} (line ${line})`;
  }
  // client-node's own messages name the member only, as in "users[0].name is missing".
  if (error instanceof Error && /^\w+\[\d+\][\w.]* is missing$/.test(error.message)) return error.message;
  return "it has another structure";
}

/**
 * Returns the embedded data, or else the content of the file that is named. undefined if there is neither.
 */
type Material = (member: string, data: unknown, file: unknown) => Promise<string | undefined>;

/**
 * Reads the files that one kubeconfig refers to, each file once. kubelet.conf names one file for both
 * certificate and key, and the kubelet replaces it when it rotates them. If it were read twice, one half
 * could come from the old file.
 */
function referenced(path: string, texts: Map<string, string>): Material {
  return async (member, data, file) => {
    if (typeof data === "string" && data !== "") return Buffer.from(data, "base64").toString("utf8");
    if (typeof file !== "string" || file === "") return undefined;
    // Relative to the kubeconfig, as kubectl reads it.
    const absolute = resolve(dirname(path), file);
    try {
      const content = texts.get(absolute) ?? (await readFile(absolute, "utf8"));
      texts.set(absolute, content);
      return content;
    } catch (error) {
      throw broken(path, `${member} ${file} cannot be read: ${codeOf(error)}`);
    }
  };
}

function checked<T>(path: string, member: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw broken(path, `${member} is damaged or does not fit: ${codeOf(error)}`);
  }
}

function broken(path: string, what: string): LeaseholdError {
  return new LeaseholdError("LH_KUBECONFIG", `${path}: ${what}`);
}

const codeOf = (error: unknown): string => errorCode(error) || "unknown error";
