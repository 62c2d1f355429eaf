/** What the Prometheus operator needs: a PodMonitor and the alerts. Pure. */
import type { Config } from "../config/config.ts";
import { AGENTS, binding, LABELS } from "./rbac.ts";
import { quoted } from "./yaml.ts";

/** The runbook in the repository, where LEASEHOLD_RUNBOOK_URL names no other place. */
const RUNBOOK = "docs/operations.md";

/** The role that reads the metrics, its ServiceAccount, and the Secret with that one's token. */
const METRICS = "leasehold-metrics";

/** The text of manifests/monitoring/podmonitor.yaml. */
export const POD_MONITOR = `apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: leasehold
  namespace: kube-system
${LABELS}spec:
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels:
      app.kubernetes.io/name: leasehold
  podMetricsEndpoints:
    # manifests/leasehold.yaml names this port. Prometheus reaches it once LEASEHOLD_OPS_ADDRESS is set as shown there.
    # Each agent has made its own certificate, as kubeadm's controller manager has. rbac.yaml makes the token.
    - port: metrics
      path: /metrics
      scheme: https
      tlsConfig:
        insecureSkipVerify: true
      authorization:
        credentials:
          name: ${METRICS}
          key: token
      interval: 5s
      relabelings:
        - sourceLabels: [__meta_kubernetes_pod_node_name]
          targetLabel: node
`;

/** The text of manifests/monitoring/rbac.yaml. */
export const MONITORING_RBAC = `# The agents may ask the API who a client of their ops port is, and what it may do.
${binding({ name: "leasehold-auth-delegator", role: "system:auth-delegator", subject: AGENTS })}---
# Who has this role may read the agents' metrics. Add "/", "/page.css", "/page.js", "/events" and "/peers/*" for the
# page.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: ${METRICS}
${LABELS}rules:
  - nonResourceURLs: ["/metrics"]
    verbs: ["get"]
---
${binding({
  name: METRICS,
  role: METRICS,
  subject: { kind: "ServiceAccount", name: METRICS, namespace: "kube-system" },
})}---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: ${METRICS}
  namespace: kube-system
${LABELS}automountServiceAccountToken: false
---
# The API fills this in with a token that does not end. podmonitor.yaml names it.
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: ${METRICS}
  namespace: kube-system
  annotations:
    kubernetes.io/service-account.name: ${METRICS}
${LABELS}`;

/**
 * `prometheusRule` returns the text of manifests/monitoring/prometheusrule.yaml, whose descriptions name the
 * Lease, and whose alerts link to their sections of the runbook.
 */
export function prometheusRule({
  leaseName,
  leaseNamespace,
  runbookUrl = RUNBOOK,
}: Pick<Config, "leaseName" | "leaseNamespace" | "runbookUrl">): string {
  const runbook = (alert: string): string => {
    const url = `${runbookUrl}#${alert.toLowerCase()}`;
    return /^[a-z][\w./:#-]*$/i.test(url) ? url : quoted(url);
  };
  return `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: leasehold
  namespace: kube-system
${LABELS}spec:
  groups:
    - name: leasehold
      rules:
        - alert: LeaseholdNoMaster
          # No agent reports that it has the VIP: every agent is in another state, or Prometheus can ask none. During a
          # take-over other software has the VIP, and an agent that stands by for it says so.
          expr: absent(leasehold_state{state=~"MASTER|PROVISIONAL"} == 1) unless on () (leasehold_standing_by == 1)
          for: 30s
          labels: {severity: critical}
          annotations:
            summary: No node holds the control plane's virtual IP.
            description: No agent says that it is MASTER or PROVISIONAL, and none stands by for other software. Look at \`kubectl get lease -n ${leaseNamespace} ${leaseName} -o yaml\` and the agents' logs.
            runbook_url: ${runbook("LeaseholdNoMaster")}
        - alert: LeaseholdMultipleMasters
          expr: sum(leasehold_state{state=~"MASTER|PROVISIONAL"}) > 1
          for: 10s
          labels: {severity: critical}
          annotations:
            summary: "{{ $value }} nodes say that they hold the virtual IP."
            description: During a planned move two nodes hold it for a moment. This lasts longer. Check that all agents use the same Lease and that their clocks run.
            runbook_url: ${runbook("LeaseholdMultipleMasters")}
        - alert: LeaseholdProvisional
          expr: leasehold_confirmed == 0
          for: 1m
          labels: {severity: warning}
          annotations:
            summary: "{{ $labels.node }} has the virtual IP without a Lease."
            description: No API server lets it write the Lease. /status and the agent's log give the reason.
            runbook_url: ${runbook("LeaseholdProvisional")}
        - alert: LeaseholdFlapping
          expr: sum(increase(leasehold_transitions_total{to=~"MASTER|PROVISIONAL"}[15m])) > 3
          labels: {severity: warning}
          annotations:
            summary: The virtual IP has moved {{ $value | humanize }} times in 15 minutes.
            description: The label \`reason\` of leasehold_transitions_total tells why.
            runbook_url: ${runbook("LeaseholdFlapping")}
        - alert: LeaseholdRenewFailing
          expr: sum by (node) (rate(leasehold_lease_renew_errors_total[1m])) > 0
          for: 1m
          labels: {severity: warning}
          annotations:
            summary: Renewals of the Lease fail on {{ $labels.node }}.
            description: The label \`reason\` tells how. When no renewal succeeds before LEASEHOLD_RENEW_DEADLINE, the holder has the VIP provisionally, or lets it go (LEASEHOLD_ON_API_LOSS).
            runbook_url: ${runbook("LeaseholdRenewFailing")}
        - alert: LeaseholdAllBackendsDown
          # An agent that knows of no API server has no leasehold_backend_up at all.
          expr: count by (node) (leasehold_build_info unless on (node) (leasehold_backend_up == 1))
          for: 10s
          labels: {severity: critical}
          annotations:
            summary: No API server takes connections from the balancer on {{ $labels.node }}.
            description: The balancer there refuses connections. /readyz?verbose and the agent's log name the reason, such as missing credentials.
            runbook_url: ${runbook("LeaseholdAllBackendsDown")}
        - alert: LeaseholdBackendDown
          expr: leasehold_backend_up == 0
          for: 1m
          labels: {severity: warning}
          annotations:
            summary: "{{ $labels.node }} finds API server {{ $labels.backend }} unhealthy."
            description: leasehold_backend_grade tells whether it drains or is down. leasehold_backend_checks_total tells why.
            runbook_url: ${runbook("LeaseholdBackendDown")}
        - alert: LeaseholdDataPlane
          expr: leasehold_data_plane{mode="fast-path"} == 0
          for: 5m
          labels: {severity: warning}
          annotations:
            summary: "{{ $labels.node }} carries the virtual IP's connections without the kernel's fast path."
            description: /status of that agent gives the reason under fastPath. If you set LEASEHOLD_FASTPATH=off on purpose, ignore this alert.
            runbook_url: ${runbook("LeaseholdDataPlane")}
        - alert: LeaseholdNetworkDropsVip
          expr: leasehold_fastpath_unheard == 1
          for: 5m
          labels: {severity: warning}
          annotations:
            summary: The network drops what {{ $labels.peer }} sends in the virtual IP's name to {{ $labels.node }}.
            description: That node gets no new connections by the fast path. Allow the virtual IP on its switch port or virtual NIC.
            runbook_url: ${runbook("LeaseholdNetworkDropsVip")}
        - alert: LeaseholdRulesChanged
          expr: increase(leasehold_fastpath_restored_total[10m]) > 2
          labels: {severity: warning}
          annotations:
            summary: Somebody on {{ $labels.node }} removes the agent's nftables rules again and again.
            description: The agent's log names the program. Each time, connections may be reset.
            runbook_url: ${runbook("LeaseholdRulesChanged")}
        - alert: LeaseholdAddressConflict
          # The machine is no label of the alert: one that changes its MAC address would be a new alert each time.
          expr: increase(leasehold_address_conflicts_total[5m]) > 0
          labels: {severity: critical}
          annotations:
            summary: Another machine{{ with printf "leasehold_address_conflict_info{node='%s',instance='%s'}" $labels.node $labels.instance | query }}{{ with (first .).Labels }} ({{ .mac }}{{ with .peer }}, {{ . }}{{ end }}){{ end }}{{ end }} answers for the virtual IP of {{ $labels.node }}.
            description: On that node \`leasehold why\` says which machine it is by its MAC address, when it was heard, and what to do.
            runbook_url: ${runbook("LeaseholdAddressConflict")}
        - alert: LeaseholdFault
          expr: leasehold_state{state=~"FAULT|INIT"} == 1
          for: 1m
          labels: {severity: warning}
          annotations:
            summary: The agent on {{ $labels.node }} is in {{ $labels.state }} and cannot take the virtual IP.
            description: leasehold_fault names the checks that failed. In INIT, /readyz of that agent says what it waits for.
            runbook_url: ${runbook("LeaseholdFault")}
        - alert: LeaseholdCertificateExpiresSoon
          # The agent knows which certificates it relies on, and that the kubelet's live for a short time.
          expr: leasehold_client_certificate_expiration_timestamp_seconds - time() and leasehold_client_certificate_expires_soon == 1
          labels: {severity: warning}
          annotations:
            summary: "A client certificate of the agent on {{ $labels.node }} {{ if gt $value 0.0 }}expires in {{ $value | humanizeDuration }}{{ else }}has expired{{ end }}."
            description: The line Credentials of \`leasehold status\` there says which one it is and what to do. After the end of its own certificate the agent uses admin.conf.
            runbook_url: ${runbook("LeaseholdCertificateExpiresSoon")}
        - alert: LeaseholdAgentDown
          # The second part fires when Prometheus has no agent to ask: the PodMonitor selects none, or no Prometheus
          # selects the PodMonitor.
          expr: up{job="leasehold"} == 0 or absent(up{job="leasehold"})
          for: 1m
          labels: {severity: warning}
          annotations:
            summary: "Prometheus cannot reach {{ with $labels.node }}the agent on {{ . }}{{ else }}any agent{{ end }}."
            description: Look at the static pod with \`crictl ps -a --name leasehold\` on that node, and at LEASEHOLD_OPS_ADDRESS in its manifest.
            runbook_url: ${runbook("LeaseholdAgentDown")}
        - alert: LeaseholdAgentNotScraped
          # absent() cannot tell that one of three agents is missing. The Lease says how many take part.
          expr: max(leasehold_candidates) > count(leasehold_state{state="MASTER"})
          for: 5m
          labels: {severity: warning}
          annotations:
            summary: "{{ $value }} agents compete for the virtual IP, and Prometheus is told of fewer."
            description: Compare the candidates in the Lease with Prometheus' targets. Prometheus does not find an agent whose pod lacks the labels or the port.
            runbook_url: ${runbook("LeaseholdAgentNotScraped")}
        - alert: LeaseholdHealthPort
          expr: leasehold_listener_up{listener="health"} == 0
          for: 30s
          labels: {severity: warning}
          annotations:
            summary: Another program has the port that the kubelet's probes ask on {{ $labels.node }}.
            description: The kubelet restarts the agent while its probes fail. The agent's log names the port.
            runbook_url: ${runbook("LeaseholdHealthPort")}
`;
}
