/**
 * The table of commands. What the parser accepts, what `--help` prints, what the shells complete and what the
 * README lists come from here.
 */
import { MANIFESTS } from "../manifests/manifests.ts";

export interface FlagSpec {
  readonly name: `--${string}`;
  readonly short?: `-${string}`;
  /** What the value is called in the help; undefined: the flag has no value. */
  readonly value?: string;
  /** The values that there are. */
  readonly values?: readonly string[];
  /** The command does nothing without it. */
  readonly required?: true;
  readonly doc: string;
}

export interface ArgumentSpec {
  readonly name: string;
  readonly required: boolean;
  /** There may be several. */
  readonly many?: true;
  /** The values that there are. */
  readonly values?: readonly string[];
}

export interface CommandSpec {
  readonly name: string;
  readonly argument?: ArgumentSpec;
  /** One line: what it does. */
  readonly summary: string;
  /** What a person has to know before it is used. */
  readonly details: readonly string[];
  readonly flags: readonly FlagSpec[];
  readonly examples: readonly (readonly [command: string, what: string])[];
  /** The meaning of each exit status. */
  readonly exits: readonly (readonly [status: number, meaning: string])[];
}

const USAGE_EXIT = [2, "wrong usage or configuration"] as const;

const OUTPUTS = ["text", "wide", "json", "yaml"] as const;
export type Output = (typeof OUTPUTS)[number];

const OUTPUT: FlagSpec = {
  name: "--output",
  short: "-o",
  value: "FORMAT",
  values: OUTPUTS,
  doc: "wide has more columns; json and yaml are for programs",
};

const WAIT: FlagSpec = { name: "--wait", doc: "wait until it has happened, and say how long it took" };
const TIMEOUT: FlagSpec = {
  name: "--timeout",
  value: "DURATION",
  doc: "how long to wait, from 1s to 10m (default 30s)",
};

const WISH_EXITS = [
  [0, "done"],
  [1, "the API could not be asked, refused it, or it has not happened in time"],
  USAGE_EXIT,
  [3, "refused: the message says why"],
] as const;

const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export const COMMANDS = [
  {
    name: "run",
    summary: "run the agent until SIGTERM or SIGINT (the default)",
    details: [
      "SIGHUP reads kubeconfigs and files again. SIGUSR1 writes the flight recorder to LEASEHOLD_DATA_DIR.",
    ],
    flags: [],
    examples: [["leasehold run", "run the agent with the settings of the environment"]],
    exits: [[0, "clean stop"], [1, "failure"], USAGE_EXIT, [69, "Node is too old"]],
  },
  {
    name: "status",
    summary: "show who holds the VIP, and every node",
    details: [
      "It asks this node's agent, this node's kernel and the API. This node's agent asks the other nodes' agents, " +
        "also while no API server answers. Without the agent it shows what the Lease says. It lists what gave no " +
        "usable answer, what is missing without it, and what to type then.",
    ],
    flags: [OUTPUT, { name: "--watch", short: "-w", doc: "show it again every 2 s until interrupted" }],
    examples: [
      ["leasehold status", "show the cluster as this node sees it"],
      ["leasehold status -o wide", "show addresses, versions and the fast path as well"],
      ["leasehold status -o json", "write one JSON document"],
      ["leasehold status --watch", "follow a move"],
    ],
    exits: [
      [0, "one node holds the VIP and the Lease"],
      [1, "neither the agent nor the API could be asked"],
      USAGE_EXIT,
      [3, "no node holds the VIP, or one has it provisionally"],
    ],
  },
  {
    name: "why",
    argument: { name: "NODE", required: false },
    summary: "say why a node holds the VIP or does not (default: this node)",
    details: [
      "It tells the last changes and conflicts from this node's flight recorder: what the node was told, what it " +
        "knew, which rule decided, what was refused and what a person should do. Of another node it says what the Lease says, and what this node's " +
        "recorder has about it. While the agent is down it reads the last recording in LEASEHOLD_DATA_DIR.",
    ],
    flags: [
      { name: "--all", doc: "tell every decision, not only changes, refusals and conflicts" },
      { name: "--last", value: "N", doc: "tell the last N of them, 1 to 1000 (default 5)" },
      { name: "--file", short: "-f", value: "FILE", doc: "read this recording instead of asking the agent" },
      { ...OUTPUT, values: ["text", "json", "yaml"], doc: "json and yaml are for programs" },
    ],
    examples: [
      ["leasehold why", "say why this node is what it is"],
      ["leasehold why n2", "say why n2 does not hold the VIP"],
      ["leasehold why --all --last 50", "tell the last 50 decisions"],
      [
        "leasehold why -f /var/lib/leasehold/decisions/20260102T030405678Z-holder-dead.json",
        "read a recording",
      ],
    ],
    exits: [[0, "the reason was found"], [1, "neither the agent nor the API could be asked"], USAGE_EXIT],
  },
  {
    name: "move",
    summary: "move the VIP to a node, and keep it there",
    details: [
      "The wish is stored in the Lease, as the annotation leasehold.dev/move-to. The holder offers the VIP to " +
        "that node, which binds it before the holder lets go. The VIP stays there while that node is fit, " +
        "whatever the priorities say, until `leasehold unpin` or another move.",
      "It is refused when the node is no candidate, or not eligible. With --force the wish is stored all the " +
        "same, and the VIP moves as soon as the node is fit.",
    ],
    flags: [
      { name: "--to", value: "NODE", required: true, doc: "the node that shall have the VIP" },
      { name: "--force", doc: "store the wish even if the node cannot take the VIP now" },
      WAIT,
      TIMEOUT,
    ],
    examples: [
      ["leasehold move --to n2 --wait", "move the VIP to n2 and wait for it"],
      ["leasehold move --to n2 --wait --timeout 1m", "wait a minute at most"],
    ],
    exits: WISH_EXITS,
  },
  {
    name: "unpin",
    summary: "end the wish of `leasehold move`",
    details: [
      "It removes the annotation leasehold.dev/move-to from the Lease. The VIP stays where it is, unless a " +
        "node with a higher priority preempts (LEASEHOLD_NOPREEMPT=false).",
    ],
    flags: [],
    examples: [["leasehold unpin", "let the priorities decide again"]],
    exits: WISH_EXITS,
  },
  {
    name: "resign",
    summary: "move the VIP from its holder to the best other node",
    details: [
      "It stores the wish for the best other eligible node in the Lease, as `leasehold move` does, waits until " +
        "that node holds the VIP, and removes the wish. So nothing is left, and the old holder may hold the VIP " +
        "again later. It always waits.",
      "It is refused when no other node is eligible, or when the holder would preempt and take the VIP back: " +
        "use `leasehold move` then, which pins it.",
    ],
    flags: [WAIT, TIMEOUT],
    examples: [["leasehold resign", "empty the holder, for example before its machine is repaired"]],
    exits: WISH_EXITS,
  },
  {
    name: "drain",
    argument: { name: "API_SERVER", required: true },
    summary: "send no new connections to an API server",
    details: [
      "API_SERVER is the name of its node, its address, or its address and port. The wish is stored in the Lease, " +
        "as the annotation leasehold.dev/drain.SERVER. Every node obeys it, in the kernel's rules and in the proxy, " +
        "and every worker within 10 s. Open connections live on.",
      "It ends with `leasehold undrain`, or when the server's node leaves the Lease: by `leasehold cleanup`, by " +
        "`leasehold forget`, or an hour after it has left the cluster. While no other API server is UP, the drained " +
        "one gets connections all the same.",
      "It is refused when no other API server takes connections.",
    ],
    flags: [WAIT, TIMEOUT],
    examples: [
      ["leasehold drain n2 --wait", "before the API server of n2 is stopped"],
      ["leasehold drain 192.0.2.12:6443", "by its address"],
    ],
    exits: WISH_EXITS,
  },
  {
    name: "undrain",
    argument: { name: "API_SERVER", required: true },
    summary: "end the wish of `leasehold drain`",
    details: ["It removes the annotation leasehold.dev/drain.SERVER from the Lease."],
    flags: [WAIT, TIMEOUT],
    examples: [["leasehold undrain n2", "n2 gets new connections again"]],
    exits: WISH_EXITS,
  },
  {
    name: "drill",
    summary: "move the VIP to another node and back, and report every gap",
    details: [
      "It opens TLS connections to the VIP every 20 ms, sends requests on a connection that stays open, and asks the " +
        "address itself, all from this machine. Meanwhile it moves the VIP to the best other node, as " +
        "`leasehold move` does, and back, and removes the wish. It reports every attempt that failed or waited for " +
        "more than 0.25 s. Run it on a node that is neither of the two: the kernel of a node sends its own " +
        "connections to the VIP straight to an API server, and only the probe of the address goes by way of the holder.",
      "It is refused when the cluster is not well: an API server is not UP, a node is in FAULT, an agent is " +
        "silent, a person has pinned the VIP, or the VIP does not answer. Nothing is changed then.",
    ],
    flags: [
      { name: "--to", value: "NODE", doc: "the node that shall have the VIP in between" },
      {
        name: "--interval",
        value: "DURATION",
        doc: "time between two probes, from 5ms to 1s (default 20ms)",
      },
      { ...TIMEOUT, doc: "how long to wait for each move, from 1s to 10m (default 30s)" },
      { ...OUTPUT, values: ["text", "json", "yaml"], doc: "json and yaml are for programs" },
    ],
    examples: [
      ["leasehold drill", "practise a planned fail-over"],
      ["leasehold drill --to n3 -o json", "to that node, for a program"],
    ],
    exits: [
      [0, "the VIP moved there and back"],
      [1, "a move has not happened in time, or the wish could not be stored or removed"],
      USAGE_EXIT,
      [3, "refused: the message says why"],
    ],
  },
  {
    name: "doctor",
    summary: "check this machine and the API, before and after an installation",
    details: [
      "It checks this machine: the VIP's interface and subnet, whether another program or another machine has the " +
        "VIP, the ports, sysctls, nft and the kernel's modules, the firewall, the kubelet's --node-ip, and other " +
        "software that gives out addresses. It checks the cluster: the kubeconfigs and their end, the agent's " +
        "rights, the API servers' certificates, the clocks, each other node on the wire and on its ports, the " +
        "versions, and that every node has the same VIPs.",
      "Each line has a verdict: ok, warn, FAIL, or unknown where it could not be found out. Below each that is not " +
        "ok stands what to do. It changes nothing. It sends ARP requests or neighbour solicitations and echo " +
        "requests, connects to ports of the other nodes, and asks the API.",
    ],
    flags: [{ ...OUTPUT, values: ["text", "json", "yaml"], doc: "json and yaml are for programs" }],
    examples: [
      ["leasehold doctor", "check this machine"],
      ["leasehold doctor -o json", "write one JSON document"],
    ],
    exits: [[0, "no line is FAIL"], USAGE_EXIT, [3, "a line is FAIL"]],
  },
  {
    name: "import",
    argument: { name: "FILE", required: true, many: true },
    summary: "say keepalived's and HAProxy's configuration in this program's settings",
    details: [
      "It reads keepalived.conf and haproxy.cfg, each as often as there are files, and prints the LEASEHOLD_* " +
        "variables that do the same, with the lines that they come from. Comments below name every line that it " +
        "left out, with the reason. What it prints can be read by a shell, and by `leasehold manifest pod` from the " +
        "environment. It changes nothing.",
      "A file that cannot be parsed is reported with the number of the line, and nothing is printed.",
    ],
    flags: [{ ...OUTPUT, values: ["text", "json", "yaml"], doc: "json and yaml are for programs" }],
    examples: [
      [
        "leasehold import /etc/keepalived/keepalived.conf /etc/haproxy/haproxy.cfg > leasehold.env",
        "take both over",
      ],
      ["(set -a; . ./leasehold.env; leasehold manifest pod)", "print the static pod with these settings"],
    ],
    exits: [
      [0, "printed"],
      [2, "wrong usage, or a file that cannot be read or parsed"],
    ],
  },
  {
    name: "cleanup",
    summary: "take this node out of the Lease, and its rules out of the kernel",
    details: [
      "A stopped agent leaves its rules in the kernel. This command changes nothing while an agent runs on this " +
        "machine, or when the name belongs to another node.",
    ],
    flags: [{ name: "--rules-only", doc: "remove the rules alone" }],
    examples: [["leasehold cleanup", "after the manifest was moved away and the pod is gone"]],
    exits: [[0, "the rules are gone"], [1, "something has to be done first"], USAGE_EXIT],
  },
  {
    name: "forget",
    argument: { name: "NODE", required: true },
    summary: "take a node that is gone for good out of the Lease",
    details: [
      "It watches that node for half a minute first, and changes nothing while the node is alive, holds the Lease, or " +
        "has an API server that the cluster still names. Run it on any control-plane node that stays.",
      "It changes the Lease alone. etcd and Kubernetes have to forget the node too: `etcdctl member remove` and " +
        '`kubectl delete node`, as "A dead node" in docs/operations.md says.',
    ],
    flags: [],
    examples: [["leasehold forget n4", "n4 has left the cluster and cannot run `leasehold cleanup`"]],
    exits: [[0, "the node is not in the Lease"], [1, "it may be alive, or the API refused"], USAGE_EXIT],
  },
  {
    name: "manifest",
    argument: {
      name: "KIND",
      required: true,
      values: MANIFESTS,
    },
    summary: "print the YAML that Kubernetes needs, or a script or a unit for a host or a workstation",
    // The parser of this command takes every setting as a flag: manifest.ts has it, and the help.
    details: [],
    flags: [],
    examples: [],
    exits: [],
  },
  {
    name: "completion",
    argument: { name: "SHELL", required: true, values: SHELLS },
    summary: "print a completion script for bash, zsh or fish",
    details: ["The script completes commands, flags and their values."],
    flags: [],
    examples: [
      ["source <(leasehold completion bash)", "complete in this bash"],
      ["leasehold completion bash > /etc/bash_completion.d/leasehold", "in every bash"],
      ['leasehold completion zsh > "${fpath[1]}/_leasehold"', "in zsh"],
      ["leasehold completion fish > ~/.config/fish/completions/leasehold.fish", "in fish"],
    ],
    exits: [[0, "printed"], USAGE_EXIT],
  },
  {
    name: "man",
    summary: "print the man page",
    details: ["The page has every command, flag and setting of this version."],
    flags: [],
    examples: [
      ["leasehold man | man -l -", "read it"],
      ["leasehold man > /usr/local/share/man/man8/leasehold.8", "for `man leasehold`"],
    ],
    exits: [[0, "printed"], USAGE_EXIT],
  },
  {
    name: "version",
    summary: "print the version",
    details: [],
    flags: [{ ...OUTPUT, values: ["text", "json"], doc: "json is for programs" }],
    examples: [["leasehold version -o json", "write one JSON document"]],
    exits: [[0, "printed"], USAGE_EXIT],
  },
  {
    name: "help",
    argument: { name: "COMMAND", required: false },
    summary: "print this text, or the help of a command",
    details: [],
    flags: [],
    examples: [["leasehold help move", "the same as leasehold move --help"]],
    exits: [[0, "printed"], USAGE_EXIT],
  },
] as const satisfies readonly CommandSpec[];

export type CommandName = (typeof COMMANDS)[number]["name"];

/** Finds a command; undefined when there is none of that name. */
export function commandSpec(name: string): (CommandSpec & { readonly name: CommandName }) | undefined {
  return COMMANDS.find((command) => command.name === name);
}

/** A command as a person writes it: its name, argument and flags. */
export function synopsis({ name, argument, flags }: CommandSpec): string {
  const values =
    argument?.values === undefined
      ? argument && `${argument.name}${argument.many === true ? "..." : ""}`
      : argument.values.join("|");
  const words = flags.map(({ name: flag, short, value, required }) => {
    const shown = value === undefined ? (short ?? flag) : `${short ?? flag} ${value}`;
    return required === true ? shown : `[${shown}]`;
  });
  return [
    name,
    ...(values === undefined ? [] : [argument?.required === true ? values : `[${values}]`]),
    ...words,
  ].join(" ");
}
