/**
 * A client of greeter.ts. `visitor.ts open HOST PORT COUNT` makes that many connections one after the other
 * and prints who answered, "failed" for none. `visitor.ts stay HOST PORT COUNT` keeps them, speaks on each of
 * them five times a second, and then prints as JSON how often each server has answered and how many
 * connections have ended.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";

const [mode = "", host = "", port = "", count = ""] = process.argv.slice(2);
const SPEAK_MS = 200;
const TIMEOUT_MS = 3_000;

/** Resolves with the server's name. */
function open(): Promise<{ readonly socket: Socket; readonly name: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port) });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("no answer")));
    socket.once("error", reject);
    socket.once("data", (data: Buffer) => {
      socket.setTimeout(0);
      socket.off("error", reject);
      resolve({ socket, name: data.toString().trim() });
    });
  });
}

if (mode === "open") {
  const names: string[] = [];
  for (let i = 0; i < Number(count); i++) {
    const opened = await open().catch((error: NodeJS.ErrnoException) => ({ failed: error.code ?? "failed" }));
    names.push("name" in opened ? opened.name : opened.failed);
    if ("socket" in opened) opened.socket.destroy();
  }
  console.log(JSON.stringify(names));
} else {
  let ended = 0;
  const answers: Record<string, number> = {};
  const open_ = await Promise.all(Array.from({ length: Number(count) }, open));
  for (const { socket, name } of open_) {
    answers[name] = 0;
    socket.on("error", () => {});
    socket.on("close", () => (ended += 1));
    socket.on("data", () => (answers[name] = (answers[name] ?? 0) + 1));
  }
  setInterval(() => {
    for (const { socket } of open_) if (!socket.destroyed) socket.write("x");
    console.log(JSON.stringify({ ended, answers }));
  }, SPEAK_MS);
}
