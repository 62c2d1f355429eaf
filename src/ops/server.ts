/**
 * Serves health, metrics and status over HTTP. It reads the agent's state and never changes it. The probes
 * have their own port on loopback, because the kubelet's manifest cannot follow LEASEHOLD_OPS_ADDRESS. So have
 * the other nodes' agents, on this node's address, with mutual TLS (docs/adr/0017).
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Clock, Timer } from "../clock.ts";
import type { ShownSetting } from "../config/shown.ts";
import type { Logger } from "../log.ts";
import { hostPort, isLoopback, parseIp, plainAddress } from "../net.ts";
import type { Access } from "./access.ts";
import { healthQuery, healthText, liveness, oneCheckText, readiness, readinessElsewhere } from "./health.ts";
import type { HealthCheck } from "./health.ts";
import { askPeer } from "../peers/ask-peer.ts";
import { keyIdOf } from "../peers/certificate.ts";
import type { PeerIdentity } from "../peers/identity.ts";
import type { KnownPeers } from "../peers/known-peers.ts";
import { createListener, MAX_CONNECTIONS } from "./listener.ts";
import type { Answer, Listener, Stream } from "./listener.ts";
import { createHistory, SAMPLE_MS, sampleOf } from "./history.ts";
import type { ChartedStatus } from "./history.ts";
import type { AgentMetrics } from "./metrics.ts";
import { createPage } from "./page.ts";
import type { PictureInput } from "./page.ts";
import type { Move } from "./page-facts.ts";
import { createPeerDesk, isPeerPath } from "./peers.ts";
import type { PeerDesk, PeerPath } from "./peers.ts";
import type { AgentStatus, ListenerStatus } from "./status.ts";

/** What the page needs besides the status. */
export interface OpsPage {
  /** This node. */
  readonly node: string;
  readonly settings: readonly ShownSetting[];
  /** The last changes of this node's role, the last one first. */
  readonly moves: () => readonly Move[];
  /** Makes the table of the cluster, as JSON, from what the nodes say. */
  readonly picture: (input: PictureInput) => Promise<object>;
}

export interface OpsDeps {
  /** Numeric address where everything is served. */
  readonly host: string;
  /** Port where everything is served. 0 means any free port, see {@link Ops.port}. */
  readonly port: number;
  /** Port of the probes, on {@link HEALTH_HOST}. 0 means any free port, see {@link Ops.healthPort}. */
  readonly healthPort: number;
  readonly status: () => AgentStatus;
  /** The part of it that the page's charts show. It is asked every ten seconds. */
  readonly charted: () => ChartedStatus;
  /** Returns the election's last decisions as JSON. It is asked once a second at most. */
  readonly decisions: () => Promise<string>;
  readonly metrics: AgentMetrics;
  readonly page: OpsPage;
  /** {@link MOST_CONNECTIONS} by default. */
  readonly connections?: MostConnections;
  /** How other machines are served: by TLS, and by right. It is needed unless `host` is on loopback. */
  readonly remote?: OpsRemote;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface OpsRemote {
  /** The key of the port, which no authority has signed. */
  readonly identity: PeerIdentity;
  readonly access: Access;
}

/** What is known once the node's place on the network is known. */
export interface OpsPeers {
  /** Numeric address of this node: peers are answered there and asked from there. */
  readonly host: string;
  /** 0 means any free port. */
  readonly port: number;
  readonly identity: PeerIdentity;
  readonly known: KnownPeers;
  /**
   * Tells a peer at /flows the client connections by the VIP, in lines, until it ends. Absent: there is no such
   * path.
   */
  readonly tellFlows?: Stream["begin"];
}

export interface Ops {
  /** Resolves after both ports were tried once. A port that is taken is tried again, and is no error. */
  start(): Promise<void>;
  /**
   * Begins to answer the other nodes' agents, and to ask them. Resolves after the port was tried once. Called
   * again, it does so on another address of this node, and no more on the former.
   */
  meetPeers(peers: OpsPeers): Promise<void>;
  /** Reads the agent's state no more by itself. The parts that it reads are about to be stopped. */
  rest(): void;
  /** Stops the listeners. Answers under way get half a second. Idempotent. */
  stop(): Promise<void>;
  /** Says for the status whether the agent has its ports. */
  listeners(): readonly ListenerStatus[];
  /** The ports in use; 0 while there is none. */
  port(): number;
  healthPort(): number;
  peerPort(): number;
}

/**
 * Address of the probes, IPv4 also where the cluster's network is IPv6: Linux has 127.0.0.1 on every loopback
 * interface, and the probes name one address.
 */
export const HEALTH_HOST = "127.0.0.1";

/**
 * Milliseconds for which the text of /decisions is kept. It may take a tenth of a second to make, and the
 * port may be open to a network.
 */
const KEPT_MS = 1_000;

/** For so long the address of a client that was allowed something is no stranger's. */
const WELCOME_MS = 3_600_000;
const MOST_WELCOME = 64;

/** How many connections there may be at one time. */
export interface MostConnections {
  /** On each port but the peers'. */
  readonly port: number;
  /** Every other node may ask for a few paths at a time. */
  readonly peerPort: number;
}

export const MOST_CONNECTIONS: MostConnections = { port: MAX_CONNECTIONS, peerPort: 128 };

type Reply = Answer | Stream;
/** @param rest what follows the path of a route that ends in "/" */
type Route = (query: URLSearchParams, rest: string) => Reply | Promise<Reply>;
/** By path. A path that ends in "/" stands for those with one more part. */
type Routes = ReadonlyMap<string, Route>;

const JSON_TYPE = "application/json";
/** The path of the connections by the VIP, for peers alone. */
export const FLOWS_PATH = "/flows";

const text = (status: number, body: string): Answer => ({ status, type: "text/plain; charset=utf-8", body });

/** Finds the route of the path itself, or else of the folder that it is in. */
function routeOf(routes: Routes, path: string): Route | undefined {
  const [, folder = "", rest = ""] = /^(\/[^/]+\/)([^/]+)$/.exec(path) ?? [];
  const parent = routes.get(folder);
  return routes.get(path) ?? (parent === undefined ? undefined : (query) => parent(query, rest));
}

/**
 * Says whether a plain request comes from elsewhere than a program of this machine. A stranger's web page may
 * have a name that leads to 127.0.0.1, and read there with the reader's own browser: on loopback nobody has a
 * reason to use another name than localhost. And kube-proxy may let the neighbours send packets to loopback
 * (CVE-2020-8558).
 */
function isFromElsewhere({ headers, socket }: IncomingMessage): boolean {
  if (!isLoopback(socket.remoteAddress ?? "")) return true;
  const name = (headers.host ?? "").replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return name !== "" && name.toLowerCase() !== "localhost" && parseIp(name) === undefined;
}

/** The text of the status, by kind of verdict. */
const REFUSALS = { unauthenticated: 401, forbidden: 403, unknown: 503 } as const;
/** Anybody may ask for these, as of Kubernetes' own components. */
const OPEN_PATHS: ReadonlySet<string> = new Set(["/livez", "/readyz", "/healthz"]);

function urlOf({ url: target = "" }: IncomingMessage): URL | undefined {
  // Only the path counts. The origin given here is never used.
  return target.startsWith("/") && URL.canParse(`http://ops${target}`)
    ? new URL(`http://ops${target}`)
    : undefined;
}

async function route(find: (path: string) => Route | undefined, request: IncomingMessage): Promise<Reply> {
  const url = urlOf(request);
  if (url === undefined) return text(400, "400 bad request\n");
  const found = find(url.pathname);
  if (found === undefined) return text(404, "404 page not found\n");
  if (request.method === "GET" || request.method === "HEAD") return await found(url.searchParams, "");
  return { ...text(405, "405 method not allowed\n"), headers: { allow: "GET, HEAD" } };
}

function isJson(body: string): boolean {
  try {
    JSON.parse(body);
    return true;
  } catch {
    return false;
  }
}

export function createOps(deps: OpsDeps): Ops {
  const { status, metrics, log, clock } = deps;

  type Judge = (status: AgentStatus) => readonly HealthCheck[];

  /** @param elsewhere what the checks say that there are not in this state of the agent */
  function health(
    endpoint: string,
    judge: Judge,
    elsewhere: Judge = () => [],
  ): readonly (readonly [string, Route])[] {
    const all: Route = (query) => {
      const verdict = healthText(endpoint, judge(status()), healthQuery(query));
      return text(verdict.ok ? 200 : 500, verdict.text);
    };
    const one: Route = (_query, name) => {
      const now = status();
      const verdict = oneCheckText([...judge(now), ...elsewhere(now)], name);
      if (verdict === undefined) return text(404, "404 page not found\n");
      return text(verdict.ok ? 200 : 500, verdict.text);
    };
    return [
      [`/${endpoint}`, all],
      [`/${endpoint}/`, one],
    ];
  }

  let kept: Promise<string> | undefined;
  function decisions(): Promise<string> {
    if (kept === undefined) {
      kept = deps.decisions();
      clock.after(KEPT_MS, () => (kept = undefined));
    }
    return kept;
  }

  const most = deps.connections ?? MOST_CONNECTIONS;
  // healthz is the older name, and probes that use it are liveness probes.
  const probes: Routes = new Map([
    ...health("livez", liveness),
    ...health("readyz", readiness, readinessElsewhere),
    ...health("healthz", liveness),
  ]);
  /** What the other nodes' agents are told. */
  const tells: Readonly<Record<PeerPath, () => string | Promise<string>>> = {
    "/metrics": () => metrics.render(status(), clock.wall().getTime()),
    "/status": () => `${JSON.stringify(status(), null, 2)}\n`,
    "/decisions": () => decisions(),
    "/moves": () => JSON.stringify({ moves: deps.page.moves() }),
    "/page": () => JSON.stringify({ samples: history.samples(), settings: deps.page.settings }),
  };
  const typeOf = (path: string): string => (path === "/metrics" ? metrics.contentType : JSON_TYPE);
  const told: Routes = new Map(
    Object.entries(tells).map(([path, tell]): [string, Route] => [
      path,
      async () => ({ status: 200, type: typeOf(path), body: await tell() }),
    ]),
  );
  const history = createHistory();
  let sampling: Timer | undefined;
  let desk: PeerDesk | undefined;
  let forPeers: Listener | undefined;

  function peerList(): Answer {
    const peers = desk?.all().map(({ node, ip, port }) => ({ node, address: hostPort(ip, port) })) ?? [];
    return { status: 200, type: JSON_TYPE, body: `${JSON.stringify({ peers }, null, 2)}\n` };
  }

  const page = createPage({
    clock,
    log,
    node: deps.page.node,
    own: async (path) => tells[path](),
    desk: () => desk,
    picture: deps.page.picture,
  });

  function pageRoute(node: string, path: string): Route | undefined {
    const found = page.find(node, path);
    return found === undefined ? undefined : () => found;
  }

  /** Finds `/peers/NODE/PATH`. */
  function peerRoute(path: string): Route | undefined {
    const [, node = "", rest = ""] = /^\/peers\/([^/]+)(\/.*)?$/.exec(path) ?? [];
    if (desk?.all().some((peer) => peer.node === node) !== true) return undefined;
    // The page's own paths are relative.
    if (rest === "") return () => ({ ...text(308, ""), headers: { location: `${node}/` } });
    if (!isPeerPath(rest)) return pageRoute(node, rest);
    return async () => {
      const answer = await desk?.ask(node, rest);
      if (answer === undefined) return text(404, "404 page not found\n");
      if (answer.kind === "failed") return text(502, `${answer.why}\n`);
      const type = typeOf(rest);
      if (type === JSON_TYPE && !isJson(answer.text)) return text(502, `${node} did not answer with JSON\n`);
      return { status: 200, type, body: answer.text };
    };
  }

  const all: Routes = new Map<string, Route>([...probes, ...told, ["/peers", peerList]]);

  const forProbes = createListener({
    name: "health",
    host: HEALTH_HOST,
    port: deps.healthPort,
    log,
    clock,
    maxConnections: most.port,
    answer: (request) => route((path) => routeOf(probes, path), request),
  });
  const served = (request: IncomingMessage): Promise<Reply> =>
    route((path) => routeOf(all, path) ?? pageRoute(deps.page.node, path) ?? peerRoute(path), request);

  /** When a client with this address was last allowed something. */
  const welcomed = new Map<string, number>();

  function welcome(remoteAddress: string): void {
    const ip = plainAddress(remoteAddress);
    welcomed.delete(ip);
    welcomed.set(ip, clock.now());
    const [oldest] = welcomed.keys();
    if (welcomed.size > MOST_WELCOME && oldest !== undefined) welcomed.delete(oldest);
  }

  /** Serves a program of this machine, or another machine's by right. */
  async function answer(request: IncomingMessage): Promise<Reply> {
    const { socket, headers } = request;
    const path = urlOf(request)?.pathname;
    // A request without a path is answered as what it is.
    if (path === undefined) return served(request);
    if (!(socket instanceof TLSSocket))
      return isFromElsewhere(request)
        ? text(421, "421 misdirected request: ask from this machine, at localhost or an address\n")
        : served(request);
    if (deps.remote === undefined || OPEN_PATHS.has(path)) return served(request);
    const [, token] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
    const verdict = await deps.remote.access.judge(
      { certificate: socket.getPeerX509Certificate(), token },
      path,
    );
    if (verdict.kind === "allowed") {
      welcome(socket.remoteAddress ?? "");
      return served(request);
    }
    const status = REFUSALS[verdict.kind];
    return {
      ...text(status, `${status} ${verdict.why}\n`),
      ...(status === 401 ? { headers: { "www-authenticate": "Bearer" } } : {}),
    };
  }

  const { remote } = deps;
  const isRemote = !isLoopback(deps.host);
  if (isRemote && remote === undefined)
    throw new RangeError(`${deps.host} is reachable from other machines, and nothing says who may read`);
  const forAll = createListener({
    name: "ops",
    host: deps.host,
    port: deps.port,
    log,
    clock,
    maxConnections: most.port,
    ...(isRemote && remote !== undefined
      ? {
          tls: {
            identity: remote.identity,
            covers: ({ localAddress = "" }: Socket) => !isLoopback(localAddress),
            isKnown: (ip: string) =>
              clock.now() - (welcomed.get(ip) ?? Number.NEGATIVE_INFINITY) < WELCOME_MS,
          },
        }
      : {}),
    answer,
  });
  // A wildcard address has loopback in it. Where the port is on one address of the node, loopback is served as
  // well, because `leasehold status` and a person on the machine need no right.
  const forLocal =
    isRemote && deps.host !== "0.0.0.0" && deps.host !== "::"
      ? createListener({
          name: "local",
          host: HEALTH_HOST,
          port: deps.port,
          log,
          clock,
          maxConnections: most.port,
          answer,
        })
      : undefined;
  const listeners = (): readonly Listener[] => [
    forProbes,
    forAll,
    ...(forLocal === undefined ? [] : [forLocal]),
    ...(forPeers === undefined ? [] : [forPeers]),
  ];

  function sample(): void {
    history.note(sampleOf(deps.charted(), clock.wall().getTime()));
  }

  return {
    rest() {
      sampling?.cancel();
      sampling = undefined;
    },
    async start() {
      sampling = clock.every(SAMPLE_MS, sample);
      await Promise.all(listeners().map((listener) => listener.start()));
    },
    meetPeers({ host, port, identity, known, tellFlows }) {
      desk = createPeerDesk({
        clock,
        known,
        ask: (peer, path, options) => askPeer(identity, peer, path, { ...options, from: host }),
      });
      const toPeers: Routes =
        tellFlows === undefined
          ? told
          : new Map([...told, [FLOWS_PATH, () => ({ type: JSON_TYPE, begin: tellFlows })]]);
      const before = forPeers;
      forPeers = createListener({
        name: "peers",
        host,
        port,
        log,
        clock,
        maxConnections: most.peerPort,
        tls: {
          identity,
          hasAddress: (ip) => known.hasAddress(ip),
          admits: (certificate) => certificate !== undefined && known.hasKey(keyIdOf(certificate) ?? ""),
        },
        answer: (request) => route((path) => routeOf(toPeers, path), request),
      });
      // Answers under way end on the former address.
      void before?.stop();
      return forPeers.start();
    },
    async stop() {
      sampling?.cancel();
      page.stop();
      await Promise.all(listeners().map((listener) => listener.stop()));
    },
    listeners: () => listeners().map((listener) => listener.status()),
    port: () => forAll.port(),
    healthPort: () => forProbes.port(),
    peerPort: () => forPeers?.port() ?? 0,
  };
}
