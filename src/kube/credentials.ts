/**
 * Keeps the credentials in use: our own kubeconfig, and admin.conf while ours is missing, expired or turned
 * away. Either file may appear after the agent started, be replaced while it runs, or be a directory by
 * mistake. So both are read again whenever their directory changes, and on a timer, for ever.
 *
 * A 403 says that the user is known and may not do this. While a cluster is set up, that means that RBAC is not
 * there yet, and admin.conf helps. Once an API server has let our own user use the Lease, a 403 is somebody's
 * decision: a right that was taken away, or an admission webhook. The agent must not answer it as the
 * cluster's administrator.
 */
import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import { readRememberedItems, writeRememberedItems } from "../remembered-file.ts";
import { readKubeconfig } from "./kubeconfig.ts";
import type { ClientCredentials, KubeconfigRead } from "./kubeconfig.ts";

/**
 * inotify reports most changes at once. This timer finds the rest: referenced files elsewhere, and a
 * directory that is created later.
 */
const REREAD_MS = 2000;
/** One change of a file causes several events. */
const SETTLE_MS = 50;
/** Credentials that were turned away are tried again after this long: RBAC may have been set up meanwhile. */
const REJECTED_MS = 30_000;

export interface CredentialsDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Path of our own kubeconfig. */
  readonly ownPath: string;
  /** Path of the fallback, admin.conf; null: there is none. */
  readonly adminPath: string | null;
  /**
   * The file that keeps which content of our own kubeconfig is proven, so that a restart forgets nothing.
   * Only the agent writes it. Absent: nothing is kept.
   */
  readonly provenFile?: { readonly path: string; readonly mode: "read" | "write" };
  /** Called when the answer of {@link Credentials.current} has changed. */
  readonly onChange: () => void;
}

/**
 * Milliseconds before its end at which a client certificate is called to people's attention. One with a short
 * life is so in the last tenth of it: the kubelet renews its own before that.
 */
const ENDS_SOON_MS = 30 * 86_400_000;
const ENDS_SOON_PART = 0.1;

/** The certificate has ended, or ends so soon that people have to see to it. */
export function endsSoon(startsAt: Date | null, expiresAt: Date, nowMs: number): boolean {
  const lifeMs = expiresAt.getTime() - (startsAt ?? expiresAt).getTime();
  return expiresAt.getTime() - nowMs <= Math.min(ENDS_SOON_MS, lifeMs * ENDS_SOON_PART);
}

/** The key of the list in {@link CredentialsDeps.provenFile}. */
const PROVEN = "proven";

/** The {@link CredentialsDeps.provenFile} of an agent. */
export const provenFile = ({ dataDir }: { readonly dataDir: string }): string =>
  join(dataDir, "own-kubeconfig.json");

const hashIn = (item: unknown): string | undefined =>
  typeof item === "string" && /^[0-9a-f]{64}$/.test(item) ? item : undefined;

/** A warning about the same certificate is logged once in this time, ms. */
const WARN_AGAIN_MS = 86_400_000;

/** The client certificate of one kubeconfig. */
export interface CertificateEnd {
  readonly path: string;
  readonly kubeconfig: "own" | "admin";
  readonly expiresAt: Date;
  /**
   * The certificate has ended or ends soon, and the agent relies on it. It relies on its own kubeconfig
   * always, and on admin.conf while that one is in force.
   */
  readonly endsSoon: boolean;
}

/** The credentials of both kubeconfigs, kept up to date. */
export interface Credentials {
  /** Starts reading. Resolves when both files have been read, whatever was in them. */
  start(): Promise<void>;
  stop(): void;
  /** Reads both files now (SIGHUP). */
  reload(): Promise<void>;
  /**
   * Returns the credentials that may be tried, best first. The list is empty while there is no usable
   * kubeconfig.
   */
  usable(): readonly ClientCredentials[];
  /**
   * Returns the credentials in force, for callers that do not try one after the other (the health checks, the
   * status). They are the first of {@link usable}, with one exception: credentials that were turned away are
   * in force again only after a server has taken them.
   */
  current(): ClientCredentials | undefined;
  /**
   * Returns why the best credentials cannot be relied on, or why there are none, naming each file. Returns
   * null while {@link current} are good.
   */
  problem(): string | null;
  /** Returns the client certificates, our own first. A kubeconfig with a token has none. */
  certificates(): readonly CertificateEnd[];
  /**
   * Returns which certificates have ended or end soon, and what to do about it, in words. null: none does.
   */
  warning(): string | null;
  /**
   * Records that an API server turned these credentials away: with 401 or 403, or in TLS while the other ones
   * were good there.
   * @param why the HTTP status, or what failed in TLS
   */
  rejected(credentials: ClientCredentials, why: number | string): void;
  /** Records that an API server took these credentials. */
  accepted(credentials: ClientCredentials): void;
  /** Records that an API server let their user use the Lease. Our own are proven from then on. */
  proved(credentials: ClientCredentials): void;
  /**
   * Tells whether the other kubeconfig may be tried after this HTTP status, after a failure in TLS, or after a
   * connection that the server ended before its answer. It may not after a 403 or such an end to our own that
   * are proven: any host on the way can end a connection.
   */
  mayTryOther(credentials: ClientCredentials, why: number | "tls" | "reset"): boolean;
}

interface Source {
  readonly path: string;
  last: KubeconfigRead | undefined;
  /** The last good content. It stays while the file is broken and goes when the file is removed. */
  credentials: ClientCredentials | undefined;
  /** Of the same content, see {@link KubeconfigRead}. */
  contentHash: string;
  rejected: { readonly why: number | string; readonly untilMs: number } | undefined;
  /** The last complaint, so that each is logged once. */
  complaint: string;
  /** When its end was last logged, and of which certificate. */
  warned: { readonly fingerprint: string; readonly ended: boolean; readonly atMs: number } | undefined;
}

/** Says how a certificate that ends is renewed, by the place of its kubeconfig. It ends a sentence. */
export function renewalAdvice({ kubeconfig, path }: Pick<CertificateEnd, "kubeconfig" | "path">): string {
  if (path.startsWith("/etc/rancher/")) return "k3s and RKE2 renew it when they are restarted";
  if (kubeconfig === "admin" || path.endsWith("/admin.conf"))
    return "renew it with `kubeadm certs renew admin.conf`";
  if (path.endsWith("kubelet.conf")) return "the kubelet renews it: look at the kubelet's log";
  return "make a new one as LH_KUBECONFIG in docs/operations.md says";
}

/** Creates the credentials, which are empty until {@link Credentials.start} has read the files. */
export function createCredentials(deps: CredentialsDeps): Credentials {
  const { clock, log } = deps;
  const own: Source = newSource(deps.ownPath);
  const admin: Source = newSource(deps.adminPath ?? deps.ownPath);
  const sources = own.path === admin.path ? [own] : [own, admin];
  const kept = deps.provenFile;
  let [provenHash] = kept === undefined ? [] : readRememberedItems(kept.path, PROVEN, hashIn, log);
  const watchers = new Map<string, FSWatcher>();
  let stopped = true;
  let timer: Timer | undefined;
  let settle: Timer | undefined;
  let reading: Promise<void> | undefined;
  let rereadAfter = false;
  let inForce: string | undefined;
  let lastTaken: Source | undefined;

  /**
   * Ranks what is wrong with the credentials now: 0 is usable, and our own come first among equals. A TLS
   * failure ranks worse than an answer of 403, because a health check can use a 403 as an answer.
   */
  function trouble(source: Source, atMs: number): number {
    const { rejected } = source;
    const turnedAway =
      rejected === undefined || rejected.untilMs <= atMs || !mayOtherServe(source, rejected.why)
        ? 0
        : typeof rejected.why === "number"
          ? 1
          : 2;
    return (hasEnded(source) ? 1 : 0) + turnedAway;
  }

  function hasEnded({ credentials }: Source): boolean {
    return (credentials?.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY) <= clock.wall().getTime();
  }

  const mayOtherServe = (source: Source, why: number | string): boolean =>
    !((why === 403 || why === "reset") && source === own && source.contentHash === provenHash);

  const sourceOf = ({ fingerprint }: ClientCredentials): Source | undefined =>
    sources.find((source) => source.credentials?.fingerprint === fingerprint);

  const isRejected = ({ rejected }: Source): boolean =>
    rejected !== undefined && rejected.untilMs > clock.now();

  function ranked(atMs: number): readonly Source[] {
    return sources
      .filter((source) => source.credentials !== undefined)
      .sort((a, b) => trouble(a, atMs) - trouble(b, atMs));
  }

  function inOrder(atMs: number): readonly ClientCredentials[] {
    return ranked(atMs).flatMap((source) => source.credentials ?? []);
  }

  const usable = (): readonly ClientCredentials[] => inOrder(clock.now());
  const current = (): ClientCredentials | undefined => inOrder(Number.NEGATIVE_INFINITY)[0];

  function problemOf(source: Source): string | null {
    const { last, path, rejected, credentials } = source;
    // The message of a broken file begins with its path already.
    if (credentials === undefined)
      return last?.kind === "broken"
        ? last.error.message
        : `${path}: ${last?.kind === "missing" ? last.why : "not read yet"}${source === own ? "" : " (the fallback, which need not exist)"}`;
    // The end explains a refusal, and not the other way round.
    if (hasEnded(source))
      return `${path}: the client certificate ended at ${credentials.expiresAt?.toISOString() ?? ""}`;
    if (rejected !== undefined && isRejected(source)) {
      const { why } = rejected;
      const after = mayOtherServe(source, why)
        ? ""
        : ", and this user could use the Lease before, so no other kubeconfig is tried";
      return `${path}: ${typeof why === "number" ? `an API server answered ${why}${after}` : why}`;
    }
    return null;
  }

  function problem(): string | null {
    const [best] = ranked(clock.now());
    if (best !== undefined && trouble(best, clock.now()) === 0)
      return isRejected(best) ? problemOf(best) : null;
    return sources.flatMap((source) => problemOf(source) ?? []).join("; ");
  }

  function tellChange(): void {
    const fingerprint = current()?.fingerprint;
    if (fingerprint === inForce) return;
    inForce = fingerprint;
    deps.onChange();
  }

  async function readAll(): Promise<void> {
    for (const source of sources) take(source, await readKubeconfig(source.path, source.last));
    // admin.conf may be absent for good. Its absence is worth a log line only while our own kubeconfig is
    // absent too.
    for (const source of sources) complain(source);
    for (const end of certificates()) if (end.endsSoon) warnOf(end);
    if (!stopped) tellChange();
  }

  function take(source: Source, read: KubeconfigRead): void {
    source.last = read;
    if (read.kind === "missing") source.credentials = undefined;
    if (read.kind !== "ok") return;
    source.contentHash = read.contentHash;
    if (read.credentials.fingerprint === source.credentials?.fingerprint) return;
    source.credentials = read.credentials;
    source.rejected = undefined;
    log.info(
      { path: source.path, expiresAt: read.credentials.expiresAt?.toISOString() ?? null },
      "The agent read the kubeconfig",
    );
  }

  function complain(source: Source): void {
    const { last, path } = source;
    const missed = source === own || own.credentials === undefined;
    const complaint =
      last?.kind === "broken" ? last.error.message : last?.kind === "missing" && missed ? last.why : "";
    if (complaint === source.complaint) return;
    source.complaint = complaint;
    if (last?.kind === "broken")
      log.warn(
        { path, err: last.error },
        "The kubeconfig cannot be used: write it again as LH_KUBECONFIG in docs/operations.md says; the agent reads it when it changes",
      );
    else if (last?.kind === "missing" && missed)
      log.warn(
        { path, reason: last.why },
        "The kubeconfig is missing: make it as LH_KUBECONFIG in docs/operations.md says; the agent reads it when it is there",
      );
  }

  function certificates(): readonly CertificateEnd[] {
    const nowMs = clock.wall().getTime();
    const inForceNow = current();
    return sources.flatMap((source): readonly CertificateEnd[] => {
      const { startsAt = null, expiresAt = null } = source.credentials ?? {};
      if (expiresAt === null) return [];
      const reliedOn = source === own || source.credentials === inForceNow;
      return [
        {
          path: source.path,
          kubeconfig: source === own ? "own" : "admin",
          expiresAt,
          endsSoon: reliedOn && endsSoon(startsAt, expiresAt, nowMs),
        },
      ];
    });
  }

  function warning(): string | null {
    const nowMs = clock.wall().getTime();
    const ends = certificates().filter((end) => end.endsSoon);
    if (ends.length === 0) return null;
    return ends
      .map(
        (end) =>
          `${end.path}: the client certificate ${end.expiresAt.getTime() <= nowMs ? "ended" : "ends"} at ${end.expiresAt.toISOString()}; ${renewalAdvice(end)}`,
      )
      .join("; ");
  }

  function warnOf(end: CertificateEnd): void {
    const source = end.kubeconfig === "own" ? own : admin;
    const { fingerprint = "" } = source.credentials ?? {};
    const { warned } = source;
    const leftMs = end.expiresAt.getTime() - clock.wall().getTime();
    const ended = leftMs <= 0;
    if (
      warned?.fingerprint === fingerprint &&
      warned.ended === ended &&
      clock.now() < warned.atMs + WARN_AGAIN_MS
    )
      return;
    source.warned = { fingerprint, ended, atMs: clock.now() };
    log.warn(
      {
        path: end.path,
        expiresAt: end.expiresAt.toISOString(),
        daysLeft: Math.floor(leftMs / 86_400_000),
        hint: renewalAdvice(end),
      },
      ended ? "The client certificate has ended" : "The client certificate ends soon",
    );
  }

  /** Reads both files, one read at a time. A request during a read causes another read after it. */
  function reload(): Promise<void> {
    if (reading !== undefined) {
      rereadAfter = true;
      return reading;
    }
    reading = (async () => {
      for (;;) {
        rereadAfter = false;
        await readAll();
        if (!rereadAfter || stopped) return;
      }
    })().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  function watchDirectories(): void {
    for (const directory of new Set(sources.map((source) => dirname(source.path)))) {
      if (watchers.has(directory)) continue;
      try {
        const watcher = watch(directory, { persistent: false }, () => {
          settle?.cancel();
          settle = clock.after(SETTLE_MS, () => void reload());
        });
        const forget = (): void => {
          watcher.close();
          watchers.delete(directory);
        };
        watcher.on("error", forget);
        watchers.set(directory, watcher);
      } catch {
        // The directory does not exist yet, or no inotify watch is left. The timer reads the files instead.
      }
    }
  }

  function reasonForAdmin(): string {
    if (hasEnded(own)) return "ours has expired";
    if (own.rejected !== undefined)
      return typeof own.rejected.why === "number"
        ? `ours was answered ${own.rejected.why}`
        : `ours failed in TLS: ${own.rejected.why}`;
    if (own.last?.kind === "broken") return own.last.error.message;
    return "ours is missing";
  }

  return {
    async start() {
      stopped = false;
      watchDirectories();
      timer = clock.every(REREAD_MS, () => {
        watchDirectories();
        void reload();
      });
      await reload();
    },
    stop() {
      stopped = true;
      timer?.cancel();
      settle?.cancel();
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
    reload,
    usable,
    current,
    problem,
    certificates,
    warning,
    proved(credentials) {
      const source = sourceOf(credentials);
      if (source !== own || source.contentHash === provenHash) return;
      provenHash = source.contentHash;
      if (kept?.mode === "write") writeRememberedItems(kept.path, PROVEN, [provenHash], log);
    },
    mayTryOther(credentials, why) {
      const source = sourceOf(credentials);
      return source === undefined || mayOtherServe(source, why);
    },
    rejected(credentials, why) {
      const source = sourceOf(credentials);
      if (source === undefined) return;
      if (source.rejected?.why !== why && typeof why === "string")
        log.warn(
          { path: source.path, reason: why },
          "TLS fails with this kubeconfig and not with the other one: write it again as LH_KUBECONFIG in docs/operations.md says",
        );
      source.rejected = { why, untilMs: clock.now() + REJECTED_MS };
      tellChange();
    },
    accepted(credentials) {
      const source = sourceOf(credentials);
      if (source === undefined) return;
      if (source !== lastTaken) {
        if (source === admin)
          log.warn(
            { path: admin.path, ownPath: own.path, reason: reasonForAdmin() },
            "The agent uses admin.conf in place of its own kubeconfig",
          );
        else if (lastTaken === admin) log.info({ path: own.path }, "The agent uses its own kubeconfig again");
      }
      lastTaken = source;
      source.rejected = undefined;
      tellChange();
    },
  };
}

function newSource(path: string): Source {
  return {
    path,
    last: undefined,
    credentials: undefined,
    contentHash: "",
    rejected: undefined,
    complaint: "",
    warned: undefined,
  };
}
