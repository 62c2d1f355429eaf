/**
 * Ends connections that cannot live on. An owner that only listens would not notice for many seconds. Sockets
 * that this node's kernel knows are ended at once (SOCK_DESTROY). An idle client elsewhere gets a stray ACK,
 * and the reply to its answer tells it the truth.
 */
import type { Conntrack, ConntrackEntry } from "../linux/conntrack.ts";
import { macBytes } from "../linux/mac.ts";
import type { SockDiag, TcpSocket } from "../linux/sock-diag.ts";
import { TCP_STATES_CONNECTED } from "../linux/sock-diag.ts";
import { strayAck } from "../linux/tcp-frame.ts";
import type { Logger } from "../log.ts";
import { familiesOf, hostPort, parseIp } from "../net.ts";
import type { IpAddress } from "../net.ts";
import { inTurns, joinFlows } from "./flows.ts";
import type { Flow, FlowList } from "./flows.ts";
import type { Told } from "./status.ts";

export interface SessionsDeps {
  readonly log: Logger;
  readonly vips: readonly IpAddress[];
  readonly ports: readonly number[];
  readonly sockets: Pick<SockDiag, "list" | "destroy">;
  readonly conntrack: Pick<Conntrack, "list">;
  readonly flows: (family: 4 | 6) => Promise<FlowList>;
  /** Answers the connections that the former holder's agent has told. */
  readonly heard: () => FlowList;
  /** Sends one whole Ethernet frame out of the VIP's interface; throws when it cannot. */
  readonly send: (frame: Uint8Array) => void;
  /** Answers the MAC address of the VIP's interface; undefined while there is none. */
  readonly mac: () => Uint8Array | undefined;
  /** Lets other work of this thread go first. */
  readonly pause: () => Promise<void>;
}

/** The connections through the VIP. */
export interface Sessions {
  /**
   * Ends sockets that have the VIP as their own address. Without the VIP they send nothing any more, and
   * would hang. Synchronous.
   */
  vipGone(): void;
  /**
   * Lists the clients elsewhere that have sent something to the VIP here within the last hour, and those that
   * the former holder's agent has told. This takes some time. It never rejects.
   */
  clients(): Promise<FlowList>;
  /**
   * Ends connections to these API servers, which no packet reaches any more. @param clients are asked whether
   * their connection lives; null when another node asks them
   */
  backendsDied(addresses: ReadonlySet<string>, clients: FlowList | null): Promise<void>;
  /** Answers how many clients were told, and how many sockets were ended. */
  told(): Told;
}

/** The frames between two pauses. They take some 2 ms of this thread. */
const BATCH = 200;

export function createSessions(deps: SessionsDeps): Sessions {
  const { log, vips, ports, sockets } = deps;
  const families = familiesOf(vips);
  let kicked = 0;
  let destroyed = 0;

  function destroy(socket: TcpSocket): void {
    if (sockets.destroy(socket)) destroyed += 1;
  }

  /** Answers the connections through the VIP to one of `addresses` that this node's conntrack has. */
  function connectionsTo(addresses: ReadonlySet<string>): readonly ConntrackEntry[] {
    return vips.flatMap((address) =>
      ports.flatMap((port) =>
        deps.conntrack
          .list(address.family, { address, port })
          .filter((entry) => addresses.has(entry.reply.source.text)),
      ),
    );
  }

  /**
   * Ends the server's socket and the client's socket of each connection, where they are on this node. Sockets
   * of pods cannot be seen.
   */
  function endHere(addresses: ReadonlySet<string>): void {
    const ends = new Set<string>();
    for (const { original, reply } of connectionsTo(addresses)) {
      ends.add(pair(reply.source, reply.sourcePort, reply.destination, reply.destinationPort));
      ends.add(pair(original.source, original.sourcePort, original.destination, original.destinationPort));
    }
    if (ends.size === 0) return;
    for (const family of families) {
      for (const socket of sockets.list(family, TCP_STATES_CONNECTED)) {
        if (
          ends.has(pair(socket.local.address, socket.local.port, socket.remote.address, socket.remote.port))
        )
          destroy(socket);
      }
    }
  }

  /**
   * Asks all clients, because it is not known whose server was the dead one. A client whose connection lives
   * answers with a duplicate ACK, and nothing happens. The clients have their turns, because a flood of forged
   * connections must not keep the others waiting.
   */
  async function ask(clients: FlowList): Promise<void> {
    const sourceMac = deps.mac();
    if (sourceMac === undefined) return;
    let tried = 0;
    let failed = 0;
    let failure: unknown;
    for (const index of await inTurns(clients, deps.pause)) {
      const flow = clients.at(index);
      const frame = flow === undefined ? undefined : ackFor(flow, sourceMac);
      if (frame === undefined) continue;
      tried += 1;
      try {
        deps.send(frame);
        kicked += 1;
      } catch (error) {
        // A full queue empties during a pause. The other clients are told anyway.
        failure ??= error;
        failed += 1;
      }
      if (tried % BATCH === 0) await deps.pause();
    }
    log.info({ clients: tried - failed }, "Clients asked whether their connection lives");
    if (failed > 0)
      log.warn(
        { clients: failed, err: failure },
        "Clients of a dead API server could not be asked whether their connection lives",
      );
  }

  return {
    vipGone() {
      const own = new Set(vips.map((vip) => vip.text));
      try {
        for (const family of families) {
          for (const socket of sockets.list(family, TCP_STATES_CONNECTED))
            if (own.has(socket.local.address.text)) destroy(socket);
        }
      } catch (error) {
        // The owners find out by their own time-outs.
        log.warn({ err: error }, "Sockets that had the VIP as their address could not be ended");
      }
    },
    async clients() {
      const listed = await Promise.all(
        families.map((family) =>
          deps.flows(family).catch((error: unknown) => {
            // They stay in the kernel and are listed the next time.
            log.warn({ err: error, family }, "The clients that came by the VIP cannot be listed");
            return [];
          }),
        ),
      );
      return joinFlows([...listed, deps.heard()]);
    },
    async backendsDied(addresses, clients) {
      try {
        endHere(addresses);
      } catch (error) {
        // The kernel may lack conntrack's netlink or SOCK_DESTROY. The clients elsewhere are told all the
        // same.
        log.warn({ err: error }, "Sockets of connections to a dead API server could not be ended");
      }
      if (clients !== null) await ask(clients);
    },
    told: () => ({ kicked, destroyed }),
  };
}

function pair(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): string {
  return `${hostPort(local.text, localPort)} ${hostPort(remote.text, remotePort)}`;
}

function ackFor(flow: Flow, sourceMac: Uint8Array): Uint8Array | undefined {
  const source = parseIp(flow.vip);
  const destination = parseIp(flow.client);
  const destinationMac = macBytes(flow.mac);
  if (source === undefined || destination === undefined || destinationMac === undefined) return undefined;
  return strayAck({
    sourceMac,
    destinationMac,
    source,
    destination,
    sourcePort: flow.vipPort,
    destinationPort: flow.clientPort,
  });
}
