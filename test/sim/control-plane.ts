/**
 * N API servers over one etcd, seen through a transport that only promises what TCP and TLS do. Each server
 * and etcd fail in their own ways; what a write does to the Lease happens at one instant, in the store that
 * all of them share.
 */
import type { ApiRequest, ApiResponse, ApiTransport, NoAnswer } from "../../src/kube/transport.ts";
import { ApiNoAnswer } from "../../src/kube/transport.ts";
import { Caches } from "./caches.ts";
import { LEASE_PATH, LeaseTable, status } from "./lease-table.ts";
import type { Answer, Change } from "./lease-table.ts";
import type { Network } from "./network.ts";
import type { SimProcess } from "./process.ts";
import { DISTRUST, REWRITES } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import { Watches } from "./watches.ts";

/** kube-apiserver gives etcd this long. */
const ETCD_TIMEOUT_MS = 7_000;
/** A member stands for election 1 to 2 s after the last word of the leader, and the first one to do so wins. */
const LONG_ELECTION_MS = 1_500;
/** Served from the watch cache: any version will do. */
const CACHED_PATH = `${LEASE_PATH}?resourceVersion=0`;
/** What was proposed before may still be committed for so long after. */
const LATE_PROPOSAL_MS = 10_000;

export type ServerMode =
  | { readonly kind: "up" }
  /** The process is gone: connections are refused at once. */
  | { readonly kind: "down" }
  /**
   * Stopped or swapped out: accepts and says nothing; what has reached it is carried out when it comes back.
   */
  | { readonly kind: "hung" }
  /** The machine is gone: nothing answers at all. */
  | { readonly kind: "dark" }
  | { readonly kind: "slow"; readonly beforeMs: number; readonly afterMs: number }
  /** Answers `status` to a part of the requests, without carrying them out. */
  | { readonly kind: "failing"; readonly status: number; readonly rate: number }
  /** Carries writes out and never says so. */
  | { readonly kind: "mute"; readonly rate: number };

export interface Write {
  /** Number of the node, -1 for a person. */
  readonly author: number;
  readonly request: ApiRequest;
  readonly response: { readonly status: number };
  readonly change: Change;
  /** When the request left, by the clock of the machine it left. */
  readonly sentMs: number;
}

interface Call {
  readonly node: number;
  readonly server: number;
  readonly request: ApiRequest;
  readonly sentMs: number;
}

export class ControlPlane {
  readonly #scheduler: Scheduler;
  readonly #network: Network;
  readonly #random: Random;
  readonly #names: readonly string[];
  readonly table: LeaseTable;
  readonly modes: ServerMode[];
  /** Watches of these servers stay open and say nothing. */
  readonly deafWatch: boolean[];
  /** Machines that are switched off; they are no etcd members meanwhile. */
  readonly powered: boolean[];
  /** Answer to every request of a node (credentials, flow control); 0: none. */
  readonly refusal: number[];
  /** Answer of an admission webhook to every write; 0: it admits them. {@link REWRITES}: it changes them. */
  admission = 0;
  /** The holder that such a webhook puts into the Lease. */
  policy = "policy";
  /** Faults that take etcd's quorum away altogether. */
  quorumFaults = 0;
  /** etcd elects a leader until then. */
  stalledUntilMs = 0;
  /** What is proposed before that is passed on to a leader that is dead, and is lost. */
  #lostUntilMs = 0;
  /** When an election ended that took longer than a request needs to be sent to every server twice. */
  longElectionMs = 0;
  /** When the last two elections end. */
  electionsMs: readonly [number, number] = [0, 0];
  #waiting: {
    readonly server: number;
    readonly untilMs: number;
    readonly run: () => void;
    readonly giveUp: () => void;
  }[] = [];
  readonly #watches: Watches;
  readonly #caches: Caches;
  readonly #onWrite: (write: Write) => void;
  #parkedByHang: { readonly server: number; readonly run: () => void }[] = [];

  constructor(
    scheduler: Scheduler,
    network: Network,
    random: Random,
    names: readonly string[],
    onWrite: (write: Write) => void,
  ) {
    this.#scheduler = scheduler;
    this.#network = network;
    this.#random = random;
    this.#names = names;
    this.#onWrite = onWrite;
    this.table = new LeaseTable();
    this.#watches = new Watches(this, scheduler, network, random);
    this.#caches = new Caches(this, scheduler, random.fork("caches"), names.length);
    this.modes = names.map(() => ({ kind: "up" }));
    this.deafWatch = names.map(() => false);
    this.powered = names.map(() => true);
    this.refusal = names.map(() => 0);
    network.onHeal(() => this.changed());
  }

  /** Something about servers, etcd or the wire is different now: look who can go on. */
  changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (this.#scheduler.nowMs >= one.untilMs) continue;
      if (this.quorate(one.server)) one.run();
      else this.#waiting.push(one);
    }
    const parked = this.#parkedByHang;
    this.#parkedByHang = [];
    for (const one of parked) {
      const mode = this.modes[one.server]?.kind;
      if (mode === "hung") this.#parkedByHang.push(one);
      else if (mode !== "down" && mode !== "dark")
        this.#scheduler.after(this.#random.between(0.5, 30), one.run);
    }
    this.#tellReaders();
  }

  setMode(server: number, mode: ServerMode): void {
    this.modes[server] = mode;
    if (mode.kind === "down") this.tearWatches(server);
    if (mode.kind === "dark") this.#watches.lose(server);
    if (mode.kind === "down" || mode.kind === "dark") this.#caches.drop(server);
    this.changed();
  }

  tearWatches(server: number): void {
    this.#watches.tear((one) => one === server);
  }

  /**
   * etcd elects a leader: nothing is written or read for so long. @param dead the last leader has died: its
   * followers pass writes on to it until they notice, and these writes are lost
   */
  stall(forMs: number, dead: boolean): void {
    const { nowMs } = this.#scheduler;
    this.stalledUntilMs = Math.max(this.stalledUntilMs, nowMs + forMs);
    if (dead) this.#lostUntilMs = this.stalledUntilMs;
    this.electionsMs = [this.electionsMs[1], nowMs + forMs];
    if (forMs > LONG_ELECTION_MS) this.longElectionMs = this.stalledUntilMs;
  }

  /** True when this server's etcd is among a majority of all members that hear each other. */
  quorate(server: number): boolean {
    if (this.quorumFaults > 0 || this.powered[server] !== true) return false;
    // Asked at nearly every step, and mostly answered by this.
    if (this.#network.whole) return this.#powered() * 2 > this.powered.length;
    // etcd needs its peers both ways; members reach one another through the leader, so a chain is not enough,
    // a common hub is.
    for (let leader = 0; leader < this.powered.length; leader += 1) {
      if (this.powered[leader] !== true || !this.#network.both(leader, server)) continue;
      const members = this.powered.filter((on, member) => on && this.#network.both(leader, member)).length;
      if (members * 2 > this.powered.length) return true;
    }
    return false;
  }

  #powered(): number {
    let count = 0;
    for (const on of this.powered) if (on) count += 1;
    return count;
  }

  /** A node can read and write through this server, in good time. */
  usable(node: number, server: number): boolean {
    return this.modes[server]?.kind === "up" && this.quorate(server) && this.#network.both(node, server);
  }

  /** kubectl on some machine with a working API server. False when there is none. */
  person(request: ApiRequest): boolean {
    if (!this.#names.some((_, server) => this.quorate(server) && this.modes[server]?.kind !== "down"))
      return false;
    this.#apply(-1, request, 0);
    return true;
  }

  /** `kubectl delete lease`. */
  delete(): void {
    const { change } = this.table.handle({ method: "DELETE", path: LEASE_PATH });
    if (!change.changed) return;
    this.#onWrite({
      author: -1,
      request: { method: "PUT", path: "" },
      response: { status: 200 },
      change,
      sentMs: 0,
    });
    this.#tellReaders();
  }

  /** etcd is restored from the last snapshot; every API server is restarted with it. */
  restore(): boolean {
    const before = this.table.record;
    if (!this.table.restore()) return false;
    this.#watches.tear(() => true);
    for (const server of this.modes.keys()) this.#caches.drop(server);
    const after = this.table.record;
    this.#onWrite({
      author: -1,
      request: { method: "PUT", path: "" },
      response: { status: 200 },
      change: { before, after, changed: true },
      sentMs: 0,
    });
    return true;
  }

  address(server: number): string {
    return `10.0.0.${11 + server}:6443`;
  }

  transport(node: number, process: SimProcess): ApiTransport {
    const order = [...this.#names.keys()].toSorted((a, b) => Number(b === node) - Number(a === node));
    const addresses = order.map((server) => this.address(server));
    const serverOf = (address: string): number => order[addresses.indexOf(address)] ?? node;
    return {
      servers: () => addresses,
      send: (address, request, timeoutMs) => this.#send(node, process, serverOf(address), request, timeoutMs),
      watch: (address, path, handlers) =>
        this.#watches.open(node, process, serverOf(address), path, handlers),
    };
  }

  #send(
    node: number,
    process: SimProcess,
    server: number,
    request: ApiRequest,
    timeoutMs: number,
  ): Promise<ApiResponse> {
    const address = this.address(server);
    const sentMs = process.now();
    return new Promise((resolve, reject) => {
      const timer = process.after(timeoutMs, () =>
        reject(noAnswer(address, "silent", true, `no answer within ${Math.round(timeoutMs)} ms`)),
      );
      const answer = (status: number, body: unknown): void => {
        this.#network.send(server, node, this.#scheduler.nowMs, () =>
          process.deliver(() => {
            timer.cancel();
            resolve({ server: address, status, body });
          }),
        );
      };
      const refuse = (wasSent: boolean): void => {
        this.#network.send(server, node, this.#scheduler.nowMs, () =>
          process.deliver(() => {
            timer.cancel();
            reject(noAnswer(address, "refused", wasSent, "connection refused"));
          }),
        );
      };
      // Its TLS handshake fails, and nothing of the request is sent.
      if (this.refusal[node] === DISTRUST && this.modes[server]?.kind !== "down") {
        this.#network.send(node, server, process.trueMs, () =>
          process.deliver(() => {
            timer.cancel();
            reject(
              new ApiNoAnswer(
                address,
                "silent",
                false,
                `${address}: certificate signed by unknown authority`,
              ),
            );
          }),
        );
        return;
      }
      this.#network.send(node, server, process.trueMs, () => {
        this.#arrive({ node, server, request, sentMs }, answer, refuse);
        // Whatever comes of it comes later.
        this.#scheduler.nothingHappened();
      });
    });
  }

  #arrive(
    call: Call,
    answer: (status: number, body: unknown) => void,
    refuse: (wasSent: boolean) => void,
  ): void {
    const { server } = call;
    const mode = this.modes[server] ?? { kind: "up" };
    const serve = (afterMs: number, mute: boolean): void =>
      this.#serve(call, (status, body) => {
        if (mute) return;
        // A watch may be faster than the answer to the write that it tells of (seen in the lab).
        this.#scheduler.after(afterMs + this.#random.logarithmic(0.1, 10), () => {
          answer(status, body);
          this.#scheduler.nothingHappened();
        });
      });
    switch (mode.kind) {
      case "down":
        return refuse(false);
      case "dark":
        return;
      case "hung":
        this.#parkedByHang.push({ server, run: () => serve(0, false) });
        return;
      case "slow":
        this.#scheduler.after(this.#random.between(0.5, 1) * mode.beforeMs, () =>
          serve(this.#random.between(0.5, 1) * mode.afterMs, false),
        );
        return;
      case "failing":
        if (this.#random.chance(mode.rate))
          return answer(mode.status, status(mode.status, "the server is unwell"));
        return serve(0, false);
      case "mute":
        return serve(0, this.#random.chance(mode.rate));
      case "up":
        return serve(0, false);
    }
  }

  #serve({ node, server, request, sentMs }: Call, answer: (status: number, body: unknown) => void): void {
    const refusal = this.refusal[node] ?? 0;
    if (refusal !== 0) return answer(refusal, status(refusal, "refused"));
    if (request.method !== "GET" && this.admission !== 0 && this.admission !== REWRITES)
      return answer(this.admission, status(this.admission, "denied the request"));
    const run = (): void => {
      const { status: code, body } = this.#apply(node, request, sentMs);
      answer(code, body);
    };
    const known = this.#fromMemory(server, request);
    if (known !== undefined) return answer(known.status, known.body);
    if (request.method !== "GET" && this.#scheduler.nowMs < this.#lostUntilMs) return this.#lose(answer);
    const workMs = this.#random.logarithmic(1, 8) + Math.max(0, this.stalledUntilMs - this.#scheduler.nowMs);
    this.#scheduler.after(workMs, () => {
      // Killed meanwhile: the client sees its connection end, this one was not carried out.
      const mode = this.modes[server]?.kind;
      if (mode === "down" || mode === "dark") return;
      if (this.quorate(server)) run();
      else this.#wait(server, run, answer);
      if (request.method === "GET") this.#scheduler.nothingHappened();
    });
  }

  /** etcd tells nobody that a proposal was lost with its leader: it times out. Reads are asked again. */
  #lose(answer: (status: number, body: unknown) => void): void {
    this.#scheduler.after(ETCD_TIMEOUT_MS, () =>
      answer(500, status(500, "etcdserver: request timed out, possibly due to previous leader failure")),
    );
  }

  /**
   * Without quorum: the proposal waits, and is carried out if quorum returns in time, even if the client has
   * gone by then.
   */
  #wait(server: number, run: () => void, answer: (status: number, body: unknown) => void): void {
    const giveUp = (): void => answer(500, status(500, "etcdserver: request timed out"));
    const one = { server, untilMs: this.#scheduler.nowMs + ETCD_TIMEOUT_MS, run, giveUp };
    this.#waiting.push(one);
    this.#scheduler.at(one.untilMs, () => {
      if (!this.#waiting.includes(one)) return;
      this.#waiting = this.#waiting.filter((other) => other !== one);
      giveUp();
      // "Timed out" says nothing about the proposal: it may be committed when the members find each other.
      if (this.#random.chance(0.2))
        this.#waiting.push({ ...one, untilMs: this.#scheduler.nowMs + LATE_PROPOSAL_MS });
    });
  }

  #apply(
    author: number,
    request: ApiRequest,
    sentMs: number,
  ): { readonly status: number; readonly body: unknown } {
    const { response, change } = this.table.handle(
      this.admission === REWRITES ? { ...request, holder: this.policy } : request,
    );
    if (request.method !== "GET") this.#onWrite({ author, request, response, change, sentMs });
    if (change.changed) this.#tellReaders();
    return response;
  }

  #tellReaders(): void {
    this.#caches.tellAll();
    this.#watches.pumpAll();
  }

  /** What a server answers out of its own memory; undefined where it must ask etcd. */
  #fromMemory(server: number, { method, path }: ApiRequest): Answer | undefined {
    // The agent's rights end at /livez: it is refused, which is an answer.
    if (path === "/livez/ping") return { status: 403, body: status(403, "forbidden") };
    return method === "GET" && path === CACHED_PATH ? this.#caches.read(server) : undefined;
  }
}

/** Nobody reads the stacks of these errors, and to record one takes longer than all else of a request. */
function noAnswer(address: string, reason: NoAnswer, sent: boolean, text: string): ApiNoAnswer {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const error = new ApiNoAnswer(address, reason, sent, `${address}: ${text}`);
  Error.stackTraceLimit = stackTraceLimit;
  return error;
}
