/**
 * Wall clocks of single processes that a test can set. No namespace has CLOCK_REALTIME (time_namespaces(7)),
 * and the machine's own clock is everybody's. So libfaketime stands between a process and libc. It leaves the
 * monotonic clocks and the times of files alone. Go programs, such as etcd and kube-apiserver, do not use
 * libc.
 */
import { globSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "../support/lab/host.ts";

/** Undefined where the Debian package `faketime` is not installed. */
export function clockLibrary(): string | undefined {
  return globSync("/usr/lib/*/faketime/libfaketimeMT.so.1")[0];
}

export class WallClock {
  readonly #file: string;
  readonly #library: string;

  constructor(host: Host, library: string) {
    this.#file = join(host.directory, "wall-clock");
    this.#library = library;
    this.stepTo(0);
  }

  /** For processes that start from now on. */
  environment(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    };
  }

  /** The clock jumps, in processes that run too. @param hours from true time; 0 is right */
  stepTo(hours: number): void {
    writeFileSync(this.#file, `${hours < 0 ? "-" : "+"}${Math.abs(hours)}h\n`);
  }
}
