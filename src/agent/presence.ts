/**
 * Shows that an agent runs on this machine, whatever its settings: an abstract socket (unix(7)) lives in the network namespace, as the rules in the kernel do,
 * needs no file, and ends with its process, however that ends. `leasehold cleanup` must see it from a container of its own, which shares nothing else.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Logger } from "../log.ts";

const NAME = "leasehold/agent/";
/** Abstract names begin with a zero byte, which the kernel shows as "@". */
const LISTED = `@${NAME}`;

/** Visible until closed. A failure is logged: the agent's work does not depend on it. */
export function announcePresence(log: Logger): { close(): void } {
  // Nobody is answered. Each agent has a name of its own, so that none hides the other.
  const server = createServer((socket) => void socket.destroy());
  server.on("error", (error) => log.debug({ err: error }, "This agent is not visible to `leasehold cleanup`"));
  server.listen({ path: `\0${NAME}${randomUUID()}` });
  server.unref();
  return { close: () => void server.close() };
}

/** An agent runs in this network namespace, or stands still in it. @throws where /proc is not readable */
export function agentIsPresent(table: string = readFileSync("/proc/net/unix", "utf8")): boolean {
  return table.split("\n").some((line) => line.includes(` ${LISTED}`));
}
