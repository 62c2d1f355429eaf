/** A listening socket, in this process' network namespace or in another. */
import { once } from "node:events";
import { createServer, type Server, Server as NetServer } from "node:net";
import { fileURLToPath } from "node:url";
import type { Run } from "../control-plane/process.ts";

const CHILD = fileURLToPath(new URL("listen-child.ts", import.meta.url));
const CHILD_LIMIT_MS = 20_000;

/**
 * Listens on `host:port` (0 picks a free one).
 * @param run starts a program in the namespace to listen in; undefined: here. A socket belongs to the
 *   namespace it was
 *   made in, whoever reads from it: a short-lived child makes it there and sends it over.
 */
export async function listenAt(host: string, port: number, run: Run | undefined): Promise<Server> {
  if (run === undefined) {
    const server = createServer();
    await listening(server, () => server.listen(port, host));
    return server;
  }
  const child = run([process.execPath, CHILD, host, String(port)], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), CHILD_LIMIT_MS);
  try {
    const made = await new Promise<Server>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`cannot listen on ${host} port ${port}: ${stderr.trim()}`)));
      child.once("message", (_message, handle) => {
        if (handle instanceof NetServer) resolve(handle);
        else reject(new Error("the child has sent no socket"));
      });
    });
    child.send("thanks");
    return made;
  } finally {
    clearTimeout(timer);
  }
}

async function listening(server: Server, listen: () => void): Promise<void> {
  const listens = once(server, "listening");
  listen();
  await listens;
}
