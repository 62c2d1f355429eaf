/**
 * `node wait-ready.ts URL KUBECONFIG TIMEOUT_MS`: asks URL/readyz until it answers 200. A program of its own,
 * since it has to run inside the node's network namespace; one for the whole wait, where polling with kubectl
 * costs 0.1 s of a core a time.
 */
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

const [url = "", kubeconfig = "", limit = "0"] = process.argv.slice(2);
const text = await readFile(kubeconfig, "utf8");
const field = (name: string): Buffer => {
  const found = new RegExp(`^\\s*${name}: (\\S+)$`, "m").exec(text)?.[1];
  if (found === undefined) throw new Error(`${kubeconfig} has no ${name}`);
  return Buffer.from(found, "base64");
};
const tls = {
  ca: field("certificate-authority-data"),
  cert: field("client-certificate-data"),
  key: field("client-key-data"),
  servername: "kubernetes",
};

function readyz(): Promise<string> {
  return new Promise((resolve) => {
    const call = request(`${url}/readyz`, { ...tls, timeout: 2000 }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      response.on("error", (error) => resolve(error.message));
      response.on("end", () =>
        resolve(response.statusCode === 200 ? "ready" : `${response.statusCode}: ${body}`),
      );
    });
    call.on("timeout", () => call.destroy(new Error("no answer within 2 s")));
    call.on("error", (error) => resolve(error.message));
    call.end();
  });
}

const giveUpAt = performance.now() + Number(limit);
let answer = await readyz();
while (answer !== "ready" && performance.now() < giveUpAt) {
  await sleep(100);
  answer = await readyz();
}
if (answer !== "ready") {
  process.stderr.write(`${url} is not ready: ${answer}\n`);
  process.exitCode = 1;
}
