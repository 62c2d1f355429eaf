/** Says HAProxy's configuration in this project's settings. Pure. */
import { SETTINGS } from "../config/settings.ts";
import { hostPort, parseIp } from "../net.ts";
import type { Line } from "./foreign-text.ts";
import type { HaproxySection } from "./haproxy-cfg.ts";
import type { Draft } from "./import-draft.ts";

const OTHER = "it is another service's than the API servers'";
const LOGS = "the agent has its own log and metrics (LEASEHOLD_LOG_LEVEL, /metrics)";
const PASSES = "TLS passes through: clients and API servers speak to each other";
const NO_IDLE = "a connection ends when one of its ends does, or its API server dies";
const NEXT = "the balancer tries the next API server by itself (LEASEHOLD_CONNECT_TIMEOUT)";
const VERIFIED = "a health check is made over TLS, and verified with the cluster's CA";
const EQUAL = "API servers get equal shares";
const UNKNOWN = "there is no such setting";

/** Lines that say what the balancer does in any case. */
const ALREADY: readonly RegExp[] = [
  /^mode tcp$/,
  /^daemon$/,
  /^option (?:tcplog|dontlognull|tcpka|clitcpka|srvtcpka|dontlog-normal|log-health-checks)$/,
  /^http-check connect(?: ssl| alpn| sni|$)/,
  /^http-check expect (?:rstatus 2|status 200$)/,
  /^default_backend /,
  /^option ssl-hello-chk$/,
  /^option (?:allbackups|nolinger|splice-|tcp-smart-|srvtcpka)/,
  /^(?:enabled|bind-process|backlog)\b/,
];
const ALREADY_WHY = "the balancer does so in any case";

/** Why a keyword has no setting, by how its line begins. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/^mode /, PASSES],
  [/^(?:log|log-format|log-tag|option (?:httplog|log-separate-errors|contstats))\b/, LOGS],
  [/^timeout (?:client|server|tunnel|queue|http|client-fin|server-fin|tarpit)/, NO_IDLE],
  [/^(?:retries|retry-on|option redispatch|option (?:persist|abortonclose))\b/, NEXT],
  [
    /^(?:option (?:http|forwardfor|accept-invalid)|http-(?:request|response|send|reuse)|errorfile|compression|cookie)/,
    PASSES,
  ],
  [/^(?:stats|monitor)/, "/metrics, /status and `leasehold status` show it"],
  [
    /^(?:acl|use_backend|use-server|tcp-request|tcp-response)\b/,
    "every connection to the VIP's ports is for the API servers",
  ],
  [
    /^(?:option tcp-check|tcp-check|external-check|option external-check)/,
    "a health check asks LEASEHOLD_CHECK_PATH",
  ],
  [/^(?:stick|stick-table|hash-type)\b/, "LEASEHOLD_ALGORITHM=source keeps a client at one API server"],
  [/^fullconn|^maxqueue/, EQUAL],
  [/^http-check\b/, "a health check is a GET of LEASEHOLD_CHECK_PATH, and status 200 is healthy"],
  [
    /^option (?:mysql|pgsql|redis|smtp|ldap|spop)/,
    "a health check is a GET of LEASEHOLD_CHECK_PATH, and status 200 is healthy",
  ],
  [/^option log/, LOGS],
  [/^server-template\b/, "it is a name: LEASEHOLD_BACKENDS takes numeric addresses alone"],
  [/^dispatch\b|^option transparent/, "LEASEHOLD_BACKENDS names the API servers"],
  [
    /^source\b|^option (?:originalto|independent-streams)/,
    "the balancer speaks to an API server from the node's own address",
  ],
  [
    /^(?:rate-limit|max-session-srv-conns)\b/,
    "the API servers limit their clients by themselves (priority and fairness)",
  ],
  [/^(?:load-server-state|server-state-file)/, "an agent asks each API server when it starts"],
  [/^email-alert\b/, "the agent sends no mail: alerts are in manifests/monitoring"],
  [/^(?:id|guid|description|disabled|option socket-stats)\b/, "it concerns HAProxy itself"],
];

export function importHaproxy(sections: readonly HaproxySection[], draft: Draft): void {
  const services = servicesOf(sections);
  const chosen = services.filter(isApi);
  const [service] = chosen.length === 0 && services.length === 1 ? services : chosen;
  if (service === undefined)
    draft.remind(
      "no frontend or listen of HAProxy leads to API servers: LEASEHOLD_BACKENDS names them, if need be",
    );
  const used = new Set(service === undefined ? [] : service.parts);
  // The later of two defaults sections counts for what follows it.
  const [head] = service?.parts ?? [];
  const defaults =
    head === undefined
      ? undefined
      : sections
          .filter(({ kind, file, line }) => kind === "defaults" && file === head.file && line < head.line)
          .at(-1);
  if (service !== undefined) takeOver(service, draft);
  for (const section of sections) {
    if (used.has(section)) continue;
    const { kind } = section;
    if (section === defaults) for (const line of section.lines) sharedLine(line, draft);
    else if (kind === "global") for (const line of section.lines) globalLine(line, draft);
    else
      for (const line of section.lines.length === 0 ? [section] : section.lines)
        draft.leaveOut(line, kind === "defaults" ? "no section that was taken over follows it" : OTHER);
  }
}

/** A listen section, or a frontend with its default backend. */
interface Service {
  readonly parts: readonly HaproxySection[];
  readonly binds: readonly Line[];
  readonly servers: readonly Line[];
}

const linesWith = (parts: readonly HaproxySection[], keyword: string): readonly Line[] =>
  parts.flatMap(({ lines }) => lines.filter(({ words: [word] }) => word === keyword));

function servicesOf(sections: readonly HaproxySection[]): readonly Service[] {
  return sections.flatMap((section) => {
    if (section.kind !== "listen" && section.kind !== "frontend") return [];
    const backends =
      section.kind === "listen"
        ? []
        : linesWith([section], "default_backend").flatMap(
            ({ words: [, name] }) =>
              sections.find(({ kind, name: own }) => kind === "backend" && own === name) ?? [],
          );
    const parts = [section, ...backends];
    return [{ parts, binds: linesWith(parts, "bind"), servers: linesWith(parts, "server") }];
  });
}

/** True for the service of the API servers, by its name, its port or its servers' port. */
function isApi({ parts, binds, servers }: Service): boolean {
  const names = parts.map(({ name }) => name).join(" ");
  const texts = [...binds.map(({ words }) => words[1]), ...servers.map(({ words }) => words[2])];
  return (
    servers.length > 0 &&
    (/api|kube|k8s|control-?plane|master/i.test(names) ||
      texts.some((text) => /:(?:6443|8443)$/.test(text ?? "")))
  );
}

function takeOver({ parts }: Service, draft: Draft): void {
  const servers: { readonly host: string; readonly port: number; readonly line: Line }[] = [];
  for (const { lines } of parts)
    // What a server says of itself counts before default-server.
    for (const line of lines.toSorted((a, b) => isDefault(a) - isDefault(b))) {
      const [keyword = ""] = line.words;
      if (keyword === "bind") continue;
      if (keyword === "server" || keyword === "default-server") {
        const address = keyword === "server" ? server(line, draft) : undefined;
        if (address !== undefined) servers.push({ ...address, line });
        serverWords(line, keyword === "server" ? 3 : 1, draft);
      } else sharedLine(line, draft);
    }
  const [first] = servers;
  const same = first !== undefined && servers.every(({ port }) => port === first.port);
  if (same && first.port !== Number(SETTINGS.BACKEND_PORT.fallback)) {
    // The balancer's port may be the usual one of an API server then.
    const bound = linesWith(parts, "bind").map(({ words: [, text = ""] }) => address(text).port);
    if (
      bound.includes(Number(SETTINGS.BACKEND_PORT.fallback)) ||
      first.port !== Number(SETTINGS.BALANCER_PORT.fallback)
    )
      draft.set("BACKEND_PORT", String(first.port), [first.line]);
  }
  for (const line of linesWith(parts, "bind")) bind(line, draft);
  if (first === undefined) return;
  draft.set(
    "BACKENDS",
    servers.map(({ host, port }) => hostPort(host, port)).join(","),
    servers.map(({ line }) => line),
    "without this setting the agents follow the EndpointSlice `kubernetes`, and a new API server needs no change",
  );
}

const isDefault = ({ words: [keyword] }: Line): number => (keyword === "default-server" ? 1 : 0);

/** Splits `*:8443`, `:::8443`, `[::]:8443`, `192.0.2.10:8443`. A port may be missing. */
function address(text: string): { readonly host: string; readonly port: number } {
  const [, host = "", port = ""] = /^(.*?)(?::(\d{1,5}))?$/.exec(text.replace(/^ipv[46]@/, "")) ?? [];
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: port === "" ? 0 : Number(port) };
}

function bind(line: Line, draft: Draft): void {
  const [, text = "", ...options] = line.words;
  for (const one of text.split(",")) {
    const { host, port } = address(one);
    const ofVip = (draft.value("VIP") ?? "").split(",").includes(parseIp(host)?.text ?? host);
    const isAny = ["", "*", "0.0.0.0", "::"].includes(host);
    if (port === 0) draft.leaveOut(line, "it has no port");
    else if (!isAny && !ofVip)
      draft.leaveOut(line, "LEASEHOLD_BALANCER_ADDRESSES says at which addresses the balancer serves");
    else if (String(port) === (draft.value("BACKEND_PORT") ?? SETTINGS.BACKEND_PORT.fallback))
      draft.set(
        "VIP_PORTS",
        [...new Set([String(port), SETTINGS.BALANCER_PORT.fallback])].join(","),
        [line],
        `the VIP's port ${port} leads to the API servers, and the proxy has port ${SETTINGS.BALANCER_PORT.fallback}`,
      );
    else {
      draft.set("BALANCER_PORT", String(port), [line]);
      if (draft.value("BALANCER_PORT") === String(port))
        draft.set("VIP_PORTS", [...new Set([SETTINGS.BACKEND_PORT.fallback, String(port)])].join(","), [
          line,
        ]);
    }
  }
  for (let at = 0; at < options.length; at++) {
    const option = options[at] ?? "";
    const value = [
      "crt",
      "ca-file",
      "alpn",
      "ciphers",
      "interface",
      "mss",
      "name",
      "process",
      "thread",
    ].includes(option)
      ? [options[++at] ?? ""]
      : [];
    draft.leaveOut(
      { ...line, words: ["bind", "...", option, ...value] },
      ["ssl", "crt", "ca-file", "alpn", "ciphers"].includes(option)
        ? PASSES
        : "the balancer listens for both families, and LEASEHOLD_BALANCER_ADDRESSES says at which addresses it serves",
    );
  }
}

function server(line: Line, draft: Draft): { readonly host: string; readonly port: number } | undefined {
  const [, , text = "", ...options] = line.words;
  const found = address(text);
  if (options.includes("backup") || options.includes("disabled")) {
    draft.leaveOut(
      line,
      `${options.includes("backup") ? "there are no backup servers" : "it is disabled"}: ${EQUAL}`,
    );
    return undefined;
  }
  if (parseIp(found.host) === undefined) {
    draft.leaveOut(
      line,
      text.includes("$")
        ? "the variable in it is not known here: put its value in"
        : "it is a name: LEASEHOLD_BACKENDS takes numeric addresses alone",
    );
    return undefined;
  }
  const { host, port } = found;
  return {
    host: parseIp(host)?.text ?? host,
    port: port === 0 ? Number(SETTINGS.BACKEND_PORT.fallback) : port,
  };
}

/** Words of a server that have no value of their own. */
const FLAGS = new Set([
  "check",
  "no-check",
  "ssl",
  "no-ssl",
  "check-ssl",
  "no-check-ssl",
  "backup",
  "disabled",
  "enabled",
  "send-proxy",
  "send-proxy-v2",
  "check-send-proxy",
  "allow-0rtt",
  "tfo",
  "agent-check",
]);

/** The words behind a server's address, or of default-server. */
function serverWords(line: Line, from: number, draft: Draft): void {
  const { words } = line;
  const [keyword = ""] = words;
  const left = (text: readonly string[], why: string): void =>
    draft.leaveOut({ ...line, words: [keyword, "...", ...text] }, why);
  for (let at = from; at < words.length; at++) {
    const option = words[at] ?? "";
    const value = FLAGS.has(option) ? "" : (words[++at] ?? "");
    const taken = { ...line, words: [keyword, "...", option, value] };
    switch (option) {
      case "inter":
        draft.set("CHECK_INTERVAL", time(value), [taken]);
        break;
      case "rise":
        draft.set("CHECK_RISE", value, [taken]);
        break;
      case "fall":
        draft.set("CHECK_FALL", value, [taken]);
        break;
      case "slowstart":
        draft.set("SLOW_START", time(value), [taken]);
        break;
      case "check":
      case "enabled":
      case "backup":
      case "disabled":
        break;
      case "ssl":
      case "check-ssl":
      case "verify":
      case "ca-file":
      case "crt":
      case "sni":
      case "check-sni":
      case "check-alpn":
      case "alpn":
        left(value === "" ? [option] : [option, value], option === "ssl" ? PASSES : VERIFIED);
        break;
      case "no-check":
        left([option], "every API server is checked");
        break;
      case "weight":
      case "maxconn":
      case "maxqueue":
      case "minconn":
        left([option, value], EQUAL);
        break;
      case "on-marked-down":
      case "on-marked-up":
        left([option, value], NO_IDLE);
        break;
      case "port":
      case "addr":
      case "check-port":
        left([option, value], "a health check asks the address and port that clients get");
        break;
      case "observe":
      case "error-limit":
      case "on-error":
      case "agent-check":
      case "agent-inter":
      case "agent-addr":
      case "agent-port":
      case "track":
        left([option, value], "health checks alone decide whether an API server is UP");
        break;
      case "resolvers":
      case "resolve-prefer":
      case "resolve-opts":
      case "init-addr":
        left([option, value], "LEASEHOLD_BACKENDS takes numeric addresses alone");
        break;
      case "send-proxy":
      case "send-proxy-v2":
      case "check-send-proxy":
        left([option], "API servers do not understand the PROXY protocol");
        break;
      case "source":
      case "interface":
      case "namespace":
        left([option, value], "the balancer speaks to an API server from the node's own address");
        break;
      case "fastinter":
      case "downinter":
        left([option, value], "the interval is the same in every state (LEASEHOLD_CHECK_INTERVAL)");
        break;
      default:
        left(value === "" ? [option] : [option, value], UNKNOWN);
    }
  }
}

/** A time of HAProxy, whose unit is milliseconds unless one is written; days are hours here. */
function time(text: string): string {
  const [, amount = "", unit = ""] = /^(\d+)(us|ms|s|m|h|d)?$/.exec(text) ?? [];
  if (amount === "") return text;
  if (unit === "us") return `${Math.ceil(Number(amount) / 1_000)}ms`;
  if (unit === "d") return `${Number(amount) * 24}h`;
  const ms = unit === "" || unit === "ms" ? Number(amount) : undefined;
  if (ms === undefined) return text;
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}

/** A Map and no object: the words come from a file, and `__proto__` is a member of every object. */
const ALGORITHMS: ReadonlyMap<string, string> = new Map([
  ["roundrobin", "roundrobin"],
  ["static-rr", "roundrobin"],
  ["leastconn", "leastconn"],
  ["random", "random"],
  ["source", "source"],
]);

/** A line that may stand in a proxy's section and in defaults. */
function sharedLine(line: Line, draft: Draft): void {
  const { words } = line;
  const [keyword = "", value = ""] = words;
  const text = words.join(" ");
  if (keyword === "balance") {
    const algorithm = ALGORITHMS.get(value.replace(/\(.*/, ""));
    if (algorithm === undefined) draft.leaveOut(line, "LEASEHOLD_ALGORITHM has no such one");
    else draft.set("ALGORITHM", algorithm, [line]);
  } else if (keyword === "maxconn") draft.set("MAX_CONNECTIONS", value, [line]);
  else if (keyword === "default-server") serverWords(line, 1, draft);
  else if (keyword === "timeout" && value === "connect")
    draft.set("CONNECT_TIMEOUT", time(words[2] ?? ""), [line]);
  else if (keyword === "timeout" && value === "check")
    draft.set("CHECK_TIMEOUT", time(words[2] ?? ""), [line]);
  else if (keyword === "option" && value === "httpchk") httpCheck(line, words.slice(2), draft);
  else if (keyword === "http-check" && value === "send") {
    const at = words.indexOf("uri");
    if (at < 0) draft.leaveOut(line, "a health check is a GET of LEASEHOLD_CHECK_PATH");
    else draft.set("CHECK_PATH", words[at + 1] ?? "", [line]);
  } else if (ALREADY.some((pattern) => pattern.test(text))) draft.leaveOut(line, ALREADY_WHY);
  else draft.leaveOut(line, REASONS.find(([pattern]) => pattern.test(text))?.[1] ?? UNKNOWN);
}

/** `option httpchk`, `option httpchk /path`, `option httpchk GET /path HTTP/1.1` */
function httpCheck(line: Line, words: readonly string[], draft: Draft): void {
  const path = words.find((word) => word.startsWith("/"));
  if (path === undefined) draft.leaveOut(line, ALREADY_WHY);
  else draft.set("CHECK_PATH", path, [line]);
}

function globalLine(line: Line, draft: Draft): void {
  const [keyword = ""] = line.words;
  const [, value = ""] = line.words;
  if (keyword === "maxconn") draft.set("MAX_CONNECTIONS", value, [line]);
  else if (keyword === "nbthread") draft.set("BALANCER_WORKERS", value, [line]);
  else if (keyword === "hard-stop-after") draft.set("DRAIN_TIMEOUT", time(value), [line]);
  else draft.leaveOut(line, keyword.startsWith("log") ? LOGS : "it concerns HAProxy itself");
}
