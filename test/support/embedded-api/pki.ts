/** A cluster's certificates and kubeconfigs for the embedded API, named as kubeadm names them. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Authority, Certificate } from "./certificates.ts";
import { issue, makeAuthority } from "./certificates.ts";

export interface EmbeddedPki {
  readonly authority: Authority;
  /** One for all servers. */
  readonly server: Certificate;
  readonly admin: Certificate;
  /** User `leasehold`, group `leasehold:agents`. */
  readonly agent: Certificate;
}

const DAY_MS = 86_400_000;

/** @param addresses every address that a server is reached at, VIPs too */
export function makeEmbeddedPki(addresses: readonly string[], now: Date): EmbeddedPki {
  const validity = {
    notBefore: new Date(now.getTime() - DAY_MS),
    notAfter: new Date(now.getTime() + 30 * DAY_MS),
  };
  const authority = makeAuthority({ commonName: "kubernetes", ...validity });
  const services = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
  ];
  const names = [...new Set([...services, "localhost", "127.0.0.1", "::1", ...addresses])];
  return {
    authority,
    server: issue(authority, { commonName: "kube-apiserver", names, ...validity }),
    admin: issue(authority, {
      commonName: "kubernetes-admin",
      organization: "kubeadm:cluster-admins",
      ...validity,
    }),
    agent: issue(authority, { commonName: "leasehold", organization: "leasehold:agents", ...validity }),
  };
}

/** Writes a kubeconfig, with everything embedded as kubeadm does, and returns its path. */
export async function writeKubeconfig(
  path: string,
  server: string,
  user: string,
  authority: Certificate,
  client: Certificate,
): Promise<string> {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const context = `${user}@kubernetes`;
  const lines = [
    "apiVersion: v1",
    "kind: Config",
    "clusters:",
    "- cluster:",
    `    certificate-authority-data: ${base64(authority.cert)}`,
    `    server: ${server}`,
    "  name: kubernetes",
    "contexts:",
    "- context:",
    "    cluster: kubernetes",
    `    user: ${user}`,
    `  name: ${context}`,
    `current-context: ${context}`,
    "users:",
    `- name: ${user}`,
    "  user:",
    `    client-certificate-data: ${base64(client.cert)}`,
    `    client-key-data: ${base64(client.key)}`,
  ];
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, `${lines.join("\n")}\n`, { mode: 0o600 });
  return path;
}
