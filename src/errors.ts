/**
 * Every error that may reach an operator, with its stable code and what to do about it.
 * Expected outcomes are return values and not errors: a conflict, or a Lease that another node holds.
 */
export const ERRORS = {
  LH_CONFIG: "Correct the variables named above. `leasehold --help` lists every setting.",
  LH_NATIVE: "A system call failed. Check that the container has NET_ADMIN and NET_RAW.",
  LH_INTERFACE: "Set LEASEHOLD_INTERFACE to the interface whose network contains the VIP.",
  LH_AMBIGUOUS_INTERFACE: "Set LEASEHOLD_INTERFACE to one of the interfaces named above.",
  LH_ADDRESS_OWNER:
    "Set LEASEHOLD_VIP to an address that no machine has and that no DHCP server gives out. " +
    "Nothing could take a machine's own address away from a failed node.",
  LH_LINK_TYPE:
    "Set LEASEHOLD_INTERFACE to an Ethernet interface (a bond, a bridge or a VLAN is one). The VIP is announced " +
    "by ARP and neighbour advertisements.",
  LH_VIP_RESERVED:
    "Set LEASEHOLD_VIP to an address on the nodes' network that no machine has and that is not the network's " +
    "own, its broadcast address or its gateway.",
  LH_LINK_DOWN: "The VIP's interface is down or has no carrier. Check the cable and the switch port.",
  LH_NODE_IP: "Set LEASEHOLD_NODE_IP to this node's own address on the VIP's network.",
  LH_KUBECONFIG:
    "Make the kubeconfig by the commands of LH_KUBECONFIG in docs/operations.md. The pod has to mount its directory.",
  LH_API_UNREACHABLE: "No API server could be reached. Check kube-apiserver on this node and its peers.",
  LH_ENDPOINTS:
    "Give each kube-apiserver its node's address on the VIP's network: --advertise-address (kubeadm: " +
    "localAPIEndpoint.advertiseAddress). Leave --endpoint-reconciler-type out.",
  LH_API_STATUS: "The API server refused the request. Check the RBAC in manifests/rbac.yaml.",
  LH_LEASE_CHANGED:
    "An admission webhook or policy changes the Lease while it is written. Exempt the Lease from it. " +
    "`kubectl get mutatingwebhookconfigurations` and `kubectl get mutatingadmissionpolicies` list them.",
  LH_DUPLICATE_NODE: "Two machines use the same node name. Give each its own LEASEHOLD_NODE_NAME.",
  LH_VIP_CONFLICT:
    "Another machine uses the VIP. Find it by its MAC address. It still runs keepalived, belongs to a second " +
    "cluster with the same LEASEHOLD_VIP, or is a host with that address.",
  LH_VIP_FOREIGN:
    "Another program has bound the VIP on this machine. Stop it (keepalived, kube-vip), or remove the address " +
    "from its configuration. The agent then takes part in the election.",
  LH_VIP_MISMATCH:
    "Give every node the same LEASEHOLD_VIP. A node that differs from most of them is no candidate.",
  LH_LISTEN:
    "The port is taken, or may not be opened. Stop the other program (`ss -ltnp` names it), or choose another " +
    "LEASEHOLD_BALANCER_PORT, LEASEHOLD_OPS_ADDRESS, LEASEHOLD_HEALTH_PORT or LEASEHOLD_PEER_PORT.",
  LH_LISTEN_ADDRESS:
    "This machine does not have the address to listen on. Set LEASEHOLD_OPS_ADDRESS to an address of this machine, " +
    "or to 0.0.0.0 or [::] for all of them.",
  LH_NFT:
    "The agent could not change the kernel's rules for the VIP. Check that nft is in the image and that the " +
    "kernel has nf_tables. See docs/fast-path.md.",
  LH_WORKER: "A worker thread of the balancer ended. The agent restarts it. Report this with the log.",
} as const;

export type ErrorCode = keyof typeof ERRORS;

export class LeaseholdError extends Error {
  readonly code: ErrorCode;
  /** What the operator can do, in one to three sentences. */
  readonly hint: string;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "LeaseholdError";
    this.code = code;
    this.hint = ERRORS[code];
  }
}

/** Returns what the operator can do about it, and where the runbook has the commands. */
export const whatToDo = (code: ErrorCode): string => `${ERRORS[code]} See ${code} in docs/operations.md.`;

/** Returns the error's message, or the value as text if it is not an Error. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns the error's code, e.g. ENOENT. "" if the error has none. */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
