/** The fence and the announcements, on a clock that moves only when told to. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LeaseholdError } from "../../../src/errors.ts";
import { silentLogger, type Logger } from "../../../src/log.ts";
import { parseIp, type IpAddress } from "../../../src/net.ts";
import { createLogger } from "../../../src/pino-logger.ts";
import type { LinkState } from "../../../src/vip/kernel.ts";
import type { Vip } from "../../../src/vip/types.ts";
import { createVip, foreignOwner, keptFor } from "../../../src/vip/vip.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { FakeKernel } from "./fake-kernel.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const V4 = ip("192.0.2.100");
const V6 = ip("2001:db8::100");
const BOTH = [V4.text, V6.text];

interface Bench {
  readonly clock: FakeClock;
  readonly kernel: FakeKernel;
  readonly vip: Vip;
  readonly failures: LeaseholdError[];
  readonly lines: string[];
  /** One for each call of `onChange`. */
  readonly changes: true[];
  /** One for each call of `onLeftOverGone`. */
  readonly gone: true[];
  /** One for each call of `onAnnouncementFailed`. */
  readonly unannounced: true[];
  readonly startMs: number;
  /** Milliseconds from the start. */
  readonly since: (times: readonly number[]) => readonly number[];
}

function bench(changed: { readonly takeOver?: boolean } = {}): Bench {
  const clock = new FakeClock();
  const kernel = new FakeKernel(clock);
  const failures: LeaseholdError[] = [];
  const lines: string[] = [];
  const changes: true[] = [];
  const gone: true[] = [];
  const unannounced: true[] = [];
  const write = (level: string) => (_: unknown, message: string) => void lines.push(`${level}: ${message}`);
  const log: Logger = { ...silentLogger, error: write("error"), warn: write("warn") };
  const vip = createVip({
    clock,
    kernel,
    log,
    addresses: [V4, V6],
    lifetimeSeconds: 3,
    onFailure: (error) => failures.push(error),
    onChange: () => changes.push(true),
    onLeftOverGone: () => gone.push(true),
    onAnnouncementFailed: () => unannounced.push(true),
    ...changed,
  });
  const startMs = clock.now();
  return {
    clock,
    kernel,
    vip,
    failures,
    lines,
    changes,
    gone,
    unannounced,
    startMs,
    since: (times) => times.map((time) => time - startMs),
  };
}

describe("holding", () => {
  test("binds all addresses and announces them before it returns", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 4000);
    assert.deepEqual(kernel.bound(), BOTH);
    assert.equal(kernel.announcedMs.length, 1);
    assert.deepEqual(vip.status(), {
      held: true,
      foreign: false,
      bound: true,
      boundSinceMs: clock.now(),
      untilMs: clock.now() + 4000,
      failure: undefined,
      announcements: 1,
      readded: 0,
      fenced: 0,
      strays: 0,
    });
  });

  test("counts neither announcements nor failures on a link without ARP, where nothing can be announced", () => {
    for (const [link, announced, failed] of [
      [{ mac: "" }, false, false],
      [{ carrier: false }, false, true],
      [{}, true, false],
    ] as const) {
      const { clock, kernel, vip, unannounced } = bench();
      kernel.currentLink = { ...(kernel.currentLink ?? assert.fail()), ...link };
      vip.hold(clock.now() + 10_000);
      clock.advance(5_500);
      assert.deepEqual(kernel.bound(), BOTH);
      assert.deepEqual([vip.status().announcements > 0, unannounced.length > 0], [announced, failed]);
    }
  });

  test("refreshes every 500 ms, and no report about that makes it refresh more", () => {
    const { clock, kernel, vip, since } = bench();
    vip.hold(clock.now() + 10_000);
    for (let i = 0; i < 8; i++) {
      clock.advance(250);
      kernel.report();
    }
    assert.deepEqual(since(kernel.boundMs), [0, 500, 1000, 1500, 2000]);
  });

  test("ends at the time that was given, and not a moment later", () => {
    const { clock, kernel, vip, since } = bench();
    vip.hold(clock.now() + 1234);
    clock.advance(1233);
    assert.deepEqual(kernel.bound(), BOTH);
    clock.advance(1);
    assert.deepEqual(kernel.bound(), []);
    assert.deepEqual(since(kernel.unboundMs), [1234]);
    assert.equal(vip.status().held, false);
    assert.equal(vip.status().fenced, 1);
    const binds = kernel.boundMs.length;
    clock.advance(60_000);
    assert.equal(kernel.boundMs.length, binds);
  });

  test("is extended, never shortened", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 4000);
    clock.advance(3000);
    vip.hold(clock.now() + 4000);
    vip.hold(clock.now() + 100);
    clock.advance(3999);
    assert.deepEqual(kernel.bound(), BOTH);
    assert.equal(kernel.announcedMs.length, 5, "extending does not announce anew");
    clock.advance(1);
    assert.deepEqual(kernel.bound(), []);
  });

  test("tells the kernel no more than the right lasts, rounded up to a second, and no more than that later", () => {
    const { clock, kernel, vip, startMs } = bench();
    vip.hold(startMs + 4000);
    assert.equal(kernel.lastsUntilMs(), startMs + 3000);
    clock.advance(1700);
    assert.equal(kernel.lastsUntilMs(), startMs + 4000);
    clock.advance(2200);
    assert.equal(kernel.lastsUntilMs(), startMs + 4000, "refreshes would only make it outlast the right");
    vip.hold(startMs + 5200);
    assert.equal(kernel.lastsUntilMs(), startMs + 5900, "not at the next refresh, when it would have ended");
  });

  test("is limited at once, in the kernel too, and extended again", () => {
    const { clock, kernel, vip, startMs } = bench();
    vip.hold(startMs + 4000);
    clock.advance(1600);
    vip.limit(startMs + 2500);
    assert.equal(vip.status().untilMs, startMs + 2500);
    assert.equal(kernel.lastsUntilMs(), startMs + 2600);
    clock.advance(800);
    assert.equal(kernel.lastsUntilMs(), startMs + 2600, "not refreshed while it is on loan");
    vip.hold(startMs + 5000);
    assert.equal(kernel.lastsUntilMs(), startMs + 5400);
    vip.limit(startMs + 9000);
    assert.equal(vip.status().untilMs, startMs + 5000, "a limit extends nothing");
    vip.limit(startMs + 2400);
    assert.deepEqual(kernel.bound(), [], "one that has passed ends it");
    assert.equal(vip.status().fenced, 1);
    assert.equal(kernel.announcedMs.length, 4);
  });

  test("a limit of what is not held does nothing", () => {
    const { clock, kernel, vip } = bench();
    vip.limit(clock.now() + 4000);
    assert.deepEqual(kernel.boundMs, []);
    assert.equal(vip.status().held, false);
  });

  test("with a time that has passed binds and sends nothing", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now());
    vip.hold(clock.now() - 1);
    assert.deepEqual(kernel.boundMs, []);
    assert.deepEqual(kernel.announcedMs, []);
    assert.equal(vip.status().held, false);
  });
});

describe("releasing", () => {
  test("unbinds before it returns, once, and leaves no timer that binds again", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 4000);
    vip.release();
    assert.deepEqual(kernel.bound(), []);
    vip.release();
    assert.equal(kernel.unboundMs.length, 1);
    const announced = kernel.announcedMs.length;
    clock.advance(10_000);
    assert.equal(kernel.boundMs.length, 1);
    assert.equal(kernel.announcedMs.length, announced);
  });

  test("that fails is logged and tried again every 100 ms until it succeeds", () => {
    const { clock, kernel, vip, lines } = bench();
    vip.hold(clock.now() + 4000);
    kernel.broken = new LeaseholdError("LH_NATIVE", "remove address: EPERM");
    vip.release();
    assert.deepEqual(lines, ["error: The agent could not unbind the VIP, and tries again"]);
    clock.advance(250);
    assert.equal(kernel.unboundMs.length, 3);
    kernel.broken = undefined;
    clock.advance(100);
    assert.deepEqual(kernel.bound(), []);
    clock.advance(900);
    assert.equal(kernel.unboundMs.length, 4);
  });

  test("that failed is not tried again after the VIP was won back", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 4000);
    kernel.broken = new LeaseholdError("LH_NATIVE", "remove address: EPERM");
    vip.release();
    kernel.broken = undefined;
    vip.hold(clock.now() + 4000);
    clock.advance(2000);
    assert.equal(kernel.unboundMs.length, 1);
    assert.deepEqual(kernel.bound(), BOTH);
  });

  test("stop releases and leaves no timer and no listener", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 4000);
    vip.stop();
    assert.deepEqual(kernel.bound(), []);
    assert.equal(clock.pendingTimers, 0);
    assert.equal(kernel.listeners.size, 0);
  });
});

describe("a process that was stopped and woke up after its right", () => {
  for (const pauseMs of [3000, 5000, 60_000]) {
    test(`for ${pauseMs / 1000} s: whatever timer runs first, it unbinds and sends nothing`, () => {
      const { clock, kernel, vip } = bench();
      vip.hold(clock.now() + 2000);
      clock.advance(300);
      const before = { announced: kernel.announcedMs.length, bound: kernel.boundMs.length };
      clock.jump(pauseMs);
      clock.advance(0);
      assert.deepEqual(kernel.bound(), []);
      assert.equal(kernel.announcedMs.length, before.announced);
      assert.equal(kernel.boundMs.length, before.bound);
      assert.equal(vip.status().fenced, 1);
    });
  }

  test("with a report or an announcement asked for before any timer: it unbinds too", () => {
    for (const wake of [
      (b: Bench) => b.kernel.report(),
      (b: Bench) => b.vip.announce(),
      (b: Bench) => b.vip.defend(),
    ]) {
      const b = bench();
      b.vip.hold(b.clock.now() + 2000);
      b.clock.jump(2500);
      wake(b);
      assert.deepEqual(b.kernel.bound(), []);
      assert.equal(b.kernel.announcedMs.length, 1);
      assert.equal(b.kernel.boundMs.length, 1);
    }
  });

  test("with an extension that still counts: it goes on, and announces what had expired meanwhile", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 2000);
    clock.jump(3500);
    assert.deepEqual(kernel.bound(), []);
    vip.hold(clock.now() + 1000);
    assert.deepEqual(kernel.bound(), BOTH);
    assert.equal(kernel.announcedMs.length, 2);
    assert.equal(vip.status().fenced, 0);
  });

  for (const call of ["link", "addresses", "bind", "announce"] as const) {
    test(`stopped within the call "${call}": what that call did is undone before anything else is sent`, () => {
      const { clock, kernel, vip } = bench();
      kernel.during[call] = () => clock.jump(2500);
      vip.hold(clock.now() + 2000);
      assert.deepEqual(kernel.bound(), []);
      assert.equal(kernel.announcedMs.length, call === "announce" ? 1 : 0);
      assert.equal(vip.status().held, false);
      clock.advance(5000);
      assert.deepEqual(kernel.bound(), []);
    });

    test(`stopped within "${call}" of a refresh or a later announcement: the same`, () => {
      const { clock, kernel, vip } = bench();
      vip.hold(clock.now() + 4000);
      clock.advance(100);
      kernel.during[call] = () => clock.jump(4500);
      clock.advance(1000);
      assert.deepEqual(kernel.bound(), []);
      assert.equal(vip.status().fenced, 1);
    });
  }

  test("stopped within a refresh, and in time again: the kernel is told again when the address ends", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 4000);
    const untilMs = clock.now() + 4000;
    clock.advance(400);
    const before = kernel.boundMs.length;
    kernel.during.bind = () => clock.jump(3200);
    clock.advance(200);
    assert.equal(kernel.boundMs.length, before + 2);
    assert.ok(kernel.lastsUntilMs() < untilMs + 1000);
    assert.equal(vip.status().held, true);
  });

  test("in any order of pauses, extensions, reports and releases nothing is bound, refreshed or sent without the right", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("advance" as const), ms: fc.nat({ max: 3000 }) }),
      fc.record({ kind: fc.constant("jump" as const), ms: fc.nat({ max: 6000 }) }),
      fc.record({ kind: fc.constant("hold" as const), ms: fc.integer({ min: -500, max: 4000 }) }),
      fc.record({ kind: fc.constant("limit" as const), ms: fc.integer({ min: -500, max: 4000 }) }),
      fc.record({
        kind: fc.constantFrom("release" as const, "report" as const, "announce" as const, "delete" as const),
      }),
      fc.record({
        kind: fc.constant("interrupt" as const),
        ms: fc.nat({ max: 5000 }),
        call: fc.constantFrom("bind" as const, "announce" as const, "link" as const, "addresses" as const),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { clock, kernel, vip } = bench();
        let rightMs = -Infinity;
        // A process stopped between two instructions may tell the kernel late; it then unbinds at once.
        let interrupted = false;
        const seen = { bound: 0, announced: 0 };
        const check = (): void => {
          // The calls recorded since the last look were made at their time with the right of then; rights
          // only end by time or release.
          for (const time of kernel.boundMs.slice(seen.bound))
            assert.ok(time < rightMs, `bind at ${time}, right until ${rightMs}`);
          if (kernel.boundMs.length > seen.bound && !interrupted)
            assert.ok(
              !(kernel.lastsUntilMs() >= rightMs + 1000),
              "the kernel keeps it longer than the right",
            );
          for (const time of kernel.announcedMs.slice(seen.announced))
            assert.ok(time < rightMs, `announcement at ${time}, right until ${rightMs}`);
          seen.bound = kernel.boundMs.length;
          seen.announced = kernel.announcedMs.length;
        };
        for (const step of steps) {
          switch (step.kind) {
            case "advance":
              clock.advance(step.ms);
              if (clock.now() >= rightMs) assert.deepEqual(kernel.bound(), []);
              break;
            case "jump":
              clock.jump(step.ms);
              break;
            case "hold":
              rightMs = vip.status().held ? Math.max(rightMs, clock.now() + step.ms) : clock.now() + step.ms;
              vip.hold(clock.now() + step.ms);
              break;
            case "limit":
              rightMs = Math.min(rightMs, clock.now() + step.ms);
              vip.limit(clock.now() + step.ms);
              if (step.ms <= 0) assert.deepEqual(kernel.bound(), []);
              break;
            case "release":
              vip.release();
              assert.deepEqual(kernel.bound(), []);
              check();
              rightMs = -Infinity;
              break;
            case "report":
              kernel.report();
              break;
            case "announce":
              vip.announce();
              break;
            case "delete":
              kernel.remove(V6);
              break;
            case "interrupt":
              interrupted = true;
              kernel.during[step.call] = () => clock.jump(step.ms);
              break;
          }
          check();
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("announcements", () => {
  test("follow the schedule 0, 0.25, 1, 2, 5 s and then once a minute", () => {
    const { clock, kernel, vip, since } = bench();
    for (let second = 0; second < 200; second++) {
      vip.hold(clock.now() + 4000);
      clock.advance(1000);
    }
    assert.deepEqual(since(kernel.announcedMs), [0, 250, 1000, 2000, 5000, 65_000, 125_000, 185_000]);
    assert.equal(vip.status().announcements, 8);
  });

  test("start anew on request", () => {
    const { clock, kernel, vip, since } = bench();
    vip.hold(clock.now() + 20_000);
    clock.advance(7000);
    vip.announce();
    clock.advance(1500);
    assert.deepEqual(since(kernel.announcedMs).slice(5), [7000, 7250, 8000]);
  });

  test("once beside the schedule, to defend it", () => {
    const { clock, kernel, vip, since } = bench();
    vip.hold(clock.now() + 20_000);
    clock.advance(1500);
    vip.defend();
    clock.advance(10_000);
    assert.deepEqual(since(kernel.announcedMs), [0, 250, 1000, 1500, 2000, 5000]);
  });

  test("on request of a node that holds nothing send nothing", () => {
    const { kernel, vip } = bench();
    vip.announce();
    vip.defend();
    assert.deepEqual(kernel.announcedMs, []);
  });

  test("that a pause delayed are sent once, not one for each that is overdue", () => {
    const { clock, kernel, vip, since } = bench();
    vip.hold(clock.now() + 20_000);
    clock.advance(100);
    clock.jump(2400);
    clock.advance(0);
    // One catches up; the refresh found the addresses still there (they last 3 s).
    assert.deepEqual(since(kernel.announcedMs), [0, 2500]);
    clock.advance(2500);
    assert.deepEqual(since(kernel.announcedMs), [0, 2500, 5000]);
  });

  const changes: readonly (readonly [string, (link: LinkState) => LinkState])[] = [
    ["another MAC", (link) => ({ ...link, mac: "02:00:00:00:00:0b" })],
    ["a return of the carrier", (link) => link],
  ];
  for (const [name, change] of changes) {
    test(`start anew after ${name}`, () => {
      const { clock, kernel, vip, since } = bench();
      vip.hold(clock.now() + 30_000);
      clock.advance(7000);
      const link = kernel.currentLink ?? assert.fail();
      kernel.setLink({ ...link, carrier: false });
      clock.advance(100);
      assert.equal(kernel.announcedMs.length, 5);
      kernel.setLink(change(link));
      clock.advance(1000);
      assert.deepEqual(since(kernel.announcedMs).slice(5), [7100, 7350, 8100]);
      assert.equal(vip.status().readded, 0);
    });
  }
});

describe("what others do to the machine", () => {
  test("one address deleted is put back at the report, counted, and announced", () => {
    const { clock, kernel, vip, since, lines } = bench();
    vip.hold(clock.now() + 30_000);
    clock.advance(7100);
    kernel.remove(V6);
    kernel.report();
    assert.deepEqual(kernel.bound(), BOTH);
    assert.equal(vip.status().readded, 1);
    assert.deepEqual(since(kernel.announcedMs).slice(5), [7100]);
    assert.deepEqual(lines, [
      "warn: Another program removed the VIP from its interface, the agent bound it again",
    ]);
  });

  test("and without any report within a second", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 30_000);
    clock.advance(7100);
    kernel.remove(V4);
    clock.advance(1000);
    assert.deepEqual([...kernel.bound()].sort(), [...BOTH].sort());
    assert.equal(vip.status().readded, 1);
  });

  test("an interface that goes is one failure reported, and followed when it comes back as another", () => {
    const { clock, kernel, vip, failures } = bench();
    vip.hold(clock.now() + 30_000);
    const link = kernel.currentLink ?? assert.fail();
    kernel.setLink(undefined);
    clock.advance(3000);
    assert.deepEqual(
      failures.map((error) => error.code),
      ["LH_INTERFACE"],
    );
    assert.equal(vip.status().bound, false);
    assert.equal(vip.status().held, true);
    const announced = kernel.announcedMs.length;
    kernel.setLink({ ...link, index: 9 });
    assert.deepEqual(kernel.bound(), BOTH);
    assert.equal(vip.status().bound, true);
    assert.equal(vip.status().failure, undefined);
    assert.equal(kernel.announcedMs.length, announced + 1);
    assert.ok(kernel.addresses().every((entry) => entry.linkIndex === 9));
    kernel.setLink(undefined);
    assert.equal(failures.length, 2, "a new failure is reported again");
  });

  test("a VIP on an interface that has another name now is moved", () => {
    const { clock, kernel, vip } = bench();
    vip.hold(clock.now() + 30_000);
    const link = kernel.currentLink ?? assert.fail();
    // Renamed: the old one still has the addresses.
    kernel.currentLink = { ...link, index: 9 };
    kernel.report();
    assert.deepEqual(
      kernel.addresses().map((entry) => entry.linkIndex),
      [9, 9],
    );
  });

  test("a failure to bind, to unbind, to list or to announce says why in the log", () => {
    const clock = new FakeClock();
    const kernel = new FakeKernel(clock);
    const lines: string[] = [];
    const log = createLogger({
      level: "debug",
      format: "json",
      base: {},
      clock,
      write: (line) => lines.push(line),
    });
    const vip = createVip({ clock, kernel, log, addresses: [V4], lifetimeSeconds: 3 });
    const reasons = (): readonly string[] =>
      lines.splice(0).flatMap((line) => {
        const { msg, err } = JSON.parse(line);
        return err === undefined ? [] : [`${msg}: ${err.code} ${err.message}`];
      });
    kernel.broken = new LeaseholdError("LH_NATIVE", "list addresses: EMFILE");
    clock.advance(1000);
    assert.deepEqual(reasons(), [
      "The kernel did not list this machine's addresses, the agent cannot see whether the VIP is bound: LH_NATIVE list addresses: EMFILE",
    ]);
    vip.hold(clock.now() + 4000);
    assert.deepEqual(reasons(), [
      "The agent could not bind the VIP, and tries again: LH_NATIVE list addresses: EMFILE",
    ]);
    vip.release();
    assert.deepEqual(reasons(), [
      "The agent could not unbind the VIP, and tries again: LH_NATIVE list addresses: EMFILE",
    ]);
    kernel.broken = undefined;
    kernel.currentLink = { ...(kernel.currentLink ?? assert.fail()), carrier: false };
    vip.hold(clock.now() + 4000);
    assert.deepEqual(reasons(), ["VIP could not be announced: LH_LINK_DOWN eth0 is without carrier"]);
  });

  test("a failure to bind is not thrown at the elector", () => {
    const { clock, kernel, vip, failures } = bench();
    kernel.currentLink = undefined;
    vip.hold(clock.now() + 4000);
    assert.equal(failures.length, 1);
    clock.advance(4000);
    assert.deepEqual(vip.status(), { ...vip.status(), held: false, bound: false, fenced: 1 });
  });
});

describe("a backup", () => {
  test("that finds our VIP bound removes it at the report, or within a second", () => {
    for (const reported of [true, false]) {
      const { clock, kernel, vip } = bench();
      kernel.put(V4, 3);
      if (reported) kernel.report();
      else clock.advance(1000);
      assert.deepEqual(kernel.bound(), []);
      assert.equal(vip.status().strays, 1);
    }
  });

  test("leaves alone what is not ours", () => {
    const { clock, kernel, vip } = bench();
    kernel.put(V4, Infinity, 2, false);
    clock.advance(5000);
    vip.release();
    assert.deepEqual(kernel.bound(), [V4.text]);
    assert.deepEqual(kernel.unboundMs, []);
    assert.equal(vip.status().foreign, true);
  });

  test("says once that another program has the VIP here, and once that it is gone", () => {
    const { clock, kernel, vip, lines } = bench();
    clock.advance(3000);
    assert.deepEqual(lines, []);
    kernel.put(V4, Infinity, 2, false);
    clock.advance(3000);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /^warn: Another program has the VIP bound on this machine.*keepalived/);
    kernel.remove(V4);
    clock.advance(3000);
    assert.equal(lines.length, 1);
    assert.equal(vip.status().foreign, false);
  });
});

describe("at start", () => {
  test("what a predecessor left is removed when it may not be adopted", () => {
    const { kernel, vip } = bench();
    kernel.put(V4, 3);
    assert.deepEqual(
      vip.reap(false).map((entry) => entry.address.text),
      [V4.text],
    );
    assert.deepEqual(kernel.bound(), []);
  });

  test("what may be adopted stays until it is held, and is announced then", () => {
    const { clock, kernel, vip } = bench();
    kernel.put(V4, 3);
    kernel.put(V6, 3);
    assert.equal(vip.reap(true).length, 2);
    clock.advance(2000);
    kernel.report();
    assert.deepEqual(kernel.bound(), BOTH);
    assert.deepEqual(kernel.announcedMs, []);
    vip.hold(clock.now() + 4000);
    clock.advance(2000);
    assert.deepEqual(kernel.bound(), BOTH);
    assert.equal(vip.status().readded, 0);
    assert.deepEqual(kernel.unboundMs, []);
  });

  test("tells when the kernel removes one of the addresses that may be adopted", () => {
    const { clock, kernel, vip, gone } = bench();
    kernel.put(V4, 1);
    kernel.put(V6, 3);
    vip.reap(true);
    clock.advance(500);
    kernel.report();
    assert.equal(gone.length, 0);
    clock.advance(1_500);
    assert.ok(gone.length > 0);
  });

  test("a predecessor's VIP is there for as long as its shortest lifetime says, less the second that is rounded up", () => {
    const entry = (address: IpAddress, validSeconds: number | null) => ({
      address,
      prefixLength: 32,
      linkIndex: 2,
      ours: true,
      validSeconds,
    });
    assert.equal(keptFor([entry(V4, 3), entry(V6, 2)], [V4, V6]), 1_000);
    assert.equal(keptFor([entry(V4, 1)], [V4]), 0);
    assert.equal(keptFor([entry(V4, 0)], [V4]), -1_000);
    assert.equal(keptFor([entry(V4, 3)], [V4, V6]), null);
    assert.equal(keptFor([], [V4]), null);
  });

  test("what was to be adopted is removed by release, or by a right that has passed", () => {
    for (const end of [(b: Bench) => b.vip.release(), (b: Bench) => b.vip.hold(b.clock.now() - 1)]) {
      const b = bench();
      b.kernel.put(V4, 3);
      b.vip.reap(true);
      end(b);
      assert.deepEqual(b.kernel.bound(), []);
    }
  });

  test("with nothing left over the node is a plain backup", () => {
    const { clock, kernel, vip } = bench();
    assert.deepEqual(vip.reap(true), []);
    kernel.put(V4, 3);
    clock.advance(1000);
    assert.deepEqual(kernel.bound(), []);
    assert.equal(vip.status().strays, 1);
  });

  test("a VIP that is the machine's own address is found: one with a subnet, or with an end", () => {
    const { kernel } = bench();
    const owned = (): readonly string[] =>
      foreignOwner(kernel, [V4, V6]).map(({ address, prefixLength }) => `${address.text}/${prefixLength}`);
    kernel.put(V6, 3);
    assert.deepEqual(owned(), [], "a predecessor's");
    kernel.put(V4, Infinity, 2, false);
    kernel.put(ip("192.0.2.101"), Infinity, 2, false, 24);
    assert.deepEqual(owned(), [], "another program's, and no VIP");
    kernel.put(V4, Infinity, 2, false, 24);
    assert.deepEqual(owned(), ["192.0.2.100/24"]);
    kernel.remove(V4);
    kernel.put(V4, 3600, 2, false);
    assert.deepEqual(owned(), ["192.0.2.100/32"], "a cloud's DHCP");
    kernel.put(V6, 86_400, 3, false, 64);
    assert.deepEqual(owned(), ["192.0.2.100/32", "2001:db8::100/64"]);
  });

  test("during a take-over only an address with both is the machine's own", () => {
    const { clock, kernel, vip } = bench({ takeOver: true });
    const owned = (): readonly string[] =>
      foreignOwner(kernel, [V4, V6], true).map(
        ({ address, prefixLength }) => `${address.text}/${prefixLength}`,
      );
    kernel.put(V4, Infinity, 2, false, 24);
    kernel.put(V6, 60, 2, false);
    assert.deepEqual(owned(), [], "keepalived's, and kube-vip's of a DNS name");
    clock.advance(1_000);
    assert.equal(vip.status().failure?.code, "LH_VIP_FOREIGN");
    kernel.put(V6, 86_400, 3, false, 64);
    assert.deepEqual(owned(), ["2001:db8::100/64"]);
    clock.advance(1_000);
    assert.equal(vip.status().failure?.code, "LH_ADDRESS_OWNER");
  });
});

describe("an IPv4 VIP that has come to stand before the machine's own address", () => {
  const OWN = ip("192.0.2.11");
  const texts = (kernel: FakeKernel): readonly string[] =>
    kernel.addresses().map(({ address }) => address.text);
  const reconfigured = (): Bench => {
    const b = bench();
    b.kernel.put(OWN, Infinity, 2, false, 24);
    b.vip.hold(b.clock.now() + 60_000);
    assert.deepEqual(texts(b.kernel), [OWN.text, V4.text, V6.text]);
    b.kernel.remove(OWN);
    b.kernel.put(OWN, Infinity, 2, false, 24);
    b.kernel.report();
    return b;
  };

  test("is bound again behind it, at once, and nothing is announced or counted for it", () => {
    const { kernel, vip, clock } = reconfigured();
    const { announcements, readded } = vip.status();
    assert.deepEqual([announcements, readded], [1, 0]);
    clock.advance(1_000);
    assert.deepEqual(texts(kernel), [V6.text, OWN.text, V4.text]);
  });

  test("is moved once in ten seconds, whatever puts it there", () => {
    const { kernel, clock } = reconfigured();
    const moves = kernel.unboundMs.length;
    for (let n = 0; n < 8; n += 1) {
      kernel.remove(OWN);
      kernel.put(OWN, Infinity, 2, false, 24);
      kernel.report();
      clock.advance(1_000);
    }
    assert.equal(kernel.unboundMs.length, moves);
    clock.advance(3_000);
    assert.equal(kernel.unboundMs.length, moves + 1);
  });

  test("stays where no other address is on its interface, or another program has bound it", () => {
    const { kernel, vip, clock } = bench();
    kernel.put(OWN, Infinity, 3, false, 24);
    vip.hold(clock.now() + 60_000);
    clock.advance(1_000);
    assert.deepEqual(kernel.unboundMs, []);
  });
});

describe("addresses that are not ours", () => {
  const listed = (kernel: FakeKernel): readonly string[] =>
    kernel
      .addresses()
      .map(
        ({ address, prefixLength, linkIndex, ours }) =>
          `${address.text}/${prefixLength} on ${linkIndex}${ours ? ", ours" : ""}`,
      );
  const stranger = {
    "keepalived's": {
      put: (b: Bench) => b.kernel.put(V4, Infinity, 2, false),
      code: "LH_VIP_FOREIGN",
      entry: "192.0.2.100/32 on 2",
      says: /Another program.*keepalived/,
    },
    "DHCP's": {
      put: (b: Bench) => b.kernel.put(V4, 3600, 2, false, 24),
      code: "LH_ADDRESS_OWNER",
      entry: "192.0.2.100/24 on 2",
      says: /machine's own address/,
    },
    "of IPv6 with a subnet": {
      put: (b: Bench) => b.kernel.put(V6, Infinity, 2, false, 64),
      code: "LH_ADDRESS_OWNER",
      entry: "2001:db8::100/64 on 2",
      says: /machine's own address/,
    },
    "on another interface": {
      put: (b: Bench) => b.kernel.put(V6, Infinity, 7, false),
      code: "LH_VIP_FOREIGN",
      entry: "2001:db8::100/128 on 7",
      says: /Another program/,
    },
  } as const;

  for (const [whose, { put, code, entry, says }] of Object.entries(stranger)) {
    test(`${whose}, while a backup: it stays, is a reason not to serve, and is told of once as it comes and goes`, () => {
      const b = bench();
      put(b);
      b.kernel.report();
      b.clock.advance(5000);
      assert.equal(b.lines.length, 1);
      assert.match(b.lines[0] ?? "", says);
      assert.equal(b.vip.status().failure?.code, code);
      assert.equal(b.changes.length, 1, "the election is told");
      b.vip.release();
      b.vip.reap(false);
      b.vip.stop();
      assert.deepEqual(listed(b.kernel), [entry]);
      assert.deepEqual(b.kernel.boundMs, []);
    });

    test(`${whose}, while held: it is neither refreshed nor removed, and when it has gone ours is all there is`, () => {
      const b = bench();
      b.vip.hold(b.clock.now() + 60_000);
      put(b);
      b.kernel.report();
      b.clock.advance(5000);
      assert.equal(b.vip.status().foreign, true);
      assert.ok(b.vip.status().failure !== undefined);
      assert.ok(listed(b.kernel).includes(entry), listed(b.kernel).join());
      b.vip.release();
      assert.deepEqual(listed(b.kernel), [entry]);
      b.vip.hold(b.clock.now() + 60_000);
      b.clock.advance(2000);
      assert.ok(listed(b.kernel).includes(entry), listed(b.kernel).join());
      b.kernel.remove(V4);
      b.kernel.remove(V6);
      b.kernel.report();
      assert.deepEqual(listed(b.kernel), ["192.0.2.100/32 on 2, ours", "2001:db8::100/128 on 2, ours"]);
      assert.equal(b.vip.status().failure, undefined);
      assert.equal(b.vip.status().foreign, false);
    });

    test(`${whose}, at start: seen at once, beside what a predecessor left, which alone is adopted or removed`, () => {
      for (const keep of [true, false]) {
        const b = bench();
        b.kernel.put(V4, 3, 2);
        put(b);
        const left = listed(b.kernel).filter((each) => each.endsWith("ours"));
        assert.deepEqual(
          b.vip
            .reap(keep)
            .map(
              ({ address, prefixLength, linkIndex }) =>
                `${address.text}/${prefixLength} on ${linkIndex}, ours`,
            ),
          left,
        );
        assert.equal(b.vip.status().failure?.code, code);
        b.vip.release();
        assert.deepEqual(listed(b.kernel), [entry]);
      }
    });
  }

  test("both addresses or none: where one is taken the other is not held, and not announced", () => {
    const b = bench();
    b.kernel.put(V6, Infinity, 2, false);
    b.vip.hold(b.clock.now() + 60_000);
    b.clock.advance(3000);
    assert.deepEqual(listed(b.kernel), ["2001:db8::100/128 on 2"]);
    assert.deepEqual(b.kernel.announcedMs, []);
    assert.deepEqual(
      b.failures.map(({ code }) => code),
      ["LH_VIP_FOREIGN"],
    );
  });

  test("beside ours, an IPv4 one with another prefix: ours stays bound until another node serves", () => {
    const b = bench();
    b.vip.hold(b.clock.now() + 60_000);
    b.kernel.put(V4, 3600, 2, false, 24);
    b.clock.advance(5000);
    assert.equal(b.vip.status().bound, true);
    assert.equal(b.vip.status().failure?.code, "LH_ADDRESS_OWNER");
    assert.deepEqual([...listed(b.kernel)].sort(), [
      "192.0.2.100/24 on 2",
      "192.0.2.100/32 on 2, ours",
      "2001:db8::100/128 on 2, ours",
    ]);
  });

  test("one that changes hands is told of again", () => {
    const b = bench();
    b.kernel.put(V4, Infinity, 2, false);
    b.clock.advance(1000);
    b.kernel.remove(V4);
    b.kernel.put(V4, 3600, 2, false, 24);
    b.clock.advance(1000);
    assert.equal(b.lines.length, 2);
    assert.equal(b.vip.status().failure?.code, "LH_ADDRESS_OWNER");
  });
});
