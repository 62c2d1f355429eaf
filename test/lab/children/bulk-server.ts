/**
 * A stand-in for an API server that answers /readyz and takes and gives bulk: `bulk-server.ts PORT CERT KEY`.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { CHUNK, chunkAt } from "./bulk.ts";

const [port = "", cert = "", key = ""] = process.argv.slice(2);

createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
  const url = new URL(request.url ?? "/", "https://bulk");
  if (request.method === "POST") {
    const hash = createHash("sha256");
    request.on("data", (data: Buffer) => hash.update(data));
    request.on("end", () => response.end(hash.digest("hex")));
    return;
  }
  if (url.pathname !== "/bulk") {
    response.end("ok");
    return;
  }
  const chunks = Number(url.searchParams.get("bytes")) / CHUNK;
  let sent = 0;
  const push = (): void => {
    while (sent < chunks) {
      sent += 1;
      if (!response.write(chunkAt(sent))) return;
    }
    response.end();
  };
  response.on("drain", push);
  push();
}).listen(Number(port), "::");
