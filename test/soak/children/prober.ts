/**
 * The soak's one client process: asks the wire for every VIP, GETs /readyz over the VIPs, and at each API
 * server itself. Writes a line for each thing it learns, times in CLOCK_MONOTONIC ms:
 *
 *     turn SENT VIP MAC,MAC          who answered the question that was sent then; `-` when no machine did
 *     ready SENT VIP OUTCOME         `ok` or an error code
 *     direct SENT NODE OUTCOME       likewise, at a node's own API server
 */
import { readFileSync } from "node:fs";
import { silentLogger } from "../../../src/log.ts";
import { parseIp } from "../../../src/net.ts";
import type { IpAddress } from "../../../src/net.ts";
import { createLinuxWire } from "../../../src/sentinel/linux-wire.ts";
import { monotonicMs } from "../../support/lab/clock.ts";
import { attemptOnce } from "../../support/lab/one-attempt.ts";
import type { ProberOptions } from "../prober.ts";

const options: ProberOptions = JSON.parse(process.argv[2] ?? "{}");
const vips = options.vips.map(address);
const wire = createLinuxWire({
  interfaceName: () => "eth0",
  log: silentLogger,
  own: () => options.own.map(address),
  families: [...new Set(vips.map(({ family }) => family))],
});
wire.listen({ identifier: 0, macs: [], vips, others: [] });
const ca = readFileSync(options.caFile);

function address(text: string): IpAddress {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

function say(...words: readonly string[]): void {
  process.stdout.write(`${words.join(" ")}\n`);
}

/** When the questions that are out were sent; undefined before the first ones. */
let askedMs: number | undefined;

/** Reads what has come since the last questions, which a kernel answers at once; then asks again. */
function turn(): void {
  const { heard } = wire.drain();
  if (askedMs !== undefined) {
    for (const vip of vips) {
      const macs = new Set(
        heard.flatMap((word) => (word.kind === "owner" && word.address.text === vip.text ? [word.mac] : [])),
      );
      say("turn", askedMs.toFixed(1), vip.text, macs.size === 0 ? "-" : [...macs].sort().join(","));
    }
  }
  askedMs = monotonicMs();
  for (const vip of vips) wire.ask(vip, "node");
}

function readyz(word: string, name: string, host: string): void {
  const sentMs = monotonicMs();
  const target = {
    host,
    port: 6443,
    timeoutMs: 3_000,
    tls: { ca, servername: "kubernetes" },
    path: "/readyz",
    status: 200,
  };
  attemptOnce(target, (outcome) => say(word, sentMs.toFixed(1), name, outcome));
}

/** Calls each of `works` in turn, one every `everyMs`. A late timer skips what it missed. */
function every(everyMs: number, works: readonly (() => void)[]): void {
  const startMs = monotonicMs();
  let due = 0;
  const next = (): void => {
    works[due % works.length]?.();
    due = Math.max(due + 1, Math.ceil((monotonicMs() - startMs) / everyMs));
    setTimeout(next, Math.max(0, startMs + due * everyMs - monotonicMs()));
  };
  next();
}

every(options.turnMs, [turn]);
every(
  options.readyMs / vips.length,
  vips.map((vip) => () => readyz("ready", vip.text, vip.text)),
);
every(
  options.directMs / options.servers.length,
  options.servers.map(
    ({ name, host }) =>
      () =>
        readyz("direct", name, host),
  ),
);
