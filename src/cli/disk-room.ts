/** Judges the room on the disks of the agent's directories. Pure. */
import type { DiskFacts } from "./agent-disks.ts";

/** Ten recordings of the decisions and what is remembered of the cluster have room in this. */
const SPARE_BYTES = 16 * 2 ** 20;
/** No recording has room in less. */
const FULL_BYTES = 2 ** 20;
const SPARE_INODES = 32;

export interface ShortDisk {
  readonly path: string;
  /** Nothing can be written any more. */
  readonly isFull: boolean;
  /** What is left, as a sentence without a full stop. */
  readonly text: string;
}

/** Returns the disks that have little room, or none. */
export function shortDisks(disks: readonly DiskFacts[]): readonly ShortDisk[] {
  return disks.flatMap(({ setting, path, freeBytes, freeInodes }) => {
    const isShortOfInodes = freeInodes !== null && freeInodes < SPARE_INODES;
    if (freeBytes >= SPARE_BYTES && !isShortOfInodes) return [];
    const inodes = isShortOfInodes ? ` and ${freeInodes} inodes` : "";
    const text = `the disk of ${path} (${setting}) has ${Math.floor(freeBytes / 1024)} KiB${inodes} left`;
    return [{ path, isFull: freeBytes < FULL_BYTES || freeInodes === 0, text }];
  });
}
