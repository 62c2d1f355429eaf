/** The Grafana dashboard, as Grafana imports it (schema 39). Pure. */

/** One query of a panel. */
interface Query {
  readonly expr: string;
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  readonly type: "stat" | "timeseries" | "state-timeline" | "table";
  /** What a person learns from it. */
  readonly description: string;
  /** Grafana's name of the unit. */
  readonly unit: string;
  /** Of 24 columns. */
  readonly width: number;
  readonly queries: readonly Query[];
}

interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** The agents of the cluster that the variable `node` chooses. The PodMonitor gives each target that label. */
const NODES = 'node=~"$node"';
const RATE = "[$__rate_interval]";

const quantile = (q: number, name: string, by: string): string =>
  `histogram_quantile(${q}, sum by (${by === "" ? "le" : `le, ${by}`}) (rate(${name}_bucket{${NODES}}${RATE})))`;

const ROWS: readonly Row[] = [
  {
    title: "Who has the VIP",
    panels: [
      {
        title: "MASTER",
        type: "stat",
        description:
          "The node that says that it is MASTER. Two for longer than a move takes are one too many. During a take-over " +
          "other software has the VIP, and these are the nodes that stand by for it (LEASEHOLD_TAKE_OVER).",
        unit: "none",
        width: 6,
        queries: [
          { expr: `leasehold_state{state="MASTER",${NODES}} == 1`, legend: "{{node}}" },
          { expr: `leasehold_standing_by{${NODES}} == 1`, legend: "{{node}} stands by" },
        ],
      },
      {
        title: "By the Lease",
        type: "stat",
        description: "1: the MASTER holds the Lease. 0: it has the VIP provisionally.",
        unit: "none",
        width: 6,
        queries: [{ expr: `leasehold_confirmed{${NODES}}`, legend: "{{node}}" }],
      },
      {
        title: "Nodes that may become holder",
        type: "stat",
        description: "Candidates without a fault.",
        unit: "none",
        width: 6,
        queries: [{ expr: `sum(leasehold_eligible{${NODES}})`, legend: "eligible" }],
      },
      {
        title: "Longest gap at a fail-over",
        type: "stat",
        description: "For how long at most no node had the VIP, in unplanned moves of the chosen time. The upper end of the bucket.",
        unit: "s",
        width: 6,
        queries: [
          {
            expr: `histogram_quantile(1, sum by (le) (increase(leasehold_failover_gap_seconds_bucket{${NODES}}[$__range])))`,
            legend: "at most",
          },
        ],
      },
      {
        title: "States",
        type: "state-timeline",
        description: "The state of each agent over time.",
        unit: "none",
        width: 24,
        queries: [{ expr: `leasehold_state{${NODES}} == 1`, legend: "{{node}} {{state}}" }],
      },
      {
        title: "Moves",
        type: "timeseries",
        description: "Changes of state with their reasons. docs/operations.md explains the codes.",
        unit: "none",
        width: 12,
        queries: [
          {
            expr: `sum by (node, to, reason) (increase(leasehold_transitions_total{${NODES}}${RATE})) > 0`,
            legend: "{{node}} {{to}}: {{reason}}",
          },
        ],
      },
      {
        title: "Faults and failed checks",
        type: "timeseries",
        description: "What keeps a node from the VIP. A node that stands by waits for other software (LEASEHOLD_TAKE_OVER).",
        unit: "none",
        width: 12,
        queries: [
          { expr: `leasehold_fault{${NODES}}`, legend: "{{node}} FAULT {{check}}" },
          { expr: `leasehold_check_up{${NODES}} == 0`, legend: "{{node}} fails {{check}}" },
          { expr: `leasehold_standing_by{${NODES}} == 1`, legend: "{{node}} stands by" },
        ],
      },
    ],
  },
  {
    title: "The Lease and the API",
    panels: [
      {
        title: "Renewal latency",
        type: "timeseries",
        description: "How long renewals take. They must stay far below LEASEHOLD_RENEW_DEADLINE.",
        unit: "s",
        width: 8,
        queries: [
          { expr: quantile(0.5, "leasehold_lease_renew_duration_seconds", "node"), legend: "{{node}} p50" },
          { expr: quantile(0.99, "leasehold_lease_renew_duration_seconds", "node"), legend: "{{node}} p99" },
        ],
      },
      {
        title: "Renewals that failed",
        type: "timeseries",
        description: "By how they failed.",
        unit: "ops",
        width: 8,
        queries: [
          {
            expr: `sum by (node, reason) (rate(leasehold_lease_renew_errors_total{${NODES}}${RATE}))`,
            legend: "{{node}} {{reason}}",
          },
        ],
      },
      {
        title: "Requests of the agents",
        type: "timeseries",
        description: "By the API server's answer, or why there was none.",
        unit: "ops",
        width: 8,
        queries: [
          {
            expr: `sum by (server, code) (rate(leasehold_api_requests_total{${NODES}}${RATE}))`,
            legend: "{{server}} {{code}}",
          },
        ],
      },
    ],
  },
  {
    title: "API servers and connections",
    panels: [
      {
        title: "API servers as each node sees them",
        type: "state-timeline",
        description: "1: it takes new connections.",
        unit: "none",
        width: 12,
        queries: [{ expr: `leasehold_backend_up{${NODES}}`, legend: "{{node}}: {{backend}}" }],
      },
      {
        title: "Health checks",
        type: "timeseries",
        description: "How long they take, and results other than good ones.",
        unit: "s",
        width: 12,
        queries: [
          {
            expr: quantile(0.99, "leasehold_backend_check_duration_seconds", "backend"),
            legend: "{{backend}} p99",
          },
          {
            expr: `sum by (backend, result) (rate(leasehold_backend_checks_total{result!~"http-200|ok",${NODES}}${RATE}))`,
            legend: "{{backend}} {{result}} per second",
          },
        ],
      },
      {
        title: "Open connections",
        type: "timeseries",
        description: "Of the proxy, by API server.",
        unit: "none",
        width: 8,
        queries: [
          { expr: `sum by (node, backend) (leasehold_connections_active{${NODES}})`, legend: "{{node}} to {{backend}}" },
        ],
      },
      {
        title: "Bytes",
        type: "timeseries",
        description: "Carried by the proxy: in is from clients.",
        unit: "Bps",
        width: 8,
        queries: [
          {
            expr: `sum by (direction) (rate(leasehold_bytes_total{${NODES}}${RATE}))`,
            legend: "{{direction}}",
          },
        ],
      },
      {
        title: "Connections that failed or were refused",
        type: "timeseries",
        description: "To an API server, and for want of one.",
        unit: "ops",
        width: 8,
        queries: [
          {
            expr: `sum by (backend) (rate(leasehold_connections_total{result="error",${NODES}}${RATE}))`,
            legend: "{{backend}} failed",
          },
          { expr: `sum by (node) (rate(leasehold_balancer_refused_total{${NODES}}${RATE}))`, legend: "{{node}} refused" },
        ],
      },
    ],
  },
  {
    title: "Fast path and wire",
    panels: [
      {
        title: "What carries packets",
        type: "state-timeline",
        description: "fast-path is the kernel. proxy and off end connections when the VIP moves.",
        unit: "none",
        width: 8,
        queries: [{ expr: `leasehold_data_plane{${NODES}} == 1`, legend: "{{node}} {{mode}}" }],
      },
      {
        title: "Packets to the VIP, by node that got them",
        type: "timeseries",
        description: "As the holder's ingress spreads them.",
        unit: "pps",
        width: 8,
        queries: [
          { expr: `sum by (peer) (rate(leasehold_fastpath_packets_total{${NODES}}${RATE}))`, legend: "{{peer}}" },
        ],
      },
      {
        title: "Trouble on the wire",
        type: "timeseries",
        description: "Other machines with the VIP, dead holders, packets that no node knew, rules that were changed.",
        unit: "none",
        width: 8,
        queries: [
          {
            expr: `sum by (node) (increase(leasehold_address_conflicts_total{${NODES}}${RATE}))`,
            legend: "{{node}} address conflicts",
          },
          {
            expr: `sum by (node) (increase(leasehold_holder_silent_total{${NODES}}${RATE}))`,
            legend: "{{node}} holder silent",
          },
          {
            expr: `sum by (node) (increase(leasehold_fastpath_unknown_total{${NODES}}${RATE}))`,
            legend: "{{node}} unknown packets",
          },
          {
            expr: `sum by (node) (increase(leasehold_fastpath_restored_total{${NODES}}${RATE}))`,
            legend: "{{node}} rules restored",
          },
        ],
      },
    ],
  },
  {
    title: "Agents",
    panels: [
      {
        title: "Versions",
        type: "table",
        description: "Of each agent.",
        unit: "none",
        width: 8,
        queries: [{ expr: `leasehold_build_info{${NODES}}`, legend: "{{node}} {{version}}" }],
      },
      {
        title: "Client certificates end in",
        type: "timeseries",
        description: "Of the agent's own kubeconfig and of admin.conf.",
        unit: "s",
        width: 8,
        queries: [
          {
            expr: `leasehold_client_certificate_expiration_timestamp_seconds{${NODES}} - time()`,
            legend: "{{node}} {{kubeconfig}}",
          },
        ],
      },
      {
        title: "CPU and memory",
        type: "timeseries",
        description: "CPU in cores, memory in bytes.",
        unit: "none",
        width: 8,
        queries: [
          { expr: `rate(process_cpu_seconds_total{job="leasehold",${NODES}}${RATE})`, legend: "{{node}} CPU" },
          { expr: `process_resident_memory_bytes{job="leasehold",${NODES}}`, legend: "{{node}} memory" },
        ],
      },
    ],
  },
];

const DATASOURCE = { type: "prometheus", uid: "${datasource}" };
const HEIGHT = 8;

/** Panels with their places: 24 columns, each row of the dashboard below the one before it. */
function panels(): readonly object[] {
  const all: object[] = [];
  let y = 0;
  for (const row of ROWS) {
    all.push({ id: all.length + 1, type: "row", title: row.title, collapsed: false, panels: [], gridPos: { x: 0, y, w: 24, h: 1 } });
    y += 1;
    let x = 0;
    for (const panel of row.panels) {
      if (x + panel.width > 24) {
        x = 0;
        y += HEIGHT;
      }
      all.push(panelOf(panel, all.length + 1, x, y));
      x += panel.width;
    }
    y += HEIGHT;
  }
  return all;
}

function panelOf({ title, type, description, unit, width, queries }: Panel, id: number, x: number, y: number): object {
  // A state and a version are what is true now, a curve is a range.
  const isInstant = type === "table";
  return {
    id,
    type,
    title,
    description,
    datasource: DATASOURCE,
    gridPos: { x, y, w: width, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    options: type === "stat" ? { textMode: "value_and_name", reduceOptions: { calcs: ["lastNotNull"] } } : {},
    targets: queries.map(({ expr, legend }, at) => ({
      refId: String.fromCodePoint(65 + at),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend,
      instant: isInstant,
      range: !isInstant,
      format: isInstant ? "table" : "time_series",
    })),
  };
}

/** The text of manifests/monitoring/dashboard.json. */
export function dashboard(): string {
  const model = {
    title: "Leasehold",
    uid: "leasehold",
    description: "Who has the control plane's virtual IP, why it moved, and how the API servers are reached.",
    tags: ["kubernetes", "leasehold"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: "10s",
    time: { from: "now-6h", to: "now" },
    timezone: "browser",
    templating: {
      list: [
        { name: "datasource", label: "Data source", type: "datasource", query: "prometheus" },
        {
          name: "node",
          label: "Node",
          type: "query",
          datasource: DATASOURCE,
          query: { query: "label_values(leasehold_build_info, node)", refId: "node" },
          refresh: 2,
          includeAll: true,
          multi: true,
          allValue: ".*",
          current: { text: "All", value: "$__all" },
        },
      ],
    },
    annotations: { list: [] },
    panels: panels(),
  };
  return `${JSON.stringify(model, null, 2)}\n`;
}
