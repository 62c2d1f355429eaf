/** `VipStatus` describes the VIP on this node, for `/status`, the metrics and the health checks. */
import type { IpAddress } from "../net.ts";
import type { LinkState, VipKernel } from "./kernel.ts";
import type { Vip } from "./types.ts";

/** The VIP's state at the moment of the call. */
export interface VipStatus {
  readonly interface: string;
  readonly link: "up" | "down" | "no-carrier" | "missing";
  /** `bound` is true when an agent bound it. */
  readonly addresses: readonly { readonly address: string; readonly bound: boolean }[];
  /** True when the agent wants it bound. */
  readonly wanted: boolean;
  /** True when another program bound it, or it is the machine's own address. */
  readonly foreign: boolean;
  /** Why the check `vip` is in FAULT: the VIP could not be bound or, if `foreign`, who owns the address. */
  readonly failure: string | null;
  /** Milliseconds until the fence deadline, unless a renewal extends it; null when not wanted. */
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
  /** Clock time in milliseconds. */
  readonly nowMs: number;
}

export function vipStatus({ interfaceName, addresses, kernel, vip, nowMs }: VipStatusSources): VipStatus {
  const bound = new Set(
    kernel
      .addresses()
      .filter((entry) => entry.ours)
      .map((entry) => entry.address.text),
  );
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
