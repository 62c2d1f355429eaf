/**
 * Parses the text of one variable into a value. A refusal says what is wrong, `expects` says what would be
 * right. Pure.
 */
import {
  hostPort,
  hostPrefix,
  isLoopback,
  parseIp,
  type HostPort,
  type IpAddress,
  type Subnet,
} from "../net.ts";
import { splitCommand } from "./command-line.ts";
import { suggest } from "./suggest.ts";
import { shown } from "./text.ts";

export type Parsed<T> =
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "wrong"; readonly because: string };

export interface Parser<T> {
  /** What a right value looks like; ends the sentence "use ...". */
  readonly expects: string;
  /** `text` is trimmed and not empty. */
  parse(text: string): Parsed<T>;
}

const ok = <T>(value: T): Parsed<T> => ({ kind: "ok", value });
const wrong = (because: string): { readonly kind: "wrong"; readonly because: string } => ({
  kind: "wrong",
  because,
});

export function wholeNumber(
  min: number,
  max: number,
  reasons: Readonly<Record<number, string>> = {},
): Parser<number> {
  return {
    expects: `a whole number from ${min} to ${max}`,
    parse(text) {
      if (!/^[+-]?\d{1,15}$/.test(text)) return wrong("is not a whole number");
      const value = Number(text);
      const reason = reasons[value];
      if (reason !== undefined) return wrong(reason);
      if (value < min || value > max) return wrong("is out of range");
      return ok(value);
    },
  };
}

/**
 * A priority. VRRP's 0 and 255 have special meanings (RFC 9568 section 5.2.4), so they get their own answers.
 */
export const priority: Parser<number> = wholeNumber(1, 254, {
  0: 'is VRRP\'s word for "I give up the address", not a priority',
  255: "is VRRP's priority of the address owner, and no node may own the VIP",
});

export const port: Parser<number> = { ...wholeNumber(1, 65_535), expects: "a port from 1 to 65535" };

/** A port, or undefined for `off`. */
export const portOrOff: Parser<number | undefined> = {
  expects: "a port from 1 to 65535, or off",
  parse: (text) => (text.toLowerCase() === "off" ? ok(undefined) : port.parse(text)),
};

/** A weight in keepalived's range. */
export const weight: Parser<number> = wholeNumber(-253, 253);

const BOOLEANS = new Map([
  ["true", true],
  ["yes", true],
  ["on", true],
  ["1", true],
  ["false", false],
  ["no", false],
  ["off", false],
  ["0", false],
]);

export const boolean: Parser<boolean> = {
  expects: "true or false",
  parse(text) {
    const value = BOOLEANS.get(text.toLowerCase());
    return value === undefined ? wrong("is neither true nor false") : ok(value);
  },
};

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;

/**
 * Returns the milliseconds of a Go duration such as `1m30s`; undefined when it is none. A bare 0 needs no
 * unit.
 */
function durationMs(text: string): number | undefined {
  if (text === "0") return 0;
  if (text.length > 32 || !DURATION.test(text)) return undefined;
  let total = 0;
  for (const [, amount = "", unit = ""] of text.matchAll(DURATION_PART))
    total += Number(amount) * (UNIT_MS[unit] ?? 0);
  return Math.round(total);
}

/** Returns the shortest text that parses to `ms`, for messages. */
export function formatDuration(ms: number): string {
  if (ms !== 0 && ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms === 0 || ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}

/**
 * Parses a duration into milliseconds. `min` and `max` are included, and are text that this parser reads
 * itself.
 */
export function duration(min: string, max: string): Parser<number> {
  const minMs = durationMs(min) ?? 0;
  const maxMs = durationMs(max) ?? Number.POSITIVE_INFINITY;
  return {
    expects: `a duration such as 250ms, 1s or 1m30s, from ${min} to ${max}`,
    parse(text) {
      const ms = durationMs(text);
      if (ms === undefined) return wrong(/^\d+(?:\.\d+)?$/.test(text) ? "has no unit" : "is not a duration");
      if (ms < minMs || ms > maxMs) return wrong("is out of range");
      return ok(ms);
    },
  };
}

/** Parses a {@link duration}, or 0 for never. */
export function durationOrOff(min: string, max: string): Parser<number> {
  const base = duration(min, max);
  return {
    expects: `${base.expects}, or 0s`,
    parse: (text) => (durationMs(text) === 0 ? ok(0) : base.parse(text)),
  };
}

/**
 * Parses a {@link duration} in whole seconds, because the Lease counts whole seconds
 * (`leaseDurationSeconds`).
 */
export function wholeSeconds(min: string, max: string): Parser<number> {
  const base = duration(min, max);
  return {
    expects: `${base.expects}, in whole seconds`,
    parse(text) {
      const parsed = base.parse(text);
      if (parsed.kind === "ok" && parsed.value % 1_000 !== 0)
        return wrong("is not a whole number of seconds");
      return parsed;
    },
  };
}

/**
 * Parses one of `words`.
 * @param others words that people write for one of them; they are refused with that word as the suggestion
 */
export function oneOf<const T extends string>(
  words: readonly T[],
  others: Readonly<Record<string, T>> = {},
): Parser<T> {
  return {
    expects: `one of ${words.join(", ")}`,
    parse(text) {
      const found = words.find((word) => word === text.toLowerCase());
      if (found !== undefined) return ok(found);
      const other = text.toLowerCase();
      const near = Object.hasOwn(others, other) ? others[other] : suggest(text, words);
      return wrong(near === undefined ? "is not known" : `is not known (did you mean ${near}?)`);
    },
  };
}

/**
 * True for an IPv4 address in an IPv6 one: mapped (::ffff:0:0/96), the old compatible form (::/96), or for a
 * translator (64:ff9b::/96). RFC 4291 section 2.5.5, RFC 6052.
 */
function embedsIpv4({ bytes }: IpAddress): boolean {
  const prefix = Buffer.from(bytes.subarray(0, 12)).toString("hex");
  return ["00000000000000000000ffff", "000000000000000000000000", "0064ff9b0000000000000000"].includes(
    prefix,
  );
}

/** Says why no host can have an address; undefined when one can. */
function notAHost(address: IpAddress): string | undefined {
  const [first = 0, second = 0] = address.bytes;
  if (address.bytes.every((byte) => byte === 0)) return "is the unspecified address";
  if (isLoopback(address.text)) return "is a loopback address";
  if (address.family === 4) {
    if (first === 0) return "is in 0.0.0.0/8, which no host can have";
    if (first >= 224 && first < 240) return "is a multicast address";
    if (first >= 240) return "is a reserved or broadcast address";
    return undefined;
  }
  if (embedsIpv4(address)) return "is an IPv4 address in IPv6 form";
  if (first === 0xff) return "is a multicast address";
  if (first === 0xfe && (second & 0xc0) === 0x80) return "is a link-local address";
  return undefined;
}

/** Says why `text` is no address, where a person may have meant one; undefined when nothing is known. */
function nearlyAnAddress(text: string): string | undefined {
  const [head = "", prefix] = text.split("/");
  if (prefix !== undefined && parseIp(head) !== undefined)
    return "has a prefix, and this is one machine's address; leave the prefix out";
  if (text.includes("%") && parseIp(text.replace(/%.*$/s, "")) !== undefined)
    return "is not a numeric address alone: it has a zone, which only one machine knows";
  if (/^\w+:\/\//.test(text)) return "is a URL; use the address alone";
  if (/^[\d.]+$/.test(text) && /(?:^|\.)0\d/.test(text))
    return "has a number that begins with 0, which some programs read as octal; leave the 0 out";
  const parts = text.split(/[\s,;|]+/);
  if (parts.length > 1 && parts.every((part) => parseIp(part) !== undefined))
    return text.includes(",")
      ? "is a list, and this is one address"
      : "is several addresses; separate them by commas";
  if (/^(?:localhost|[a-z\d-]+(?:\.[a-z\d-]+)*\.[a-z]+)(?::\d+)?$/i.test(text))
    return "is not a numeric address but a name, and a name server may be down when it is needed";
  return undefined;
}

/** Says why `text` is no address by itself. */
function notAnAddress(text: string): string {
  const near = nearlyAnAddress(text);
  if (near !== undefined) return near;
  if (/^\[[^\]]*\]$/.test(text)) return "has brackets, which belong only before a port; leave them out";
  return readsAsPort(text) !== undefined || /^(?:[\d.]+|\[[^\]]*\]):\d+$/.test(text)
    ? "has a port, and this is an address alone; leave the port out"
    : "is not a numeric address";
}

/**
 * Returns what a person may have meant who wrote an IPv6 address and a port without brackets: the part before
 * the last colon is an address of its own, and a decimal number follows. undefined when it cannot be that.
 */
function readsAsPort(text: string): HostPort | undefined {
  const [, head = "", digits = ""] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  const address = parseIp(head);
  return address?.family === 6 ? { host: address.text, port: Number(digits) } : undefined;
}

export const hostAddress: Parser<IpAddress> = {
  expects: "a numeric IPv4 or IPv6 address such as 192.0.2.11 or 2001:db8::11",
  parse(text) {
    const address = parseIp(text);
    if (address === undefined) return wrong(notAnAddress(text));
    const reason = notAHost(address);
    return reason === undefined ? ok(address) : wrong(reason);
  },
};

/** True for 443, 6443, 8443 and the like: no other numbers are read as a port where an address may end so. */
export function isApiServersPort(port: number): boolean {
  return port % 1_000 === 443;
}

/** A VIP, which is bound as /32 or /128 and nothing else: a wider prefix would bring a route of its own. */
const vip: Parser<IpAddress> = {
  expects: hostAddress.expects,
  parse(text) {
    if (text.includes("://")) return hostAddress.parse(text);
    const [head = "", prefix, ...rest] = text.split("/");
    const parsed = hostAddress.parse(head);
    const meant = readsAsPort(head);
    if (parsed.kind === "ok" && meant !== undefined && isApiServersPort(meant.port))
      return wrong(
        `ends in what looks like port ${meant.port}; leave the port out, or write all eight groups if that is the address`,
      );
    if (parsed.kind === "wrong" || prefix === undefined) return parsed;
    const whole = parsed.value.family === 4 ? "32" : "128";
    if (prefix === whole && rest.length === 0) return parsed;
    return wrong(`has a prefix; a VIP is always bound as /${whole}, so leave it out`);
  },
};

/** Most entries of a list. More is a typing error, and each one costs an announcement a second. */
const MAX_LIST = 16;

function list<T>(item: Parser<T>, noun: string, identity: (value: T) => string): Parser<readonly T[]> {
  return {
    expects: `${item.expects}; several separated by commas`,
    parse(text) {
      const values: T[] = [];
      const seen = new Set<string>();
      for (const part of text.split(",").map((piece) => piece.trim())) {
        if (part === "") return wrong(`has an empty ${noun}`);
        const parsed = item.parse(part);
        if (parsed.kind === "wrong") return wrong(`has ${shown(part)}, which ${parsed.because}`);
        const id = identity(parsed.value);
        if (seen.has(id)) return wrong(`names ${id} twice`);
        seen.add(id);
        values.push(parsed.value);
        if (values.length > MAX_LIST) return wrong(`has more than ${MAX_LIST} entries`);
      }
      return ok(values);
    },
  };
}

export const ports: Parser<readonly number[]> = list(port, "port", String);

/** An address, or a network as `ip` prints it. */
const network: Parser<Subnet> = {
  expects: "a numeric address or a network such as 192.0.2.0/24 or 2001:db8::/64",
  parse(text) {
    const [head = "", prefix, ...rest] = text.split("/");
    const address = parseIp(head);
    if (address === undefined) return wrong(notAnAddress(head));
    const size = hostPrefix(address);
    if (prefix === undefined) {
      const reason = notAHost(address);
      return reason === undefined ? ok({ address, prefixLength: size }) : wrong(reason);
    }
    const prefixLength = Number(prefix);
    return rest.length === 0 && /^\d{1,3}$/.test(prefix) && prefixLength <= size
      ? ok({ address, prefixLength })
      : wrong(`has a prefix length that is no number from 0 to ${size}`);
  },
};

export const networks: Parser<readonly Subnet[]> = list(
  network,
  "entry",
  ({ address, prefixLength }) => `${address.text}/${prefixLength}`,
);

export const vips: Parser<readonly IpAddress[]> = list(vip, "address", (address) => address.text);

export interface Endpoint {
  readonly address: IpAddress;
  /** undefined: the default port of that setting. */
  readonly port: number | undefined;
  /**
   * Set when an IPv6 address without brackets ends in a decimal number, which may have been meant as a port.
   */
  readonly meant?: HostPort;
}

/**
 * An API server, never by a DNS name: the resolver may be the first thing that is down when the address is
 * needed.
 */
const endpoint: Parser<Endpoint> = {
  expects:
    "a numeric address with or without a port, such as 192.0.2.11, 192.0.2.11:6443 or [2001:db8::11]:6443",
  parse(text) {
    const bare = parseIp(text);
    const match = bare === undefined ? /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) : null;
    const address = bare ?? parseIp(match?.[1] ?? match?.[2] ?? "");
    const meant = readsAsPort(text);
    if (address === undefined)
      return wrong(
        meant === undefined
          ? (nearlyAnAddress(text) ?? "is not a numeric address with or without a port")
          : `is an IPv6 address with a port but without brackets, as in ${hostPort(meant.host, meant.port)}`,
      );
    if (match?.[1] !== undefined && address.family === 4) return wrong("has brackets round an IPv4 address");
    const reason = isLoopback(address.text) ? undefined : notAHost(address);
    if (reason !== undefined) return wrong(reason);
    if (match?.[3] === undefined)
      return ok({ address, port: undefined, ...(meant === undefined ? {} : { meant }) });
    const parsedPort = port.parse(match[3]);
    if (parsedPort.kind === "wrong") return wrong(`has a port that ${parsedPort.because}`);
    return ok({ address, port: parsedPort.value });
  },
};

export const endpoints: Parser<readonly Endpoint[]> = list(
  endpoint,
  "entry",
  ({ address, port }) => `${address.text}${port === undefined ? "" : ` port ${port}`}`,
);

/**
 * The address and port where the ops server listens. All addresses (0.0.0.0 and ::) are allowed. A rule
 * elsewhere warns.
 */
export const listenAddress: Parser<{ readonly host: string; readonly port: number }> = {
  expects: "a numeric address and a port, such as 127.0.0.1:10081 or [::1]:10081",
  parse(text) {
    const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
    const address = parseIp(match?.[1] ?? match?.[2] ?? "");
    if (match === null || address === undefined) {
      const meant = readsAsPort(text);
      return wrong(
        meant === undefined
          ? "is not an address with a port"
          : `is an IPv6 address with a port but without brackets, as in ${hostPort(meant.host, meant.port)}`,
      );
    }
    const parsedPort = port.parse(match[3] ?? "");
    if (parsedPort.kind === "wrong") return wrong(`has a port that ${parsedPort.because}`);
    return ok({ host: address.text, port: parsedPort.value });
  },
};

function matching(pattern: RegExp, maxLength: number, expects: string, because: string): Parser<string> {
  return {
    expects,
    parse: (text) => (text.length <= maxLength && pattern.test(text) ? ok(text) : wrong(because)),
  };
}

export const absolutePath: Parser<string> = matching(
  /^\/[^\0]*$/,
  4096,
  "an absolute path",
  "is not an absolute path",
);

/** The absolute path of a file. */
export const filePath: Parser<string> = {
  expects: "the absolute path of a file",
  parse(text) {
    const parsed = absolutePath.parse(text);
    return parsed.kind === "ok" && text.endsWith("/") ? wrong("is a directory, and this is a file") : parsed;
  },
};

/** A file, or null for `none`. */
export const filePathOrNone: Parser<string | null> = {
  expects: `${filePath.expects}, or none`,
  parse: (text) => (text.toLowerCase() === "none" ? ok(null) : filePath.parse(text)),
};

/** A label or subdomain of RFC 1123, as Kubernetes names things. */
export const dnsLabel: Parser<string> = matching(
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
  63,
  "lower-case letters, digits and '-', at most 63",
  "is not a Kubernetes name",
);
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
export const dnsSubdomain: Parser<string> = matching(
  SUBDOMAIN,
  253,
  "lower-case letters, digits, '-' and '.', at most 253",
  "is not a Kubernetes name",
);

/**
 * A node's name. It is also the end of its annotation's name, `candidate.<node>`, and Kubernetes limits that
 * part of an annotation's name to 63 characters.
 */
export const nodeName: Parser<string> = matching(
  SUBDOMAIN,
  63 - "candidate.".length,
  "the node's Kubernetes name: lower-case letters, digits, '-' and '.', at most 53",
  "is not a node name that fits",
);

/**
 * An interface name by the kernel's own rule (dev_valid_name): no slash, colon or space. `ip` prints the other end of a pair behind `@`. An alternative name has up to 127 characters
 * (ALTIFNAMSIZ).
 */
const linkName: Parser<string> = matching(
  /^(?!\.{1,2}$)[^\s/:@]+(?:@[^\s/:@]+)?$/,
  127,
  "the name of a network interface such as eth0",
  "is not an interface name",
);

export const interfaceName: Parser<string> = {
  expects: linkName.expects,
  parse(text) {
    if (text === "lo") return wrong("is the loopback interface, which no other machine can reach");
    // The kernel would take these as names, but nobody gives them.
    if (parseIp(text) !== undefined) return wrong("is an address, and this is the interface's name");
    if (text.includes(",")) return wrong("is a list, and the VIP is bound on one interface");
    return linkName.parse(text);
  },
};

/** An interface name, or the beginning of one with a `*` after it. It becomes a part of rules. */
const interfacePattern: Parser<string> = {
  expects: "interface names separated by commas, each with or without a * at its end, such as cni0,cali*",
  parse(text) {
    if (text === "*" || text === "lo") return wrong("would match interfaces that are no pod's");
    return /^[\w.@-]{1,15}\*?$/.test(text) && text.length <= 15
      ? ok(text)
      : wrong("is not an interface name, with or without a * at its end");
  },
};

export const interfacePatterns: Parser<readonly string[]> = list(interfacePattern, "name", (name) => name);

/** A path with a query, in the characters that a URL may have (RFC 3986 section 3.3 and 3.4). */
export const httpPath: Parser<string> = matching(
  /^\/[\w.~!$&'()*+,;=:@%/?-]*$/,
  1024,
  "a path such as /readyz",
  "is not a URL path",
);

/** A command line, which is kept as it is written. The check splits it with {@link splitCommand}. */
export const commandLine: Parser<string> = {
  expects: "a command with its arguments, such as /etc/leasehold/check.sh 6443",
  parse(text) {
    if (text.length > 4096) return wrong("is longer than 4096 characters");
    const [program, ...args] = splitCommand(text) ?? [];
    if (program === undefined)
      return wrong("is not a command line: a quote is not closed, or it ends in a backslash");
    if (program.trim() === "") return wrong("names no program");
    // A program's path may have a space in it, but quotes round a whole command are the shell's, or YAML's.
    if (args.length === 0 && /\s/.test(program) && /^(["']).*\1$/s.test(text))
      return wrong(
        "is one word, because it has quotes around it; remove the quotes, or put a backslash before each space of the program's path",
      );
    return ok(text);
  },
};

export const httpUrl: Parser<string> = {
  expects: "a URL such as http://127.0.0.1:8080/healthz",
  parse(text) {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined) return wrong("is not a URL");
    if (url.protocol !== "http:" && url.protocol !== "https:") return wrong("is neither http nor https");
    if (url.username !== "" || url.password !== "") return wrong("has a password in it");
    return ok(text);
  },
};

/** The address of a page, to which the name of a section is added. */
export const pageUrl: Parser<string> = {
  expects: "the URL of a page without #, such as https://example.com/leasehold/operations.html",
  parse(text) {
    if (text.includes("#")) return wrong("has a #, behind which the name of a section would come");
    if (!/^[\w.~!$&'()*+,;=:@%/?[\]-]+$/.test(text)) return wrong("has a character in it that no URL has");
    return httpUrl.parse(text);
  },
};
