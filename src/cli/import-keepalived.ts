/** Says keepalived's configuration in this project's settings. Pure. */
import { parseIp } from "../net.ts";
import type { Line } from "./foreign-text.ts";
import type { Draft } from "./import-draft.ts";
import type { Statement } from "./keepalived-conf.ts";

const NO_VRRP = "no VRRP packet is sent: the agents elect by a Kubernetes Lease";
const NO_MAIL = "the agent sends no mail: alerts are in manifests/monitoring";
const NO_NOTIFY = "the agent runs no such script: Events, metrics and the log tell of a move";
const OWN_ANNOUNCEMENTS = "the agent announces the VIP in its own rhythm";
const NO_LVS = "the agents balance by themselves, and find the API servers in the EndpointSlice `kubernetes`";
const NO_ROUTES = "the agent adds no routes and no rules";
const HOST_ADDRESS = "a VIP is always bound as /32 or /128";

/** Why a keyword of vrrp_instance has no setting. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  state: "the election decides which node is MASTER first",
  virtual_router_id: "the Lease's name tells clusters apart (LEASEHOLD_LEASE_NAME)",
  authentication: "the API authenticates the agents by their kubeconfig",
  auth_type: "the API authenticates the agents by their kubeconfig",
  auth_pass: "the API authenticates the agents by their kubeconfig",
  unicast_peer: "the nodes find each other in the Lease",
  unicast_fault_no_peer: NO_VRRP,
  version: NO_VRRP,
  native_ipv6: NO_VRRP,
  strict_mode: NO_VRRP,
  check_unicast_src: NO_VRRP,
  lvs_sync_daemon_interface: NO_LVS,
  notify: NO_NOTIFY,
  notify_master: NO_NOTIFY,
  notify_backup: NO_NOTIFY,
  notify_fault: NO_NOTIFY,
  notify_stop: NO_NOTIFY,
  notify_deleted: NO_NOTIFY,
  notify_master_rx_lower_pri: NO_NOTIFY,
  notify_priority_changes: NO_NOTIFY,
  smtp_alert: NO_MAIL,
  smtp_alert_faults: NO_MAIL,
  garp_master_delay: OWN_ANNOUNCEMENTS,
  garp_master_repeat: OWN_ANNOUNCEMENTS,
  garp_master_refresh_repeat: OWN_ANNOUNCEMENTS,
  garp_lower_prio_delay: OWN_ANNOUNCEMENTS,
  garp_lower_prio_repeat: OWN_ANNOUNCEMENTS,
  garp_interval: OWN_ANNOUNCEMENTS,
  gna_interval: OWN_ANNOUNCEMENTS,
  use_vmac: "the VIP has the MAC address of the interface",
  vmac_xmit_base: "the VIP has the MAC address of the interface",
  accept: "the node always accepts what is sent to the VIP",
  no_accept: "the node always accepts what is sent to the VIP",
  dont_track_primary:
    "weight 0 of the check `interface` cannot be switched off: LEASEHOLD_TRACK_INTERFACE_WEIGHT",
  virtual_routes: NO_ROUTES,
  virtual_rules: NO_ROUTES,
  debug: "LEASEHOLD_LOG_LEVEL=debug logs more",
};

/** Why a block or a keyword outside of vrrp_instance has no setting. */
const LEFT_OUT_OUTSIDE: Readonly<Record<string, string>> = {
  virtual_server: NO_LVS,
  virtual_server_group: NO_LVS,
  static_routes: NO_ROUTES,
  static_rules: NO_ROUTES,
  static_ipaddress: "the agent binds the VIP alone",
  track_group: NO_ROUTES,
  vrrp_track_process: "no check looks at processes: LEASEHOLD_TRACK_EXEC can",
  garp_group: OWN_ANNOUNCEMENTS,
  linkbeat_use_polling: "the kernel tells the agent of its links",
  bfd_instance: "LEASEHOLD_PROBE_INTERVAL finds a dead holder in 0.25 s",
};

/** The reason for a keyword that is not taken over, wherever it stands. */
function reasonFor(keyword: string, reasons: Readonly<Record<string, string>>): string {
  if (keyword.startsWith("@")) return "whether this holds depends on how keepalived is started";
  if (/^include\w?$/.test(keyword))
    return "included files are not read: name them on the command line as well";
  return Object.hasOwn(reasons, keyword) ? (reasons[keyword] ?? UNKNOWN) : UNKNOWN;
}

const UNKNOWN = "there is no such setting";

export function importKeepalived(statements: readonly Statement[], draft: Draft): void {
  const named = (keyword: string): readonly Statement[] =>
    statements.filter(({ words: [word] }) => word === keyword);
  const instances = named("vrrp_instance");
  const groups = named("vrrp_sync_group");
  const [first] = instances;
  if (first !== undefined) {
    const together = instances.filter((one) => one === first || isOne(first, one, groups));
    for (const one of instances)
      if (!together.includes(one))
        leaveWhole(
          one,
          draft,
          "an agent has one list of VIPs, which move together, and this instance has another interface or priority and no common vrrp_sync_group",
        );
    addresses(together, draft);
    for (const one of together) instance(one, one === first, draft, statements);
  }
  const tracked = new Set(instances.flatMap((one) => referred(one, ["track_script", "track_file"])));
  for (const statement of statements) outside(statement, tracked, draft);
}

/** The names in an instance's blocks of these kinds. */
const referred = (one: Statement, kinds: readonly string[]): readonly string[] =>
  (one.block ?? [])
    .filter(({ words: [keyword = ""] }) => kinds.includes(keyword))
    .flatMap(({ block = [] }) => block.flatMap(({ words: [name] }) => name ?? []));

/** True when two instances move together: by a group, or by the same interface and priority. */
function isOne(a: Statement, b: Statement, groups: readonly Statement[]): boolean {
  const grouped = groups.some(({ block = [] }) => {
    const names = block
      .filter(({ words: [keyword] }) => keyword === "group")
      .flatMap((group) => (group.block ?? []).flatMap(({ words }) => words));
    return names.includes(a.words[1] ?? "") && names.includes(b.words[1] ?? "");
  });
  const same = (keyword: string, fallback: string): boolean =>
    (valueOf(a, keyword) ?? fallback) === (valueOf(b, keyword) ?? fallback);
  return grouped || (same("interface", "") && same("priority", "100"));
}

const find = (one: Statement, keyword: string): Statement | undefined =>
  one.block?.find(({ words: [word] }) => word === keyword);
const valueOf = (one: Statement, keyword: string): string | undefined => find(one, keyword)?.words[1];

/** Leaves a block out with each of its lines. */
function leaveWhole(statement: Statement, draft: Draft, reason: string): void {
  draft.leaveOut(statement, reason);
  for (const inner of statement.block ?? []) leaveWhole(inner, draft, reason);
}

function addresses(instances: readonly Statement[], draft: Draft): void {
  const vips: string[] = [];
  const lines: Line[] = [];
  const devices: { readonly device: string; readonly line: Line }[] = [];
  for (const one of instances)
    for (const list of one.block ?? []) {
      if (!["virtual_ipaddress", "virtual_ipaddress_excluded"].includes(list.words[0] ?? "")) continue;
      for (const entry of list.block ?? []) {
        const [text = "", ...options] = entry.words;
        const [address = "", prefix] = text.split("/");
        const ip = parseIp(address);
        if (ip === undefined) {
          draft.leaveOut(entry, "it is no numeric address");
          continue;
        }
        if (!vips.includes(ip.text)) vips.push(ip.text);
        lines.push(entry);
        const whole = ip.family === 4 ? "32" : "128";
        if (prefix !== undefined && prefix !== whole)
          draft.leaveOut({ ...entry, words: [`/${prefix}`] }, HOST_ADDRESS);
        for (let at = 0; at < options.length; at += 2) {
          const [option = "", value = ""] = [options[at], options[at + 1]];
          if (option === "dev") devices.push({ device: value, line: entry });
          else
            draft.leaveOut(
              { ...entry, words: [option, value].filter((word) => word !== "") },
              option === "label" ? "the agent marks the VIP in its own way" : HOST_ADDRESS,
            );
        }
      }
    }
  if (lines.length > 0)
    draft.set(
      "VIP",
      vips.join(","),
      lines,
      "keepalived or this agent has the VIP, and never both: stop keepalived on every node first",
    );
  for (const { device, line } of devices) draft.set("INTERFACE", device, [line]);
}

/** @param isFirst another instance that moves with the first one says the same again */
function instance(one: Statement, isFirst: boolean, draft: Draft, all: readonly Statement[]): void {
  const isMaster = valueOf(one, "state") === "MASTER";
  if (isFirst && find(one, "nopreempt") === undefined)
    draft.set(
      "NOPREEMPT",
      "false",
      [find(one, "priority") ?? one],
      "keepalived preempts unless nopreempt is set, and this agent does so only with this setting",
    );
  const isInterface = ({ words: [keyword] }: Statement): number => (keyword === "interface" ? 0 : 1);
  // What is tracked depends on the interface, which may be written later.
  for (const statement of (one.block ?? []).toSorted((a, b) => isInterface(a) - isInterface(b))) {
    const [keyword = "", value = ""] = statement.words;
    switch (keyword) {
      case "virtual_ipaddress":
      case "virtual_ipaddress_excluded":
        break;
      case "interface":
        draft.set("INTERFACE", value, [statement]);
        break;
      case "priority":
        draft.set("PRIORITY", value, [statement]);
        break;
      case "nopreempt":
        if (isMaster) {
          draft.set("NOPREEMPT", "false", [find(one, "state") ?? statement]);
          draft.leaveOut(statement, "keepalived ignores it with `state MASTER`");
        } else draft.set("NOPREEMPT", "true", [statement]);
        break;
      case "preempt_delay":
        if (isMaster || find(one, "nopreempt") !== undefined)
          draft.leaveOut(statement, "it has no effect with nopreempt or with `state MASTER`");
        else draft.set("PREEMPT_DELAY", seconds(value), [statement]);
        break;
      case "advert_int":
        draft.set(
          "RENEW_INTERVAL",
          seconds(value),
          [statement],
          "the holder renews the Lease this often; a dead holder is found by LEASEHOLD_PROBE_INTERVAL",
        );
        break;
      case "garp_master_refresh":
        draft.set("ANNOUNCE_REFRESH", seconds(value), [statement]);
        break;
      case "unicast_src_ip":
      case "mcast_src_ip":
        draft.set("NODE_IP", value, [statement]);
        break;
      case "track_interface":
        trackInterfaces(statement, draft);
        break;
      case "track_script":
        trackScripts(statement, draft, all);
        break;
      case "track_file":
        trackFiles(statement, draft, all);
        break;
      default:
        leaveWhole(statement, draft, reasonFor(keyword, LEFT_OUT));
    }
  }
}

const seconds = (value: string): string => (/^\d+(?:\.\d+)?$/.test(value) ? `${value}s` : value);

/** The words of an entry such as `eth0 weight -10`; keepalived's weight is 0 unless one is written. */
function weightOf({ words }: Statement): string | undefined {
  const at = words.indexOf("weight");
  return at < 0 ? undefined : words[at + 1];
}

function trackInterfaces(list: Statement, draft: Draft): void {
  const entries = list.block ?? [{ ...list, words: list.words.slice(1) }];
  for (const entry of entries) {
    const [name = ""] = entry.words;
    if (name === draft.value("INTERFACE"))
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
    const [name = ""] = entry.words;
    const script = all.find(({ words }) => words[0] === "vrrp_script" && words[1] === name);
    if (entry.words.includes("reverse"))
      draft.leaveOut(entry, "a weight cannot be reversed: write the script the other way round");
    else if (script === undefined) draft.leaveOut(entry, "there is no vrrp_script of that name");
    else checkOf(script, entry, draft);
  }
}

/** A script that does what a check of the agent does, or else a program that the agent runs. */
function checkOf(script: Statement, entry: Statement, draft: Draft): void {
  const command = find(script, "script");
  const text = (command?.words.slice(1) ?? []).join(" ");
  const lines = (script.block ?? []).filter(({ words: [word] }) => word === "script").concat(entry);
  const weightLines = (script.block ?? []).filter(({ words: [word] }) => word === "weight");
  const weight = weightOf(entry) ?? valueOf(script, "weight") ?? "0";
  const weighed = (
    name: "TRACK_APISERVER_WEIGHT" | "TRACK_BALANCER_WEIGHT" | "TRACK_EXEC_WEIGHT",
    note: string,
  ): void => draft.set(name, weight, [...lines, ...weightLines], note);
  if (/haproxy/i.test(text))
    weighed("TRACK_BALANCER_WEIGHT", "the check `balancer` does what that script did for HAProxy");
  else if (/api-?_?server|\b6443\b|readyz|livez|healthz/i.test(text))
    weighed(
      "TRACK_APISERVER_WEIGHT",
      "the check `apiserver` asks this node's API server, as that script did",
    );
  else {
    draft.set(
      "TRACK_EXEC",
      text,
      [...lines, ...(weight === "0" ? weightLines : [])],
      "it runs in the agent's container, without a shell: the program and what it calls must be there (docs/configuration.md)",
    );
    if (draft.value("TRACK_EXEC") === text && weight !== "0") weighed("TRACK_EXEC_WEIGHT", "");
  }
  timing(script, draft);
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
    else if (keyword === "user")
      draft.leaveOut(statement, "a check runs as the agent does, in its container");
    else if (keyword === "init_fail") draft.leaveOut(statement, "a check has no verdict until it has run");
    else if (!["script", "weight"].includes(keyword)) draft.leaveOut(statement, reasonFor(keyword, {}));
  }
}

function trackFiles(list: Statement, draft: Draft, all: readonly Statement[]): void {
  for (const entry of list.block ?? []) {
    const [name = ""] = entry.words;
    const file = all.find(
      ({ words }) => ["vrrp_track_file", "track_file"].includes(words[0] ?? "") && words[1] === name,
    );
    const path = file === undefined ? undefined : find(file, "file");
    if (file === undefined || path === undefined) {
      draft.leaveOut(entry, "there is no vrrp_track_file of that name");
      continue;
    }
    draft.set("TRACK_FILE", path.words[1] ?? "", [file, path, entry]);
    if (draft.value("TRACK_FILE") === path.words[1])
      draft.set("TRACK_FILE_WEIGHT", weightOf(entry) ?? valueOf(file, "weight") ?? "1", [entry]);
    for (const inner of file.block ?? [])
      if (!["file", "weight"].includes(inner.words[0] ?? ""))
        draft.leaveOut(inner, "the agent reads the file, and writes nothing into it");
  }
}

/** Everything that is not in an instance. */
function outside(statement: Statement, tracked: ReadonlySet<string>, draft: Draft): void {
  const [keyword = "", name = ""] = statement.words;
  if (keyword === "vrrp_instance" || keyword === "vrrp_sync_group") {
    for (const inner of keyword === "vrrp_sync_group" ? (statement.block ?? []) : [])
      if (inner.words[0] !== "group") leaveWhole(inner, draft, reasonFor(inner.words[0] ?? "", LEFT_OUT));
    return;
  }
  if (["vrrp_script", "vrrp_track_file", "track_file"].includes(keyword)) {
    if (!tracked.has(name)) leaveWhole(statement, draft, "no instance that was taken over tracks it");
    return;
  }
  if (keyword === "global_defs") {
    for (const inner of statement.block ?? []) globalLine(inner, draft);
    return;
  }
  leaveWhole(statement, draft, reasonFor(keyword, LEFT_OUT_OUTSIDE));
}

function globalLine(statement: Statement, draft: Draft): void {
  const [keyword = "", value = ""] = statement.words;
  if (keyword === "vrrp_garp_master_refresh") draft.set("ANNOUNCE_REFRESH", seconds(value), [statement]);
  else if (keyword === "router_id")
    draft.leaveOut(statement, "a node has its name in Kubernetes (LEASEHOLD_NODE_NAME)");
  else if (/^(?:notification_email|smtp)/.test(keyword)) leaveWhole(statement, draft, NO_MAIL);
  else if (/^(?:script_user|enable_script_security)$/.test(keyword))
    draft.leaveOut(statement, "a check runs as the agent does, in its container");
  else if (/garp|gna/.test(keyword)) draft.leaveOut(statement, OWN_ANNOUNCEMENTS);
  else if (keyword.startsWith("vrrp_")) draft.leaveOut(statement, NO_VRRP);
  else if (/^(?:@|include)/.test(keyword)) draft.leaveOut(statement, reasonFor(keyword, {}));
  else leaveWhole(statement, draft, "it concerns keepalived itself");
}
