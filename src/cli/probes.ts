/**
 * Probes of the VIP during a move, from the machine that the command runs on. They judge nothing. Nothing is sent but
 * connections to the VIP, and on them TLS handshakes and requests for /readyz without credentials.
 */
import { Agent, request } from "node:https";
import { connect as tcpConnect } from "node:net";
import { connect as tlsConnect } from "node:tls";
import type { Clock } from "../clock.ts";
import { errorCode } from "../errors.ts";
import { hostPort } from "../net.ts";
import { SLOW_MS } from "./gaps.ts";
import type { Attempt } from "./gaps.ts";

export interface VipProbe {
  /** What it does, for a person. */
  readonly name: string;
  /**
   * The attempts that were sent since `fromMs`. One that is under way for longer than {@link SLOW_MS} counts as one without
   * an answer, and a younger one does not count.
   */
  attempts(fromMs: number): readonly Attempt[];
  stop(): void;
}

/** Milliseconds after which an attempt has failed. */
const TIMEOUT_MS = 2_000;
/** Milliseconds between two requests on the connection that is kept open. */
const REQUEST_MS = 100;
/**
 * A port at which no program listens (tcpmux). Whatever kernel has the address refuses at once, so a refusal shows that the
 * address is reached, also where this machine's own rules lead the VIP's ports past its holder.
 */
const CLOSED_PORT = 1;

const NO_ANSWER = "no answer";

/** The error of an attempt; "" for an answer. Called once. */
type Done = (error: string) => void;

const reasonOf = (error: Error): string => errorCode(error) || error.message;

/** Starts what a client sees of the VIP: new connections, one that is kept open, and the address itself. */
export function startProbes(
  vips: readonly string[],
  port: number,
  intervalMs: number,
  clock: Clock,
): readonly VipProbe[] {
  return vips.flatMap((vip) => {
    const keep = new Agent({ keepAlive: true, maxSockets: 1 });
    let requests = 0;
    const ask = (done: Done): void => {
      const first = requests === 0;
      requests += 1;
      const sent = request(
        { host: vip, port, path: "/readyz", agent: keep, rejectUnauthorized: false, timeout: TIMEOUT_MS },
        (response) => {
          response.resume();
          response.on("error", (error) => done(reasonOf(error)));
          response.on("end", () =>
            done(first || sent.reusedSocket ? "" : "the open connection had ended, and a new one was needed"),
          );
        },
      );
      sent.on("timeout", () => sent.destroy(new Error(NO_ANSWER)));
      sent.on("error", (error) => done(reasonOf(error)));
      sent.end();
    };
    return [
      repeated(`new connections to ${hostPort(vip, port)}`, intervalMs, clock, (done) => {
        const socket = tlsConnect({ host: vip, port, rejectUnauthorized: false });
        socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(NO_ANSWER)));
        socket.on("error", (error) => done(reasonOf(error)));
        socket.on("secureConnect", () => {
          done("");
          socket.destroy();
        });
      }),
      repeated(`an open connection to ${hostPort(vip, port)}`, REQUEST_MS, clock, ask, {
        oneAtATime: true,
        close: () => keep.destroy(),
      }),
      repeated(`the address ${vip}`, intervalMs, clock, (done) => {
        const socket = tcpConnect({ host: vip, port: CLOSED_PORT });
        socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(NO_ANSWER)));
        socket.on("error", (error) => done(reasonOf(error) === "ECONNREFUSED" ? "" : reasonOf(error)));
        socket.on("connect", () => {
          done("");
          socket.destroy();
        });
      }),
    ];
  });
}

interface Pending {
  readonly sentMs: number;
  attempt: Attempt | undefined;
}

function repeated(
  name: string,
  intervalMs: number,
  clock: Clock,
  send: (done: Done) => void,
  { oneAtATime = false, close = () => {} }: { oneAtATime?: boolean; close?: () => void } = {},
): VipProbe {
  const all: Pending[] = [];
  const timer = clock.every(intervalMs, () => {
    if (oneAtATime && all.at(-1)?.attempt === undefined && all.length > 0) return;
    const one: Pending = { sentMs: clock.now(), attempt: undefined };
    all.push(one);
    send((error) => {
      one.attempt ??= { sentMs: one.sentMs, ms: clock.now() - one.sentMs, error };
    });
  });
  return {
    name,
    attempts: (fromMs) =>
      all.flatMap(({ sentMs, attempt }): readonly Attempt[] => {
        const ms = clock.now() - sentMs;
        if (sentMs < fromMs || (attempt === undefined && ms <= SLOW_MS)) return [];
        return [attempt ?? { sentMs, ms, error: NO_ANSWER }];
      }),
    stop() {
      timer.cancel();
      close();
    },
  };
}
