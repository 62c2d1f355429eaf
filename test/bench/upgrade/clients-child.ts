/**
 * Clients of the API in one process: some open a connection for each request, some keep one (HTTP/1.1), some keep
 * one of HTTP/2. Each request is a GET of /version, verified by the cluster's CA and by what it answers.
 * `clients-child.ts '{...}'` ({@link UpgradeClientsOptions}); writes `ready` once each kind has had an answer, and
 * after any line of input one JSON line of {@link KindReport}s. What a closed idle connection lost is asked again on
 * another connection, once, as client-go's transport does it. Nothing else is.
 */
import { readFileSync } from "node:fs";
import { connect as connectHttp2, constants } from "node:http2";
import type { ClientHttp2Session } from "node:http2";
import { Agent, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { monotonicMs } from "../../support/lab/clock.ts";
import { KINDS } from "./clients.ts";
import type { KindReport, UpgradeClientsOptions } from "./clients.ts";

const options: UpgradeClientsOptions = JSON.parse(process.argv[2] ?? "{}");
const { host, port, everyMs, timeoutMs } = options;
const tls = {
  ca: readFileSync(options.tls.caFile),
  cert: readFileSync(options.tls.certFile),
  key: readFileSync(options.tls.keyFile),
  servername: "kubernetes",
};
const PATH = "/version";

/** `lost`: the connection had been used before, and ended before any answer came. */
type Answer =
  | { readonly kind: "answer"; readonly ok: boolean; readonly why: string }
  | { readonly kind: "lost" };

interface Client {
  ask(): Promise<Answer>;
}

function judge(status: number | undefined, body: string): Answer {
  const ok = status === 200 && body.includes('"gitVersion"');
  return { kind: "answer", ok, why: ok ? "" : `${status} ${body.slice(0, 60)}` };
}

function overHttp1(agent: Agent | false): Client {
  return {
    ask: () =>
      new Promise((resolve) => {
        const call = request({ host, port, path: PATH, agent, ...tls, timeout: timeoutMs }, (response) => {
          let body = "";
          response.setEncoding("utf8");
          response.on("data", (text: string) => (body += text));
          response.on("end", () => resolve(judge(response.statusCode, body)));
          response.on("error", (error) =>
            resolve({ kind: "answer", ok: false, why: `body: ${error.message}` }),
          );
        });
        call.on("timeout", () => call.destroy(new Error("timeout")));
        call.on("error", (error) => {
          const isLost = call.reusedSocket && error.message !== "timeout";
          resolve(isLost ? { kind: "lost" } : { kind: "answer", ok: false, why: error.message });
        });
        call.end();
      }),
  };
}

function overHttp2(): Client {
  let session: ClientHttp2Session | undefined;
  let used = false;

  function current(): ClientHttp2Session {
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    const opened = connectHttp2(`https://${host}:${port}`, tls);
    const forget = (): void => {
      if (session === opened) session = undefined;
    };
    opened.on("error", forget);
    opened.on("close", forget);
    // The streams that are under way end well, and new ones go elsewhere.
    opened.on("goaway", forget);
    session = opened;
    used = false;
    return opened;
  }

  return {
    ask: () =>
      new Promise((resolve) => {
        const connection = current();
        const reused = used;
        const fail = (why: string): void =>
          resolve(
            reused && why !== "timeout" && status === 0
              ? { kind: "lost" }
              : { kind: "answer", ok: false, why },
          );
        let status = 0;
        let body = "";
        const timer = setTimeout(() => {
          fail("timeout");
          connection.destroy();
        }, timeoutMs);
        const onError = (error: Error): void => fail(error.message);
        connection.once("error", onError);
        const stream = connection.request({ ":path": PATH });
        stream.setEncoding("utf8");
        stream.on("response", (headers) => (status = headers[":status"] ?? 0));
        stream.on("data", (text: string) => (body += text));
        stream.on("error", onError);
        stream.on("close", () => {
          clearTimeout(timer);
          connection.off("error", onError);
          used = true;
          if (stream.rstCode === constants.NGHTTP2_NO_ERROR && status !== 0) resolve(judge(status, body));
          else fail(`stream ${stream.rstCode}`);
        });
        stream.end();
      }),
  };
}

const makers: Readonly<Record<(typeof KINDS)[number], () => Client>> = {
  new: () => overHttp1(false),
  kept: () => overHttp1(new Agent({ keepAlive: true, maxSockets: 1 })),
  http2: overHttp2,
};
const reports = new Map<string, { requests: number; slowestMs: number; failures: string[] }>();
const first: Promise<void>[] = [];
const over = new AbortController();
for (const kind of KINDS) {
  const report = { requests: 0, slowestMs: 0, failures: [] as string[] };
  reports.set(kind, report);
  for (let i = 0; i < options.perKind; i++) {
    const client = makers[kind]();
    const answered = Promise.withResolvers<void>();
    first.push(answered.promise);
    void (async () => {
      await sleep((everyMs * i) / options.perKind);
      while (!over.signal.aborted) {
        const fromMs = monotonicMs();
        let answer = await client.ask();
        if (answer.kind === "lost") answer = await client.ask();
        const tookMs = monotonicMs() - fromMs;
        report.requests += 1;
        report.slowestMs = Math.max(report.slowestMs, tookMs);
        if (answer.kind === "lost" || !answer.ok)
          report.failures.push(answer.kind === "lost" ? "lost twice" : answer.why);
        answered.resolve();
        await sleep(Math.max(0, everyMs - tookMs));
      }
    })();
  }
}
await Promise.all(first);
for (const report of reports.values()) Object.assign(report, { requests: 0, slowestMs: 0, failures: [] });
process.stdout.write("ready\n");
process.stdin.once("data", () => {
  over.abort();
  const lines = [...reports].map(([kind, { requests, slowestMs, failures }]): KindReport => {
    return { kind, requests, slowestMs, failed: failures.length, why: failures.slice(0, 5) };
  });
  process.stdout.write(`${JSON.stringify(lines)}\n`, () => process.exit(0));
});
