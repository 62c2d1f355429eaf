import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Flow } from "../../../src/fastpath/flows.ts";
import { createSessions } from "../../../src/fastpath/sessions.ts";
import type { Sessions, SessionsDeps } from "../../../src/fastpath/sessions.ts";
import type { ConntrackEntry } from "../../../src/linux/conntrack.ts";
import { macBytes } from "../../../src/linux/mac.ts";
import type { TcpSocket } from "../../../src/linux/sock-diag.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Family } from "../../../src/net.ts";
import { ip, VIP4, VIP6 } from "../../support/fastpath/plans.ts";
import { flow } from "./facts.ts";

function endpoint(text: string): { address: ReturnType<typeof ip>; port: number } {
  const [, host = "", port] = /^(.*) (\d+)$/.exec(text) ?? [];
  return { address: ip(host), port: Number(port) };
}

function socket(local: string, remote: string): TcpSocket {
  return {
    family: endpoint(local).address.family,
    state: 1,
    local: endpoint(local),
    remote: endpoint(remote),
    id: new Uint8Array(48),
  };
}

/** A connection from `client` to the VIP that went to `server`. */
function connection(client: string, server: string, { vip = VIP4, port = 6443 } = {}): ConntrackEntry {
  const [from, to] = [endpoint(client), endpoint(server)];
  return {
    family: vip.family,
    original: { source: from.address, sourcePort: from.port, destination: vip, destinationPort: port },
    reply: { source: to.address, sourcePort: to.port, destination: from.address, destinationPort: from.port },
  };
}

interface Machine {
  readonly sessions: Sessions;
  readonly destroyed: string[];
  readonly frames: Uint8Array[];
  readonly warnings: string[];
  pauses: number;
}

function machine(parts: {
  sockets?: readonly TcpSocket[];
  connections?: readonly ConntrackEntry[];
  flows?: readonly Flow[];
  changes?: Partial<SessionsDeps>;
}): Machine {
  const destroyed: string[] = [];
  const frames: Uint8Array[] = [];
  const warnings: string[] = [];
  const { sockets = [], connections = [], flows = [] } = parts;
  const sessions = createSessions({
    log: { ...silentLogger, warn: (_, message) => void warnings.push(message) },
    vips: [VIP4, VIP6],
    ports: [6443, 8443],
    sockets: {
      list: (family) => sockets.filter((one) => one.family === family),
      destroy: (one) => destroyed.push(`${one.local.address.text} ${one.local.port}`) > 0,
    },
    conntrack: {
      list: (family, to) =>
        connections.filter(
          (one) =>
            one.family === family &&
            one.original.destinationPort === to?.port &&
            one.original.destination.text === to.address.text,
        ),
    },
    flows: async (family: Family) => flows.filter(({ vip }) => ip(vip).family === family),
    heard: () => [],
    send: (frame) => void frames.push(frame),
    mac: () => macBytes("02:00:00:00:00:01"),
    pause: async () => void (result.pauses += 1),
    ...parts.changes,
  });
  const result: Machine = { sessions, destroyed, frames, warnings, pauses: 0 };
  return result;
}

describe("when the VIP has gone", () => {
  test("the sockets that had it as their own address are ended, of both families, and no others", () => {
    const { sessions, destroyed } = machine({
      sockets: [
        socket("10.88.0.100 40000", "10.88.0.12 6443"),
        socket("fd88::100 40001", "fd88::12 6443"),
        socket("10.88.0.11 40002", "10.88.0.100 6443"),
        socket("127.0.0.1 40003", "127.0.0.1 6443"),
      ],
    });
    sessions.vipGone();
    assert.deepEqual(destroyed, ["10.88.0.100 40000", "fd88::100 40001"]);
    assert.equal(sessions.told().destroyed, 2);
  });

  test("and the kernel cannot end sockets, that is a warning: it is called where nothing may fail", () => {
    const { sessions, warnings } = machine({
      changes: {
        sockets: {
          list: () => {
            throw new Error("ENOENT");
          },
          destroy: () => false,
        },
      },
    });
    sessions.vipGone();
    assert.equal(warnings.length, 1);
  });

  test("a socket that went by itself does not count", () => {
    const { sessions } = machine({
      changes: {
        sockets: {
          list: (family) => (family === 4 ? [socket("10.88.0.100 40000", "10.88.0.12 6443")] : []),
          destroy: () => false,
        },
      },
    });
    sessions.vipGone();
    assert.equal(sessions.told().destroyed, 0);
  });
});

describe("when an API server has died", () => {
  const dead = new Set(["10.88.0.12"]);

  test("this node's clients of it are ended: those through the VIP to that server, by both their ports", async () => {
    const { sessions, destroyed } = machine({
      connections: [
        connection("10.88.0.11 40000", "10.88.0.12 6443"),
        connection("10.88.0.11 40001", "10.88.0.13 6443"),
        connection("10.88.0.11 40002", "10.88.0.12 6443", { port: 8443 }),
      ],
      sockets: [
        socket("10.88.0.11 40000", "10.88.0.100 6443"),
        socket("10.88.0.11 40001", "10.88.0.100 6443"),
        socket("10.88.0.11 40002", "10.88.0.100 8443"),
        socket("10.88.0.11 40003", "10.88.0.12 6443"),
      ],
    });
    await sessions.backendsDied(dead, null);
    assert.deepEqual(
      destroyed,
      ["10.88.0.11 40000", "10.88.0.11 40002"],
      "not a connection to the server itself: it has time-outs of its own",
    );
  });

  test("and it is this node's own but hangs, its side of the connections is ended", async () => {
    const { sessions, destroyed } = machine({
      connections: [connection("10.88.0.9 50000", "10.88.0.11 6443")],
      sockets: [socket("10.88.0.11 6443", "10.88.0.9 50000"), socket("10.88.0.11 6443", "10.88.0.8 50000")],
    });
    await sessions.backendsDied(new Set(["10.88.0.11"]), null);
    assert.deepEqual(destroyed, ["10.88.0.11 6443"]);
  });

  test("the holder asks every client; another node asks nobody", async () => {
    const { sessions, frames } = machine({
      flows: [flow(40000), flow(40001, { vip: VIP6.text, client: "fd88::9" })],
    });
    await sessions.backendsDied(dead, null);
    assert.equal(frames.length, 0);
    await sessions.backendsDied(dead, await sessions.clients());
    assert.equal(sessions.told().kicked, 2);
    const [frame] = frames;
    assert.ok(frame !== undefined);
    const hex = Buffer.from(frame).toString("hex");
    assert.equal(
      hex.slice(0, 28),
      "0200000000090200000000010800",
      "by the way that the client's packets came, from our MAC",
    );
    assert.equal(hex.slice(52, 76), "0a5800640a580009192b9c40", "from the VIP and its port to the client's");
  });

  test("a flow that is none is left out, and without a MAC address of our own nothing is sent", async () => {
    const flows = [flow(1, { mac: "x" }), flow(2, { client: "nobody" }), flow(3)];
    const { sessions, frames } = machine({ flows });
    await sessions.backendsDied(dead, await sessions.clients());
    assert.deepEqual([frames.length, sessions.told().kicked], [1, 1]);
    const mute = machine({ flows, changes: { mac: () => undefined } });
    await mute.sessions.backendsDied(dead, await mute.sessions.clients());
    assert.equal(mute.frames.length, 0);
  });

  test("those that the former holder's agent told are asked as well", async () => {
    const heard = [flow(40_001), flow(40_002)];
    const { sessions, frames } = machine({ flows: [flow(40_000)], changes: { heard: () => heard } });
    await sessions.backendsDied(dead, await sessions.clients());
    assert.equal(frames.length, 3);
  });

  test("many clients are asked in batches, with a pause for other work after each 200", async () => {
    const state = machine({ flows: Array.from({ length: 450 }, (_, i) => flow(i + 1)) });
    await state.sessions.backendsDied(dead, await state.sessions.clients());
    assert.deepEqual([state.frames.length, state.pauses], [450, 2]);
  });

  test("a frame that cannot be sent does not keep the others from being told", async () => {
    const sent: Uint8Array[] = [];
    const state = machine({
      flows: Array.from({ length: 10 }, (_, i) => flow(i + 1)),
      changes: {
        send(frame) {
          if (sent.push(frame) % 2 === 0) throw new Error("ENOBUFS");
        },
      },
    });
    await state.sessions.backendsDied(dead, await state.sessions.clients());
    assert.deepEqual([sent.length, state.sessions.told().kicked, state.warnings.length], [10, 5, 1]);
  });

  test("clients that cannot be listed are a warning, and nobody of that family is asked", async () => {
    const { sessions, warnings } = machine({
      changes: { vips: [VIP4], flows: async () => Promise.reject(new Error("ENOBUFS")) },
    });
    assert.equal((await sessions.clients()).length, 0);
    assert.equal(warnings.length, 1);
    const flows = async (family: 4 | 6): Promise<readonly Flow[]> =>
      family === 6 ? Promise.reject(new Error("ENOBUFS")) : [flow(1)];
    const both = machine({ changes: { vips: [VIP4, VIP6], flows } });
    const clients = await both.sessions.clients();
    assert.deepEqual([clients.length, clients.at(0), both.warnings.length], [1, flow(1), 1]);
  });

  test("a kernel that cannot list connections does not keep the clients elsewhere from being told", async () => {
    const { sessions, frames, warnings } = machine({
      flows: [flow(1)],
      changes: {
        conntrack: {
          list: () => {
            throw new Error("EINVAL");
          },
        },
      },
    });
    await sessions.backendsDied(dead, await sessions.clients());
    assert.deepEqual([frames.length, warnings.length], [1, 1]);
  });
});

test("a MAC address is six octets and nothing else", () => {
  assert.deepEqual(macBytes("02:0A:ff:00:00:01"), Uint8Array.of(2, 10, 255, 0, 0, 1));
  for (const text of ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "02-00-00-00-00-01", "02:00:00:00:00:0g"])
    assert.equal(macBytes(text), undefined, text);
});
