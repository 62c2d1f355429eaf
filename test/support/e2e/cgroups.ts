/**
 * The cgroups of a cluster's nodes. Everything else that a cluster makes ends with the sandbox. Cgroups stay,
 * so a process outside of the sandbox removes them, also when the tests are killed.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, globSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const ROOT = "/sys/fs/cgroup";
/** Where the runner tells the tests which cgroup is theirs. Not LEASEHOLD_*: agents refuse such variables. */
export const CGROUP_VARIABLE = "LAB_CGROUP";
/** What the kubelet and runc need of cgroup v1. */
const CONTROLLERS = ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd"];

/** A cgroup weighs as much as one process outside of it, and a cluster has about this many that are busy. */
const WEIGHT = 10;

/** `v2`, or the controllers of v1 with a blank between them: what init.sh expects. */
export function cgroupVersion(): string {
  return isUnified() ? "v2" : CONTROLLERS.join(" ");
}

function isUnified(): boolean {
  return existsSync(join(ROOT, "cgroup.controllers"));
}

/** Why nodes can have no cgroups here, as one sentence; undefined when nothing known forbids it. */
export function cgroupObstacle(): string | undefined {
  if (isUnified()) {
    const have = readFileSync(join(ROOT, "cgroup.controllers"), "utf8").trim().split(" ");
    const missing = ["cpu", "cpuset", "memory", "pids"].filter((name) => !have.includes(name));
    return missing.length === 0
      ? undefined
      : `a kubelet needs the cgroup controllers ${missing.join(", ")}, which ${ROOT}/cgroup.controllers does not have`;
  }
  const missing = CONTROLLERS.filter((name) => !existsSync(join(ROOT, name, "cgroup.procs")));
  return missing.length === 0
    ? undefined
    : `a kubelet needs the cgroup controllers ${missing.join(", ")}, which are not mounted below ${ROOT}`;
}

/** Makes the cgroups of one node, empty as after a boot, and returns their folders. */
export function makeCgroups(cluster: string, node: string): readonly string[] {
  removeCgroups(join(cluster, node));
  if (isUnified()) {
    const folder = join(ROOT, cluster, node);
    mkdirSync(folder, { recursive: true });
    for (const parent of [ROOT, join(ROOT, cluster)])
      for (const name of readFileSync(join(parent, "cgroup.controllers"), "utf8").trim().split(" "))
        writeFileSync(join(parent, "cgroup.subtree_control"), `+${name}`);
    writeFileSync(join(ROOT, cluster, "cpu.weight"), String(100 * WEIGHT));
    return [folder];
  }
  return CONTROLLERS.map((controller) => {
    const folder = join(ROOT, controller, cluster, node);
    mkdirSync(folder, { recursive: true });
    if (controller === "cpu") writeFileSync(join(dirname(folder), "cpu.shares"), String(1024 * WEIGHT));
    // A cpuset takes processes only after it was given CPUs and memory.
    if (controller === "cpuset")
      for (const each of [dirname(folder), folder])
        for (const file of ["cpuset.cpus", "cpuset.mems"])
          writeFileSync(join(each, file), readFileSync(join(ROOT, controller, file)));
    return folder;
  });
}

/** Removes a cgroup and those below it, as far as no process is in them. */
function removeCgroups(name: string): void {
  const tops = isUnified() ? [join(ROOT, name)] : CONTROLLERS.map((each) => join(ROOT, each, name));
  for (const top of tops) {
    const all = [top, ...globSync(`${top}/**/`)].sort((a, b) => b.length - a.length);
    for (const folder of all) {
      try {
        rmdirSync(folder);
      } catch {
        // It is not there, or a process has not quite ended.
      }
    }
  }
}

/** Waits until its input ends, by whatever cause, and removes the cgroups once the sandbox has ended. */
const JANITOR = `
trap '' INT TERM HUP
cat >/dev/null
turns=0
while [ $turns -lt 300 ]; do
  left=
  for top in ${ROOT}/"$0" ${ROOT}/*/"$0"; do
    [ -d "$top" ] || continue
    find "$top" -depth -type d -exec rmdir {} \\; 2>/dev/null
    [ ! -d "$top" ] || left=1
  done
  [ -n "$left" ] || exit 0
  sleep 0.1
  turns=$((turns + 1))
done
echo "cgroups are left: $0" >&2
exit 1
`;

export interface Janitor {
  /** The cgroup below which the nodes have theirs. */
  readonly cgroup: string;
  /** Removes the cgroups, after the sandbox has ended. @returns whether none is left */
  finish(): Promise<boolean>;
}

/** Starts what removes the cgroups. It ends after this process at the latest. */
export function startJanitor(): Janitor {
  const cgroup = `leasehold-e2e-${process.pid}`;
  const child: ChildProcess = spawn("sh", ["-c", JANITOR, cgroup], {
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  const ended = new Promise<boolean>((resolve) => {
    child.once("error", () => resolve(false));
    child.once("exit", (code) => resolve(code === 0));
  });
  return {
    cgroup: basename(cgroup),
    finish: () => {
      child.stdin?.end();
      return ended;
    },
  };
}
