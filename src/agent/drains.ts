/**
 * Which API servers a person has drained, as the Lease says. A candidate has the Lease from the election. A worker asks for
 * it: it has no part in the election, and a watch of a Lease that changes each second is too much for the API
 * servers where workers are many. While the Lease cannot be read its last word counts, also across a restart.
 */
import { join } from "node:path";
import type { Clock, Timer } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { ApiClient } from "../kube/api.ts";
import { drainedServers } from "../kube/drain.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { readLease } from "../kube/withdraw.ts";
import type { Logger } from "../log.ts";
import { parseServer } from "../net.ts";
import { readRememberedItems, writeRememberedItems } from "../remembered-file.ts";

export interface DrainsDeps {
  readonly config: Pick<Config, "dataDir" | "leaseNamespace" | "leaseName">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly api: ApiClient;
  /** Called at each change with the API servers that get no new connections, as canonical `ip:port`. */
  readonly onChange: (servers: readonly string[]) => void;
  /** Called with each Lease that {@link Drains.poll} has read. */
  readonly onLease?: (record: LeaseRecord) => void;
}

export interface Drains {
  current(): readonly string[];
  /** Takes over what the Lease says. With null there is none, and the last word counts. */
  observe(record: LeaseRecord | null): void;
  /** Asks the API for the Lease until closed. */
  poll(): { close(): void };
}

/** As often as the EndpointSlices are asked for. */
const POLL_MS = 10_000;
const WHAT = "drained";

export function createDrains(deps: DrainsDeps): Drains {
  const { config, clock, log, api, onChange } = deps;
  const file = join(config.dataDir, "drained-api-servers.json");
  let servers = readRememberedItems(
    file,
    WHAT,
    (item) => (typeof item === "string" ? parseServer(item)?.id : undefined),
    log,
  );
  if (servers.length > 0) onChange(servers);

  function observe(record: LeaseRecord | null): void {
    if (record === null) return;
    const now = drainedServers(record);
    if (now.join() === servers.join()) return;
    log.info(
      { drained: now, before: servers },
      now.length === 0
        ? "No API server is drained any more"
        : "A person wants these API servers to get no new connections",
    );
    servers = now;
    writeRememberedItems(file, WHAT, now, log);
    onChange(now);
  }

  return {
    current: () => servers,
    observe,
    poll() {
      let closed = false;
      let timer: Timer | undefined;
      let told = "";
      async function ask(): Promise<void> {
        const read = await readLease({ api, namespace: config.leaseNamespace, name: config.leaseName });
        if (closed) return;
        if (read.kind === "lease") {
          observe(read.record);
          deps.onLease?.(read.record);
        }
        const problem = read.kind === "failed" ? read.message : "";
        if (problem !== "" && problem !== told)
          log.warn(
            { reason: problem },
            "The Lease cannot be read, so a drain of an API server is not known here. Where the API forbids it, apply manifests/worker-rbac.yaml",
          );
        told = problem;
        timer = clock.after(POLL_MS, () => void ask());
      }
      void ask();
      return {
        close() {
          closed = true;
          timer?.cancel();
        },
      };
    },
  };
}
