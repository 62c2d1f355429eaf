/**
 * What outlives the process, in `stateDir` (on /run: it outlives no reboot): when the Lease was last renewed, so that an agent
 * that is started again at once may keep the VIP before it has read the Lease (invariant 5); and who this machine is.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

export interface PersistenceDeps {
  readonly log: Logger;
  /** Its now() is CLOCK_BOOTTIME: comparable between processes of one boot. */
  readonly clock: Clock;
  readonly stateDir: string;
  readonly node: string;
  /** See {@link machineInstance}. */
  readonly instance: string;
  /** Default: the kernel's. */
  readonly bootIdFile?: string;
}

export interface Persistence {
  /**
   * Notes a successful renewal by the time it was sent, monotonic ms. One small write to a tmpfs; never throws, a failure is
   * logged once until it works again.
   */
  remember(renewedAtMs: number): void;
  /** What was last noted by this node and machine, in this boot; null when there is nothing that can be relied on. */
  recall(): { readonly renewedAtMs: number } | null;
  /** The right to the VIP was given up. Never throws. */
  forget(): void;
}

const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";
const STATE_FILE = "state.json";
const INSTANCE_FILE = "machine-id";

export function createPersistence(deps: PersistenceDeps): Persistence {
  const { log, clock, stateDir, node, instance } = deps;
  const file = join(stateDir, STATE_FILE);
  const bootId = readTrimmed(deps.bootIdFile ?? BOOT_ID_FILE);
  let failed = false;

  function attempt(action: () => void): void {
    try {
      action();
      failed = false;
    } catch (error) {
      if (!failed) log.error({ err: error, file }, "State file not writable: a restart of the agent may move the VIP");
      failed = true;
    }
  }

  return {
    remember(renewedAtMs) {
      // Without a boot id nothing that we read later could be told from what an earlier boot wrote.
      if (bootId === undefined) return;
      attempt(() => replaceFile(stateDir, STATE_FILE, JSON.stringify({ bootId, node, instance, renewedAtMs })));
    },
    recall() {
      const saved = parseObject(readTrimmed(file));
      if (saved === undefined || bootId === undefined) return null;
      const { renewedAtMs } = saved;
      if (saved["bootId"] !== bootId || saved["node"] !== node || saved["instance"] !== instance) return null;
      if (typeof renewedAtMs !== "number" || !Number.isFinite(renewedAtMs) || renewedAtMs < 0) return null;
      return renewedAtMs > clock.now() ? null : { renewedAtMs };
    },
    forget() {
      attempt(() => rmSync(file, { force: true }));
    },
  };
}

/**
 * 16 hex digits that tell this machine from another of the same name: a hash, because machine-id(5) asks not to show the id
 * itself. Without a machine id one is made and kept in `stateDir`, with a warning: it lasts until the next boot.
 */
export function machineInstance(machineIdFile: string, stateDir: string, log: Logger): string {
  const machineId = readTrimmed(machineIdFile);
  // systemd writes "uninitialized" into an image that has not had its first boot.
  if (machineId !== undefined && machineId !== "" && machineId !== "uninitialized") return digest(machineId);
  const kept = readTrimmed(join(stateDir, INSTANCE_FILE));
  if (kept !== undefined && kept !== "") return digest(kept);
  const made = randomUUID();
  log.warn({ file: machineIdFile, stateDir }, "No machine id: the agent made one up, which changes with the next boot");
  try {
    replaceFile(stateDir, INSTANCE_FILE, made);
  } catch (error) {
    log.error({ err: error, stateDir }, "Made-up machine id not writable: it changes with each start of the agent");
  }
  return digest(made);
}

function digest(machineId: string): string {
  return createHash("sha256").update(`leasehold:${machineId}`).digest("hex").slice(0, 16);
}

/** Whole or not at all: a process killed in between leaves the old content. No fsync: no power loss outlives a tmpfs. */
function replaceFile(directory: string, name: string, content: string): void {
  const temporary = join(directory, `.${name}.new`);
  try {
    writeFileSync(temporary, `${content}\n`, { mode: 0o600 });
  } catch {
    // The usual reason is that nobody has made the directory yet; for any other, the second try says so.
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(temporary, `${content}\n`, { mode: 0o600 });
  }
  renameSync(temporary, join(directory, name));
}

function readTrimmed(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return undefined;
  }
}

function parseObject(text: string | undefined): { readonly renewedAtMs?: unknown; readonly [key: string]: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "null");
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
