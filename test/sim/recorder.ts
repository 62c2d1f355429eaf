/**
 * What the agents of a run did to the world: every kernel call, every frame sent and every API request, each
 * with its simulated time. Two versions of the product that behave alike give the same records. What is
 * written for people (log lines, reasons) is no part of them.
 */
import { createHash } from "node:crypto";
import type { ApiTransport } from "../../src/kube/transport.ts";
import type { IpAddress } from "../../src/net.ts";
import type { Wire } from "../../src/sentinel/wire.ts";
import type { VipKernel } from "../../src/vip/kernel.ts";

/** What a record is about. A watch is an API request that stays open. */
const KINDS = ["kernel", "frame", "api"] as const;
type Kind = (typeof KINDS)[number];

/**
 * One short line that stands for all records of a run: SHA-256 over them in their order, and how many there
 * are of each kind.
 */
export interface Fingerprint {
  readonly hash: string;
  readonly counts: Readonly<Record<Kind, number>>;
}

/** So much text is hashed at a time. */
const CHUNK = 1 << 16;

export class Recorder {
  readonly #hash = createHash("sha256");
  readonly #counts = { kernel: 0, frame: 0, api: 0 };
  readonly #onLine: (line: string) => void;
  #pending = "";

  /**
   * @param onLine gets each record as a line of text, for people who look for the first difference of two
   * runs
   */
  constructor(onLine: (line: string) => void = () => {}) {
    this.#onLine = onLine;
  }

  /**
   * @param trueMs simulated time; recorded in whole microseconds, so that another order of a sum makes no
   * difference
   */
  note(trueMs: number, machine: string, kind: Kind, what: string): void {
    const line = `${Math.round(trueMs * 1_000)} ${machine} ${kind} ${what}`;
    this.#counts[kind] += 1;
    this.#onLine(line);
    this.#pending += `${line}\n`;
    if (this.#pending.length < CHUNK) return;
    this.#hash.update(this.#pending);
    this.#pending = "";
  }

  /** Of everything noted so far. */
  fingerprint(): Fingerprint {
    return { hash: this.#hash.copy().update(this.#pending).digest("hex"), counts: { ...this.#counts } };
  }
}

/** Notes what one process asks of its kernel, wire and API servers, and passes it on. */
export class Tap {
  readonly #recorder: Recorder;
  readonly #machine: string;
  readonly #trueMs: () => number;

  /** @param trueMs time as that process lives it: later than the world's while it is frozen within a call */
  constructor(recorder: Recorder, machine: string, trueMs: () => number) {
    this.#recorder = recorder;
    this.#machine = machine;
    this.#trueMs = trueMs;
  }

  kernel(inner: VipKernel): VipKernel {
    return {
      link: () => inner.link(),
      addresses: () => inner.addresses(),
      bind: (addresses, lifetimeSeconds) => {
        this.#note("kernel", `bind ${texts(addresses)} ${lifetimeSeconds}`);
        inner.bind(addresses, lifetimeSeconds);
      },
      unbind: (addresses) => {
        this.#note("kernel", `unbind ${texts(addresses)}`);
        inner.unbind(addresses);
      },
      announce: (addresses) => {
        this.#note("kernel", `announce ${texts(addresses)}`);
        inner.announce(addresses);
      },
      onChange: (callback) => inner.onChange(callback),
    };
  }

  wire(inner: Wire): Wire {
    return {
      echo: (address, mac, identifier, sequence) => {
        this.#note("frame", `echo ${address.text} ${mac} ${identifier} ${sequence}`);
        return inner.echo(address, mac, identifier, sequence);
      },
      ask: (address, as) => {
        this.#note("frame", `ask ${address.text} ${as}`);
        return inner.ask(address, as);
      },
      listen: (listening) => inner.listen(listening),
      drain: () => inner.drain(),
      close: () => inner.close(),
    };
  }

  transport(inner: ApiTransport): ApiTransport {
    return {
      servers: () => inner.servers(),
      send: (server, request, timeoutMs) => {
        const { method, path, contentType, body } = request;
        const content = body === undefined ? "" : ` ${contentType ?? ""} ${JSON.stringify(meaning(body))}`;
        this.#note("api", `${server} ${method} ${path} within ${Math.round(timeoutMs * 1_000)}${content}`);
        return inner.send(server, request, timeoutMs);
      },
      watch: (server, path, handlers) => {
        this.#note("api", `${server} WATCH ${path}`);
        return inner.watch(server, path, handlers);
      },
    };
  }

  #note(kind: Kind, what: string): void {
    this.#recorder.note(this.#trueMs(), this.#machine, kind, what);
  }
}

function texts(addresses: readonly IpAddress[]): string {
  return addresses.map(({ text }) => text).join();
}

/**
 * What a body says, whatever the order in which its writer put the members: an object's members in the order
 * of their names, and JSON within a string (a candidate's annotation) as the value that it is. Nothing that
 * the API reads by itself has a space in it: text that has one is written for people, and is left out.
 */
function meaning(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(meaning);
  if (typeof value === "string") return meaningOfText(value);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return members.map(([name, member]) => [name, meaning(member)]);
}

function meaningOfText(text: string): unknown {
  if (text.startsWith("{")) {
    try {
      return { json: meaning(JSON.parse(text)) };
    } catch {
      return text;
    }
  }
  return text.includes(" ") ? { wording: true } : text;
}
