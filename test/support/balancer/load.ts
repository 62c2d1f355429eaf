/**
 * A quick comparison of the proxy with HAProxy on loopback: `node test/support/balancer/load.ts [SECONDS]`. Client,
 * servers and proxy share the machine, so beside each rate stands what it cost the proxy's process: CPU time.
 */
import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./servers.ts";
import { openClient, until } from "./fixture.ts";

const seconds = Number(process.argv[2] ?? "3");
const CONCURRENT = 32;
const BULK_STREAMS = 4;
const BULK_BYTES = 268_435_456;
const IDLE = 9000;

interface Subject {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
}

/** User and system time, ms. USER_HZ is 100 on every Linux port that Node has. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function rssKiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/u.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0");
}

async function child(file: string, args: readonly string[] = []): Promise<{ process: ChildProcess; port: number }> {
  const process = fork(new URL(file, import.meta.url), args);
  const port = Number((await once(process, "message"))[0]);
  return { process, port };
}

function oneConnection(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    socket.once("connect", () => socket.write("c"));
    socket.resume();
    socket.once("error", reject);
    socket.once("close", () => resolve());
  });
}

async function connections(subject: Subject): Promise<string> {
  const endMs = performance.now() + seconds * 1000;
  const before = cpuMs(subject.pid);
  const startMs = performance.now();
  let count = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < endMs) {
      await oneConnection(subject.port);
      count++;
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT }, worker));
  const tookMs = performance.now() - startMs;
  const cpu = cpuMs(subject.pid) - before;
  return `${Math.round((count / tookMs) * 1000)} connections/s, ${((cpu * 1000) / count).toFixed(0)} us CPU each`;
}

async function bulk(subject: Subject, up: boolean): Promise<string> {
  const before = cpuMs(subject.pid);
  const startMs = performance.now();
  const block = Buffer.alloc(262_144, 1);
  block.write("u");
  const one = async (): Promise<void> => {
    const socket = await openClient(subject.port);
    socket.resume();
    if (up) {
      for (let sent = 0; sent < BULK_BYTES; sent += block.length) {
        if (!socket.write(block)) await once(socket, "drain");
      }
      socket.end();
    } else {
      socket.write(`d${BULK_BYTES}\n`);
    }
    await once(socket, "end");
    socket.destroy();
  };
  await Promise.all(Array.from({ length: BULK_STREAMS }, one));
  const gigabytes = (BULK_STREAMS * BULK_BYTES) / 1e9;
  const tookMs = performance.now() - startMs;
  const cpu = cpuMs(subject.pid) - before;
  return `${up ? "up" : "down"} ${((gigabytes / tookMs) * 1000).toFixed(2)} GB/s, ${(cpu / gigabytes).toFixed(0)} ms CPU a GB`;
}

async function idle(subject: Subject): Promise<string> {
  const before = rssKiB(subject.pid);
  const cpuBefore = cpuMs(subject.pid);
  const sockets = [];
  for (let i = 0; i < IDLE; i++) sockets.push(await openClient(subject.port));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const line = `${((rssKiB(subject.pid) - before) / IDLE).toFixed(1)} KiB RSS per idle connection, opened in ${cpuMs(subject.pid) - cpuBefore} ms CPU`;
  for (const socket of sockets) socket.destroy();
  return line;
}

async function run(subject: Subject): Promise<void> {
  const what = new Set((process.argv[3] ?? "c,d,u,i").split(","));
  if (what.has("c")) console.log(subject.name, await connections(subject));
  if (what.has("d")) console.log(subject.name, await bulk(subject, false));
  if (what.has("u")) console.log(subject.name, await bulk(subject, true));
  if (what.has("i")) console.log(subject.name, await idle(subject));
}

async function haproxy(ports: readonly number[], directory: string): Promise<{ process: ChildProcess; port: number }> {
  const port = await freePort();
  const servers = ports.map((serverPort, i) => `  server s${i} 127.0.0.1:${serverPort}`);
  const lines = [
    "global", "  nbthread 1", "  maxconn 9500",
    "defaults", "  mode tcp", "  balance leastconn", "  timeout connect 1s", "  timeout client 1h", "  timeout server 1h",
    "frontend f", `  bind 127.0.0.1:${port}`, "  default_backend b", "backend b", ...servers, "",
  ];
  const file = join(directory, "haproxy.cfg");
  writeFileSync(file, lines.join("\n"));
  const process = spawn("haproxy", ["-db", "-q", "-f", file], { stdio: "ignore" });
  let up = false;
  const knock = (): void => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => { up = true; socket.destroy(); });
    socket.once("error", () => setTimeout(knock, 20));
  };
  knock();
  await until("haproxy listens", () => up);
  return { process, port };
}

const directory = mkdtempSync(join(tmpdir(), "leasehold-load-"));
const servers = [await child("./load-server.ts"), await child("./load-server.ts")];
const ports = servers.map((server) => server.port);
const ours = await child("./load-proxy.ts", ports.map(String));
const theirs = await haproxy(ports, directory);
try {
  const direct = ports[0] ?? 0;
  if ((process.argv[3] ?? "c").includes("c")) {
    console.log("direct", await connections({ name: "direct", port: direct, pid: servers[0]?.process.pid ?? 0 }));
  }
  await run({ name: "haproxy", port: theirs.port, pid: theirs.process.pid ?? 0 });
  await run({ name: "leasehold", port: ours.port, pid: ours.process.pid ?? 0 });
} finally {
  theirs.process.kill("SIGKILL");
  ours.process.disconnect();
  for (const server of servers) server.process.disconnect();
  rmSync(directory, { recursive: true });
}
