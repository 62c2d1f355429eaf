/**
 * Loads and sends bulk through the balancer and prints three SHA-256: made here, loaded, and what the server
 * got.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { Readable } from "node:stream";
import { CHUNK, chunkAt } from "./bulk.ts";

const [host = "", port = "", caFile = "", bytes = ""] = process.argv.slice(2);
const chunks = Number(bytes) / CHUNK;
const options = {
  host,
  port: Number(port),
  ca: readFileSync(caFile),
  servername: "kubernetes",
  agent: false as const,
};

function* made(): Generator<Buffer> {
  for (let index = 1; index <= chunks; index += 1) yield chunkAt(index);
}

const expected = createHash("sha256");
for (const chunk of made()) expected.update(chunk);

const loaded = await new Promise<string>((resolve, reject) => {
  request({ ...options, path: `/bulk?bytes=${bytes}` }, (response) => {
    const hash = createHash("sha256");
    response.on("data", (data: Buffer) => hash.update(data));
    response.on("end", () => resolve(hash.digest("hex")));
    response.on("error", reject);
  })
    .on("error", reject)
    .end();
});

const sent = await new Promise<string>((resolve, reject) => {
  const post = request({ ...options, path: "/bulk", method: "POST" }, (response) => {
    let text = "";
    response.on("data", (data: Buffer) => (text += data.toString()));
    response.on("end", () => resolve(text));
    response.on("error", reject);
  }).on("error", reject);
  Readable.from(made()).pipe(post);
});

process.stdout.write(`${expected.digest("hex")} ${loaded} ${sent}\n`);
