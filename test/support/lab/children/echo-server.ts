/**
 * A line server for tests, `echo-server.ts '{"port":7000,"host":"::","mode":"echo"}'`.
 * echo: answers each line with itself. push: says `0`, `1`, ... every `everyMs`, hears nothing.
 */
import { createServer } from "node:net";

interface EchoServerOptions {
  readonly port: number;
  readonly host?: string;
  readonly mode?: "echo" | "push";
  readonly everyMs?: number;
}

const options: EchoServerOptions = JSON.parse(process.argv[2] ?? "{}");

const server = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => {}); // a client that resets is the test's business
  if (options.mode === "push") {
    let next = 0;
    const timer = setInterval(() => socket.write(`${next++}\n`), options.everyMs ?? 100);
    socket.resume().on("close", () => clearInterval(timer));
    return;
  }
  socket.pipe(socket);
});
server.listen({ port: options.port, host: options.host ?? "::", backlog: 4096 }, () =>
  process.stdout.write("listening\n"),
);
