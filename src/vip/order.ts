/**
 * The VIP's place among the addresses of its interface. Pure.
 *
 * Programs take the first address of an interface for the machine's own, the kubelet without `--node-ip` among
 * them. Linux takes the first one as the source of a connection where the route has no gateway, or where the
 * machine's own address is a /32. A new IPv4 address comes after the others. It comes to stand first when the
 * network is configured again under a holder.
 *
 * IPv6 is left alone. Linux puts each new address first, so only the machine's own addresses could be moved.
 * The VIP is deprecated there, and so is never a source (RFC 6724 section 5, rule 3).
 */
import type { BoundAddress } from "./kernel.ts";

/**
 * Answers those of our IPv4 addresses on the link that stand before the machine's own first one.
 * @param entries every address of the machine, in the kernel's order
 * @param vips the VIPs' canonical texts
 */
export function standingFirst(
  entries: readonly BoundAddress[],
  linkIndex: number,
  vips: readonly string[],
): readonly BoundAddress[] {
  const here = entries.filter((entry) => entry.linkIndex === linkIndex && entry.address.family === 4);
  const own = here.findIndex((entry) => !vips.includes(entry.address.text));
  return here.slice(0, Math.max(own, 0)).filter((entry) => entry.ours);
}
