/** What the VIP on this node tells people: a part of `/status`, of the metrics and of the health checks. */
import type { IpAddress } from "../net.ts";
import type { LinkState, VipKernel } from "./kernel.ts";
import type { Vip } from "./types.ts";

/** As of the moment it is asked for. */
export interface VipStatus {
  readonly interface: string;
  readonly link: "up" | "down" | "no-carrier" | "missing";
  /** `bound`: by an agent. */
  readonly addresses: readonly { readonly address: string; readonly bound: boolean }[];
  /** The agent wants it bound. */
  readonly wanted: boolean;
  /** The machine has it from another program, or as its own address. */
  readonly foreign: boolean;
  /** Why the check `vip` is in FAULT: it could not be bound, or whose it is if `foreign`. */
  readonly failure: string | null;
  /** Milliseconds until the right to the VIP ends unless renewed; null when not wanted. */
  readonly validForMs: number | null;
  readonly announcements: number;
  readonly readded: number;
}

export interface VipStatusSources {
  readonly interfaceName: string;
  /** All addresses of the VIP. */
  readonly addresses: readonly IpAddress[];
  readonly kernel: Pick<VipKernel, "link" | "addresses">;
  readonly vip: Pick<Vip, "status">;
  /** Clock time, in ms. */
  readonly nowMs: number;
}

export function vipStatus({ interfaceName, addresses, kernel, vip, nowMs }: VipStatusSources): VipStatus {
  const bound = new Set(kernel.addresses().filter((entry) => entry.ours).map((entry) => entry.address.text));
  const { held, foreign, failure, untilMs, announcements, readded } = vip.status();
  return {
    interface: interfaceName,
    link: linkWord(kernel.link()),
    addresses: addresses.map(({ text }) => ({ address: text, bound: bound.has(text) })),
    wanted: held,
    foreign,
    failure: failure?.message ?? null,
    validForMs: untilMs === undefined ? null : untilMs - nowMs,
    announcements,
    readded,
  };
}

function linkWord(link: LinkState | undefined): VipStatus["link"] {
  if (link === undefined) return "missing";
  if (!link.up) return "down";
  return link.carrier ? "up" : "no-carrier";
}
