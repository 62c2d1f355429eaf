/** Says keepalived's configuration in this project's settings. Pure. */
import { parseIp } from "../net.ts";
import type { Line } from "./foreign-text.ts";
import type { Draft } from "./import-draft.ts";
import { importFifo, importHooks, isHook } from "./import-notify.ts";
import { leaveWhole, reasonInGlobals, reasonInInstance, reasonOutside } from "./import-reasons.ts";
import { seconds, track } from "./import-tracking.ts";
import { find, valueOf } from "./keepalived-conf.ts";
import type { Statement } from "./keepalived-conf.ts";

const HOST_ADDRESS = "a VIP is always bound as /32 or /128";

export function importKeepalived(statements: readonly Statement[], draft: Draft): void {
  const named = (keyword: string): readonly Statement[] =>
    statements.filter(({ words: [word] }) => word === keyword);
  const instances = named("vrrp_instance");
  const groups = named("vrrp_sync_group");
  const [first] = instances;
  const together = instances.filter(
    (one) => one === first || (first !== undefined && isOne(first, one, groups)),
  );
  for (const one of instances)
    if (!together.includes(one))
      leaveWhole(
        one,
        draft,
        "an agent has one list of VIPs, which move together, and this instance has another interface or priority and no common vrrp_sync_group",
      );
  addresses(together, draft);
  for (const one of together) instance(one, one === first, draft, statements);
  const theirs = groups.filter((group) =>
    together.some(({ words: [, name = ""] }) => membersOf(group).includes(name)),
  );
  for (const group of groups)
    if (theirs.includes(group)) groupOf(group, draft, statements);
    else leaveWhole(group, draft, "no instance that was taken over is in this group");
  importHooks([...together, ...theirs], draft);
  const tracked = new Set([...instances, ...groups].flatMap(referred));
  for (const statement of statements) outside(statement, tracked, draft);
}

/** The names of what an instance or a group tracks. */
const referred = (one: Statement): readonly string[] =>
  (one.block ?? [])
    .filter(({ words: [keyword = ""] }) => /^track_(?:script|file|process|bfd)$/.test(keyword))
    .flatMap(({ block = [] }) => block.flatMap(({ words: [name] }) => name ?? []));

const membersOf = ({ block = [] }: Statement): readonly string[] =>
  block
    .filter(({ words: [keyword] }) => keyword === "group")
    .flatMap((group) => (group.block ?? []).flatMap(({ words }) => words));

/** True when two instances move together: by a group, or by the same interface and priority. */
function isOne(a: Statement, b: Statement, groups: readonly Statement[]): boolean {
  const grouped = groups.some((group) => {
    const names = membersOf(group);
    return names.includes(a.words[1] ?? "") && names.includes(b.words[1] ?? "");
  });
  const same = (keyword: string, fallback: string): boolean =>
    (valueOf(a, keyword) ?? fallback) === (valueOf(b, keyword) ?? fallback);
  return grouped || (same("interface", "") && same("priority", "100"));
}

/** Words of an address that have no value of their own. */
const ADDRESS_FLAGS = new Set([
  "use_vmac",
  "home",
  "-nodad",
  "mngtmpaddr",
  "noprefixroute",
  "autojoin",
  "no_track",
  "primary",
]);

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
        for (let at = 0; at < options.length; at++) {
          const option = options[at] ?? "";
          const value = ADDRESS_FLAGS.has(option) ? "" : (options[++at] ?? "");
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
      "keepalived or this agent has the VIP, and never both: stop keepalived on every node first, or take the VIP over from it while it lives (LEASEHOLD_TAKE_OVER, docs/guides/take-over.md)",
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
      case "preempt":
        draft.set("NOPREEMPT", "false", [statement]);
        break;
      case "down_timer_adverts":
        draft.set(
          "PROBE_MISSES",
          value,
          [statement],
          "so many probes without an answer, LEASEHOLD_PROBE_INTERVAL apart, and the holder counts as dead",
        );
        break;
      default:
        // The hooks of all instances and groups become one.
        if (!isHook(statement) && !track(statement, draft, all))
          leaveWhole(statement, draft, reasonInInstance(keyword));
    }
  }
}

function groupOf(group: Statement, draft: Draft, all: readonly Statement[]): void {
  for (const statement of group.block ?? []) {
    const [keyword = ""] = statement.words;
    if (keyword !== "group" && !isHook(statement) && !track(statement, draft, all))
      leaveWhole(statement, draft, reasonInInstance(keyword));
  }
}

/** Everything that is not in an instance, nor in its group. */
function outside(statement: Statement, tracked: ReadonlySet<string>, draft: Draft): void {
  const [keyword = "", name = ""] = statement.words;
  if (keyword === "vrrp_instance" || keyword === "vrrp_sync_group") return;
  if (/^(?:vrrp_script|(?:vrrp_)?track_file|vrrp_track_process|bfd_instance)$/.test(keyword)) {
    if (!tracked.has(name)) leaveWhole(statement, draft, "no instance that was taken over tracks it");
    return;
  }
  if (keyword === "global_defs") {
    for (const inner of statement.block ?? []) globalLine(inner, draft);
    return;
  }
  leaveWhole(statement, draft, reasonOutside(keyword));
}

function globalLine(statement: Statement, draft: Draft): void {
  const [keyword = "", value = ""] = statement.words;
  if (keyword === "vrrp_garp_master_refresh") draft.set("ANNOUNCE_REFRESH", seconds(value), [statement]);
  else if (keyword === "vrrp_down_timer_adverts") draft.set("PROBE_MISSES", value, [statement]);
  else if (keyword === "vrrp_notify_fifo" || keyword === "notify_fifo") importFifo(statement, draft);
  else leaveWhole(statement, draft, reasonInGlobals(keyword));
}
