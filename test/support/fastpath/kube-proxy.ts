/**
 * A ruleset of the shape that kube-proxy writes in its nftables mode (KEP-3866), for a cluster with many
 * Services of one port and one endpoint each: two chains, four rules, one anonymous map and an element of two
 * sets for each. As one nft script; names and hooks are kube-proxy's.
 */
const HEAD = `
add table ip kube-proxy { comment "rules for kube-proxy" ; }
add chain ip kube-proxy filter-prerouting { type filter hook prerouting priority -110 ; }
add chain ip kube-proxy filter-output { type filter hook output priority -90 ; }
add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100 ; }
add chain ip kube-proxy nat-output { type nat hook output priority -100 ; }
add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority 100 ; }
add chain ip kube-proxy services
add chain ip kube-proxy mark-for-masquerade
add chain ip kube-proxy masquerading
add set ip kube-proxy cluster-ips { type ipv4_addr ; comment "Active ClusterIPs" ; }
add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; comment "ClusterIP, ExternalIP and LoadBalancer IP traffic" ; }
add rule ip kube-proxy nat-prerouting jump services
add rule ip kube-proxy nat-output jump services
add rule ip kube-proxy nat-postrouting jump masquerading
add rule ip kube-proxy mark-for-masquerade mark set mark or 0x4000
add rule ip kube-proxy masquerading mark and 0x4000 == 0 return
add rule ip kube-proxy masquerading mark set mark xor 0x4000
add rule ip kube-proxy masquerading masquerade fully-random
add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips
`;

/**
 * @param services at most 60,000: their addresses are in 172.30.0.0/16, those of their endpoints in
 * 10.180.0.0/16
 */
export function kubeProxyRuleset(services: number): string {
  const lines = [HEAD.trim()];
  for (let i = 0; i < services; i++) {
    const low = `${(i >> 8) & 0xff}.${i & 0xff}`;
    const id = i.toString(36).toUpperCase().padStart(8, "A");
    const service = `service-${id}-namespace-${i % 100}/web-${i}/tcp/http`;
    const endpoint = `endpoint-${id}-namespace-${i % 100}/web-${i}/tcp/http__10.180.${low}/8080`;
    lines.push(
      `add chain ip kube-proxy ${service}`,
      `add chain ip kube-proxy ${endpoint}`,
      `add rule ip kube-proxy ${service} ip daddr 172.30.${low} tcp dport 80 ip saddr != 10.180.0.0/16 jump mark-for-masquerade`,
      `add rule ip kube-proxy ${service} numgen random mod 1 vmap { 0 : goto ${endpoint} }`,
      `add rule ip kube-proxy ${endpoint} ip saddr 10.180.${low} jump mark-for-masquerade`,
      `add rule ip kube-proxy ${endpoint} meta l4proto tcp dnat to 10.180.${low}:8080`,
      `add element ip kube-proxy cluster-ips { 172.30.${low} }`,
      `add element ip kube-proxy service-ips { 172.30.${low} . tcp . 80 : goto ${service} }`,
    );
  }
  return `${lines.join("\n")}\n`;
}
