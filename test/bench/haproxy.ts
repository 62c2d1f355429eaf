/** HAProxy beside ours: as kubeadm's documentation of high availability configures it, and tuned. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "../support/lab/host.ts";
import type { LabProcess } from "../support/lab/process.ts";

export interface HaproxyOptions {
  readonly port: number;
  /** `address:port` of each API server. */
  readonly servers: readonly string[];
  /**
   * GET /healthz over TLS. False where the servers are no API servers: a check costs a request in two
   * seconds.
   */
  readonly checks: boolean;
}

/**
 * The values of kubeadm's ha-considerations since May 2024: one log line a connection to stdout, idle
 * time-outs of 35 s, one retry with redispatch, the check at its default pace.
 */
export function documented({ port, servers, checks }: HaproxyOptions): string {
  const check = checks
    ? [
        "option httpchk",
        "http-check connect ssl",
        "http-check send meth GET uri /healthz",
        "http-check expect status 200",
      ]
    : [];
  return section({
    global: ["log stdout format raw local0"],
    defaults: [
      "mode http",
      "log global",
      "option httplog",
      "option dontlognull",
      "option http-server-close",
      "option forwardfor except 127.0.0.0/8",
      "option redispatch",
      "retries 1",
      "timeout http-request 10s",
      "timeout queue 20s",
      "timeout connect 5s",
      "timeout client 35s",
      "timeout server 35s",
      "timeout http-keep-alive 10s",
      "timeout check 10s",
    ],
    "frontend apiserver": [`bind *:${port}`, "mode tcp", "option tcplog", "default_backend apiserverbackend"],
    "backend apiserverbackend": [
      ...check,
      "mode tcp",
      "balance roundrobin",
      ...servers.map(
        (server, index) => `server s${index + 1} ${server}${checks ? " check verify none" : ""}`,
      ),
    ],
  });
}

/**
 * What can be had for throughput: the kernel moves the bytes (splice) through large pipes, no log, no packet
 * that can be saved.
 */
export function tuned({ port, servers }: HaproxyOptions): string {
  return section({
    global: ["tune.bufsize 65536", "tune.pipesize 1048576"],
    defaults: [
      "mode tcp",
      "option splice-request",
      "option splice-response",
      "option tcp-smart-accept",
      "option tcp-smart-connect",
      "timeout connect 1s",
      "timeout client 1h",
      "timeout server 1h",
    ],
    "listen apiserver": [
      `bind *:${port}`,
      "balance roundrobin",
      ...servers.map((server, index) => `server s${index + 1} ${server}`),
    ],
  });
}

/** HAProxy as an HTTP server of its own: the quickest one among the programs at hand. */
export function httpServer(port: number): string {
  return section({
    global: [],
    defaults: ["mode http", "timeout connect 1s", "timeout client 1h", "timeout server 1h"],
    "frontend server": [
      `bind *:${port}`,
      "http-request return status 200 content-type text/plain lf-string x",
    ],
  });
}

function section(sections: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(sections)
    .map(([head, lines]) => `${head}\n${lines.map((line) => `  ${line}\n`).join("")}`)
    .join("");
}

/** In the foreground, as a container runs it; `name` also names its files. */
export async function startHaproxy(host: Host, name: string, configuration: string): Promise<LabProcess> {
  const file = join(host.directory, `${name}.cfg`);
  writeFileSync(file, configuration);
  return host.spawn(["haproxy", "-db", "-f", file], { name });
}
