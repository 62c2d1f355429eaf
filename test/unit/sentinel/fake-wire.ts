/**
 * A link with machines on it that answer as kernels do; what is lost, late or filtered is the test's choice.
 */
import assert from "node:assert/strict";
import type { IpAddress } from "../../../src/net.ts";
import type { Heard, HeardOnWire, Listening, Wire } from "../../../src/sentinel/wire.ts";
import type { FakeClock } from "../../support/fake-clock.ts";

export interface FakeHost {
  readonly mac: string;
  addresses: readonly string[];
  alive: boolean;
  answersEchoes: boolean;
  answersAsks: boolean;
  delayMs: number;
}

export type Sent =
  | {
      readonly kind: "echo";
      readonly atMs: number;
      readonly address: string;
      readonly mac: string;
      readonly identifier: number;
      readonly sequence: number;
    }
  | { readonly kind: "ask"; readonly atMs: number; readonly address: string; readonly as: "node" | "probe" };

export class FakeWire implements Wire {
  readonly #clock: FakeClock;
  readonly hosts: FakeHost[] = [];
  readonly sent: Sent[] = [];
  /** Whether frames can be sent at all. */
  linkUp = true;
  /** The cable ends in nothing: all that is sent is lost. */
  cut = false;
  /** Both kinds of frames are lost. */
  overrun = false;
  /** Only what other machines claim is lost. */
  claimsLost = false;
  listening: Listening | undefined;
  closed = false;
  lost: (frame: Sent) => boolean = () => false;
  #waiting: { readonly atMs: number; readonly heard: Heard }[] = [];

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  host(mac: string, ...addresses: readonly string[]): FakeHost {
    const host = { mac, addresses, alive: true, answersEchoes: true, answersAsks: true, delayMs: 1 };
    this.hosts.push(host);
    return host;
  }

  echo(address: IpAddress, mac: string, identifier: number, sequence: number): boolean {
    const frame: Sent = {
      kind: "echo",
      atMs: this.#clock.now(),
      address: address.text,
      mac,
      identifier,
      sequence,
    };
    if (!this.#sends(frame)) return this.linkUp;
    for (const host of this.#reached(address, (each) => each.answersEchoes && each.mac === mac)) {
      this.say({ kind: "echo", address, mac, identifier, sequence }, host.delayMs);
    }
    return true;
  }

  ask(address: IpAddress, as: "node" | "probe"): boolean {
    const frame: Sent = { kind: "ask", atMs: this.#clock.now(), address: address.text, as };
    if (!this.#sends(frame)) return this.linkUp;
    for (const host of this.#reached(address, (each) => each.answersAsks))
      this.say({ kind: "owner", address, mac: host.mac, reply: true }, host.delayMs);
    return true;
  }

  /** A frame comes in. */
  say(heard: Heard, delayMs = 0): void {
    this.#waiting.push({ atMs: this.#clock.now() + delayMs, heard });
  }

  drain(): HeardOnWire {
    const nowMs = this.#clock.now();
    const heard = this.#waiting
      .filter(({ atMs }) => atMs <= nowMs)
      .sort((one, other) => one.atMs - other.atMs)
      .map((each) => each.heard);
    this.#waiting = this.#waiting.filter(({ atMs }) => atMs > nowMs);
    const claims = this.overrun || this.claimsLost;
    return { heard, missing: { answers: this.overrun, claims }, flooded: claims };
  }

  listen(listening: Listening): void {
    this.listening = listening;
  }

  close(): void {
    this.closed = true;
  }

  asks(address?: string): readonly Sent[] {
    return this.sent.filter(
      (frame) => frame.kind === "ask" && (address === undefined || frame.address === address),
    );
  }

  echoes(address?: string): readonly Sent[] {
    return this.sent.filter(
      (frame) => frame.kind === "echo" && (address === undefined || frame.address === address),
    );
  }

  /** The most questions in any second. */
  mostAsks(): number {
    const times = this.asks().map(({ atMs }) => atMs);
    return Math.max(
      0,
      ...times.map((startMs) => times.filter((atMs) => atMs >= startMs && atMs < startMs + 1_000).length),
    );
  }

  #sends(frame: Sent): boolean {
    assert.ok(!this.closed, "nothing is sent on a closed socket");
    if (!this.linkUp) return false;
    this.sent.push(frame);
    return !this.cut && !this.lost(frame);
  }

  #reached(address: IpAddress, answers: (host: FakeHost) => boolean): readonly FakeHost[] {
    return this.hosts.filter((host) => host.alive && host.addresses.includes(address.text) && answers(host));
  }
}
