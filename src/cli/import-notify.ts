/**
 * Says keepalived's notify scripts and pipes in this agent's hooks: LEASEHOLD_NOTIFY and LEASEHOLD_NOTIFY_FIFO.
 * Pure.
 */
import { basename, dirname } from "node:path/posix";
import { splitCommand } from "../config/command-line.ts";
import { SETTINGS } from "../config/settings.ts";
import { isOfTheImage, mountProblem } from "../manifests/mounts.ts";
import type { Draft } from "./import-draft.ts";
import { IN_CONTAINER } from "./import-reasons.ts";
import type { Statement } from "./keepalived-conf.ts";

/** The states of keepalived's own keywords; "": every state, with the arguments that tell which one it is. */
const STATES: Readonly<Record<string, string>> = {
  notify_master: "MASTER",
  notify_backup: "BACKUP",
  notify_fault: "FAULT",
  notify_stop: "STOP",
  notify: "",
};

export const isHook = ({ words: [keyword = ""] }: Statement): boolean => Object.hasOwn(STATES, keyword);

interface Hook {
  readonly state: string;
  readonly text: string;
  readonly words: readonly string[];
  /** The group that it is told; "" for an instance. */
  readonly group: string;
  readonly line: Statement;
}

/**
 * Takes the notify scripts of the instances that move together, and those of their groups.
 * @param owners vrrp_instance and vrrp_sync_group, in the order in which their scripts run
 */
export function importHooks(owners: readonly Statement[], draft: Draft): void {
  const hooks = owners.flatMap((owner) => hooksOf(owner, draft));
  const [first] = hooks;
  if (first === undefined) return;
  const lines = hooks.map(({ line }) => line);
  const [instance] = owners;
  const command = hooks.every((hook) => isSame(hook, first) && hook.state === "" && hook.group === "")
    ? first.text
    : `/bin/sh -c ${quoted(script(hooks), true)} notify`;
  draft.set(
    "NOTIFY",
    command,
    lines,
    `it runs as uid 0 in the agent's container, and what it calls must be there (docs/operations.md, Notify hooks). ` +
      `Where keepalived says \`INSTANCE ${instance?.words[1] ?? ""}\` the agent says \`INSTANCE ${draft.value("LEASE_NAME") ?? SETTINGS.LEASE_NAME.fallback}\`, its Lease. ` +
      `A run that takes longer than LEASEHOLD_NOTIFY_TIMEOUT is ended`,
  );
  // The first line was left out with the reason.
  if (draft.value("NOTIFY") !== command)
    for (const line of lines.slice(1)) draft.leaveOut(line, "the hook as a whole was left out");
  else remindOfPaths(hooks, draft);
}

function hooksOf(owner: Statement, draft: Draft): readonly Hook[] {
  return (owner.block ?? []).filter(isHook).flatMap((line) => {
    const [keyword = "", text = "", ...user] = line.words;
    const words = splitCommand(text);
    if (words === undefined) {
      draft.leaveOut(line, "it names no program, or a quote in it is not closed");
      return [];
    }
    if (user.length > 0) draft.leaveOut({ ...line, words: [keyword, "...", ...user] }, IN_CONTAINER);
    const group = owner.words[0] === "vrrp_sync_group" ? (owner.words[1] ?? "") : "";
    return [{ state: STATES[keyword] ?? "", text, words, group, line }];
  });
}

const isSame = (a: Hook, b: Hook): boolean => a.state === b.state && a.text === b.text && a.group === b.group;

/**
 * A script of sh that runs each of keepalived's scripts when keepalived would, with its arguments: its own for a
 * script of one state, and four more for `notify`, which comes last. keepalived tells a group the priority 0.
 */
function script(hooks: readonly Hook[]): string {
  const chosen = hooks.filter((hook, at) => hooks.findIndex((other) => isSame(hook, other)) === at);
  const call = ({ words }: Hook): string => words.map((word) => quoted(word)).join(" ");
  const cases = ["MASTER", "BACKUP", "FAULT", "STOP"].flatMap((state) => {
    const calls = chosen.filter((hook) => hook.state === state).map(call);
    return calls.length === 0 ? [] : [`${state}) ${calls.join("; ")};;`];
  });
  const always = chosen
    .filter(({ state }) => state === "")
    .map((hook) => `${call(hook)} ${hook.group === "" ? '"$@"' : `GROUP ${quoted(hook.group)} $3 0`}`);
  return [...(cases.length === 0 ? [] : [`case $3 in ${cases.join(" ")} esac`]), ...always].join("; ");
}

/** A word as sh and splitCommand read it. */
const quoted = (word: string, always = false): string =>
  !always && /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;

/** A program that the pod cannot mount is not there. */
function remindOfPaths(hooks: readonly Hook[], draft: Draft): void {
  const programs = new Set(hooks.map(({ words: [program = ""] }) => program));
  for (const program of programs) {
    const problem = program.startsWith("/")
      ? isOfTheImage(program)
        ? "is a directory of the image itself"
        : mountProblem(dirname(program))
      : "is searched in the image";
    if (problem !== undefined)
      draft.remind(
        `the notify script ${program} is not in the pod, because ${program.startsWith("/") ? dirname(program) : "a name without a directory"} ${problem}: copy the script to /etc/leasehold and name it there in LEASEHOLD_NOTIFY`,
      );
  }
}

/** Takes a pipe of global_defs. */
export function importFifo(line: Statement, draft: Draft): void {
  const [keyword = "", path = "", ...user] = line.words;
  const problem = path.startsWith("/") ? mountProblem(dirname(path)) : undefined;
  const here = problem === undefined ? path : `${SETTINGS.DATA_DIR.fallback}/${basename(path)}`;
  const moved =
    problem === undefined ? "" : `. Its reader has to read it here, because ${dirname(path)} ${problem}`;
  draft.set(
    "NOTIFY_FIFO",
    here,
    [line],
    `a line is INSTANCE, the Lease's name, the state and the priority. There are no lines of groups, of virtual servers and of priorities${moved}`,
  );
  if (user.length > 0 && draft.value("NOTIFY_FIFO") === here)
    draft.leaveOut({ ...line, words: [keyword, "...", ...user] }, "the pipe is root's, with mode 0600");
}
