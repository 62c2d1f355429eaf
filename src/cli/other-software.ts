/** Recognises other software that gives addresses to machines, by what it leaves on one. Pure. */
import { isObject } from "../kube/record-codec.ts";
import { ipNumber, isInSubnet, parseIp } from "../net.ts";
import type { IpAddress } from "../net.ts";

const NAMES = ["keepalived", "kube-vip", "kubelived", "metallb", "ucarp", "vrrpd"] as const;

/** The software whose image a static pod's manifest names. */
export function softwareOfManifest(text: string): readonly string[] {
  return NAMES.filter((name) => new RegExp(`^\\s*(?:-\\s+)?["']?image["']?:.*${name}`, "m").test(text));
}

/** The software that a process is; undefined: none of them. */
export function softwareOfProcess(args: readonly string[]): string | undefined {
  const [program = ""] = args;
  const name = program.replace(/^.*\//s, "");
  // MetalLB's program is /speaker, and its ports are its own.
  if (name === "speaker" && args.some((arg) => /^--(?:port|log-level|metrics-port|ml-)/.test(arg)))
    return "metallb";
  return NAMES.find((known) => known === name);
}

/**
 * True when a program of this network namespace has a raw socket for VRRP, whatever process namespace it is
 * in.
 * @param table the text of /proc/net/raw or /proc/net/raw6, where the protocol stands as the local port
 */
export function hasVrrpSocket(table: string): boolean {
  return table.split("\n").some((line) => /^\s*\d+: [\dA-F]+:0070 /.test(line));
}

/** Which of `vips` the text names as a whole address. */
export function namedIn(text: string, vips: readonly string[]): boolean {
  const words = text.split(/[^0-9A-Fa-f.:]+/).map((word) => parseIp(word)?.text ?? word);
  return vips.some((vip) => words.includes(vip));
}

/** The MetalLB pool that contains one of the VIPs; undefined: none. `list` is a list of IPAddressPools. */
export function poolWith(list: unknown, texts: readonly string[]): string | undefined {
  const vips = texts.flatMap((text) => parseIp(text) ?? []);
  const items = isObject(list) && Array.isArray(list["items"]) ? list["items"] : [];
  for (const item of items) {
    if (!isObject(item) || !isObject(item["spec"]) || !Array.isArray(item["spec"]["addresses"])) continue;
    const ranges = item["spec"]["addresses"].filter((range) => typeof range === "string");
    if (ranges.some((range) => vips.some((vip) => covers(range, vip))))
      return isObject(item["metadata"]) ? String(item["metadata"]["name"]) : "";
  }
  return undefined;
}

/** @param range an address pool as MetalLB writes it: a CIDR, or two addresses with a hyphen */
function covers(range: string, vip: IpAddress): boolean {
  const [, base = "", length = ""] = /^([^/]+)\/(\d+)$/.exec(range.trim()) ?? [];
  if (length !== "") {
    const address = parseIp(base);
    return address !== undefined && isInSubnet({ address, prefixLength: Number(length) }, vip);
  }
  const [from = "", to = ""] = range.split("-").map((part) => part.trim());
  const [first, last] = [parseIp(from), parseIp(to)];
  if (first === undefined || last === undefined || first.family !== vip.family) return false;
  return ipNumber(vip) >= ipNumber(first) && ipNumber(vip) <= ipNumber(last);
}
