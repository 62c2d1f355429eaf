/**
 * `leasehold doctor`: judges what was found on this machine and at the API, before an installation and after
 * it. Pure. Each line says what to do.
 */
import type { ErrorCode } from "../errors.ts";
import { endsSoon } from "../kube/credentials.ts";
import { plainText } from "../kube/plain-text.ts";
import { duration } from "../recorder/explain.ts";
import type { Asking } from "./ask.ts";
import { table } from "./render-status.ts";

/** `unknown`: it could not be found out. */
export type Verdict = "ok" | "warn" | "FAIL" | "unknown";

export interface Diagnosis {
  readonly check: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** What to do; "" for nothing. */
  readonly todo: string;
}

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
  /** Of the client certificate; null: there is none, or it could not be read. */
  readonly startsAt: Date | null;
  readonly expiresAt: Date | null;
}

export interface CertificateFacts {
  readonly server: string;
  /** The VIPs, and `kubernetes`, for which the certificate is not valid. */
  readonly missing: readonly string[];
  readonly startsAt: Date;
  readonly expiresAt: Date;
}

/** What was found. */
export interface Examined {
  readonly at: Date;
  readonly vips: readonly string[];
  readonly agentRuns: boolean;
  /** The interface with the VIP's subnet, or what is wrong with the network. */
  readonly network: { readonly interface: string } | Complaint;
  /** Addresses on this machine that equal the VIP and that no agent has bound, with their interface. */
  readonly foreign: readonly string[];
  /** The MAC of a machine that answers for the VIP, and the candidate that has it; null: none answers. */
  readonly wire: Asking<{ readonly mac: string; readonly node: string | null } | null>;
  readonly ports: readonly {
    readonly setting: string;
    readonly port: number;
    readonly error: string | null;
  }[];
  /** Why nft cannot be used; null: it can. */
  readonly nft: string | null;
  readonly own: KubeconfigFacts;
  readonly admin: KubeconfigFacts;
  /** The rights that the agent lacks, each as kubectl's words. */
  readonly rights: Asking<readonly string[]>;
  readonly certificates: readonly Asking<CertificateFacts>[];
  /** Static pods of other software that binds addresses, by their files. */
  readonly others: readonly { readonly file: string; readonly software: string }[];
}

const line = (check: string, verdict: Verdict, found: string, todo = ""): Diagnosis => ({
  check,
  verdict,
  found: plainText(found),
  todo,
});

export function diagnose(examined: Examined): readonly Diagnosis[] {
  return [
    agent(examined),
    network(examined),
    address(examined),
    wire(examined),
    ...others(examined),
    ...ports(examined),
    examined.nft === null
      ? line("nft", "ok", "nft works, and the kernel has nf_tables")
      : line(
          "nft",
          "FAIL",
          examined.nft,
          "See LH_NFT in docs/operations.md. Without nft there is no fast path.",
        ),
    ...kubeconfigs(examined),
    rights(examined),
    ...certificates(examined),
  ];
}

function agent({ agentRuns }: Examined): Diagnosis {
  return agentRuns
    ? line("agent", "ok", "an agent runs on this machine")
    : line(
        "agent",
        "warn",
        "no agent runs on this machine",
        "After the installation: crictl ps -a --name leasehold",
      );
}

function network({ network: found, vips }: Examined): Diagnosis {
  if (vips.length === 0)
    return line("interface", "unknown", "LEASEHOLD_VIP is not set", "Set it, as the pod has it.");
  if ("code" in found) return line("interface", "FAIL", `${found.code}: ${found.message}`, found.hint);
  return line("interface", "ok", `${found.interface} has the subnet of ${vips.join(", ")}`);
}

function address({ foreign }: Examined): Diagnosis {
  return foreign.length === 0
    ? line("address", "ok", "no other program has the VIP bound on this machine")
    : line(
        "address",
        "FAIL",
        `bound here, and not by an agent: ${foreign.join(", ")}`,
        "See LH_VIP_FOREIGN in docs/operations.md.",
      );
}

function wire({ wire: asked, vips }: Examined): Diagnosis {
  const vip = vips.join(", ");
  if (asked.kind === "failed") return line("wire", "unknown", `${asked.where}: ${asked.why}`);
  if (asked.value === null) return line("wire", "ok", `no other machine answers for ${vip}`);
  const { mac, node } = asked.value;
  if (node !== null) return line("wire", "ok", `${node} (${mac}) has ${vip}`);
  return line(
    "wire",
    "FAIL",
    `the machine ${mac}, which is no candidate, answers for ${vip}`,
    "See LH_VIP_CONFLICT in docs/operations.md. Find it in the switch's table, and stop it or choose another VIP.",
  );
}

function others({ others: found }: Examined): readonly Diagnosis[] {
  return found.map(({ file, software }) =>
    line(
      "software",
      "warn",
      `${file} runs ${software}`,
      `If ${software} has the same VIP, move that file away on every node before the agent takes it.`,
    ),
  );
}

function ports({ ports: found, agentRuns }: Examined): readonly Diagnosis[] {
  // The agent has them itself, and its status says if it lacks one.
  if (agentRuns)
    return [line("ports", "ok", "the agent has its ports, or says in `leasehold status` which one it lacks")];
  return found.map(({ setting, port, error }) =>
    error === null
      ? line("ports", "ok", `${setting}: port ${port} is free`)
      : line(
          "ports",
          "FAIL",
          `${setting}: port ${port}: ${error}`,
          `\`ss -ltnp\` names the program. Or set ${setting}.`,
        ),
  );
}

function kubeconfigs({ own, admin, at }: Examined): readonly Diagnosis[] {
  const step = "Do step 5 of the README's quick start on this node.";
  const one = ({ path, problem, startsAt, expiresAt }: KubeconfigFacts, usable: boolean): Diagnosis => {
    if (problem !== null)
      return line(
        "kubeconfig",
        usable ? "warn" : "FAIL",
        `${path}: ${problem}`,
        usable ? step : `${step} Before \`kubeadm init\` this is as it must be.`,
      );
    if (expiresAt === null) return line("kubeconfig", "ok", `${path} has a token`);
    const leftMs = expiresAt.getTime() - at.getTime();
    if (leftMs <= 0)
      return line(
        "kubeconfig",
        usable ? "warn" : "FAIL",
        `${path} expired on ${expiresAt.toISOString()}`,
        step,
      );
    const ends = `${path} is valid until ${expiresAt.toISOString()}, ${duration(leftMs)} more`;
    return endsSoon(startsAt, expiresAt, at.getTime())
      ? line("kubeconfig", "warn", ends, step)
      : line("kubeconfig", "ok", ends);
  };
  const isGood = ({ problem, expiresAt }: KubeconfigFacts): boolean =>
    problem === null && (expiresAt === null || expiresAt > at);
  // admin.conf is the fallback. Where the own one is good, it need not be there.
  return isGood(own) ? [one(own, true)] : [one(own, isGood(admin)), one(admin, false)];
}

function rights({ rights: asked }: Examined): Diagnosis {
  if (asked.kind === "failed") return line("rights", "unknown", `${asked.where}: ${asked.why}`);
  return asked.value.length === 0
    ? line("rights", "ok", "the agent's user may do all that it needs")
    : line(
        "rights",
        "FAIL",
        `the agent's user may not: ${asked.value.join(", ")}`,
        "leasehold manifest rbac | kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f -",
      );
}

function certificates({ certificates: asked, at }: Examined): readonly Diagnosis[] {
  if (asked.length === 0) return [line("certificate", "unknown", "no API server is known")];
  return asked.map((one) => {
    if (one.kind === "failed") return line("certificate", "unknown", `${one.where}: ${one.why}`);
    const { server, missing, startsAt, expiresAt } = one.value;
    const renew = "Put the names into apiServer.certSANs, and renew it: kubeadm init phase certs apiserver.";
    if (missing.length > 0)
      return line(
        "certificate",
        "FAIL",
        `${server} has a certificate that is not valid for ${missing.join(", ")}`,
        renew,
      );
    if (endsSoon(startsAt, expiresAt, at.getTime()))
      return line(
        "certificate",
        expiresAt <= at ? "FAIL" : "warn",
        `${server} has a certificate that ends on ${expiresAt.toISOString()}`,
        "kubeadm certs renew apiserver",
      );
    return line("certificate", "ok", `${server} has a certificate for the VIP and for kubernetes`);
  });
}

export function diagnosisText(diagnoses: readonly Diagnosis[]): string {
  return table(
    ["CHECK", "VERDICT", "FOUND", "TO-DO"],
    diagnoses.map(({ check, verdict, found, todo }) => [check, verdict, found, todo]),
  );
}

/** The exit status of `leasehold doctor`. */
export function diagnosisExit(diagnoses: readonly Diagnosis[]): 0 | 3 {
  return diagnoses.some(({ verdict }) => verdict === "FAIL") ? 3 : 0;
}
