/**
 * One control-plane machine: clocks, kernel, /run, and the agent: the product's own elector, Lease store,
 * call rules and VIP.
 */
import type { Elector, ElectorDeps } from "../../src/election/elector.ts";
import type { ElectionStatus } from "../../src/election/status.ts";
import { isTransition } from "../../src/election/transitions.ts";
import { reasonCode } from "../../src/ops/reason-codes.ts";
import type { ElectionSettings, Report, SelfFacts } from "../../src/election/types.ts";
import type { LeaseWrite, WriteOutcome } from "../../src/kube/store.ts";
import type { LogFields, Logger } from "../../src/log.ts";
import { parseIp } from "../../src/net.ts";
import type { IpAddress } from "../../src/net.ts";
import type { Evidence, Sentinel } from "../../src/sentinel/evidence.ts";
import type { Wire } from "../../src/sentinel/wire.ts";
import type { Vip } from "../../src/vip/types.ts";
import { keptFor } from "../../src/vip/vip.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Coverage } from "./coverage.ts";
import { SimKernel } from "./kernel.ts";
import { MachineClock, SimProcess } from "./process.ts";
import type { Production } from "./production.ts";
import type { Random } from "./random.ts";
import { Tap } from "./recorder.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler } from "./scheduler.ts";

export const LIFETIME_SECONDS = 3;

export interface NodeDeps {
  readonly scheduler: Scheduler;
  readonly plane: ControlPlane;
  readonly random: Random;
  readonly production: Production;
  readonly index: number;
  /** Tells namesakes apart. */
  readonly label: string;
  readonly settings: ElectionSettings;
  readonly vips: readonly string[];
  readonly rate: number;
  readonly wallOffsetMs: number;
  readonly trace: (text: string) => void;
  readonly onBug: (text: string) => void;
  readonly onAnnounce: (frozen: boolean) => void;
  /** The agent's sockets on the VIP's link. */
  readonly openWire: (process: SimProcess) => Wire;
  /** Hosts on the link that are no nodes: they answer as witnesses. */
  readonly gateways: readonly IpAddress[];
  readonly probe: { readonly intervalMs: number; readonly misses: number };
  /** The fast path is loaded. */
  readonly fastPath: boolean;
  readonly onProof: () => void;
  /**
   * Gets what the agent asks of the kernel, the wire and the API servers; undefined: nobody wants to know.
   */
  readonly recorder: Recorder | undefined;
  /** Gets the election's effects and changes of role. */
  readonly coverage: Coverage | undefined;
}

/** The interface check is told at once, and takes its time with it. */
const CHECK_MS = [1, 30] as const;

interface Agent {
  readonly process: SimProcess;
  readonly elector: Elector;
  readonly vip: Vip;
  readonly sentinel: Sentinel;
  readonly wire: Wire;
  /** Kept as the agent reports it, so that a frozen one can be judged by what it last believed. */
  role: Extract<Report, { kind: "transition" }>["to"];
  /** When that began. */
  roleMs: number;
  /** Send time of its last accepted claim or renewal, machine's clock. */
  renewedAtMs: number | null;
  /** When it last heard another machine claim the VIP as MASTER, machine's clock. */
  claimedAtMs: number;
  stopping: boolean;
  /** When it last began, or gave up, to hand over. */
  handoverMs: number;
  readonly startedMs: number;
}

export class SimNode {
  readonly #deps: NodeDeps;
  readonly name: string;
  readonly label: string;
  readonly index: number;
  readonly settings: ElectionSettings;
  readonly clock: MachineClock;
  readonly kernel: SimKernel;
  readonly addresses: readonly IpAddress[];
  powered = true;
  agent: Agent | undefined;
  /** What lies in /run/leasehold. */
  #memory: { readonly renewedAtMs: number } | null = null;
  readonly #faults = new Map<string, number>();
  #delta = 0;
  #ready = false;
  #generation = 0;
  /** Its last agent has stopped by itself. */
  exited = false;
  /** Send time of the latest claim or renewal of this machine that was carried out, machine's clock. */
  lastRenewedAtMs = Number.NEGATIVE_INFINITY;
  /** Takes back the fault of a link on which nobody is heard. */
  #heardAgain: (() => void) | undefined;
  #loneliness = 0;
  /**
   * When its link last came back, or it had to let go of the VIP for another candidate: it is unstable for a
   * while.
   */
  readonly upsets: number[] = [];
  /** What its agent says since it last took a step; undefined: nobody has asked since. */
  #status: ElectionStatus | undefined;
  /** Set when this node's process ran in the present step. */
  touched = false;

  constructor(deps: NodeDeps) {
    const { scheduler, random, index } = deps;
    this.#deps = deps;
    this.index = index;
    this.settings = deps.settings;
    this.name = deps.settings.node;
    this.label = deps.label;
    const originMs = random.between(10_000, 5_000_000);
    this.clock = new MachineClock(scheduler, deps.rate, originMs, Date.UTC(2026, 0, 1) + deps.wallOffsetMs);
    this.kernel = new SimKernel(
      scheduler,
      this.clock,
      random.fork("kernel"),
      `02:00:00:00:00:0${index + 1}`,
      deps.onAnnounce,
    );
    this.addresses = deps.vips.map((text) => parseIp(text)).filter((address) => address !== undefined);
  }

  /** Priority after tracking weights. */
  get effective(): number {
    return Math.min(254, Math.max(1, this.settings.base + this.#delta));
  }

  get facts(): SelfFacts {
    return {
      effective: this.effective,
      faults: [...this.#faults.keys()].filter((name) => (this.#faults.get(name) ?? 0) > 0),
      ready: this.#ready,
      mac: this.kernel.link.mac,
      fastPath: this.#deps.fastPath ? { version: 1, addresses: [this.settings.ip] } : null,
      foreign: this.settings.takeOver && this.agent?.vip.status().failure?.code === "LH_VIP_FOREIGN",
    };
  }

  get inFault(): boolean {
    for (const count of this.#faults.values()) if (count > 0) return true;
    return false;
  }

  /** By its own checks; what the others know of it may be older. */
  get eligible(): boolean {
    return this.agent !== undefined && !this.agent.stopping && this.#ready && !this.inFault;
  }

  /** As of its last step: what counts from now in it, such as an age, is as old as that. */
  status(): ElectionStatus | undefined {
    return (this.#status ??= this.agent?.elector.status());
  }

  /** It has the VIP bound without a Lease to show for it, and that is why; "" when it does not. */
  get provisional(): "proof" | "bootstrap" | "hold" | "unwritten" | "contested" | "" {
    if (this.agent?.role !== "PROVISIONAL") return "";
    const reason = this.status()?.reason ?? "";
    if (reason.includes("does not answer on the wire")) return "proof";
    if (reason.includes("no API server lets this node read")) return "bootstrap";
    if (reason.includes("cannot write the Lease")) return "unwritten";
    return reason.includes("cannot renew the Lease") ? "hold" : "contested";
  }

  /** Its agent believes to be MASTER and to have the VIP, and its right has not run out by its own clock. */
  get confirmed(): boolean {
    const { agent } = this;
    if (
      agent === undefined ||
      agent.role !== "MASTER" ||
      agent.renewedAtMs === null ||
      !agent.vip.status().held
    )
      return false;
    return this.clock.bootMs(this.clock.trueNowMs) < agent.renewedAtMs + this.settings.renewDeadlineMs;
  }

  /** The container starts, as the composition root does it. */
  start(): void {
    const { scheduler, plane, random, production, settings, trace, recorder, coverage } = this.#deps;
    if (!this.powered || this.agent !== undefined) return;
    if (this.clock.suspended) return void scheduler.at(this.clock.resumedMs, () => this.start());
    const generation = ++this.#generation;
    const touch = (): void => {
      this.touched = true;
    };
    const process = new SimProcess(
      scheduler,
      this.clock,
      random.fork(`process${generation}`),
      touch,
      (error) =>
        this.#deps.onBug(
          `the process would have crashed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        ),
    );
    const tap = recorder === undefined ? undefined : new Tap(recorder, this.label, () => process.trueMs);
    const log = this.#logger();
    const dice = random.fork(`sentinel${generation}`);
    const kernel = this.kernel.for(process);
    const vip = production.createVip({
      clock: process,
      kernel: tap?.kernel(kernel) ?? kernel,
      log,
      addresses: this.addresses,
      lifetimeSeconds: LIFETIME_SECONDS,
      onLeftOverGone: () => this.agent?.elector.leftOverGone(),
      ...(settings.takeOver ? { onChange: () => this.agent?.elector.update(this.facts) } : {}),
    });
    const transport = plane.transport(this.index, process);
    const api = production.createApiClient({
      transport: tap?.transport(transport) ?? transport,
      clock: process,
      log,
    });
    const store = production.createLeaseStore({
      api,
      clock: process,
      log,
      namespace: "kube-system",
      name: "leasehold",
      node: settings.node,
      leaseDurationMs: settings.leaseDurationMs,
    });
    const wire = this.#deps.openWire(process);
    const sentinel = production.createSentinel({
      clock: process.quiet(),
      log,
      wire: tap?.wire(wire) ?? wire,
      ownMac: () => this.kernel.link.mac,
      addresses: this.addresses,
      ...this.#deps.probe,
      random: () => dice.unit(),
    });
    const gateways = this.#deps.gateways.map((address) => ({ address, mac: undefined }));
    const electorDeps: ElectorDeps = {
      settings,
      clock: process,
      store,
      vip,
      sentinel: {
        watch: (target) => sentinel.watch({ ...target, witnesses: [...target.witnesses, ...gateways] }),
        probe: (spread, claims, questions) => sentinel.probe(spread, claims, questions),
        poll: () => sentinel.poll(),
      },
      memory: {
        remember: (renewedAtMs) => {
          this.#memory = { renewedAtMs };
          if (this.agent !== undefined) this.agent.renewedAtMs = renewedAtMs;
        },
        forget: () => {
          this.#memory = null;
        },
      },
      log,
      onReport: (report) => this.#report(report),
      onWrite: (write, outcome, durationMs) => this.#wrote(write, outcome, durationMs),
      onStep: () => void (this.#status = undefined),
    };
    const elector = production.createElector(coverage?.watch(electorDeps) ?? electorDeps);
    this.#status = undefined;
    this.agent = {
      process,
      elector,
      vip,
      sentinel,
      wire,
      role: "BACKUP",
      roleMs: scheduler.nowMs,
      renewedAtMs: null,
      claimedAtMs: Number.NEGATIVE_INFINITY,
      stopping: false,
      handoverMs: Number.NEGATIVE_INFINITY,
      startedMs: scheduler.nowMs,
    };
    this.#ready = false;
    this.exited = false;
    trace("agent starts");
    process.deliver(() => {
      const saved = this.#memory;
      const nowMs = process.now();
      const resume = saved !== null && saved.renewedAtMs <= nowMs ? saved : null;
      const mayKeep = resume !== null && nowMs < resume.renewedAtMs + settings.renewDeadlineMs;
      const keptMs = keptFor(vip.reap(true), this.addresses);
      if (keptMs === null && !mayKeep) vip.release();
      elector.start(mayKeep ? resume : null, keptMs === null ? null : { keptMs });
      sentinel.start((evidence) => {
        process.stir();
        if (evidence.kind === "neighbours") this.#neighbours(evidence.heard, generation);
        this.#trace(evidence);
        // The successor claims the VIP in a hand-over, which takes a second at most.
        const agent = this.agent;
        if (
          evidence.kind === "claimed" &&
          agent?.role === "MASTER" &&
          scheduler.nowMs > agent.handoverMs + 1_100
        )
          agent.claimedAtMs = process.now();
        elector.learn(evidence);
      });
      elector.update(this.facts);
    });
    // The first round of checks.
    scheduler.after(random.between(50, 1_500), () => {
      if (this.#generation !== generation) return;
      this.#ready = true;
      this.#tell();
    });
  }

  /** SIGKILL. */
  crash(): void {
    if (this.agent === undefined) return;
    this.#gone(this.agent);
    this.#deps.trace("agent is killed");
  }

  /** SIGTERM; `done` when the process has exited by itself. */
  stop(done: () => void): void {
    const { agent } = this;
    if (agent === undefined || agent.stopping) return;
    this.#deps.trace("SIGTERM");
    agent.process.deliver(() => {
      agent.stopping = true;
      void this.#exit(agent, done);
    });
  }

  async #exit(agent: Agent, done: () => void): Promise<void> {
    await agent.elector.stop();
    this.#deps.coverage?.stopped();
    agent.vip.stop();
    agent.sentinel.stop();
    agent.process.kill();
    if (this.agent === agent) {
      this.#gone(agent);
      this.exited = true;
    }
    this.#deps.trace("agent has exited");
    done();
  }

  /** With the process its sockets end, and what its checks knew. */
  #gone(agent: Agent): void {
    agent.process.kill();
    agent.wire.close();
    this.agent = undefined;
    this.#status = undefined;
    this.#generation += 1;
    this.#loneliness += 1;
    this.#heardAgain?.();
    this.#heardAgain = undefined;
  }

  /** The interface check learns whether anybody is on the link, and takes its time with it. */
  #neighbours(heard: boolean, generation: number): void {
    const { scheduler, random } = this.#deps;
    const round = ++this.#loneliness;
    scheduler.after(random.between(...CHECK_MS), () => {
      if (this.#generation !== generation || this.#loneliness !== round) return;
      if (heard) this.#heardAgain?.();
      this.#heardAgain = heard ? undefined : (this.#heardAgain ?? this.fail("interface"));
    });
  }

  #trace(evidence: Evidence): void {
    if (evidence.kind === "claimed" && this.agent?.role !== "MASTER" && this.agent?.role !== "PROVISIONAL")
      return;
    // A tenure's key contains what a wall clock said.
    const what =
      evidence.kind === "silent" || evidence.kind === "answering"
        ? { holder: evidence.tenure.split("/")[0] }
        : { ...evidence, kind: undefined };
    this.#deps.trace(`hears ${evidence.kind} ${JSON.stringify(what)}`);
  }

  powerOff(): void {
    this.crash();
    this.powered = false;
    this.#memory = null;
    this.lastRenewedAtMs = Number.NEGATIVE_INFINITY;
    this.kernel.powerOff();
    this.#deps.trace("power is gone");
  }

  /** The hypervisor suspends the machine, or somebody closes the lid. */
  suspend(forMs: number): void {
    this.clock.suspend(forMs);
    this.kernel.suspend(forMs);
    this.agent?.process.pause(this.clock.resumedMs);
  }

  powerOn(): void {
    this.powered = true;
    this.#deps.trace("machine boots");
  }

  /** A check turns bad; gives the cure. Several may have turned the same one bad. */
  fail(check: string): () => void {
    const change = (by: number): void => {
      const count = (this.#faults.get(check) ?? 0) + by;
      this.#faults.set(check, count);
      if (check === "interface" && count === 0) this.#upset();
      this.#tell();
    };
    change(1);
    return () => change(-1);
  }

  /** The trouble counts from when its process sees it, which may be frozen. */
  #upset(): void {
    const note = (): void => void this.upsets.push(this.#deps.scheduler.nowMs);
    if (this.agent === undefined) note();
    else this.agent.process.deliver(note);
  }

  weigh(by: number): void {
    this.#delta += by;
    this.#tell();
  }

  #tell(): void {
    const { agent } = this;
    agent?.process.deliver(() => {
      if (this.agent === agent) agent.elector.update(this.facts);
    });
  }

  #report(report: Report): void {
    this.#status = undefined;
    const { kind, ...rest } = report;
    this.#deps.trace(`${kind} ${JSON.stringify(rest)}`);
    if (report.kind === "handover" && this.agent !== undefined)
      this.agent.handoverMs = this.#deps.scheduler.nowMs;
    if (this.agent === undefined) return;
    if (report.kind === "proof") this.#deps.onProof();
    if (report.kind === "conflict" && report.outcome === "yielded")
      this.upsets.push(this.#deps.scheduler.nowMs);
    if (report.kind !== "transition") return;
    if (reasonCode(report.reason) === "other")
      this.#deps.onBug(`metrics have no code for the reason "${report.reason}"`);
    if (!isTransition(report.from, report.to))
      this.#deps.onBug(`${report.from} to ${report.to} is not in the table of transitions`);
    // A claim that no renewal has answered counts as trouble once the Lease has given the VIP to another
    // node.
    const { claimedAtMs, renewedAtMs } = this.agent;
    const contested = report.to === "BACKUP" && claimedAtMs > (renewedAtMs ?? 0);
    if (report.from === "MASTER" && (report.to === "PROVISIONAL" || contested))
      this.upsets.push(this.#deps.scheduler.nowMs);
    this.agent.role = report.to;
    this.agent.roleMs = this.#deps.scheduler.nowMs;
  }

  #wrote(write: LeaseWrite["kind"], outcome: WriteOutcome["kind"], durationMs: number): void {
    if (write === "renew" && outcome === "ok") return;
    this.#deps.trace(`${write}: ${outcome} after ${durationMs.toFixed(0)} ms`);
  }

  #logger(): Logger {
    const { trace, onBug } = this.#deps;
    const line = (level: string) => (fields: LogFields, message: string) => {
      if (message.includes("unexpectedly")) onBug(`${message}: ${String(fields["err"])}`);
      trace(`${level}: ${message}`);
    };
    const logger: Logger = {
      error: line("error"),
      warn: line("warn"),
      info: line("info"),
      debug: () => {},
      child: () => logger,
    };
    return logger;
  }
}
