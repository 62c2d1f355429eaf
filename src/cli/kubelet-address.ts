/**
 * Reads the kubelet's `--node-ip`. Pure. Without it the kubelet asks the kernel for the node's address, and
 * the kernel lists an IPv6 VIP before the machine's own addresses, because it is the newest one. The Node then
 * has the VIP as its address, and so has what asks the Node: Calico, other nodes' kubelets, this agent's peers.
 */
import { splitCommand } from "../config/command-line.ts";
import { parseIp } from "../net.ts";

/** The value of `--node-ip` among a program's arguments, the last one as the kubelet takes it; undefined: none. */
export function nodeIpOf(args: readonly string[]): readonly string[] | undefined {
  let found: string | undefined;
  args.forEach((arg, at) => {
    const [, value] = /^--?node-ip(?:=(.*))?$/s.exec(arg) ?? [];
    if (value !== undefined) found = value;
    else if (/^--?node-ip$/.test(arg)) found = args[at + 1];
  });
  const addresses = (found ?? "")
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "")
    .map((text) => parseIp(text)?.text ?? text);
  return addresses.length === 0 ? undefined : addresses;
}

/**
 * The same, of a file of variables that systemd reads for the kubelet: kubeadm's kubeadm-flags.env, or the
 * packages' /etc/default/kubelet and /etc/sysconfig/kubelet.
 */
export function nodeIpOfEnvironment(text: string): readonly string[] | undefined {
  const args = text.split("\n").flatMap((line) => {
    const [, value = ""] = /^\s*KUBELET_(?:KUBEADM|EXTRA)_ARGS=(.*)$/.exec(line) ?? [];
    return (splitCommand(value) ?? []).flatMap((word) => word.split(/\s+/));
  });
  return nodeIpOf(args);
}
