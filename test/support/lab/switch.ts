/**
 * The Ethernet switch between the nodes: a Linux bridge in a namespace of its own. It learns
 * from gratuitous ARP as real ones do; faults are nftables rules on the frames it forwards.
 */
import { run, attempt } from "./command.ts";

/** A fault that lasts until it is disposed of. */
export interface Fault extends AsyncDisposable {
  /** Ends the fault; idempotent. */
  heal(): Promise<void>;
}

export interface FrameCount {
  /** Frames by node. */
  read(): Promise<ReadonlyMap<string, number>>;
}

export interface DropSpec {
  /** Node whose frames are dropped; any when absent. */
  readonly from?: string;
  /** Node that does not get them; any when absent. */
  readonly to?: string;
  /** Further nft match in the bridge family, such as `ether type arp` or `tcp dport 6443`. */
  readonly match?: string;
  /** 1-100; all of them when absent. */
  readonly percent?: number;
}

export function portOf(node: string): string {
  return `p-${node}`;
}

function nothing(): void {}

/**
 * Empties the chain, which is made if it is not there. Only faults need nft: a lab without them does without.
 */
const START_AFRESH = `
table bridge lab {
  chain forward { type filter hook forward priority 0; }
}
flush chain bridge lab forward
`;

export class Switch {
  readonly namespace: string;
  readonly #rules = new Map<number, string>();
  #nextId = 1;
  #hasChain = false;
  /** Rules are written one after the other: each write replaces the whole chain. */
  #writing: Promise<void> = Promise.resolve();

  constructor(namespace: string) {
    this.namespace = namespace;
  }

  /** The bridge itself, quick to forward and without the filters that would see L3 in it. */
  async start(): Promise<void> {
    const script = [
      // bridge-nf-call-*: else bridged frames pass this namespace's iptables hooks and conntrack.
      "for f in iptables ip6tables arptables; do",
      "  [ -e /proc/sys/net/bridge/bridge-nf-call-$f ] && echo 0 >/proc/sys/net/bridge/bridge-nf-call-$f; done",
      "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null",
      "ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0 && ip link set br0 up || exit 1",
    ].join("\n");
    await this.execute(["sh", "-c", script]);
  }

  async drop(spec: DropSpec): Promise<Fault> {
    const parts = [
      spec.from === undefined ? "" : `iifname "${portOf(spec.from)}"`,
      spec.to === undefined ? "" : `oifname "${portOf(spec.to)}"`,
      spec.match ?? "",
      spec.percent === undefined ? "" : `numgen random mod 100 < ${spec.percent}`,
      "drop",
    ];
    const id = this.#nextId++;
    this.#rules.set(id, parts.filter((part) => part !== "").join(" "));
    await this.#write();
    const heal = async (): Promise<void> => {
      if (this.#rules.delete(id)) await this.#write();
    };
    return { heal, [Symbol.asyncDispose]: heal };
  }

  async heal(): Promise<void> {
    this.#rules.clear();
    await this.#write();
  }

  #write(): Promise<void> {
    const write = async (): Promise<string> => {
      if (!this.#hasChain && this.#rules.size === 0) return "";
      this.#hasChain = true;
      const rules = [...this.#rules.values()].map((rule) => `add rule bridge lab forward ${rule}\n`);
      return this.execute(["nft", "-f", "-"], `${START_AFRESH}${rules.join("")}`);
    };
    const next = this.#writing.then(write).then(nothing);
    this.#writing = next.then(nothing, nothing); // the caller of this write gets the error, the next one starts afresh
    return next;
  }

  /**
   * A hub from now on: every machine gets every frame, so no address has to be learnt, and none can be learnt
   * wrongly.
   */
  async forgetAddresses(nodes: readonly string[]): Promise<void> {
    const lines = nodes.map((node) => `link set ${portOf(node)} type bridge_slave learning off`);
    await this.execute(["ip", "-batch", "-"], `${lines.join("\n")}\nlink set br0 type bridge fdb_flush\n`);
  }

  /**
   * Counts from now on what each of `nodes` sends that `match` matches, as it comes in at the switch. One
   * such count at a time.
   */
  async count(nodes: readonly string[], match: string): Promise<FrameCount> {
    const ports = nodes.map((node) => ({ node, port: portOf(node) }));
    const rules = ports.flatMap(({ port }) => [
      `add chain netdev count ${port} { type filter hook ingress device "${port}" priority 0; }`,
      `add rule netdev count ${port} ${match} counter`,
    ]);
    await this.execute(
      ["nft", "-f", "-"],
      ["add table netdev count", "delete table netdev count", "add table netdev count", ...rules, ""].join(
        "\n",
      ),
    );
    return {
      read: async () => {
        const text = await this.execute(["nft", "list", "table", "netdev", "count"]);
        return new Map(
          ports.map(({ node, port }) => [
            node,
            Number(new RegExp(`chain ${port} \\{[^]*?counter packets (\\d+)`).exec(text)?.[1] ?? Number.NaN),
          ]),
        );
      },
    };
  }

  /** Pulls (`down`) or plugs in the cable: the node sees its carrier go and come. */
  async setPort(node: string, state: "up" | "down"): Promise<void> {
    await run(["ip", "-n", this.namespace, "link", "set", portOf(node), state]);
  }

  /** What the node sends takes `delayMs` longer. Needs the kernel's sch_netem. */
  async delay(node: string, delayMs: number): Promise<Fault> {
    const port = portOf(node);
    // The port's egress is what the node receives: one side is enough to lengthen the round trip.
    const set = [
      "tc",
      "-n",
      this.namespace,
      "qdisc",
      "replace",
      "dev",
      port,
      "root",
      "netem",
      "delay",
      `${delayMs}ms`,
    ];
    const result = await attempt(set);
    if (result.code !== 0) {
      throw new Error(`this kernel cannot delay frames (sch_netem): ${result.stderr.trim()}`);
    }
    const heal = async (): Promise<void> => {
      await attempt(["tc", "-n", this.namespace, "qdisc", "del", "dev", port, "root"]);
    };
    return { heal, [Symbol.asyncDispose]: heal };
  }

  execute(argv: readonly string[], input = ""): Promise<string> {
    return run(["nsenter", `--net=/run/netns/${this.namespace}`, ...argv], { input });
  }
}
