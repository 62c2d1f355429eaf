/**
 * Says what keepalived tracks (interfaces, scripts, files, processes, BFD sessions) in the settings of this agent's
 * checks. Pure.
 */
import { basename } from "node:path/posix";
import { splitCommand } from "../config/command-line.ts";
import { isOfTheImage } from "../manifests/mounts.ts";
import type { Line } from "./foreign-text.ts";
import type { Draft } from "./import-draft.ts";
import { NO_PROCESSES, reasonInInstance, reasonInScript } from "./import-reasons.ts";
import { find, valueOf } from "./keepalived-conf.ts";
import type { Statement } from "./keepalived-conf.ts";

/** A time of keepalived, whose unit is seconds. */
export const seconds = (value: string): string => (/^\d+(?:\.\d+)?$/.test(value) ? `${value}s` : value);

type WeightName =
  | "TRACK_APISERVER_WEIGHT"
  | "TRACK_BALANCER_WEIGHT"
  | "TRACK_EXEC_WEIGHT"
  | "TRACK_HTTP_WEIGHT";

/** Takes a block of an instance or of a group that tracks something; false: it is no such block. */
export function track(statement: Statement, draft: Draft, all: readonly Statement[]): boolean {
  const [keyword = ""] = statement.words;
  const take = TRACKED.get(keyword);
  take?.(statement, draft, all);
  return take !== undefined;
}

/** The definition that an entry names; undefined: there is none, and the entry is left out. */
function defined(
  entry: Statement,
  kinds: readonly string[],
  draft: Draft,
  all: readonly Statement[],
): Statement | undefined {
  const [name = ""] = entry.words;
  if (isReversed(entry)) {
    draft.leaveOut(entry, REVERSED);
    return undefined;
  }
  const found = all.find(({ words }) => kinds.includes(words[0] ?? "") && words[1] === name);
  if (found === undefined) draft.leaveOut(entry, `there is no ${kinds[0] ?? ""} of that name`);
  else {
    const weight = find(found, "weight");
    if (weight === undefined || !isReversed(weight)) return found;
    draft.leaveOut(entry, REVERSED);
    for (const line of found.block ?? []) draft.leaveOut(line, REVERSED);
  }
  return undefined;
}

const TRACKED: ReadonlyMap<string, (list: Statement, draft: Draft, all: readonly Statement[]) => void> =
  new Map([
    ["track_interface", trackInterfaces],
    ["track_script", trackScripts],
    ["track_file", trackFiles],
    ["track_process", trackProcesses],
    ["track_bfd", trackSessions],
  ]);

const REVERSED = "a weight cannot be reversed: write the check the other way round";
const isReversed = ({ words }: Statement): boolean => words.includes("reverse");

/** The words of an entry such as `eth0 weight -10`; keepalived's weight is 0 unless one is written. */
function weightOf({ words }: Statement): string | undefined {
  const at = words.indexOf("weight");
  return at < 0 ? undefined : words[at + 1];
}

function trackInterfaces(list: Statement, draft: Draft): void {
  const entries = list.block ?? [{ ...list, words: list.words.slice(1) }];
  for (const entry of entries) {
    const [name = ""] = entry.words;
    if (isReversed(entry)) draft.leaveOut(entry, REVERSED);
    else if (name === draft.value("INTERFACE"))
      draft.set("TRACK_INTERFACE_WEIGHT", weightOf(entry) ?? "0", [entry]);
    else
      draft.leaveOut(
        entry,
        "the check `interface` looks at the VIP's interface alone: LEASEHOLD_TRACK_EXEC can look at others",
      );
  }
}

function trackScripts(list: Statement, draft: Draft, all: readonly Statement[]): void {
  for (const entry of list.block ?? []) {
    const script = defined(entry, ["vrrp_script"], draft, all);
    if (script !== undefined) checkOf(script, entry, draft);
  }
}

const HAPROXY = /haproxy/i;
const API_SERVER = /api-?_?server|\b6443\b|readyz|livez|healthz/i;
const BALANCER_NOTE = "the check `balancer` does what that one did for HAProxy";
const API_SERVER_NOTE = "the check `apiserver` asks this node's API server, as that one did";

/** A script that does what a check of the agent does, or else a program that the agent runs. */
function checkOf(script: Statement, entry: Statement, draft: Draft): void {
  const command = find(script, "script");
  const text = (command?.words.slice(1) ?? []).join(" ");
  const own = (script.block ?? []).filter(({ words: [word] }) => word === "script").concat(entry);
  const weightLines = (script.block ?? []).filter(({ words: [word] }) => word === "weight");
  const weight = weightOf(entry) ?? valueOf(script, "weight") ?? "0";
  const weighed = (name: WeightName, note: string, lines = own): void =>
    draft.set(name, weight, [...lines, ...weightLines], note);
  const url = requested(text);
  const missing = missingProgram(text);
  if (HAPROXY.test(text)) weighed("TRACK_BALANCER_WEIGHT", BALANCER_NOTE);
  else if (API_SERVER.test(text)) weighed("TRACK_APISERVER_WEIGHT", API_SERVER_NOTE);
  else if (url !== undefined) {
    draft.set("TRACK_HTTP", url, own, "status 2xx or 3xx is success, and https trusts the cluster's CA");
    if (draft.value("TRACK_HTTP") === url) weighed("TRACK_HTTP_WEIGHT", "", [entry]);
  } else if (missing !== undefined) {
    for (const line of [...(script.block ?? []), entry]) draft.leaveOut(line, missing);
    return;
  } else {
    draft.set(
      "TRACK_EXEC",
      text,
      [...own, ...(weight === "0" ? weightLines : [])],
      "it runs in the agent's container, without a shell: the program and what it calls must be there (docs/configuration.md)",
    );
    if (draft.value("TRACK_EXEC") === text && weight !== "0") weighed("TRACK_EXEC_WEIGHT", "");
  }
  timing(script, draft);
}

/** Options of curl and wget that change nothing of what a check asks, and whether a value follows. */
const CURL_FLAGS =
  /^(?:-[sSfkL46qg]+|--(?:silent|show-error|fail|insecure|location|quiet|spider|no-check-certificate))$/;
const CURL_VALUES = /^(?:-[mToO]|--(?:max-time|connect-timeout|output|timeout|tries|output-document))$/;

/** The URL that a call of curl or wget asks for with GET and nothing else; undefined: it does more. */
function requested(text: string): string | undefined {
  const [program = "", ...words] = splitCommand(text) ?? [];
  if (!/^(?:curl|wget)$/.test(basename(program))) return undefined;
  const urls: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (/^https?:\/\//.test(word)) urls.push(word);
    else if (CURL_VALUES.test(word)) at += 1;
    else if (!CURL_FLAGS.test(word) && !/^--(?:timeout|tries|max-time|connect-timeout)=\d+$/.test(word))
      return undefined;
  }
  return urls.length === 1 ? urls[0] : undefined;
}

/** What a check cannot call, because the image has no such program; undefined: the image may have it. */
function missingProgram(text: string): string | undefined {
  const [program = ""] = splitCommand(text) ?? [];
  if (program.startsWith("/") && !isOfTheImage(program)) return undefined;
  const name = basename(program);
  if (/^(?:pidof|pgrep|pkill|killall|killall5|ps|systemctl|service|rc-service)$/.test(name))
    return NO_PROCESSES;
  return /^(?:curl|wget|nc|ncat|netcat|socat|ping6?|fping|ip|ss|netstat|openssl|python3?|perl|ssh)$/.test(
    name,
  )
    ? `the image has no ${name}: LEASEHOLD_TRACK_HTTP asks a URL, and LEASEHOLD_TRACK_EXEC runs a script of sh or node`
    : undefined;
}

const TIMING = {
  interval: "TRACK_INTERVAL",
  timeout: "TRACK_TIMEOUT",
  rise: "TRACK_RISE",
  fall: "TRACK_FALL",
} as const;

function timing(script: Statement, draft: Draft): void {
  for (const statement of script.block ?? []) {
    const [keyword = "", value = ""] = statement.words;
    if (keyword === "interval" || keyword === "timeout")
      draft.set(TIMING[keyword], seconds(value), [statement]);
    else if (keyword === "rise" || keyword === "fall") draft.set(TIMING[keyword], value, [statement]);
    else if (!["script", "weight"].includes(keyword)) draft.leaveOut(statement, reasonInScript(keyword));
  }
}

function trackFiles(list: Statement, draft: Draft, all: readonly Statement[]): void {
  for (const entry of list.block ?? []) {
    const file = defined(entry, ["vrrp_track_file", "track_file"], draft, all);
    if (file === undefined) continue;
    const path = find(file, "file");
    if (path === undefined) {
      draft.leaveOut(entry, "its vrrp_track_file names no file");
      continue;
    }
    draft.set("TRACK_FILE", path.words[1] ?? "", [file, path, entry]);
    const weight = find(file, "weight");
    if (draft.value("TRACK_FILE") === path.words[1])
      draft.set("TRACK_FILE_WEIGHT", weightOf(entry) ?? weight?.words[1] ?? "1", [weight ?? entry]);
    for (const inner of file.block ?? [])
      if (!["file", "weight"].includes(inner.words[0] ?? ""))
        draft.leaveOut(inner, "the agent reads the file, and writes nothing into it");
  }
}

/** The agent asks HAProxy's successor and the API server itself. It sees no other process. */
function trackProcesses(list: Statement, draft: Draft, all: readonly Statement[]): void {
  for (const entry of list.block ?? []) {
    const process = defined(entry, ["vrrp_track_process"], draft, all);
    if (process === undefined) continue;
    const line = find(process, "process");
    const text = (line?.words.slice(1) ?? []).join(" ");
    const [name, note]: readonly [WeightName, string] | readonly [undefined, string] = HAPROXY.test(text)
      ? ["TRACK_BALANCER_WEIGHT", BALANCER_NOTE]
      : API_SERVER.test(text)
        ? ["TRACK_APISERVER_WEIGHT", API_SERVER_NOTE]
        : [undefined, NO_PROCESSES];
    const weight = find(process, "weight");
    const lines: readonly Line[] = [line, weight, entry].flatMap((one) => one ?? []);
    if (name === undefined) for (const one of lines) draft.leaveOut(one, note);
    else draft.set(name, weightOf(entry) ?? weight?.words[1] ?? "1", lines, note);
    for (const inner of process.block ?? [])
      if (inner !== line && inner !== weight)
        draft.leaveOut(
          inner,
          name === undefined ? note : "LEASEHOLD_TRACK_RISE and LEASEHOLD_TRACK_FALL delay every check",
        );
  }
}

/** A BFD session finds a dead neighbour. This agent's probes find a dead holder, by the same arithmetic. */
function trackSessions(list: Statement, draft: Draft, all: readonly Statement[]): void {
  for (const entry of list.block ?? []) {
    const session = defined(entry, ["bfd_instance"], draft, all);
    if (session === undefined) continue;
    draft.leaveOut(entry, reasonInInstance("track_bfd"));
    for (const line of session.block ?? []) {
      const [keyword = "", value = ""] = line.words;
      if (keyword === "min_rx") draft.set("PROBE_INTERVAL", milliseconds(value), [line]);
      else if (keyword === "multiplier") draft.set("PROBE_MISSES", value, [line]);
      else draft.leaveOut(line, "the agents ask the VIP's holder, and have no sessions of BFD");
    }
  }
}

const milliseconds = (value: string): string => (/^\d+$/.test(value) ? `${value}ms` : value);
