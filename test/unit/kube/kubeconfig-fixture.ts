/** Kubeconfig files as kubeadm writes them. */
import type { authority, issue } from "../../support/backends/pki.ts";

export function kubeconfigText(
  ca: Pick<ReturnType<typeof authority>, "cert">,
  client: ReturnType<typeof issue>,
): string {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  return `apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: ${base64(ca.cert)}
    server: https://cluster-endpoint.example.com:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: leasehold
  name: leasehold@kubernetes
current-context: leasehold@kubernetes
users:
- name: leasehold
  user:
    client-certificate-data: ${base64(client.cert)}
    client-key-data: ${base64(client.key)}
`;
}
