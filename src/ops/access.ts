/**
 * Says who may read the ops port from another machine, as Kubernetes' own components do: a client certificate
 * of the cluster's CA or a bearer token says who asks (TokenReview), and the API's authorizer says whether
 * that user may `get` the path (SubjectAccessReview). Verdicts are kept for a short time, and an older one
 * counts while no API server answers, because that is when a person needs the page.
 */
import { createHash, X509Certificate } from "node:crypto";
import type { Clock } from "../clock.ts";
import { plainText } from "../kube/plain-text.ts";
import { isObject } from "../kube/record-codec.ts";

/** What a client has shown of itself. */
export interface Shown {
  readonly certificate: X509Certificate | undefined;
  /** The text after `Bearer ` of the header `Authorization`. */
  readonly token: string | undefined;
}

export type AccessVerdict =
  | { readonly kind: "allowed" }
  | { readonly kind: "unauthenticated"; readonly why: string }
  | { readonly kind: "forbidden"; readonly why: string }
  /** It could not be found out: for want of an answer, or because too many ask. */
  | { readonly kind: "unknown"; readonly why: string };

/** An answer of the API to a review; undefined: no API server answered. */
export type ReviewAnswer = { readonly status: number; readonly body: unknown } | undefined;

export interface AccessDeps {
  readonly clock: Clock;
  /** The cluster's CA as PEM, which may be several certificates; undefined while there is no kubeconfig. */
  readonly clusterCa: () => string | undefined;
  /** Posts a review to the API. Never rejects. */
  readonly review: (path: string, body: object) => Promise<ReviewAnswer>;
}

export interface Access {
  /** Never rejects. */
  judge(shown: Shown, path: string): Promise<AccessVerdict>;
}

interface User {
  readonly username: string;
  readonly groups: readonly string[];
  readonly uid?: string;
}

const TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
/** The API's authorizers let this group do everything, without asking any rule. */
const MASTERS = "system:masters";
/** kubeadm gives its members everything by a binding. It is believed of them only while it cannot be asked. */
const ADMINS = "kubeadm:cluster-admins";
const AUTHENTICATED = "system:authenticated";
/** RFC 5280 section 4.2.1.12: id-kp-clientAuth. */
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

const ALLOWED_MS = 60_000;
const DENIED_MS = 10_000;
/** For so long an allowed verdict counts while no API server answers. */
const WITHOUT_API_MS = 600_000;
const MOST_VERDICTS = 512;
/** Most verdicts that are being found out at one time: a stranger must not be able to flood the API. */
const MOST_ASKED = 8;
const MOST_TOKEN = 16_384;

type Verdicts = Map<string, { readonly verdict: AccessVerdict; readonly atMs: number }>;

export function createAccess({ clock, clusterCa, review }: AccessDeps): Access {
  /** Apart, so that strangers who are denied push out nobody who is allowed. */
  const allowed: Verdicts = new Map();
  const denied: Verdicts = new Map();
  const asked = new Map<string, Promise<AccessVerdict>>();

  async function find(shown: Shown, path: string): Promise<AccessVerdict> {
    const who = await userOf(shown);
    if ("kind" in who) return who;
    if (who.groups.includes(MASTERS)) return { kind: "allowed" };
    const { username, ...rest } = who;
    const answer = await review(ACCESS_REVIEWS, {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { user: username, ...rest, nonResourceAttributes: { path, verb: "get" } },
    });
    const status = statusOf(answer);
    if (typeof status === "string")
      return answer === undefined && shown.token === undefined && who.groups.includes(ADMINS)
        ? { kind: "allowed" }
        : { kind: "unknown", why: status };
    return status["allowed"] === true
      ? { kind: "allowed" }
      : { kind: "forbidden", why: plainText(`user ${JSON.stringify(username)} may not get ${path}`) };
  }

  async function userOf({ certificate, token }: Shown): Promise<User | AccessVerdict> {
    const byCertificate = certificate && userOfCertificate(certificate, clusterCa(), clock.wall());
    if (byCertificate !== undefined) return byCertificate;
    if (token === undefined || token === "" || token.length > MOST_TOKEN)
      return {
        kind: "unauthenticated",
        why: "show a bearer token, or a client certificate of the cluster's CA that has not ended",
      };
    const answer = await review(TOKEN_REVIEWS, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token },
    });
    const status = statusOf(answer);
    if (typeof status === "string") return { kind: "unknown", why: status };
    const user = status["authenticated"] === true ? userIn(status["user"]) : undefined;
    return user ?? { kind: "unauthenticated", why: "the API does not know this token" };
  }

  function keep(key: string, verdict: AccessVerdict): void {
    allowed.delete(key);
    denied.delete(key);
    const kept = verdict.kind === "allowed" ? allowed : denied;
    kept.set(key, { verdict, atMs: clock.now() });
    const [oldest] = kept.keys();
    if (kept.size > MOST_VERDICTS && oldest !== undefined) kept.delete(oldest);
  }

  async function judge(shown: Shown, path: string): Promise<AccessVerdict> {
    const key = keyOf(shown, path);
    const known = allowed.get(key) ?? denied.get(key);
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : clock.now() - known.atMs;
    if (known !== undefined && ageMs < (known.verdict.kind === "allowed" ? ALLOWED_MS : DENIED_MS))
      return known.verdict;
    const under = asked.get(key);
    // There are few who were allowed, and a flood of others must not keep them out.
    if (under === undefined && asked.size >= MOST_ASKED && known?.verdict.kind !== "allowed")
      return { kind: "unknown", why: "too many clients ask for the first time; try again" };
    const finding = under ?? find(shown, path).finally(() => asked.delete(key));
    asked.set(key, finding);
    const verdict = await finding;
    // Who shows nothing is told so without a question to the API. To keep that would push out what was asked.
    if (verdict.kind === "unauthenticated" && shown.token === undefined) return verdict;
    if (verdict.kind !== "unknown") {
      keep(key, verdict);
      return verdict;
    }
    return known?.verdict.kind === "allowed" && ageMs < WITHOUT_API_MS ? known.verdict : verdict;
  }

  return { judge };
}

/** A hash, so that no token stays in memory for longer than its request. */
function keyOf({ certificate, token = "" }: Shown, path: string): string {
  const hash = createHash("sha256");
  for (const part of [certificate?.fingerprint256 ?? "", token, path]) hash.update(`${part.length}:${part}`);
  return hash.digest("base64");
}

/** The review's status, or why there is none. */
function statusOf(answer: ReviewAnswer): Readonly<Record<string, unknown>> | string {
  if (answer === undefined) return "no API server answers, and this client was not allowed lately";
  const { status, body } = answer;
  if (status === 403)
    return "the agent's user may not ask the API who a client is: apply manifests/monitoring";
  const told = isObject(body) ? body["status"] : undefined;
  return (status === 200 || status === 201) && isObject(told)
    ? told
    : `the API answered the review with ${status}`;
}

function userIn(value: unknown): User | undefined {
  if (!isObject(value)) return undefined;
  const { username, groups, uid } = value;
  if (typeof username !== "string" || username === "") return undefined;
  const names: readonly unknown[] = Array.isArray(groups) ? groups : [];
  return {
    username,
    groups: names.filter((name) => typeof name === "string"),
    ...(typeof uid === "string" && uid !== "" ? { uid } : {}),
  };
}

/**
 * Reads the user of a client certificate, as kube-apiserver does: the common name is the user, each
 * organization a group. undefined unless one of the CA's certificates has issued it for clients and it is
 * valid now. The handshake has proved that the client has its key.
 */
function userOfCertificate(
  certificate: X509Certificate,
  bundle: string | undefined,
  now: Date,
): User | undefined {
  // A certificate without that extension has none, whatever the type says.
  const usages: readonly string[] | undefined = certificate.keyUsage;
  if (certificate.ca || usages === undefined || !usages.includes(CLIENT_AUTH)) return undefined;
  if (Date.parse(certificate.validFrom) > now.getTime() || Date.parse(certificate.validTo) <= now.getTime())
    return undefined;
  if (!authorities(bundle).some((authority) => issued(authority, certificate))) return undefined;
  // Not the text of the subject: there the values of one relative name stand behind each other, as Go writes
  // several organizations.
  const { subject } = certificate.toLegacyObject();
  const username = valuesOf(subject.CN).at(-1) ?? "";
  return username === "" ? undefined : { username, groups: [...valuesOf(subject.O), AUTHENTICATED] };
}

/** A name that comes once is a text in Node's object, and one that comes more often is a list. */
function valuesOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === "string" ? [value] : value;
}

function issued(authority: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
  } catch {
    return false;
  }
}

function authorities(bundle = ""): readonly X509Certificate[] {
  return (bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).flatMap((pem) => {
    try {
      return [new X509Certificate(pem)];
    } catch {
      return [];
    }
  });
}
