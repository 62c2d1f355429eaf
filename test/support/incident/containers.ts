/**
 * The containers of a machine of the staged incidents, as its stand-in for the kubelet notes them in one file, and
 * as its stand-in for crictl reads them.
 */
import { readFileSync } from "node:fs";

export const CONTAINERS_FILE = "/run/kubelet/containers.json";

export interface Container {
  /** 64 hex digits, of which people use the first 13. */
  readonly id: string;
  readonly name: string;
  readonly pod: string;
  readonly image: string;
  /** How often the kubelet has started it before. */
  readonly attempt: number;
  /** Wall clock in ms. */
  readonly createdMs: number;
  readonly pid: number;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** Undefined while it runs. */
  readonly exit?: { readonly code: number | null; readonly signal: string | null };
}

/** The containers, the newest first. None before the kubelet has written its file. */
export function readContainers(file = CONTAINERS_FILE): readonly Container[] {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return [];
  }
}
