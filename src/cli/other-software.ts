/** Recognises other software that gives addresses to machines, by what it leaves on one. Pure. */
import { isObject } from "../kube/record-codec.ts";
import { parseIp } from "../net.ts";

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

/** The MetalLB pool that contains one of `vips`; undefined: none. `list` is a list of IPAddressPools. */
export function poolWith(list: unknown, vips: readonly string[]): string | undefined {
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
function covers(range: string, vip: string): boolean {
  const wanted = bits(vip);
  const [, base = "", length = ""] = /^([^/]+)\/(\d+)$/.exec(range.trim()) ?? [];
  if (length !== "") {
    const start = bits(base);
    if (start === undefined || wanted === undefined || base.includes(":") !== vip.includes(":")) return false;
    const shift = BigInt(Math.max(0, (base.includes(":") ? 128 : 32) - Number(length)));
    return start >> shift === wanted >> shift;
  }
  const [from = "", to = ""] = range.split("-").map((part) => part.trim());
  const [start, end] = [bits(from), bits(to)];
  if (start === undefined || end === undefined || wanted === undefined) return false;
  return from.includes(":") === vip.includes(":") && wanted >= start && wanted <= end;
}

function bits(text: string): bigint | undefined {
  return parseIp(text)?.bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
