/** Every alert as Prometheus itself judges it: when it fires, with which words, and when it does not. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { loadYaml } from "@kubernetes/client-node";
import { busy, busyStatus } from "../ops/busy.ts";
import { promtool } from "./promtool.ts";

interface Rule {
  readonly alert: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

const manifest = loadYaml<{
  readonly spec: { readonly groups: readonly { readonly rules: readonly Rule[] }[] };
}>(readFileSync(new URL("../../../manifests/monitoring/prometheusrule.yaml", import.meta.url), "utf8"));
const rules = manifest.spec.groups.flatMap((group) => group.rules);
const directory = mkdtempSync(join(tmpdir(), "leasehold-alerts-"));
after(() => rmSync(directory, { recursive: true }));

/** JSON is YAML. */
function file(name: string, content: unknown): string {
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

const rulesFile = file("rules.yaml", manifest.spec);

/** Four samples a minute. Promtool's notation: `1+0x8` is nine times 1, `_x8` eight times nothing. */
const INTERVAL = "15s";
type Series = Readonly<Record<string, string>>;

interface Case {
  readonly alert: string;
  readonly what: string;
  readonly series: Series;
  readonly at: string;
  /** Labels beside the alert's own, with the summary; none: it does not fire. */
  readonly fires: readonly { readonly labels: Readonly<Record<string, string>>; readonly summary: string }[];
}

const ALWAYS = "1+0x80";
const NEVER = "0+0x80";
const target = (metric: string, node: string, labels = ""): string =>
  `${metric}{job="leasehold",node="${node}"${labels === "" ? "" : `,${labels}`}}`;
const state = (node: string, name: string): string => target("leasehold_state", node, `state="${name}"`);
const on = (
  node: string,
  labels: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> => ({ job: "leasehold", node, ...labels });
/** A client certificate that ends at that second, and whether this is soon. */
const certificate = (node: string, kubeconfig: "own" | "admin", endsAt: string, isSoon: "0" | "1"): Series => ({
  [target("leasehold_client_certificate_expiration_timestamp_seconds", node, `kubeconfig="${kubeconfig}"`)]:
    `${endsAt}+0x40`,
  [target("leasehold_client_certificate_expires_soon", node, `kubeconfig="${kubeconfig}"`)]: `${isSoon}+0x40`,
});
/** As three agents are when all is well: n1 holds. */
const MASTER_N1: Series = {
  [state("n1", "MASTER")]: ALWAYS,
  [state("n2", "MASTER")]: NEVER,
  [state("n3", "MASTER")]: NEVER,
};

/** keepalived has the VIP, on the machine of n1, for agents with LEASEHOLD_TAKE_OVER. */
const STANDING_BY: Series = Object.fromEntries(
  ["n1", "n2"].flatMap((node) => [
    ...["INIT", "BACKUP", "FAULT", "MASTER", "PROVISIONAL"].map((name) => [
      state(node, name),
      name === "BACKUP" ? ALWAYS : NEVER,
    ]),
    [target("leasehold_standing_by", node), ALWAYS],
    [target("leasehold_eligible", node), NEVER],
    [target("leasehold_candidates", node), "2+0x80"],
    [target("leasehold_build_info", node), ALWAYS],
    [target("leasehold_backend_up", node, 'backend="a"'), ALWAYS],
    [target("leasehold_address_conflicts_total", node), NEVER],
    [target("leasehold_data_plane", node, 'mode="fast-path"'), ALWAYS],
    [target("up", node), ALWAYS],
  ]),
);

const CASES: readonly Case[] = [
  { alert: "LeaseholdNoMaster", what: "one agent is MASTER", series: MASTER_N1, at: "10m", fires: [] },
  {
    alert: "LeaseholdNoMaster",
    what: "none is",
    series: { ...MASTER_N1, [state("n1", "MASTER")]: "1+0x20 0+0x20" },
    at: "6m",
    fires: [{ labels: {}, summary: "No node holds the control plane's virtual IP." }],
  },
  {
    alert: "LeaseholdNoMaster",
    what: "the VIP has just moved",
    series: { [state("n1", "MASTER")]: "1+0x20 0+0x40", [state("n2", "MASTER")]: "0+0x21 1+0x40" },
    at: "5m30s",
    fires: [],
  },
  {
    alert: "LeaseholdNoMaster",
    what: "there is no agent to ask",
    series: {},
    at: "1m",
    fires: [{ labels: {}, summary: "No node holds the control plane's virtual IP." }],
  },
  {
    alert: "LeaseholdNoMaster",
    what: "the MASTER cannot be asked any more, and no other has become MASTER",
    series: { [state("n1", "MASTER")]: "1+0x20 stale", [state("n2", "MASTER")]: NEVER },
    at: "6m",
    fires: [{ labels: {}, summary: "No node holds the control plane's virtual IP." }],
  },

  {
    alert: "LeaseholdNoMaster",
    what: "every agent stands by for keepalived (LEASEHOLD_TAKE_OVER)",
    series: { ...STANDING_BY },
    at: "10m",
    fires: [],
  },
  {
    alert: "LeaseholdNoMaster",
    what: "keepalived has gone, and no agent has taken the VIP over",
    series: {
      ...STANDING_BY,
      [target("leasehold_standing_by", "n1")]: "1+0x20 0+0x40",
      [target("leasehold_standing_by", "n2")]: "1+0x20 0+0x40",
    },
    at: "6m",
    fires: [{ labels: {}, summary: "No node holds the control plane's virtual IP." }],
  },
  {
    alert: "LeaseholdNoMaster",
    what: "no agent waits for other software",
    series: { [state("n1", "MASTER")]: NEVER, [target("leasehold_standing_by", "n1")]: NEVER },
    at: "6m",
    fires: [{ labels: {}, summary: "No node holds the control plane's virtual IP." }],
  },

  { alert: "LeaseholdMultipleMasters", what: "one is", series: MASTER_N1, at: "10m", fires: [] },
  {
    alert: "LeaseholdMultipleMasters",
    what: "a planned move overlaps for one scrape",
    series: { ...MASTER_N1, [state("n2", "MASTER")]: "0+0x20 1 0+0x20" },
    at: "5m15s",
    fires: [],
  },
  {
    alert: "LeaseholdMultipleMasters",
    what: "two are",
    series: { ...MASTER_N1, [state("n2", "MASTER")]: ALWAYS },
    at: "1m",
    fires: [{ labels: {}, summary: "2 nodes say that they hold the virtual IP." }],
  },

  {
    alert: "LeaseholdProvisional",
    what: "the MASTER has the Lease, the others say nothing",
    series: { [target("leasehold_confirmed", "n1")]: ALWAYS },
    at: "5m",
    fires: [],
  },
  {
    alert: "LeaseholdProvisional",
    what: "it has not",
    series: { [target("leasehold_confirmed", "n1")]: NEVER },
    at: "5m",
    fires: [{ labels: on("n1"), summary: "n1 has the virtual IP without a Lease." }],
  },

  {
    alert: "LeaseholdFlapping",
    what: "two moves in 15 minutes",
    series: {
      [target("leasehold_transitions_total", "n1", 'to="MASTER",reason="claimed"')]: "1+0x20 2+0x20 3+0x20",
    },
    at: "15m",
    fires: [],
  },
  {
    alert: "LeaseholdFlapping",
    what: "one a minute",
    series: { [target("leasehold_transitions_total", "n1", 'to="MASTER",reason="claimed"')]: "0+0.25x60" },
    at: "15m",
    fires: [{ labels: {}, summary: "The virtual IP has moved 15 times in 15 minutes." }],
  },
  {
    alert: "LeaseholdFlapping",
    what: "the standby's states change",
    series: { [target("leasehold_transitions_total", "n1", 'to="FAULT",reason="x"')]: "0+1x60" },
    at: "15m",
    fires: [],
  },

  {
    alert: "LeaseholdRenewFailing",
    what: "one failed once",
    series: { [target("leasehold_lease_renew_errors_total", "n1", 'reason="timeout"')]: "0+0x8 1+0x40" },
    at: "4m",
    fires: [],
  },
  {
    alert: "LeaseholdRenewFailing",
    what: "they go on failing",
    series: { [target("leasehold_lease_renew_errors_total", "n1", 'reason="timeout"')]: "0+1x40" },
    at: "4m",
    fires: [{ labels: { node: "n1" }, summary: "Renewals of the Lease fail on n1." }],
  },

  {
    alert: "LeaseholdAllBackendsDown",
    what: "one of two is left",
    series: {
      [target("leasehold_build_info", "n1")]: ALWAYS,
      [target("leasehold_backend_up", "n1", 'backend="a"')]: NEVER,
      [target("leasehold_backend_up", "n1", 'backend="b"')]: ALWAYS,
    },
    at: "5m",
    fires: [],
  },
  {
    alert: "LeaseholdAllBackendsDown",
    what: "none is left on one node",
    series: {
      [target("leasehold_build_info", "n1")]: ALWAYS,
      [target("leasehold_backend_up", "n1", 'backend="a"')]: NEVER,
      [target("leasehold_backend_up", "n1", 'backend="b"')]: NEVER,
      [target("leasehold_build_info", "n2")]: ALWAYS,
      [target("leasehold_backend_up", "n2", 'backend="a"')]: ALWAYS,
    },
    at: "5m",
    fires: [{ labels: { node: "n1" }, summary: "No API server takes connections from the balancer on n1." }],
  },
  {
    alert: "LeaseholdAllBackendsDown",
    what: "the agent knows of none",
    series: { [target("leasehold_build_info", "w1")]: ALWAYS },
    at: "5m",
    fires: [{ labels: { node: "w1" }, summary: "No API server takes connections from the balancer on w1." }],
  },

  {
    alert: "LeaseholdBackendDown",
    what: "it is up",
    series: { [target("leasehold_backend_up", "n1", 'backend="a"')]: ALWAYS },
    at: "5m",
    fires: [],
  },
  {
    alert: "LeaseholdBackendDown",
    what: "it is not",
    series: { [target("leasehold_backend_up", "n1", 'backend="192.0.2.11:6443"')]: NEVER },
    at: "5m",
    fires: [
      {
        labels: on("n1", { backend: "192.0.2.11:6443" }),
        summary: "n1 finds API server 192.0.2.11:6443 unhealthy.",
      },
    ],
  },

  {
    alert: "LeaseholdDataPlane",
    what: "the fast path carries",
    series: {
      [target("leasehold_data_plane", "n1", 'mode="fast-path"')]: ALWAYS,
      [target("leasehold_data_plane", "n1", 'mode="off"')]: NEVER,
    },
    at: "10m",
    fires: [],
  },
  {
    alert: "LeaseholdDataPlane",
    what: "it has not come up",
    series: {
      [target("leasehold_data_plane", "n1", 'mode="fast-path"')]: NEVER,
      [target("leasehold_data_plane", "n1", 'mode="starting"')]: ALWAYS,
    },
    at: "10m",
    fires: [
      {
        labels: on("n1", { mode: "fast-path" }),
        summary: "n1 carries the virtual IP's connections without the kernel's fast path.",
      },
    ],
  },

  {
    alert: "LeaseholdNetworkDropsVip",
    what: "the peer is heard",
    series: { [target("leasehold_fastpath_unheard", "n1", 'peer="n2"')]: NEVER },
    at: "10m",
    fires: [],
  },
  {
    alert: "LeaseholdNetworkDropsVip",
    what: "it is not",
    series: { [target("leasehold_fastpath_unheard", "n1", 'peer="n2"')]: ALWAYS },
    at: "10m",
    fires: [
      {
        labels: on("n1", { peer: "n2" }),
        summary: "The network drops what n2 sends in the virtual IP's name to n1.",
      },
    ],
  },

  {
    alert: "LeaseholdRulesChanged",
    what: "once",
    series: { [target("leasehold_fastpath_restored_total", "n1")]: "0+0x8 1+0x40" },
    at: "10m",
    fires: [],
  },
  {
    alert: "LeaseholdRulesChanged",
    what: "again and again",
    series: { [target("leasehold_fastpath_restored_total", "n1")]: "0+1x40" },
    at: "10m",
    fires: [
      { labels: on("n1"), summary: "Somebody on n1 removes the agent's nftables rules again and again." },
    ],
  },

  {
    alert: "LeaseholdAddressConflict",
    what: "never",
    series: { [target("leasehold_address_conflicts_total", "n1")]: NEVER },
    at: "10m",
    fires: [],
  },
  {
    alert: "LeaseholdAddressConflict",
    what: "once, seen by an agent that does not say which machine",
    series: {
      [target("leasehold_address_conflicts_total", "n1")]: "0+0x8 1+0x20",
      [target("leasehold_address_conflict_info", "n2", 'mac="02:00:00:00:00:99"')]: ALWAYS,
    },
    at: "4m",
    fires: [{ labels: on("n1"), summary: "Another machine answers for the virtual IP of n1." }],
  },
  {
    alert: "LeaseholdAddressConflict",
    what: "by a second machine after a first one",
    series: {
      [target("leasehold_address_conflicts_total", "n1")]: "0+0x8 1+0x3 2+0x20",
      [target("leasehold_address_conflict_info", "n1", 'mac="02:00:00:00:00:98"')]: "_x9 1+0x3 stale",
      [target("leasehold_address_conflict_info", "n1", 'mac="02:00:00:00:00:99"')]: "_x13 1+0x20",
    },
    at: "4m",
    fires: [
      {
        labels: on("n1"),
        summary: "Another machine (02:00:00:00:00:99) answers for the virtual IP of n1.",
      },
    ],
  },
  {
    alert: "LeaseholdAddressConflict",
    what: "by a candidate, seen by one of two agents",
    series: {
      [target("leasehold_address_conflicts_total", "n1", 'instance="192.0.2.11:10081"')]: "0+0x8 1+0x20",
      [target("leasehold_address_conflicts_total", "n3", 'instance="192.0.2.13:10081"')]: NEVER,
      [target(
        "leasehold_address_conflict_info",
        "n1",
        'instance="192.0.2.11:10081",mac="02:00:00:00:00:02",peer="n2"',
      )]: "_x9 1+0x20",
    },
    at: "4m",
    fires: [
      {
        labels: on("n1", { instance: "192.0.2.11:10081" }),
        summary: "Another machine (02:00:00:00:00:02, n2) answers for the virtual IP of n1.",
      },
    ],
  },

  {
    alert: "LeaseholdFault",
    what: "MASTER and BACKUP",
    series: {
      [state("n1", "MASTER")]: ALWAYS,
      [state("n2", "BACKUP")]: ALWAYS,
      [state("n1", "FAULT")]: NEVER,
      [state("n1", "INIT")]: NEVER,
    },
    at: "5m",
    fires: [],
  },
  {
    alert: "LeaseholdFault",
    what: "FAULT, and INIT for ever",
    series: { [state("n1", "FAULT")]: ALWAYS, [state("n2", "INIT")]: ALWAYS },
    at: "5m",
    fires: [
      {
        labels: on("n1", { state: "FAULT" }),
        summary: "The agent on n1 is in FAULT and cannot take the virtual IP.",
      },
      {
        labels: on("n2", { state: "INIT" }),
        summary: "The agent on n2 is in INIT and cannot take the virtual IP.",
      },
    ],
  },

  // Promtool's time starts at 0.
  {
    alert: "LeaseholdCertificateExpiresSoon",
    what: "in 40 days, and one of the kubelet in 5 days of 30",
    series: {
      ...certificate("n1", "own", "3456000", "0"),
      ...certificate("w1", "own", "432000", "0"),
    },
    at: "0m",
    fires: [],
  },
  {
    alert: "LeaseholdCertificateExpiresSoon",
    what: "in 29 days",
    series: {
      ...certificate("n1", "own", "2505600", "1"),
      ...certificate("n1", "admin", "2505600", "0"),
    },
    at: "0m",
    fires: [
      {
        labels: on("n1", { kubeconfig: "own" }),
        summary: "A client certificate of the agent on n1 expires in 29d 0h 0m 0s.",
      },
    ],
  },
  {
    alert: "LeaseholdCertificateExpiresSoon",
    what: "four minutes ago",
    series: {
      ...certificate("n1", "own", "60", "1"),
    },
    at: "5m",
    fires: [
      {
        labels: on("n1", { kubeconfig: "own" }),
        summary: "A client certificate of the agent on n1 has expired.",
      },
    ],
  },

  {
    alert: "LeaseholdAgentDown",
    what: "every agent answers",
    series: { [target("up", "n1")]: ALWAYS, [target("up", "n2")]: ALWAYS },
    at: "5m",
    fires: [],
  },
  {
    alert: "LeaseholdAgentDown",
    what: "one does not",
    series: { [target("up", "n1")]: ALWAYS, [target("up", "n2")]: NEVER },
    at: "5m",
    fires: [{ labels: on("n2"), summary: "Prometheus cannot reach the agent on n2." }],
  },
  {
    alert: "LeaseholdAgentDown",
    what: "Prometheus knows of none",
    series: { 'up{job="node-exporter",node="n1"}': ALWAYS },
    at: "5m",
    fires: [{ labels: { job: "leasehold" }, summary: "Prometheus cannot reach any agent." }],
  },

  {
    alert: "LeaseholdAgentNotScraped",
    what: "all three are",
    series: { ...MASTER_N1, [target("leasehold_candidates", "n1")]: "3+0x80" },
    at: "10m",
    fires: [],
  },
  {
    alert: "LeaseholdAgentNotScraped",
    what: "one of three is not",
    series: {
      [state("n1", "MASTER")]: ALWAYS,
      [state("n2", "MASTER")]: NEVER,
      [target("leasehold_candidates", "n1")]: "3+0x80",
    },
    at: "10m",
    fires: [{ labels: {}, summary: "3 agents compete for the virtual IP, and Prometheus is told of fewer." }],
  },

  {
    alert: "LeaseholdHealthPort",
    what: "the agent has it",
    series: { [target("leasehold_listener_up", "n1", 'listener="health"')]: ALWAYS },
    at: "5m",
    fires: [],
  },
  {
    alert: "LeaseholdHealthPort",
    what: "another program has it",
    series: {
      [target("leasehold_listener_up", "n1", 'listener="health"')]: NEVER,
      [target("leasehold_listener_up", "n1", 'listener="ops"')]: ALWAYS,
    },
    at: "5m",
    fires: [
      {
        labels: on("n1", { listener: "health" }),
        summary: "Another program has the port that the kubelet's probes ask on n1.",
      },
    ],
  },
];

function ruleOf(alert: string): Rule {
  const rule = rules.find((each) => each.alert === alert);
  assert.ok(rule !== undefined, `there is no alert ${alert}`);
  return rule;
}

/**
 * One test in promtool's form. What the summary says is spelled out here; the other words are the manifest's,
 * which has no templates there.
 */
function promtoolTest({ alert, what, series, at, fires }: Case): unknown {
  const rule = ruleOf(alert);
  return {
    name: `${alert}: ${what}`,
    interval: INTERVAL,
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [
      {
        eval_time: at,
        alertname: alert,
        exp_alerts: fires.map(({ labels, summary }) => ({
          exp_labels: { ...rule.labels, ...labels },
          exp_annotations: { ...rule.annotations, summary },
        })),
      },
    ],
  };
}

async function judged(name: string, cases: readonly Case[]) {
  return promtool([
    "test",
    "rules",
    file(`${name}.yaml`, {
      rule_files: [rulesFile],
      evaluation_interval: INTERVAL,
      tests: cases.map(promtoolTest),
    }),
  ]);
}

describe("the alerts, by promtool", () => {
  test("are rules that Prometheus loads", async () => {
    const { code, stdout, stderr } = await promtool([
      "check",
      "rules",
      "--lint=all",
      "--lint-fatal",
      rulesFile,
    ]);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, new RegExp(`SUCCESS: ${rules.length} rules found`));
  });

  test("are tested, each when it fires and when it does not", () => {
    for (const { alert } of rules) {
      const cases = CASES.filter((each) => each.alert === alert);
      assert.ok(
        cases.some(({ fires }) => fires.length > 0),
        `${alert} is never seen to fire`,
      );
      assert.ok(
        cases.some(({ fires }) => fires.length === 0),
        `${alert} is never seen to be quiet`,
      );
    }
  });

  for (const { alert } of rules) {
    test(`${alert} fires when it should, and says what is wrong`, async () => {
      const cases = CASES.filter((each) => each.alert === alert);
      const { code, stdout, stderr } = await judged(alert, cases);
      assert.equal(code, 0, stdout + stderr);
    });
  }

  test("are all quiet during a take-over", async () => {
    const quiet = rules.map(({ alert }) => ({
      alert,
      what: "a take-over",
      series: STANDING_BY,
      at: "10m",
      fires: [],
    }));
    const { code, stdout, stderr } = await judged("take-over", quiet);
    assert.equal(code, 0, stdout + stderr);
  });

  test("would be found out: a case that expects the opposite fails", async () => {
    const opposite = CASES.filter(
      ({ alert, fires }) => alert === "LeaseholdAgentDown" && fires.length > 0,
    ).map((each) => ({ ...each, fires: [] }));
    assert.notEqual((await judged("opposite", opposite)).code, 0);
  });
});

describe("/metrics, by promtool", () => {
  test("is text that Prometheus reads, with names as its conventions have them", async () => {
    const text = await busy().render(busyStatus(), 0);
    assert.ok(text.split("\n").length > 200);
    const { code, stdout, stderr } = await promtool(["check", "metrics"], text);
    assert.equal(code, 0, stdout + stderr);
    assert.equal(stdout + stderr, "");
  });
});
