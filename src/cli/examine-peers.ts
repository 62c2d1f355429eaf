/**
 * Asks the wire and the other candidates, for `leasehold doctor`: ARP or neighbour solicitations, echo requests
 * and TCP connections that are closed at once.
 */
import { connect } from "node:net";
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { Candidate } from "../kube/record.ts";
import { ownAddress } from "../linux/links.ts";
import { formatMac } from "../linux/mac.ts";
import { silentLogger } from "../log.ts";
import { parseIp } from "../net.ts";
import type { IpAddress } from "../net.ts";
import { createLinuxWire } from "../sentinel/linux-wire.ts";
import { createSentinel } from "../sentinel/sentinel.ts";
import type { Asking } from "./ask.ts";
import type { PeerFacts, PortAnswer } from "./examined.ts";
import { failed } from "./examine-machine.ts";
import type { Place } from "./examine-machine.ts";

/** The wire is asked three times within a second; see the sentinel. */
const WIRE_MS = 4_000;
const CONNECT_MS = 2_000;
/** Most candidates that are asked. */
const MOST_PEERS = 32;
/** Each peer is asked this often by ARP and by echo, and answers once at least. */
const ROUNDS = 5;
const ROUND_MS = 200;
const ECHO_IDENTIFIER = 0x1eaf;

/** The MAC of another machine that answers for the VIP; null: none does. */
export async function askWire(
  { vips }: Config,
  vip: IpAddress,
  clock: Clock,
  place: Asking<Place>,
): Promise<Asking<string | null>> {
  const where = "the wire";
  if (place.kind === "failed") return failed(where, place.why);
  const { link } = place.value;
  try {
    if (!link.up || !link.carrier) return failed(where, `${link.name} is down or has no carrier`);
    const wire = createLinuxWire({
      interfaceName: () => link.name,
      log: silentLogger,
      own: () => ownAddresses(place.value, vips),
      families: [vip.family],
    });
    const sentinel = createSentinel({
      clock,
      log: silentLogger,
      wire,
      ownMac: () => formatMac(link.macBytes),
      addresses: [vip],
      intervalMs: 1_000,
      misses: 3,
      random: Math.random,
    });
    return await new Promise((resolve) => {
      const end = (answer: Asking<string | null>): void => {
        limit.cancel();
        sentinel.stop();
        resolve(answer);
      };
      const limit = clock.after(WIRE_MS, () => end(failed(where, "nothing could be sent")));
      sentinel.start((evidence) => {
        if (evidence.kind === "probed") end({ kind: "ok", value: evidence.owner });
      });
      sentinel.probe(false);
    });
  } catch (error) {
    return failed(where, error);
  }
}

function ownAddresses({ network, link }: Place, vips: readonly IpAddress[]): readonly IpAddress[] {
  return ([4, 6] as const).flatMap((family) => ownAddress(network, link, vips, family) ?? []);
}

/** Asks every other candidate. Takes some 2 s. */
export async function askPeers(
  config: Config,
  candidates: readonly Candidate[],
  clock: Clock,
  place: Asking<Place>,
): Promise<Asking<readonly PeerFacts[]>> {
  if (place.kind === "failed") return failed("the other nodes", place.why);
  const others = candidates.filter(({ node }) => node !== config.nodeName).slice(0, MOST_PEERS);
  const [heard, ports] = await Promise.all([
    hear(config, others, clock, place.value),
    Promise.all(
      others.map(({ ip, peer }) =>
        Promise.all(
          // The Lease names the port by which that node's agent is asked.
          [config.backendPort, config.balancerPort, ...(peer === undefined ? [] : [peer.port])].map(
            async (port) => ({
              port,
              answer: await tryConnect(ip, port, clock),
            }),
          ),
        ),
      ),
    ),
  ]);
  if (heard.kind === "failed") return heard;
  return {
    kind: "ok",
    value: others.map(({ node, ip, mac }, at) => ({
      node,
      ip,
      mac,
      heard: heard.value.macs.get(ip) ?? null,
      echo: heard.value.echoes.has(ip),
      ports: ports[at] ?? [],
    })),
  };
}

interface OnWire {
  readonly macs: ReadonlyMap<string, string>;
  readonly echoes: ReadonlySet<string>;
}

async function hear(
  { vips }: Config,
  peers: readonly Candidate[],
  clock: Clock,
  place: Place,
): Promise<Asking<OnWire>> {
  const macs = new Map<string, string>();
  const echoes = new Set<string>();
  const addresses = peers.flatMap(({ ip }) => parseIp(ip) ?? []);
  const { link } = place;
  try {
    if (!link.up || !link.carrier) return failed("the wire", `${link.name} is down or has no carrier`);
    const wire = createLinuxWire({
      interfaceName: () => link.name,
      log: silentLogger,
      own: () => ownAddresses(place, vips),
      families: [...new Set(addresses.map(({ family }) => family))],
    });
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        wire.listen({ identifier: ECHO_IDENTIFIER, macs: [...macs.values()], vips: [], others: addresses });
        for (const address of addresses) {
          const mac = macs.get(address.text);
          if (mac === undefined) wire.ask(address, "node");
          else if (!echoes.has(address.text)) wire.echo(address, mac, ECHO_IDENTIFIER, round);
        }
        await pause(clock, ROUND_MS);
        for (const one of wire.drain().heard) {
          if (one.kind === "owner") macs.set(one.address.text, one.mac);
          if (one.kind === "echo" && one.identifier === ECHO_IDENTIFIER) echoes.add(one.address.text);
        }
      }
    } finally {
      wire.close();
    }
    return { kind: "ok", value: { macs, echoes } };
  } catch (error) {
    return failed("the wire", error);
  }
}

function tryConnect(host: string, port: number, clock: Clock): Promise<PortAnswer> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (answer: PortAnswer): void => {
      limit.cancel();
      socket.destroy();
      resolve(answer);
    };
    const limit = clock.after(CONNECT_MS, () => end("silent"));
    socket.on("connect", () => end("open"));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      // ICMP "administratively prohibited" is EHOSTUNREACH or EACCES. EHOSTUNREACH is also a missing ARP answer,
      // which takes longer than the limit here.
      if (error.code === "ECONNREFUSED" || error.code === "ECONNRESET") end("refused");
      else end(error.code === "ETIMEDOUT" ? "silent" : "rejected");
    });
  });
}
