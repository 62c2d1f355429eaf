/**
 * The VIP's Ethernet as the agents' sentinels see it: whose kernel answers for an address, who says that it
 * has it, who asks for it. An answer is worked out when the question is sent, and lies in the asker's socket
 * until its time has come and somebody drains it, so that a question costs no event.
 */
import type { IpAddress } from "../../src/net.ts";
import type { Heard, HeardOnWire, Wire } from "../../src/sentinel/wire.ts";
import type { Network } from "./network.ts";
import type { SimProcess } from "./process.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** Whoever is on the segment. Its kernel answers, whatever its processes do. */
export interface Station {
  /** In the network; undefined: reaches everybody, and is reached. */
  readonly index: number | undefined;
  readonly mac: string;
  /** Switched on, not suspended, with a carrier. */
  readonly up: boolean;
  has(address: string): boolean;
}

/** What a packet socket holds by default is 208 KiB; small frames count for more than 700 bytes each. */
const SOCKET_FRAMES = 256;
const TRAVEL_MS = [0.05, 1.5] as const;

interface Frame {
  readonly atMs: number;
  readonly heard: Heard;
}

interface Socket {
  readonly process: SimProcess;
  frames: Frame[];
  overrun: boolean;
}

const NOTHING_MISSING = { answers: false, claims: false } as const;
const ALL_MISSING = { answers: true, claims: true } as const;
const NOTHING = { heard: [], missing: NOTHING_MISSING, flooded: false } as const;

export class Ether {
  readonly #scheduler: Scheduler;
  readonly #network: Network;
  readonly #random: Random;
  readonly #vips: readonly IpAddress[];
  readonly #stations: () => readonly Station[];
  readonly #sockets = new Map<number, Socket>();

  constructor(
    scheduler: Scheduler,
    network: Network,
    random: Random,
    vips: readonly IpAddress[],
    stations: () => readonly Station[],
  ) {
    this.#scheduler = scheduler;
    this.#network = network;
    this.#random = random;
    this.#vips = vips;
    this.#stations = stations;
  }

  /** The sockets of one process on one machine. */
  open(station: Station & { readonly index: number }, own: IpAddress, process: SimProcess): Wire {
    const socket: Socket = { process, frames: [], overrun: false };
    this.#sockets.set(station.index, socket);
    /** A process that was frozen within this callback sends when it has thawed. */
    const send = (what: () => void): boolean => {
      if (!station.up) return false;
      if (process.trueMs <= this.#scheduler.nowMs) what();
      else this.#scheduler.at(process.trueMs, what);
      return true;
    };
    return {
      echo: (address, mac, identifier, sequence) =>
        send(() => {
          const other = this.#stations().find((one) => one.mac === mac);
          if (
            other === undefined ||
            other.index === station.index ||
            !other.has(address.text) ||
            !this.#passes(station, other) ||
            !this.#passes(other, station)
          )
            return;
          this.#arrives(socket, { kind: "echo", address, mac, identifier, sequence }, 2);
        }),
      ask: (address, as) => send(() => this.#ask(station, socket, address, as === "probe" ? undefined : own)),
      // Every frame here is about an address of interest.
      listen: () => {},
      drain: () => drain(socket),
      close: () => {
        if (this.#sockets.get(station.index) === socket) this.#sockets.delete(station.index);
      },
    };
  }

  /** Every frame that leaves `from` now gets to `to`, loss apart. */
  reaches(from: Station, to: Station): boolean {
    return (
      from.up &&
      to.up &&
      (from.index === undefined || to.index === undefined || this.#network.segmentOpen(from.index, to.index))
    );
  }

  reachesBothWays(a: Station, b: Station): boolean {
    return this.reaches(a, b) && this.reaches(b, a);
  }

  /** "The VIP is at my MAC." */
  announced(by: Station): void {
    for (const address of this.#vips) this.#tell(by, { kind: "owner", address, mac: by.mac, reply: false });
  }

  #ask(asker: Station, socket: Socket, address: IpAddress, own: IpAddress | undefined): void {
    this.#tell(
      asker,
      own === undefined
        ? { kind: "probe", address, mac: asker.mac }
        : { kind: "owner", address: own, mac: asker.mac, reply: false },
    );
    for (const other of this.#stations()) {
      if (
        other.index === asker.index ||
        !other.has(address.text) ||
        !this.#passes(asker, other) ||
        !this.#passes(other, asker)
      )
        continue;
      this.#arrives(socket, { kind: "owner", address, mac: other.mac, reply: true }, 2);
    }
  }

  #tell(from: Station, heard: Heard): void {
    for (const to of this.#stations()) {
      const socket = to.index === undefined ? undefined : this.#sockets.get(to.index);
      if (socket !== undefined && to.index !== from.index && this.#passes(from, to))
        this.#arrives(socket, heard, 1);
    }
  }

  #passes(from: Station, to: Station): boolean {
    return (
      this.reaches(from, to) && !(this.#network.lossRate > 0 && this.#random.chance(this.#network.lossRate))
    );
  }

  #arrives(socket: Socket, heard: Heard, ways: number): void {
    if (!socket.process.alive) return;
    if (socket.frames.length >= SOCKET_FRAMES) {
      socket.overrun = true;
      return;
    }
    const extraMs = this.#network.extraMs > 0 ? this.#random.unit() * this.#network.extraMs : 0;
    socket.frames.push({
      atMs: this.#scheduler.nowMs + ways * this.#random.between(...TRAVEL_MS) + extraMs,
      heard,
    });
  }
}

function drain(socket: Socket): HeardOnWire {
  if (socket.frames.length === 0 && !socket.overrun) return NOTHING;
  const nowMs = socket.process.trueMs;
  const due: Frame[] = [];
  const later: Frame[] = [];
  for (const frame of socket.frames) (frame.atMs <= nowMs ? due : later).push(frame);
  socket.frames = later;
  const { overrun } = socket;
  socket.overrun = false;
  if (due.length > 1) due.sort((a, b) => a.atMs - b.atMs);
  return {
    heard: due.map(({ heard }) => heard),
    missing: overrun ? ALL_MISSING : NOTHING_MISSING,
    flooded: overrun,
  };
}
