/**
 * Which API servers are about to stop, so that they get no new connections before their listeners close. A node
 * sees it of its own server: kubelet restarts a static pod when its manifest has changed, and ends it when the
 * manifest has gone. The others read it in the node's offer in the Lease. A server that says on /readyz that it
 * shuts down is found by every node's own checks (`backends/pool.ts`).
 */
import { readFileSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { Grade } from "../backends/backend.ts";
import type { Clock, Timer } from "../clock.ts";
import { stoppingServers } from "../kube/drain.ts";
import type { LeaseRecord } from "../kube/record.ts";
import type { Logger } from "../log.ts";

export interface StoppingDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** The path of the manifest, for the log. */
  readonly manifest: string;
  /** Reads the manifest; undefined where there is none. It throws where that cannot be found out. */
  readonly read: () => string | undefined;
  /** Calls `poke` when something has changed in the manifest's directory. It may miss a change. */
  readonly watch: (poke: () => void) => { close(): void };
  /** The grade of this node's own API server; undefined before it is known. */
  readonly grade: () => Grade | undefined;
  /** Called when what {@link Stopping.own} or {@link Stopping.others} answers has changed. */
  readonly onChange: () => void;
}

export interface Stopping {
  start(): void;
  /** Tells that the grade of this node's API server may have changed. */
  update(): void;
  /** Takes over what the other nodes say in the Lease. With null there is none, and the last word counts. */
  observe(record: LeaseRecord | null): void;
  /** True while this node's own API server is about to stop, until it is ready again. */
  own(): boolean;
  /** The other API servers that are about to stop, as canonical `ip:port`. */
  others(): readonly string[];
  close(): void;
}

/** This node's own API server. `away`: it has been found DOWN since, so it has stopped. */
type Own =
  | { readonly kind: "staying" }
  | { readonly kind: "stopping"; readonly away: boolean; readonly timer: Timer };

/** kubelet looks at its manifests every 20 s where it is not told of a change, and this does it twice as often. */
const LOOK_MS = 10_000;
/**
 * Milliseconds after which a server that has not stopped, or has not come back, is given up to its health checks.
 * A pod has 30 s to end, and starts in some ten. An agent that ends meanwhile leaves its word in the Lease, so the
 * others do not believe it for longer either.
 */
const STOPPING_MS = 120_000;

/** A manifest is some kilobytes. */
const MOST_CHARACTERS = 1_000_000;

/**
 * Reads a manifest as text, cut where it is longer than any; undefined where there is none.
 * @throws {Error} EMFILE, EACCES and others: it may be there
 */
export function readManifest(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").slice(0, MOST_CHARACTERS);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw error;
  }
}

/**
 * Calls `poke` at each change of the file. It watches the directory, so it sees a file that is replaced, goes or
 * comes. Without the directory, or where no inotify watch is left, it does nothing.
 */
export function watchManifest(path: string, poke: () => void): { close(): void } {
  try {
    const watcher = watch(dirname(path), { persistent: false }, (_event, file) => {
      if (file === null || file === basename(path)) poke();
    });
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return { close: () => {} };
  }
}

export function createStopping(deps: StoppingDeps): Stopping {
  const { clock, log, manifest, onChange } = deps;
  let content: string | undefined;
  let own: Own = { kind: "staying" };
  let others: readonly string[] = [];
  /** When each of the others began to stop, monotonic ms. */
  let since: ReadonlyMap<string, number> = new Map();
  let expiry: Timer | undefined;
  let watcher: { close(): void } | undefined;
  let looking: Timer | undefined;

  /** Reads the manifest. One that cannot be read counts as unchanged. */
  function readNow(): string | undefined {
    try {
      return deps.read();
    } catch (error) {
      log.debug({ err: error, manifest }, "The manifest of this node's API server was not read");
      return content;
    }
  }

  function look(): void {
    const now = readNow();
    if (now === content) return;
    const before = content;
    content = now;
    // A server that is not ready has no connections to lose, and one that starts is not to be held up.
    if (before === undefined || (own.kind === "staying" && deps.grade() !== "UP")) return;
    const isNews = own.kind === "staying";
    if (own.kind === "stopping") own.timer.cancel();
    const timer = clock.after(STOPPING_MS, () => stays("it was not ready again in time"));
    own = { kind: "stopping", away: false, timer };
    if (!isNews) return;
    log.info(
      { manifest, gone: now === undefined },
      "The manifest of this node's API server has changed, so kubelet will stop it: it gets no new connections until it is ready again",
    );
    onChange();
  }

  function stays(reason: string): void {
    if (own.kind === "staying") return;
    own.timer.cancel();
    own = { kind: "staying" };
    log.info(
      { reason },
      "This node's API server gets new connections again, if its health checks find it ready",
    );
    onChange();
  }

  /** Drops those that have said it for too long. */
  function review(): void {
    expiry?.cancel();
    expiry = undefined;
    const oldest = [...since].filter(([, sinceMs]) => clock.now() < sinceMs + STOPPING_MS);
    const now = oldest.map(([server]) => server);
    if (oldest.length > 0) {
      const endsMs = Math.min(...oldest.map(([, sinceMs]) => sinceMs)) + STOPPING_MS;
      expiry = clock.after(endsMs - clock.now(), review);
    }
    if (now.join() === others.join()) return;
    others = now;
    onChange();
  }

  return {
    start() {
      content = readNow();
      watcher = deps.watch(look);
      looking = clock.every(LOOK_MS, look);
    },
    update() {
      if (own.kind === "staying") return;
      const grade = deps.grade();
      if (grade === "DOWN" && !own.away) own = { ...own, away: true };
      else if (grade === "UP" && own.away) stays("it has started again");
    },
    observe(record) {
      if (record === null) return;
      const nowMs = clock.now();
      since = new Map(stoppingServers(record).map((server) => [server, since.get(server) ?? nowMs]));
      review();
    },
    own: () => own.kind === "stopping",
    others: () => others,
    close() {
      watcher?.close();
      looking?.cancel();
      expiry?.cancel();
      if (own.kind === "stopping") own.timer.cancel();
    },
  };
}
