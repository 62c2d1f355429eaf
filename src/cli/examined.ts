/** What `leasehold doctor` found: plain data, from `examine.ts`, which judges nothing, for `diagnose.ts`. */
import type { ErrorCode } from "../errors.ts";
import type { DiskFacts } from "./agent-disks.ts";
import type { Asking } from "./ask.ts";
import type { Passing } from "./firewall.ts";

/** A problem that the agent itself would have. */
export interface Complaint {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

export interface KubeconfigFacts {
  readonly path: string;
  /** Why it is of no use; null: it is good. */
  readonly problem: string | null;
  /** There is no such file. */
  readonly isMissing: boolean;
  /** Of the client certificate; null: there is none, or it could not be read. */
  readonly startsAt: Date | null;
  readonly expiresAt: Date | null;
}

/** One API server, as anybody sees it. */
export interface ServerFacts {
  readonly server: string;
  /** The VIPs, and `kubernetes`, for which the certificate is not valid. */
  readonly missing: readonly string[];
  readonly startsAt: Date;
  readonly expiresAt: Date;
  /** How far its clock is before this machine's, in milliseconds; null: it did not say. */
  readonly skewMs: number | null;
}

/** One candidate of the Lease, as it says of itself. */
export interface CandidateSaid {
  readonly node: string;
  readonly version: string;
  /** Version of its fast path; null: it offers none now. */
  readonly fastPath: number | null;
  /** null: an older agent, which does not say. */
  readonly vips: readonly string[] | null;
}

/**
 * What came of a TCP connection. `refused`: nothing listens. `rejected`: a firewall said so, by ICMP.
 * `silent`: no answer came, as when a firewall drops it.
 */
export type PortAnswer = "open" | "refused" | "rejected" | "silent";

/** Another candidate, as this machine reaches it. */
export interface PeerFacts {
  readonly node: string;
  readonly ip: string;
  /** The MAC address that the Lease gives; "" while it gives none. */
  readonly mac: string;
  /** The MAC address that answers for its address by ARP or neighbour discovery; null: none. */
  readonly heard: string | null;
  readonly echo: boolean;
  readonly ports: readonly { readonly port: number; readonly answer: PortAnswer }[];
}

/** The addresses by which the kubelet and the cluster know this node. */
export interface KubeletFacts {
  /** `--node-ip` and where it stands; null: it is not set there. */
  readonly nodeIp: Asking<{ readonly addresses: readonly string[]; readonly from: string } | null>;
  /** The addresses of type InternalIP in the Node object. */
  readonly node: Asking<readonly string[]>;
}

/** Other software that gives addresses to machines. */
export interface OtherSoftware {
  readonly software: string;
  /** Where it was found, as the end of "keepalived: ...". */
  readonly where: string;
  /** It has one of the VIPs, as far as its own configuration says. */
  readonly hasVip: boolean;
}

/** What this machine's rules do with packets of one kind. */
export interface FirewallVerdict {
  /** What is sent, from where and to where. */
  readonly what: string;
  /** A person opens it, as TCP port or as ICMP. null: ICMP echo requests. */
  readonly port: number | null;
  /** Without it something is missing, and the VIP works. */
  readonly isNeeded: boolean;
  readonly passing: Passing;
}

export interface Examined {
  readonly at: Date;
  readonly node: string;
  readonly version: string;
  readonly vips: readonly string[];
  /** This is a worker (LEASEHOLD_ROLE=balancer): no VIP is bound here, and no node sends packets to it. */
  readonly isWorker: boolean;
  /** LEASEHOLD_TAKE_OVER: other software may have the VIP, and the agents stand by for it. */
  readonly takeOver: boolean;
  /**
   * The agent of this machine. `answers`: its probes' port was asked, and these are the checks of /readyz
   * that fail, each with its reason.
   */
  readonly agent:
    | { readonly kind: "none" }
    | { readonly kind: "silent"; readonly port: number; readonly why: string }
    | { readonly kind: "answers"; readonly failing: readonly string[] };
  /** The interface with the VIP's subnet, or what is wrong with the network. */
  readonly network: { readonly interface: string; readonly problem?: Complaint } | Complaint;
  /**
   * Addresses on this machine that equal the VIP and that no agent has bound, with their interface. `ofMachine`:
   * the machine's own network depends on it, so it is no program's that could be stopped.
   */
  readonly foreign: Asking<readonly { readonly text: string; readonly ofMachine: boolean }[]>;
  /**
   * For each VIP, the machine that answers for it and the candidate that this is; null: none answers. `byAgent` is
   * false where the Lease tells that it is not that candidate's agent that has the VIP.
   */
  readonly wire: readonly {
    readonly vip: string;
    readonly owner: Asking<{
      readonly mac: string;
      readonly node: string | null;
      readonly byAgent: boolean;
    } | null>;
  }[];
  /** The ports that the agent would take. They are not tried while it runs. */
  readonly ports: readonly {
    readonly setting: string;
    readonly port: number;
    readonly error: string | null;
  }[];
  /** The directories that the agent writes to, as far as they are there, with the room on their disks. */
  readonly disks: readonly DiskFacts[];
  /** What of the kernel's settings is not as the fast path needs it. */
  readonly sysctls: Asking<readonly string[]>;
  readonly nft: {
    /** As nft and the kernel say; "" where they do not. */
    readonly version: string;
    readonly kernel: string;
    /** What nft or the kernel cannot do, each with its own words. */
    readonly lacks: readonly string[];
  };
  /** Whether this machine's rules let packets in that the agents and their clients send. */
  readonly firewall: {
    readonly verdicts: Asking<readonly FirewallVerdict[]>;
    /** The program that made the rules, as far as their names tell: firewalld, ufw, Calico. */
    readonly by: string | null;
    /** Rules of iptables-legacy are in the kernel, which nft cannot list. */
    readonly legacy: boolean;
  };
  readonly kubelet: KubeletFacts;
  readonly others: readonly OtherSoftware[];
  /** Why other programs could not be looked for; null: they could. */
  readonly othersUnseen: string | null;
  readonly own: KubeconfigFacts;
  /** null: LEASEHOLD_ADMIN_KUBECONFIG is none. */
  readonly admin: KubeconfigFacts | null;
  /** The rights of manifests/rbac.yaml that the agent's own user lacks, each in kubectl's words. */
  readonly rights: Asking<readonly { readonly right: string; readonly needed: boolean }[]>;
  readonly servers: readonly Asking<ServerFacts>[];
  /** Where this node's API server may listen, as `ip:port`, whether it has one or not. */
  readonly ownServers: readonly string[];
  /** What is wrong with the cluster's list of API servers, compared with the Lease's nodes; null: nothing. */
  readonly unnamed: Asking<Complaint | null>;
  /** How far the clock of the Lease's holder is before this machine's, in milliseconds; null: not known. */
  readonly holderClock: { readonly node: string; readonly skewMs: number } | null;
  /** Everybody in the Lease, this node included; none where there is no Lease. */
  readonly candidates: Asking<readonly CandidateSaid[]>;
  readonly peers: Asking<readonly PeerFacts[]>;
  /**
   * The holder that a client other than the agents has put into the Lease, in place of the node that has
   * claimed it; null: none, as far as the Lease could be read.
   */
  readonly changed: { readonly holder: string; readonly writer: string } | null;
}
