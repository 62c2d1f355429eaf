/**
 * Shows that an agent runs on this machine, whatever its settings. An abstract socket (unix(7)) lives in the
 * network namespace, as the rules in the kernel do. It needs no file, and it ends with its process in any
 * case. `leasehold cleanup` must see it from its own container, which shares nothing else.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Logger } from "../log.ts";

const NAME = "leasehold/agent/";
/** Abstract names begin with a zero byte, which the kernel shows as "@". */
const LISTED = `@${NAME}`;

/**
 * Makes this agent visible until closed. A failure is logged, because the agent's work does not depend on it.
 */
export function announcePresence(log: Logger): { close(): void } {
  // The socket answers no client. Each agent has its own name, so that no agent hides another.
  const server = createServer((socket) => void socket.destroy());
  server.on("error", (error) =>
    log.debug({ err: error }, "This agent is not visible to `leasehold cleanup`"),
  );
  server.listen({ path: `\0${NAME}${randomUUID()}` });
  server.unref();
  return { close: () => void server.close() };
}

/**
 * True when an agent runs, or is stopped, in this network namespace.
 * @throws where /proc is not readable
 */
export function agentIsPresent(table: string = readFileSync("/proc/net/unix", "utf8")): boolean {
  return table.split("\n").some((line) => line.includes(` ${LISTED}`));
}
