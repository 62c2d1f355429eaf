/**
 * Every error that may reach an operator, with its stable code and what to do about it.
 * Expected outcomes (a conflict, a Lease held by somebody else) are return values, not errors.
 */
export const ERRORS = {
  LH_CONFIG: "Correct the variables named above; `leasehold --help` lists all of them.",
  LH_NATIVE: "A system call failed. Check that the container has NET_ADMIN and NET_RAW.",
  LH_INTERFACE: "Set LEASEHOLD_INTERFACE to the interface whose network holds the VIP.",
  LH_AMBIGUOUS_INTERFACE: "Set LEASEHOLD_INTERFACE to one of the interfaces named above.",
  LH_ADDRESS_OWNER:
    "Set LEASEHOLD_VIP to an address that no machine has and that no DHCP server gives out: nothing could take a machine's own away from a failed node.",
  LH_LINK_DOWN: "The VIP's interface is down or has no carrier. Check the cable and the switch port.",
  LH_NODE_IP: "Set LEASEHOLD_NODE_IP to this node's own address on the VIP's network.",
  LH_KUBECONFIG: "Make the kubeconfig as step 5 of the README's quick start does, and mount its directory.",
  LH_API_UNREACHABLE: "No API server could be reached. Check kube-apiserver on this node and its peers.",
  LH_API_STATUS: "The API server refused the request. Check the RBAC in manifests/rbac.yaml.",
  LH_DUPLICATE_NODE: "Two machines use one node name. Give each its own LEASEHOLD_NODE_NAME.",
  LH_VIP_CONFLICT:
    "Another machine uses the VIP. Find it by its MAC address: keepalived still running, a second cluster with the same LEASEHOLD_VIP, or a host with that address.",
  LH_VIP_FOREIGN:
    "Another program has bound the VIP on this machine. End it (keepalived, kube-vip), or remove the address from its configuration; the agent then takes part.",
  LH_LISTEN: 
    "The port is taken, or the address is not this machine's. Stop the other program, or choose another LEASEHOLD_BALANCER_PORT, LEASEHOLD_OPS_ADDRESS or LEASEHOLD_HEALTH_PORT.",
  LH_NFT: "The kernel's rules for the VIP could not be changed. Check that nft is in the image and that the kernel has nf_tables; see docs/fast-path.md.",
  LH_WORKER: "The balancer's worker thread ended. It is restarted; report this with the log.",
} as const;

export type ErrorCode = keyof typeof ERRORS;

export class LeaseholdError extends Error {
  readonly code: ErrorCode;
  /** What the operator can do, one sentence. */
  readonly hint: string;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "LeaseholdError";
    this.code = code;
    this.hint = ERRORS[code];
  }
}
