/** Asks for the room on the disks of the agent's directories. */
import { statfsSync } from "node:fs";
import type { Config } from "../config/config.ts";

/** A directory that the agent writes to, with the room on its disk. */
export interface DiskFacts {
  readonly setting: string;
  readonly path: string;
  readonly freeBytes: number;
  /** null: the file system has no fixed number of them. */
  readonly freeInodes: number | null;
}

/** The room on the disks of the agent's directories. One that is not there is left out. */
export function disks({ dataDir, stateDir }: Pick<Config, "dataDir" | "stateDir">): readonly DiskFacts[] {
  const directories = [
    { setting: "LEASEHOLD_DATA_DIR", path: dataDir },
    { setting: "LEASEHOLD_STATE_DIR", path: stateDir },
  ];
  return directories.flatMap(({ setting, path }) => {
    try {
      const { bavail, bsize, files, ffree } = statfsSync(path);
      return [{ setting, path, freeBytes: bavail * bsize, freeInodes: files === 0 ? null : ffree }];
    } catch {
      return [];
    }
  });
}
