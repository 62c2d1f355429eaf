/**
 * Keeps what outlives the process, in `stateDir` (on /run: it does not outlive a reboot). It notes when the
 * Lease was last renewed, so that an agent that is restarted at once may keep the VIP before it has read the
 * Lease (invariant 5). It also notes which machine this is.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

export interface PersistenceDeps {
  readonly log: Logger;
  /** Its now() is CLOCK_BOOTTIME, which processes of one boot can compare. */
  readonly clock: Clock;
  readonly stateDir: string;
  readonly node: string;
  /** See {@link machineInstance}. */
  readonly instance: string;
  /** Default: the kernel's boot id. */
  readonly bootIdFile?: string;
}

export interface Persistence {
  /**
   * Notes a successful renewal by the time it was sent, in monotonic ms. It is one small write to a tmpfs.
   * Never throws: a failure is logged once until it works again.
   */
  remember(renewedAtMs: number): void;
  /** Returns what this node and machine last noted in this boot; null when there is nothing reliable. */
  recall(): { readonly renewedAtMs: number } | null;
  /** Removes the note, because the VIP was given up. Never throws. */
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
      if (!failed)
        log.error(
          { err: error, file },
          "The agent could not write its state file, so its restart may move the VIP: check LEASEHOLD_STATE_DIR",
        );
      failed = true;
    }
  }

  return {
    remember(renewedAtMs) {
      // Without a boot id, a later process could not tell this note from one of an earlier boot.
      if (bootId === undefined) return;
      attempt(() =>
        replaceFile(stateDir, STATE_FILE, JSON.stringify({ bootId, node, instance, renewedAtMs })),
      );
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
 * Returns 16 hex digits that tell this machine from another of the same name. They are a hash, because
 * machine-id(5) asks not to show the id itself. Without a machine id one is made and kept in `stateDir`, with
 * a warning. It lasts until the next boot.
 */
export function machineInstance(machineIdFile: string, stateDir: string, log: Logger): string {
  const machineId = readTrimmed(machineIdFile);
  // systemd writes "uninitialized" into an image that has not had its first boot.
  if (machineId !== undefined && machineId !== "" && machineId !== "uninitialized") return digest(machineId);
  const kept = readTrimmed(join(stateDir, INSTANCE_FILE));
  if (kept !== undefined && kept !== "") return digest(kept);
  const made = randomUUID();
  log.warn(
    { file: machineIdFile, stateDir },
    "This machine has no machine id: the agent made one up, which changes with the next boot",
  );
  try {
    replaceFile(stateDir, INSTANCE_FILE, made);
  } catch (error) {
    log.error(
      { err: error, stateDir },
      "The agent could not write the machine id that it made up, which changes with each start of the agent now: check LEASEHOLD_STATE_DIR",
    );
  }
  return digest(made);
}

function digest(machineId: string): string {
  return createHash("sha256").update(`leasehold:${machineId}`).digest("hex").slice(0, 16);
}

/**
 * Replaces the file completely or not at all: a process killed in between leaves the old content. It needs no
 * fsync, because a tmpfs does not outlive a power loss.
 */
function replaceFile(directory: string, name: string, content: string): void {
  const temporary = join(directory, `.${name}.new`);
  try {
    writeFileSync(temporary, `${content}\n`, { mode: 0o600 });
  } catch {
    // The usual reason is that the directory does not exist yet. For any other reason, the second try throws
    // it.
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

function parseObject(
  text: string | undefined,
): { readonly renewedAtMs?: unknown; readonly [key: string]: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "null");
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
