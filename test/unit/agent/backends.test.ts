import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { reportBackends, whyNoBackend } from "../../../src/agent/backends.ts";
import { unnamedError } from "../../../src/backends/sources.ts";
import type { Unnamed } from "../../../src/backends/sources.ts";
import type { BackendFacts } from "../../../src/agent/backends.ts";
import type { Logger } from "../../../src/log.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { backend } from "../ops/example.ts";

const worker: BackendFacts = {
  backends: [],
  discovery: { kind: "found" },
  apiServers: ["192.0.2.10:6443"],
  credentials: null,
  role: "balancer",
};
const refusal = { kind: "refused", server: "192.0.2.10:6443", status: 403, message: "no rights" } as const;
const down = { ...backend, grade: "DOWN", reason: "refused" } as const;

describe("why there is no backend", () => {
  for (const [what, facts, told] of [
    [
      "no credentials",
      {
        discovery: { kind: "no-answer", reason: "credentials", message: "there is no usable kubeconfig" },
        credentials: "/k: is empty; /a: no such file",
      },
      /^no API server is known: there are no credentials: \/k: is empty; \/a: no such file$/,
    ],
    [
      "nobody to ask",
      {
        discovery: { kind: "no-answer", reason: "silent", message: "no API server is known" },
        apiServers: [],
      },
      /nobody to ask; set LEASEHOLD_VIP, LEASEHOLD_API_SERVERS or LEASEHOLD_BACKENDS/,
    ],
    [
      "nobody who answers",
      { discovery: { kind: "no-answer", reason: "silent", message: "timeout" } },
      /192\.0\.2\.10:6443 did not answer \(timeout\)/,
    ],
    [
      "a worker's missing right",
      { discovery: refusal },
      /192\.0\.2\.10:6443 answered 403 \(no rights\); apply manifests\/worker-rbac\.yaml$/,
    ],
    [
      "a candidate's missing right",
      { discovery: refusal, role: "control-plane" },
      /apply manifests\/rbac\.yaml$/,
    ],
    [
      "credentials of another cluster",
      { discovery: { ...refusal, status: 401, message: "" } },
      /answered 401; the kubeconfig is of another cluster/,
    ],
    ["an API server that is not well", { discovery: { ...refusal, status: 500 } }, /answered 500/],
    [
      "no EndpointSlice",
      { discovery: { kind: "none" } },
      /EndpointSlices of the Service default\/kubernetes name no address/,
    ],
    [
      "a backend that is DOWN, with its reason",
      { backends: [down] },
      /^no backend is UP: 192\.0\.2\.11:6443 DOWN \(refused\)$/,
    ],
    [
      "the own one DOWN, others unknown",
      { backends: [down], discovery: refusal },
      /DOWN \(refused\); others cannot be found: .* answered 403/,
    ],
    [
      "more of them than anybody wants to read",
      { backends: Array.from({ length: 9 }, () => down) },
      /and 4 more$/,
    ],
    ["configured ones that are DOWN", { backends: [down], discovery: undefined }, /^no backend is UP/],
  ] satisfies [string, Partial<BackendFacts>, RegExp][]) {
    test(`names ${what}`, () => assert.match(whyNoBackend({ ...worker, ...facts }) ?? "", told));
  }

  test("is no question while one is UP, and before the first answer or check", () => {
    assert.equal(whyNoBackend({ ...worker, backends: [down, backend], discovery: refusal }), null);
    assert.equal(whyNoBackend({ ...worker, discovery: { kind: "asking" } }), null);
    assert.equal(whyNoBackend({ ...worker, discovery: undefined }), null);
    assert.equal(whyNoBackend({ ...worker, backends: [{ ...backend, grade: "UNKNOWN", reason: "" }] }), null);
  });
});

test("the log repeats it every half minute while it lasts, and says when it is over", () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (fields, message) => void lines.push(`warn ${message}: ${String(fields["reason"])}`),
    info: (_fields, message) => void lines.push(`info ${message}`),
  };
  let why: string | null = "no rights";
  const report = reportBackends({ clock, log, why: () => why, unnamed: () => null });
  clock.advance(64_000);
  const warning = "warn No API server to send connections to: no rights";
  assert.deepEqual(lines, [warning, warning]);
  clock.advance(1_000);
  assert.deepEqual(lines, [warning, warning, warning]);
  why = null;
  clock.advance(60_000);
  assert.deepEqual(lines.slice(3), ["info An API server takes connections again"]);
  report.close();
  assert.equal(clock.pendingTimers, 0);
});

test("the log names API servers that the cluster does not name, once that has lasted for half a minute", () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (fields, message) =>
      void lines.push(`${String(fields["code"])} ${message} ${String(fields["err"])}`),
    info: (_fields, message) => void lines.push(message),
  };
  let unnamed: Unnamed | null = { named: ["10.0.2.15"], servers: ["192.0.2.12", "192.0.2.13"] };
  const report = reportBackends({ clock, log, why: () => null, unnamed: () => unnamed });
  clock.advance(29_000);
  assert.deepEqual(lines, []);
  clock.advance(6_000);
  assert.equal(lines.length, 1);
  assert.match(
    lines[0] ?? "",
    /^LH_ENDPOINTS The cluster does not name .* name 10\.0\.2\.15; API servers answer at 192\.0\.2\.12, 192\.0\.2\.13, which/,
  );
  clock.advance(30_000);
  assert.equal(lines.length, 2);
  unnamed = null;
  clock.advance(5_000);
  assert.equal(lines.at(-1), "The cluster names the API servers by their nodes' addresses now");
  // A server that has just started is named a few seconds later.
  unnamed = { named: [], servers: ["192.0.2.12"] };
  clock.advance(25_000);
  unnamed = null;
  clock.advance(60_000);
  assert.equal(lines.length, 3);
  assert.match(unnamedError({ named: [], servers: ["192.0.2.12"] }).message, /name no address; /);
  report.close();
});
