/** The log, the status, the metrics and the documentation have one vocabulary of states. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { AGENT_STATES, hasVip } from "../../../src/election/states.ts";
import type { AgentState } from "../../../src/election/states.ts";
import { createMetrics } from "../../../src/ops/metrics.ts";
import { exampleStatus } from "../ops/example.ts";

const PAGE = readFileSync(new URL("../../../docs/architecture.md", import.meta.url), "utf8");
const isState = (name: string): name is AgentState => Object.hasOwn(AGENT_STATES, name);

test("docs/architecture.md has the table of src/election/states.ts", () => {
  const [, section = ""] = /^## States$(.*?)^## /ms.exec(PAGE) ?? [];
  const rows = [...section.matchAll(/^\| ([A-Z]+) \| (.+) \| (bound|not bound) \|$/gm)].map(
    ([, name = "", meaning, vip]) => [name, meaning, isState(name) && hasVip(name), vip === "bound"],
  );
  assert.deepEqual(
    rows.map(([name, meaning]) => [name, meaning]),
    Object.entries(AGENT_STATES),
  );
  for (const [name, , has, shown] of rows) assert.equal(has, shown, String(name));
});

test("the metric leasehold_state has a series for each of them, and 1 for the one of the status", async () => {
  const metrics = createMetrics({ version: "0", nodeVersion: "v24", leaseName: "leasehold" });
  for (const state of Object.keys(AGENT_STATES).filter(isState)) {
    const text = await metrics.render(
      exampleStatus({ election: { state, confirmed: state === "MASTER" } }),
      0,
    );
    const series = [...text.matchAll(/^leasehold_state\{state="(\w+)"\} (\d)$/gm)].map(([, name, value]) => [
      name,
      value,
    ]);
    assert.deepEqual(
      series,
      Object.keys(AGENT_STATES).map((name) => [name, name === state ? "1" : "0"]),
    );
  }
});
