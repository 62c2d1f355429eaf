/** The programs that we are compared with, and those that make the load, as the distribution ships them. */
import { spawnSync } from "node:child_process";
import { TOOL_PATH, missingTools } from "../support/sandbox/tools.ts";

/** Each with what makes it say its version. */
const PROGRAMS = {
  haproxy: "-v",
  keepalived: "--version",
  iperf3: "--version",
  sockperf: "--version",
  wrk: "-v",
  curl: "--version",
} as const;

export type Program = keyof typeof PROGRAMS;

/**
 * First line of what each says, one after the other. @throws Error, one sentence, when some are not installed
 */
export function versionsOf(programs: readonly Program[]): string {
  const obstacle = missingTools(programs);
  if (obstacle !== undefined) throw new Error(obstacle);
  const found = programs.map((program) => ({
    program,
    result: spawnSync(program, [PROGRAMS[program]], {
      encoding: "utf8",
      env: { PATH: TOOL_PATH },
      timeout: 10_000,
    }),
  }));
  return found
    .map(
      ({ result }) =>
        `${result.stdout}${result.stderr}`
          .split("\n")
          .find((line) => line.trim() !== "")
          ?.trim() ?? "",
    )
    .join("; ");
}
