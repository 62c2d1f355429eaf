/**
 * A stand-in for the kubelet on a machine of the staged incidents. It runs what the static pods' manifests of
 * /etc/kubernetes/manifests say, as processes of the machine and not in containers: it starts them, starts them again
 * with a growing pause when they end, and ends and replaces them when the file changes or goes. It runs no probes.
 */
import { randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import type { V1Pod } from "@kubernetes/client-node";
import { load } from "js-yaml";
import { IMAGE_ENV } from "../../lab/image-start.ts";
import { containerOf, environment } from "../../manifests/kubelet.ts";
import { CONTAINERS_FILE } from "../containers.ts";
import type { Container } from "../containers.ts";

const MANIFESTS = "/etc/kubernetes/manifests";
const LOGS = "/var/log/containers";
const LOOK_MS = 300;
/** The kubelet's own are 10 s and 5 min. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 20_000;
/** A container that ran for so long begins with the first pause again. */
const WELL_MS = 60_000;
/** Ended containers that are kept. */
const MOST_ENDED = 10;
const DEFAULT_GRACE_S = 30;
/** Where the programs of the image leasehold are, and of every other image. */
const PATHS = {
  leasehold: "/usr/local/lib/leasehold/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  other: "/usr/local/bin:/usr/bin:/bin",
};

interface Running {
  readonly text: string;
  readonly pod: V1Pod;
  child: ChildProcess | undefined;
  attempt: number;
  pauseMs: number;
  startAtMs: number;
  ending: boolean;
}

const running = new Map<string, Running>();
let containers: Container[] = [];
const refused = new Map<string, string>();

function log(text: string): void {
  process.stdout.write(`${new Date().toISOString()} ${hostname()} kubelet[1]: ${text}\n`);
}

function note(): void {
  mkdirSync(dirname(CONTAINERS_FILE), { recursive: true });
  writeFileSync(`${CONTAINERS_FILE}.new`, JSON.stringify(containers));
  renameSync(`${CONTAINERS_FILE}.new`, CONTAINERS_FILE);
}

/** The pods by their files' names. A file that is no pod is reported once. */
function manifests(): ReadonlyMap<string, { readonly text: string; readonly pod: V1Pod }> {
  const found = new Map<string, { readonly text: string; readonly pod: V1Pod }>();
  let files: readonly string[] = [];
  try {
    files = readdirSync(MANIFESTS).filter((file) => !file.startsWith("."));
  } catch {
    // No directory: no pods.
  }
  for (const file of files) {
    let text = "";
    try {
      text = readFileSync(join(MANIFESTS, file), "utf8");
      // eslint-disable-next-line typescript/no-unsafe-type-assertion -- containerOf throws on anything else
      const pod = load(text) as V1Pod;
      containerOf(pod);
      found.set(pod.metadata?.name ?? file, { text, pod });
      refused.delete(file);
    } catch (error) {
      if (refused.get(file) !== text)
        log(`Could not process manifest file ${join(MANIFESTS, file)}: ${String(error)}`);
      refused.set(file, text);
    }
  }
  return found;
}

function start(name: string, one: Running): void {
  const container = containerOf(one.pod);
  const image = container.image ?? "";
  const isAgent = /(^|\/)leasehold:/.test(image);
  const argv = [...(container.command ?? (isAgent ? ["leasehold"] : [])), ...(container.args ?? [])];
  const [file = "", ...args] = argv;
  const env = {
    ...(isAgent ? IMAGE_ENV : {}),
    PATH: isAgent ? PATHS.leasehold : PATHS.other,
    HOME: "/root",
    HOSTNAME: hostname(),
    ...environment(one.pod, hostname()),
  };
  const id = randomBytes(32).toString("hex");
  mkdirSync(LOGS, { recursive: true });
  const logFile = join(LOGS, `${container.name}-${one.attempt}-${id.slice(0, 13)}.log`);
  const output = openSync(logFile, "a");
  const child = spawn(file, args, { env, stdio: ["ignore", output, output], detached: true });
  closeSync(output);
  one.child = child;
  const startedMs = Date.now();
  const ended = (exit: Container["exit"]): void => {
    if (one.child !== child) return;
    one.child = undefined;
    one.attempt += 1;
    if (Date.now() - startedMs > WELL_MS) one.pauseMs = FIRST_PAUSE_MS;
    one.startAtMs = Date.now() + one.pauseMs;
    one.pauseMs = Math.min(one.pauseMs * 2, LONGEST_PAUSE_MS);
    containers = containers.map((other) =>
      other.id === id && exit !== undefined ? { ...other, exit } : other,
    );
    const over = containers.filter((other) => other.exit !== undefined).slice(MOST_ENDED);
    containers = containers.filter((other) => !over.includes(other));
    note();
    if (!one.ending)
      log(`Container ${container.name} of pod ${name} ended (${JSON.stringify(exit)}), starts again`);
  };
  child.once("error", (error) => {
    log(`Container ${container.name} of pod ${name} cannot start: ${error.message}`);
    ended({ code: 127, signal: null });
  });
  child.once("exit", (code, signal) => ended({ code, signal }));
  containers = [
    {
      id,
      name: container.name,
      pod: `${name}-${hostname()}`,
      image,
      attempt: one.attempt,
      createdMs: startedMs,
      pid: child.pid ?? 0,
      env,
      logFile,
    },
    ...containers,
  ];
  note();
  log(`Started container ${container.name} of pod ${name}, attempt ${one.attempt}`);
}

function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // It has ended in between.
  }
}

function end(name: string, one: Running): void {
  one.ending = true;
  const { child } = one;
  if (child === undefined) return;
  log(`Killing the container of pod ${name}`);
  signal(child, "SIGTERM");
  setTimeout(
    () => signal(child, "SIGKILL"),
    (one.pod.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S) * 1_000,
  );
}

function look(): void {
  const wanted = manifests();
  for (const [name, one] of running) {
    if (!one.ending && wanted.get(name)?.text !== one.text) end(name, one);
    if (one.ending && one.child === undefined) running.delete(name);
  }
  for (const [name, { text, pod }] of wanted) {
    const one = running.get(name) ?? {
      text,
      pod,
      child: undefined,
      attempt: 0,
      pauseMs: FIRST_PAUSE_MS,
      startAtMs: 0,
      ending: false,
    };
    running.set(name, one);
    if (one.child === undefined && !one.ending && Date.now() >= one.startAtMs) start(name, one);
  }
}

log("Started kubelet");
note();
setInterval(look, LOOK_MS);
