/** The clients of one upgrade: started, and asked for what they saw. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Host } from "../../support/lab/host.ts";
import type { TlsOptions } from "../../support/lab/probe.ts";

/** `new`: a connection for each request. `kept`: HTTP/1.1 on a connection that is kept. `http2`: the same of HTTP/2. */
export const KINDS = ["new", "kept", "http2"] as const;

export interface UpgradeClientsOptions {
  readonly host: string;
  readonly port: number;
  readonly perKind: number;
  /** Between two requests of one client. */
  readonly everyMs: number;
  readonly timeoutMs: number;
  readonly tls: Required<Omit<TlsOptions, "servername">>;
}

export interface KindReport {
  readonly kind: string;
  readonly requests: number;
  readonly failed: number;
  readonly slowestMs: number;
  /** The first failures, in words. */
  readonly why: readonly string[];
}

export interface UpgradeClients {
  /** Ends them and answers what they saw, each kind by itself. */
  stop(): Promise<readonly KindReport[]>;
}

const LIMIT_MS = 600_000;

/** Resolves when each has had an answer. */
export async function startClients(host: Host, options: UpgradeClientsOptions): Promise<UpgradeClients> {
  const script = fileURLToPath(new URL("clients-child.ts", import.meta.url));
  const [file = "", ...args] = host.inside([process.execPath, script, JSON.stringify(options)]);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const next = await lines.next();
    if (next.done === true) throw new Error("the clients of the upgrade have ended");
    return next.value;
  };
  const ready = await line();
  if (ready !== "ready") throw new Error(`clients: ${ready}`);
  return {
    async stop() {
      child.stdin.write("stop\n");
      const reports: readonly KindReport[] = JSON.parse(await line());
      clearTimeout(timer);
      return reports;
    },
  };
}
