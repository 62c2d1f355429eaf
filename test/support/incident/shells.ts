/** The commands by which a person gets onto the machines of an incident, from outside of the sandbox. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "./machine.ts";

/** Enters the sandbox. Its name begins with a dot, because people need only the machines' commands. */
const SANDBOX = ".sandbox";

/**
 * Writes the command that runs its arguments in the sandbox.
 * @param unshare process id of the `unshare` whose child is the sandbox's process 1
 */
export function writeSandboxShell(directory: string, unshare: number): void {
  // An ordinary user's sandbox has a user namespace, which has to be entered first.
  const user = process.getuid?.() === 0 ? "" : " --user --preserve-credentials";
  script(
    join(directory, SANDBOX),
    `init=$(cut -d ' ' -f 1 /proc/${unshare}/task/${unshare}/children)
exec nsenter --target "$init"${user} --mount --net --pid --root --wd "$@"`,
  );
}

/** Writes one command for each machine: alone it is a shell, and with words it runs them, as ssh does. */
export function writeShells(directory: string, machines: readonly Machine[]): void {
  for (const machine of machines) {
    const path = join(directory, machine.name);
    if (machine.pid === undefined) {
      script(path, `echo 'ssh: connect to host ${machine.name} port 22: No route to host' >&2\nexit 255`);
      continue;
    }
    const enter = `"$(dirname "$0")/${SANDBOX}" ${machine.inside(["bash", "--norc"]).join(" ")}`;
    script(path, `[ $# -gt 0 ] || exec ${enter} -i\nexec ${enter} -c "$*"`);
  }
}

function script(path: string, text: string): void {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}
