/** The load: what one subject does in one go, and what that cost its process. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { openClient } from "../../support/proxy/fixture.ts";

const CONCURRENT = 32;
const CONNECT_FOR_MS = 2000;
const BULK_STREAMS = 4;
const BULK_BYTES = 134_217_728;

export interface Subject {
  readonly name: string;
  readonly port: number;
  /** Process of the balancer; undefined where there is none. */
  readonly pid: number | undefined;
}

export interface Measured {
  /** Connections, or bytes. */
  readonly amount: number;
  readonly tookMs: number;
  /** CPU time of the subject's process. */
  readonly cpuMs: number | undefined;
}

/** User and system time, ms. USER_HZ is 100 on every Linux port that Node has. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/mu.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

async function measure(subject: Subject, act: () => Promise<number>): Promise<Measured> {
  const before = subject.pid === undefined ? 0 : cpuMs(subject.pid);
  const startMs = performance.now();
  const amount = await act();
  const tookMs = performance.now() - startMs;
  return { amount, tookMs, cpuMs: subject.pid === undefined ? undefined : cpuMs(subject.pid) - before };
}

/** Opened, one byte each way, closed. */
function oneConnection(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    socket.once("connect", () => socket.write("c"));
    socket.resume();
    socket.once("error", reject);
    socket.once("close", () => resolve());
  });
}

/** As many new connections as it takes, {@link CONCURRENT} at a time. */
export function connections(subject: Subject): Promise<Measured> {
  return measure(subject, async () => {
    const endMs = performance.now() + CONNECT_FOR_MS;
    let count = 0;
    const worker = async (): Promise<void> => {
      while (performance.now() < endMs) {
        await oneConnection(subject.port);
        count++;
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT }, worker));
    return count;
  });
}

/** The same number of bytes over each of {@link BULK_STREAMS} connections, to the servers or from them. */
export function bulk(subject: Subject, direction: "down" | "up"): Promise<Measured> {
  const block = Buffer.alloc(262_144, 1);
  block.write("u");
  const upload = async (): Promise<void> => {
    const socket = await openClient(subject.port);
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
    const ended = once(socket, "end");
    for (let sent = 0; sent < BULK_BYTES; sent += block.length) {
      if (!socket.write(block)) await once(socket, "drain");
    }
    socket.end();
    await ended;
    if (answer !== "u")
      throw new Error(`${subject.name}: the upload was answered with ${JSON.stringify(answer)}`);
  };
  const download = async (): Promise<void> => {
    const socket = await openClient(subject.port);
    let received = 0;
    socket.on("data", (chunk: Buffer) => (received += chunk.length));
    socket.write(`d${BULK_BYTES}\n`);
    await once(socket, "end");
    socket.destroy();
    if (received !== BULK_BYTES) throw new Error(`${subject.name}: ${received} of ${BULK_BYTES} bytes came`);
  };
  return measure(subject, async () => {
    await Promise.all(Array.from({ length: BULK_STREAMS }, direction === "up" ? upload : download));
    return BULK_STREAMS * BULK_BYTES;
  });
}
