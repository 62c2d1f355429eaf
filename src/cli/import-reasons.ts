/** Why keywords of keepalived have no setting here, as people are told it. Pure. */
import type { Draft } from "./import-draft.ts";
import type { Statement } from "./keepalived-conf.ts";

const NO_VRRP = "no VRRP packet is sent: the agents elect by a Kubernetes Lease";
const NO_MAIL = "the agent sends no mail: alerts are in manifests/monitoring";
const OWN_ANNOUNCEMENTS = "the agent announces the VIP in its own rhythm";
const NO_LVS = "the agents balance by themselves, and find the API servers in the EndpointSlice `kubernetes`";
const NO_ROUTES = "the agent adds no routes and no rules";
const NO_MACVLAN = "the VIP has the MAC address of the interface";
const AUTHENTICATED = "the API authenticates the agents by their kubeconfig";
const STATES_ALONE = "a hook is told of states alone: /metrics has the effective priority";
export const IN_CONTAINER = "checks and hooks run as uid 0 in the agent's container";
export const NO_READER =
  "the agent starts no program that reads the pipe: a service of the node does (docs/operations.md, Notify hooks)";
export const NO_PROCESSES =
  "the agent's container sees no process of the node: LEASEHOLD_TRACK_HTTP can ask it, or LEASEHOLD_TRACK_FILE read what a service of the node writes";

/** In vrrp_instance and vrrp_sync_group. */
const IN_INSTANCE: Readonly<Record<string, string>> = {
  state: "the election decides which node is MASTER first",
  virtual_router_id: "the Lease's name tells clusters apart (LEASEHOLD_LEASE_NAME)",
  authentication: AUTHENTICATED,
  auth_type: AUTHENTICATED,
  auth_pass: AUTHENTICATED,
  unicast_peer: "the nodes find each other in the Lease",
  unicast_fault_no_peer: NO_VRRP,
  unicast_ttl: NO_VRRP,
  old_unicast_checksum: NO_VRRP,
  mcast_dst_ip: NO_VRRP,
  version: NO_VRRP,
  native_ipv6: NO_VRRP,
  strict_mode: NO_VRRP,
  skip_check_adv_addr: NO_VRRP,
  check_unicast_src: NO_VRRP,
  lower_prio_no_advert: NO_VRRP,
  higher_prio_send_advert: NO_VRRP,
  kernel_rx_buf_size: NO_VRRP,
  lvs_sync_daemon_interface: NO_LVS,
  notify_deleted: "an agent that is taken away tells its hook STOP",
  notify_master_rx_lower_pri: NO_VRRP,
  notify_priority_changes: STATES_ALONE,
  smtp_alert: NO_MAIL,
  smtp_alert_faults: NO_MAIL,
  garp_master_delay: OWN_ANNOUNCEMENTS,
  garp_master_repeat: OWN_ANNOUNCEMENTS,
  garp_master_refresh_repeat: OWN_ANNOUNCEMENTS,
  garp_lower_prio_delay: OWN_ANNOUNCEMENTS,
  garp_lower_prio_repeat: OWN_ANNOUNCEMENTS,
  garp_interval: OWN_ANNOUNCEMENTS,
  garp_extra_if: OWN_ANNOUNCEMENTS,
  gna_interval: OWN_ANNOUNCEMENTS,
  use_vmac: NO_MACVLAN,
  use_vmac_addr: NO_MACVLAN,
  vmac_xmit_base: NO_MACVLAN,
  use_ipvlan: NO_MACVLAN,
  vrf: "the agent runs in the node's own network namespace and VRF",
  promote_secondaries: "the VIP is bound as /32 or /128, which has no secondary addresses",
  accept: "the node always accepts what is sent to the VIP",
  no_accept: "the node always accepts what is sent to the VIP",
  track_src_ip: "an agent starts only where the interface has LEASEHOLD_NODE_IP",
  track_bfd: "LEASEHOLD_PROBE_INTERVAL finds a dead holder in 0.25 s, and no check is needed for it",
  dont_track_primary:
    "weight 0 of the check `interface` cannot be switched off: LEASEHOLD_TRACK_INTERFACE_WEIGHT",
  virtual_routes: NO_ROUTES,
  virtual_rules: NO_ROUTES,
  linkbeat_use_polling: "the kernel tells the agent of its links",
  global_tracking: "the agent has one list of checks",
  sync_group_tracking_weight: "the agent has one list of checks, and each has its weight",
  debug: "LEASEHOLD_LOG_LEVEL=debug logs more",
};

/** Outside of vrrp_instance. */
const OUTSIDE: Readonly<Record<string, string>> = {
  virtual_server: NO_LVS,
  virtual_server_group: NO_LVS,
  SSL: NO_LVS,
  static_routes: NO_ROUTES,
  static_rules: NO_ROUTES,
  static_ipaddress: "the agent binds the VIP alone",
  track_group: NO_ROUTES,
  garp_group: OWN_ANNOUNCEMENTS,
  linkbeat_use_polling: "the kernel tells the agent of its links",
  linkbeat_interfaces: "the kernel tells the agent of its links",
  interface_up_down_delays: "LEASEHOLD_TRACK_RISE and LEASEHOLD_TRACK_FALL delay every check",
  bfd_instance: "no instance that was taken over tracks it",
};

/** In global_defs, by how the keyword begins; the first that fits counts. */
const GLOBAL: readonly (readonly [RegExp, string])[] = [
  [/^router_id$/, "a node has its name in Kubernetes (LEASEHOLD_NODE_NAME)"],
  [/^(?:notification_email|smtp|email)/, NO_MAIL],
  [/^(?:script_user|enable_script_security)$/, IN_CONTAINER],
  [/_fifo_script$/, NO_READER],
  [/^lvs_/, NO_LVS],
  [/^(?:vrrp_notify_priority_changes|fifo_write_vrrp_states_on_reload)$/, STATES_ALONE],
  [/garp|gna/, OWN_ANNOUNCEMENTS],
  [/^vrrp_/, NO_VRRP],
];

const UNKNOWN = "there is no such setting";

/** What depends on more than the line. */
function elsewhere(keyword: string): string | undefined {
  if (keyword.startsWith("@")) return "whether this holds depends on how keepalived is started";
  return /^include\w?$/.test(keyword)
    ? "included files are not read: name them on the command line as well"
    : undefined;
}

const reasonIn = (keyword: string, reasons: Readonly<Record<string, string>>): string =>
  elsewhere(keyword) ?? (Object.hasOwn(reasons, keyword) ? (reasons[keyword] ?? UNKNOWN) : UNKNOWN);

export const reasonInInstance = (keyword: string): string => reasonIn(keyword, IN_INSTANCE);
export const reasonOutside = (keyword: string): string => reasonIn(keyword, OUTSIDE);
export const reasonInScript = (keyword: string): string =>
  keyword === "user"
    ? IN_CONTAINER
    : keyword === "init_fail"
      ? "a check has no verdict until it has run"
      : reasonIn(keyword, {});

export const reasonInGlobals = (keyword: string): string =>
  elsewhere(keyword) ??
  GLOBAL.find(([pattern]) => pattern.test(keyword))?.[1] ??
  "it concerns keepalived itself";

/** Leaves a block out with each of its lines. */
export function leaveWhole(statement: Statement, draft: Draft, reason: string): void {
  draft.leaveOut(statement, reason);
  for (const inner of statement.block ?? []) leaveWhole(inner, draft, reason);
}
