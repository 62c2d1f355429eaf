/** The dashboard asks for metrics and labels that there are, in PromQL that Prometheus reads. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { dashboard } from "../../../src/manifests/dashboard.ts";
import { podMonitor } from "../../support/monitoring/pod-monitor.ts";
import { busy, busyStatus } from "../ops/busy.ts";
import { promtool } from "./promtool.ts";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
}

const model: {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
} = JSON.parse(dashboard());
const panels = model.panels.filter(({ type }) => type !== "row");
const queries = panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })));

/** The labels of each time series that an agent has, by its name. */
async function seriesOf(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const text = await busy().render(busyStatus(), Date.UTC(2026, 0, 1));
  const series = new Map<string, Set<string>>();
  for (const [, name = "", labels = ""] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? \S+$/gm)) {
    const known = series.get(name) ?? new Set();
    for (const [, label = ""] of labels.matchAll(/(\w+)="/g)) known.add(label);
    series.set(name, known);
  }
  return series;
}

/** What Prometheus adds to every series: the target's labels, and the one that the PodMonitor makes. */
const TARGET = ["job", "instance", "namespace", "pod", "container", "endpoint", "node"];

describe("the dashboard", () => {
  test("asks for series that an agent has, by labels that they have", async () => {
    const series = await seriesOf();
    assert.ok(series.size > 60);
    assert.ok(queries.length > 25);
    assert.ok(JSON.stringify(podMonitor()).includes('"targetLabel":"node"'));
    for (const { title, expr, legendFormat } of queries) {
      const names = [...expr.matchAll(/\b(?:leasehold|leader_election|process|nodejs)_[a-z_]+/g)].map(([name]) => name);
      assert.ok(names.length > 0, expr);
      const labels = new Set([...TARGET, ...names.flatMap((name) => [...(series.get(name) ?? [])])]);
      for (const name of names) assert.ok(series.has(name), `${title}: ${name}`);
      const used = [
        ...[...expr.matchAll(/[{,]\s*(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label),
        ...[...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(/,\s*/)),
        ...[...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label),
      ];
      for (const label of used) assert.ok(labels.has(label), `${title}: ${label} of ${expr}`);
    }
  });

  test("shows in a legend only what its query leaves", () => {
    for (const { title, expr, legendFormat } of queries) {
      const [, list] = /^(?:histogram_quantile\([\d.]+, )?sum by \(([^)]*)\)/.exec(expr) ?? [];
      if (list === undefined) continue;
      for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        assert.ok(list.split(/,\s*/).includes(label), `${title}: ${label}`);
    }
  });

  test("asks in PromQL that promtool reads", async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "leasehold-dashboard-"));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const plain = (expr: string): string =>
      expr.replaceAll("$__rate_interval", "1m").replaceAll("$__range", "1h").replaceAll("$node", ".*");
    const rules = queries.map(({ expr }, at) => ({ record: `test:query${at}`, expr: plain(expr) }));
    for (const { expr } of rules) assert.doesNotMatch(expr, /\$/);
    const file = join(directory, "rules.json");
    writeFileSync(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    const { code, stdout, stderr } = await promtool(["check", "rules", file]);
    assert.equal(code, 0, `${stdout}${stderr}`);
  });

  test("has panels that do not overlap, each with its own id and a description", () => {
    assert.equal(new Set(model.panels.map(({ id }) => id)).size, model.panels.length);
    const taken = new Set<string>();
    for (const { title, gridPos, description, targets = [], type } of model.panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      if (type !== "row") assert.ok((description ?? "").length > 10, title);
      assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!taken.has(`${x},${y}`), `${title} at ${x},${y}`);
          taken.add(`${x},${y}`);
        }
    }
    assert.deepEqual(
      model.templating.list.map(({ name }) => name),
      ["datasource", "node"],
    );
  });
});
