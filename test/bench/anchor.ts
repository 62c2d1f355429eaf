/** The programs that we are compared with, as the distribution ships them. */
import { spawnSync } from "node:child_process";
import { TOOL_PATH } from "../support/sandbox/tools.ts";

/** First line of what `program flag` says. @throws Error, one sentence, when it is not installed */
export function versionOf(program: "haproxy" | "keepalived", flag: string): string {
  const result = spawnSync(program, [flag], { encoding: "utf8", env: { PATH: TOOL_PATH }, timeout: 10_000 });
  if (result.error !== undefined) throw new Error(`missing: ${program}. Install with: apt-get install ${program}`);
  return `${result.stdout}${result.stderr}`.split("\n")[0]?.trim() ?? "";
}
