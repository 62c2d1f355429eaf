/**
 * Watches the machines of the other API servers. A machine without power or link is found within a second.
 * The health checks, which have to wait for a process, take four. The rules are in `host-liveness-rules.ts`.
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
import { conclude, initialHostLiveness, judgeTurn, TURN_MS, withPeers } from "./host-liveness-rules.ts";
import type { EchoAnswer, HostLivenessState } from "./host-liveness-rules.ts";

/** Hears what becomes of the API servers' machines. */
export interface HostLivenessListener {
  /**
   * The API server's machine answers neither ICMP nor TCP, while another machine answers. Called once for
   * each loss. `durationMs` is how long TCP was waited for.
   */
  gone(id: BackendId, durationMs: number): void;
  /** A machine that was found gone answers again. */
  returned(id: BackendId): void;
}

/** The host liveness check. It watches from `start` to `stop`. */
export interface HostLiveness {
  start(listener: HostLivenessListener): void;
  setBackends(backends: readonly Backend[]): void;
  stop(): void;
}

export interface HostLivenessDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly echo: Echo;
  /** The addresses of this machine, which prove nothing about the network. It may throw. */
  readonly ownAddresses: () => ReadonlySet<string>;
  /** Tries to connect. Answers false when nothing at all came back in time, not even an error. */
  readonly tcpAnswers: (host: string, port: number, timeoutMs: number) => Promise<boolean>;
}

/**
 * Milliseconds that TCP may take. Only the first SYN counts, because the kernel repeats it after a second
 * (RFC 6298 section 2.1). Echoes go on meanwhile.
 */
const CONFIRM_MS = 200;

/** A machine with the API servers on it. A real cluster has one on each machine. */
interface WatchedMachine {
  readonly address: IpAddress;
  readonly backends: readonly Backend[];
}

export function createHostLiveness({
  clock,
  log,
  echo,
  ownAddresses,
  tcpAnswers,
}: HostLivenessDeps): HostLiveness {
  // The socket also receives replies to other programs' echoes, and another agent on this machine receives
  // ours.
  const identifier = randomInt(0x1_0000);
  let machines: ReadonlyMap<string, WatchedMachine> = new Map();
  let own: ReadonlySet<string> = new Set();
  let state: HostLivenessState = initialHostLiveness(clock.now());
  let unsent = new Set<string>();
  let answers: EchoAnswer[] = [];
  let overrun = false;
  let listener: HostLivenessListener | undefined;
  let timer: Timer | undefined;

  /** The process may be out of descriptors. What it knew of itself counts then. */
  function readOwn(): ReadonlySet<string> {
    try {
      own = ownAddresses();
    } catch (error) {
      log.debug({ err: error }, "The machine's addresses were not read");
    }
    return own;
  }

  function drain(): void {
    const drained = echo.drain();
    overrun ||= drained.overrun;
    for (const { identifier: of, from, sequence } of drained.replies) {
      if (of === identifier) answers.push({ address: from.text, sequence });
    }
  }

  function next(): void {
    drain();
    const result = judgeTurn(state, { nowMs: clock.now(), answers, unsent, overrun });
    state = result.state;
    answers = [];
    overrun = false;
    const failed = [...machines.values()].filter(
      ({ address }) => !echo.send(address, identifier, state.sequence),
    );
    unsent = new Set(failed.map(({ address }) => address.text));
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
    log.debug({ address, verdict: concluded.verdict, durationMs }, "A machine stopped answering echoes");
    if (concluded.verdict === "gone") tell(address, (id) => listener?.gone(id, durationMs));
  }

  function tell(address: string, what: (id: BackendId) => void): void {
    for (const { id } of machines.get(address)?.backends ?? []) what(id);
  }

  /** Starts or stops the timer. With one machine alone there is no witness, so nothing could be concluded. */
  function run(): void {
    const wanted = listener !== undefined && machines.size > 1;
    if (!wanted) {
      timer?.cancel();
      timer = undefined;
    } else if (timer === undefined) {
      state = withPeers(initialHostLiveness(clock.now()), machines.keys());
      timer = clock.every(TURN_MS, next);
    }
  }

  return {
    start(to) {
      listener = to;
      run();
    },
    setBackends(backends) {
      machines = machinesOf(backends, readOwn());
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

function machinesOf(
  backends: readonly Backend[],
  own: ReadonlySet<string>,
): ReadonlyMap<string, WatchedMachine> {
  const machines = new Map<string, WatchedMachine>();
  for (const backend of backends) {
    const address = parseIp(backend.host);
    if (backend.local || address === undefined || own.has(address.text)) continue;
    machines.set(address.text, {
      address,
      backends: [...(machines.get(address.text)?.backends ?? []), backend],
    });
  }
  return machines;
}

/**
 * Opens the host liveness check. Answers undefined, and logs it, where raw sockets cannot be had: the health
 * checks then find lost machines by themselves.
 */
export function openHostLiveness(
  deps: Pick<HostLivenessDeps, "clock" | "log" | "ownAddresses">,
): HostLiveness | undefined {
  try {
    return createHostLiveness({ ...deps, echo: openEcho(), tcpAnswers: tcpAnswers(deps.clock) });
  } catch (error) {
    deps.log.info({ err: error }, "No raw sockets: a lost machine is found by the health checks alone");
    return undefined;
  }
}

/**
 * Says whether anything answers a connection attempt. A connection, a refusal and a router's error are
 * answers.
 */
export function tcpAnswers(clock: Clock): HostLivenessDeps["tcpAnswers"] {
  return (host, port, timeoutMs) =>
    new Promise((resolve) => {
      const socket = connect({ host, port });
      const done = (answered: boolean): void => {
        timer.cancel();
        socket.destroy();
        resolve(answered);
      };
      // Timers run before the loop looks at its sockets. After a pause of this process the answer may still
      // lie in the kernel, and the immediates come after it was read.
      const timer = clock.after(timeoutMs, () => void setImmediate(() => done(false)));
      socket.once("connect", () => done(true));
      socket.on("error", () => done(true));
    });
}
