/** The entry point of the process. Only this file reads the environment and ends the process. */
import { hostname } from "node:os";
import { parseArgs } from "./cli/args.ts";
import { cleanup } from "./cli/cleanup.ts";
import { completion } from "./cli/completion.ts";
import { drain } from "./cli/drain.ts";
import { drill } from "./cli/drill.ts";
import { forget } from "./cli/forget.ts";
import { helpText } from "./cli/help.ts";
import { importCommand } from "./cli/import.ts";
import { doctor, explainNode, status } from "./cli/inspect.ts";
import type { CommandDeps } from "./cli/inspect.ts";
import { manPage } from "./cli/man.ts";
import { manifest } from "./cli/manifest.ts";
import { run } from "./cli/run.ts";
import { versionText } from "./cli/version.ts";
import { wish } from "./cli/wish.ts";
import { systemClock } from "./clock.ts";
import { bootTimeMs, sendNow, setNonBlocking } from "./linux/libc.ts";
import { openWithoutWaiting } from "./log-output.ts";
import { VERSION } from "./version.ts";

async function main(): Promise<number> {
  const command = parseArgs(process.argv.slice(2));
  if (command.kind !== "run") {
    // A reader that has seen enough (head, a pager that was left) is no failure. The shell knows it as SIGPIPE, 128 + 13.
    for (const stream of [process.stdout, process.stderr])
      stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 141 : 1));
  }
  switch (command.kind) {
    case "help":
      process.stdout.write(helpText(command.of));
      return 0;
    case "completion":
      process.stdout.write(completion(command.shell));
      return 0;
    case "man":
      process.stdout.write(manPage(VERSION));
      return 0;
    case "status":
      return status(command, commandDeps());
    case "why":
      return explainNode(command, commandDeps());
    case "doctor":
      return doctor(command, commandDeps());
    case "import":
      return importCommand(command, commandDeps());
    case "move":
    case "unpin":
    case "resign":
      return wish(command, commandDeps());
    case "drill":
      return drill(command, commandDeps());
    case "drain":
    case "undrain":
      return drain(command, commandDeps());
    case "manifest": {
      const answer = manifest(command.words, process.env);
      process.stderr.write(answer.message);
      if (answer.kind === "error") return 2;
      process.stdout.write(answer.text);
      return 0;
    }
    case "version":
      process.stdout.write(
        versionText(
          { version: VERSION, nodeVersion: process.version, platform: `${process.platform}/${process.arch}` },
          command.output,
        ),
      );
      return 0;
    case "usage-error":
      process.stderr.write(`${command.message}\n`);
      return 2;
    case "cleanup":
      return cleanup({ ...commandDeps(), rulesOnly: command.rulesOnly });
    case "forget":
      return forget({ ...commandDeps(), node: command.node });
    case "run":
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
}

function commandDeps(): CommandDeps {
  return {
    env: process.env,
    hostname: hostname(),
    clock: systemClock(bootTimeMs),
    print: (text) => void process.stdout.write(text),
    printError: (text) => void process.stderr.write(text),
    onInterrupt(callback) {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, callback);
      return () => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, callback);
      };
    },
  };
}

process.exit(await main());
