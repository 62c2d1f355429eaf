/**
 * One private sandbox for everything that makes network namespaces: own network, mount and
 * process namespaces, and an empty /run. When it ends, by itself or killed, the kernel ends
 * every process inside and frees every namespace, so nothing can be left behind.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { EX_UNAVAILABLE } from "../../../src/needed-node.js";
import { LAB_TOOLS, SANDBOX_TOOLS, TOOL_PATH, missingTools } from "./tools.ts";
import type { Tool } from "./tools.ts";

/** Not LEASEHOLD_*: agents refuse variables of that prefix which they do not know. */
const MARK = "LAB_SANDBOX";

/**
 * Runs as process 1 of the new process namespace. It stays (no exec), because process 1 must
 * reap orphans, and because signals without a handler are ignored for it (pid_namespaces(7)).
 */
const INIT = `
mount -t tmpfs tmpfs /run || exit 70
# Also private: test data there is named by process id, which means nothing in another process namespace.
mount -t tmpfs tmpfs /dev/shm || exit 70
mkdir -p /run/netns /run/lock /run/lab
ip link set lo up
"$@"
exit $?
`;

/**
 * Goes before {@link INIT}: makes sure that no mount made from here on is seen outside. The root of a chroot
 * need not be a mount point, and has no propagation then that could be changed; `ip netns` refuses to work
 * there, too. So it becomes one, on /mnt, unless that mount would itself be seen outside.
 */
const OWN_ROOT = `
mount --make-rprivate / 2>/dev/null && exec "$@"
mount --bind /mnt /mnt || exit 70
if grep -q ' /mnt [^ ]* shared:' /proc/self/mountinfo; then
  umount /mnt
  echo "This chroot's root is no mount point, and mounts made in it would be seen outside. Before entering it:" \
    "mount --bind DIR DIR && mount --make-private DIR" >&2
  exit 69
fi
mount --rbind / /mnt && exec chroot /mnt sh -c 'mount --make-rprivate / && cd "$0" && exec "$@"' "$PWD" "$@"
exit 70
`;

export function insideSandbox(): boolean {
  return process.env[MARK] === "1";
}

/** Why no sandbox with `tools` can be made here, as one sentence; undefined when nothing known forbids it. */
export function sandboxObstacle(tools: readonly Tool[] = SANDBOX_TOOLS): string | undefined {
  if (process.platform !== "linux") return `network namespaces need Linux, this is ${process.platform}`;
  return missingTools(tools);
}

/**
 * Without root, a user namespace brings it. One that maps only this user forbids setgroups(2)
 * (user_namespaces(7)), which tcpdump cannot do without: with uidmap and subordinate ids map more.
 */
function userNamespace(): string[] {
  if (process.getuid?.() === 0) return [];
  return [
    "--user",
    "--map-root-user",
    ...(missingTools(["newuidmap"]) === undefined && hasSubordinateIds() ? ["--map-auto"] : []),
  ];
}

function hasSubordinateIds(): boolean {
  const { username, uid } = userInfo();
  return ["/etc/subuid", "/etc/subgid"].every((file) => {
    try {
      return readFileSync(file, "utf8")
        .split("\n")
        .some((line) => line.startsWith(`${username}:`) || line.startsWith(`${uid}:`));
    } catch {
      return false;
    }
  });
}

/**
 * Starts `argv` in a sandbox of its own. The child leads a process group: signal `-pid` to
 * reach all of it. It dies with this process, also when this one gets SIGKILL.
 */
export function spawnInSandbox(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess {
  const command = [
    "--pdeathsig", "KILL", "--",
    "unshare", ...userNamespace(), "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
    "--propagation", "unchanged", "--",
    "sh", "-c", OWN_ROOT, "lab-root", "sh", "-c", INIT, "lab-init", ...argv,
  ]; // prettier-ignore
  return spawn("setpriv", command, {
    stdio: "inherit",
    detached: true,
    env: { ...env, PATH: TOOL_PATH, [MARK]: "1" },
  });
}

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Runs `argv` in a sandbox and answers its exit code (128 + n when a signal ended it).
 * A signal to us is passed on; what has not ended `graceMs` later is killed.
 */
export async function runInSandbox(
  argv: readonly string[],
  options: {
    graceMs?: number;
    env?: NodeJS.ProcessEnv;
    /** Is told the process id of `unshare`, whose child is the sandbox's process 1. */
    started?: (pid: number) => void;
  } = {},
): Promise<number> {
  const child = spawnInSandbox(argv, options.env);
  if (child.pid !== undefined) options.started?.(child.pid);
  let interrupted: NodeJS.Signals | undefined;
  let killer: NodeJS.Timeout | undefined;
  const forward = (signal: NodeJS.Signals): void => {
    interrupted = signal;
    signalGroup(child, signal);
    killer ??= setTimeout(() => signalGroup(child, "SIGKILL"), options.graceMs ?? 5000);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => resolve(code ?? 137));
    });
    if (interrupted !== undefined) {
      process.stderr.write(
        `sandbox: ended by ${interrupted}; its processes, namespaces and files are gone\n`,
      );
    }
    return interrupted === undefined ? code : 130;
  } finally {
    clearTimeout(killer);
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ended in between
  }
}

/**
 * Returns at once when this process already runs in a sandbox. Otherwise runs this very
 * script again in one, with the same arguments, and exits with its exit code.
 * Where no sandbox with `tools` can be had: one sentence on stderr and exit code 69 (EX_UNAVAILABLE).
 */
export async function enterSandbox(tools: readonly Tool[] = LAB_TOOLS): Promise<void> {
  if (insideSandbox()) return;
  const obstacle = sandboxObstacle(tools);
  if (obstacle !== undefined) {
    process.stderr.write(`${obstacle}\n`);
    process.exit(EX_UNAVAILABLE);
  }
  process.exit(await runInSandbox([process.execPath, ...process.execArgv, ...process.argv.slice(1)]));
}
