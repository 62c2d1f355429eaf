/** Makes the agent's process of `leasehold run`: its clock, its signals and where its log goes. */
import { hostname } from "node:os";
import { systemClock } from "../clock.ts";
import { compileLate } from "../compile-late.ts";
import { bootTimeMs, sendNow, setNonBlocking } from "../linux/libc.ts";
import { openWithoutWaiting } from "../log-output.ts";
import { run } from "./run.ts";

/** Resolves with the exit status. */
export function agentProcess(process: NodeJS.Process): Promise<number> {
  compileLate();
  return run({
    env: process.env,
    hostname: hostname(),
    clock: systemClock(bootTimeMs),
    nodeVersion: process.version,
    printError: (text) => void process.stderr.write(text),
    writeLog: openWithoutWaiting(1, { sendNow, setNonBlocking }),
    onSignal(callback) {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => callback("stop"));
      process.on("SIGHUP", () => callback("reload"));
      // Without a listener of its own, Node would open a port for a debugger.
      process.on("SIGUSR1", () => callback("record"));
    },
    onFatal(callback) {
      process.on("uncaughtException", callback);
      process.on("unhandledRejection", callback);
    },
  });
}
