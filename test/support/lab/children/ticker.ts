/**
 * Makes an event every `everyMs`: patches one ConfigMap with a running number and the time (CLOCK_MONOTONIC
 * ms) it was made at. Writes a JSON line for each that an API server took: {"n":3,"t":1234.5}.
 */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { monotonicMs } from "../clock.ts";
import type { TickerOptions } from "../ticker.ts";

const options: TickerOptions = JSON.parse(process.argv[2] ?? "{}");
const agent = new Agent({
  keepAlive: true,
  ca: readFileSync(options.tls.caFile),
  cert: readFileSync(options.tls.certFile),
  key: readFileSync(options.tls.keyFile),
  servername: "kubernetes",
});
let n = 0;

function tick(): void {
  const nextMs = monotonicMs() + options.everyMs;
  const event = { n: n++, t: monotonicMs() };
  const body = JSON.stringify({ data: { n: String(event.n), t: event.t.toFixed(3) } });
  const again = (): void => void setTimeout(tick, Math.max(0, nextMs - monotonicMs()));
  const call = request(
    `https://${options.server}${options.path}`,
    {
      agent,
      method: "PATCH",
      timeout: 2_000,
      headers: { "content-type": "application/merge-patch+json", "content-length": Buffer.byteLength(body) },
    },
    (response) => {
      response.resume();
      response.once("end", () => {
        if (response.statusCode === 200) process.stdout.write(`${JSON.stringify(event)}\n`);
        again();
      });
    },
  );
  call.once("timeout", () => call.destroy());
  call.once("error", again);
  call.end(body);
}

tick();
