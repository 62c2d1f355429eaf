/**
 * The machines of the other API servers, and whether they are still there: a machine without power or link is found within a second, where the
 * health checks, which wait for a process, take four. Rules in `pulse-rules.ts`.
 */
import { randomInt } from "node:crypto";
import { connect } from "node:net";
import type { Clock, Timer } from "../clock.ts";
import { openEcho } from "../linux/echo.ts";
import type { Echo } from "../linux/echo.ts";
import type { Logger } from "../log.ts";
import { parseIp } from "../net.ts";
import type { IpAddress } from "../net.ts";
import type { Backend, BackendId } from "./backend.ts";
import { conclude, initialPulse, turn, TURN_MS, withPeers } from "./pulse-rules.ts";
import type { Answer, PulseState } from "./pulse-rules.ts";

export interface PulseListener {
  /** Its machine answers neither ICMP nor TCP, while another one does. Once for each loss. */
  gone(id: BackendId, durationMs: number): void;
  /** The machine answers again. */
  returned(id: BackendId): void;
}

export interface Pulse {
  start(listener: PulseListener): void;
  setBackends(backends: readonly Backend[]): void;
  stop(): void;
}

export interface PulseDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly echo: Echo;
  /** This machine's: they prove nothing about the network. */
  readonly ownAddresses: () => ReadonlySet<string>;
  /** False when nothing at all came back in time, not even an error. */
  readonly tcpAnswers: (host: string, port: number, timeoutMs: number) => Promise<boolean>;
}

/** The first SYN alone, as its repetition would come after a second (RFC 6298 section 2.1); echoes go on meanwhile. */
const CONFIRM_MS = 200;

/** One machine, and the API servers on it: one, in a real cluster. */
interface Machine {
  readonly address: IpAddress;
  readonly backends: readonly Backend[];
}

export function createPulse({ clock, log, echo, ownAddresses, tcpAnswers }: PulseDeps): Pulse {
  // Other programs' replies come to our socket as well, and ours to another agent's on this machine.
  const identifier = randomInt(0x1_0000);
  let machines: ReadonlyMap<string, Machine> = new Map();
  let state: PulseState = initialPulse(clock.now());
  let unsent = new Set<string>();
  let answers: Answer[] = [];
  let overrun = false;
  let listener: PulseListener | undefined;
  let timer: Timer | undefined;

  function drain(): void {
    const drained = echo.drain();
    overrun ||= drained.overrun;
    for (const reply of drained.replies) if (reply.identifier === identifier) answers.push({ address: reply.from.text, sequence: reply.sequence });
  }

  function next(): void {
    drain();
    const result = turn(state, { nowMs: clock.now(), answers, unsent, overrun });
    state = result.state;
    answers = [];
    overrun = false;
    unsent = new Set([...machines.values()].filter(({ address }) => !echo.send(address, identifier, state.sequence)).map(({ address }) => address.text));
    for (const address of result.returned) tell(address, (id) => listener?.returned(id));
    for (const address of result.suspects) void confirm(address, state.sequence);
  }

  async function confirm(address: string, since: number): Promise<void> {
    const [backend] = machines.get(address)?.backends ?? [];
    if (backend === undefined) return;
    const startedMs = clock.now();
    const tcpAnswered = await tcpAnswers(backend.host, backend.port, CONFIRM_MS);
    if (timer === undefined) return;
    drain();
    const concluded = conclude(state, { address, since }, { tcpAnswered, nowMs: clock.now(), answers });
    state = concluded.state;
    const durationMs = clock.now() - startedMs;
    log.debug({ address, verdict: concluded.verdict, durationMs }, "a machine stopped answering echoes");
    if (concluded.verdict === "gone") tell(address, (id) => listener?.gone(id, durationMs));
  }

  function tell(address: string, what: (id: BackendId) => void): void {
    for (const { id } of machines.get(address)?.backends ?? []) what(id);
  }

  /** One machine alone has no witness, so nothing could be concluded: then not even the timer runs. */
  function run(): void {
    const wanted = listener !== undefined && machines.size > 1;
    if (!wanted) {
      timer?.cancel();
      timer = undefined;
    } else if (timer === undefined) {
      state = withPeers(initialPulse(clock.now()), machines.keys());
      timer = clock.every(TURN_MS, next);
    }
  }

  return {
    start(to) {
      listener = to;
      run();
    },
    setBackends(backends) {
      machines = machinesOf(backends, ownAddresses());
      state = withPeers(state, machines.keys());
      run();
    },
    stop() {
      listener = undefined;
      run();
      echo.close();
    },
  };
}

function machinesOf(backends: readonly Backend[], own: ReadonlySet<string>): ReadonlyMap<string, Machine> {
  const machines = new Map<string, Machine>();
  for (const backend of backends) {
    const address = parseIp(backend.host);
    if (backend.local || address === undefined || own.has(address.text)) continue;
    machines.set(address.text, { address, backends: [...(machines.get(address.text)?.backends ?? []), backend] });
  }
  return machines;
}

/** undefined, with a line in the log, where raw sockets cannot be had; the health checks then find out by themselves. */
export function openPulse(deps: Pick<PulseDeps, "clock" | "log" | "ownAddresses">): Pulse | undefined {
  try {
    return createPulse({ ...deps, echo: openEcho(), tcpAnswers: tcpAnswers(deps.clock) });
  } catch (error) {
    deps.log.info({ err: error }, "No raw sockets: a lost machine is found by the health checks alone");
    return undefined;
  }
}

/** A connection, a refusal, a router's word: all but silence says that it may be there. */
export function tcpAnswers(clock: Clock): PulseDeps["tcpAnswers"] {
  return (host, port, timeoutMs) =>
    new Promise((resolve) => {
      const socket = connect({ host, port });
      const done = (answered: boolean): void => {
        timer.cancel();
        socket.destroy();
        resolve(answered);
      };
      // Timers run before the loop looks at its sockets: after a pause of ours the answer may lie in the kernel. The immediates come after that.
      const timer = clock.after(timeoutMs, () => void setImmediate(() => done(false)));
      socket.once("connect", () => done(true));
      socket.on("error", () => done(true));
    });
}
