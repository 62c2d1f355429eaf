/** Performs one command of the command line in its process: every one but `run`. */
import { hostname } from "node:os";
import { systemClock } from "../clock.ts";
import { bootTimeMs } from "../linux/libc.ts";
import { VERSION } from "../version.ts";
import { parseArgs } from "./args.ts";
import { cleanup } from "./cleanup.ts";
import { completion } from "./completion.ts";
import { drain } from "./drain.ts";
import { drill } from "./drill.ts";
import { forget } from "./forget.ts";
import { helpText } from "./help.ts";
import { importCommand } from "./import.ts";
import { doctor, explainNode, status } from "./inspect.ts";
import type { CommandDeps } from "./inspect.ts";
import { manPage } from "./man.ts";
import { manifest } from "./manifest.ts";
import { versionText } from "./version.ts";
import { wish } from "./wish.ts";

/**
 * Resolves with the exit status.
 * @throws {TypeError} for words that start the agent (`agent-words.ts`)
 */
export async function commandProcess(words: readonly string[], process: NodeJS.Process): Promise<number> {
  const command = parseArgs(words);
  // A reader that has seen enough (head, a pager that was left) is no failure. The shell knows it as SIGPIPE, 128 + 13.
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 141 : 1));
  const deps = depsOf(process);
  switch (command.kind) {
    case "run":
      throw new TypeError("the agent is a process of its own kind");
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
      return status(command, deps);
    case "why":
      return explainNode(command, deps);
    case "doctor":
      return doctor(command, deps);
    case "import":
      return importCommand(command, deps);
    case "move":
    case "unpin":
    case "resign":
      return wish(command, deps);
    case "drill":
      return drill(command, deps);
    case "drain":
    case "undrain":
      return drain(command, deps);
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
      return cleanup({ ...deps, rulesOnly: command.rulesOnly });
    case "forget":
      return forget({ ...deps, node: command.node });
  }
}

function depsOf(process: NodeJS.Process): CommandDeps {
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
