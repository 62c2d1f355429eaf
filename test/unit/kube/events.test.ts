import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createApiClient } from "../../../src/kube/api.ts";
import { createEventRecorder } from "../../../src/kube/events.ts";
import type { KubeEvent } from "../../../src/kube/events.ts";
import type { ApiRequest } from "../../../src/kube/transport.ts";
import { isObject } from "../../../src/kube/record-codec.ts";
import type { LogFields } from "../../../src/log.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { ScriptedTransport, settle } from "./scripted-transport.ts";

function setUp() {
  const clock = new FakeClock();
  const transport = new ScriptedTransport(clock, ["192.0.2.1:6443"]);
  return { clock, transport, api: createApiClient({ transport, clock, log: silentLogger }) };
}

describe("events on the Lease", () => {
  const became: KubeEvent = {
    type: "Normal",
    reason: "LeaderElection",
    action: "Elected",
    note: "n1 became leader",
  };
  const LEASE = { kind: "Lease", uid: undefined } as const;
  let notes = 0;
  /** No two are the same, so that none is counted as a repetition. */
  const numbered = (): KubeEvent => ({ ...became, note: `term ${notes++}` });
  const recorderOf = ({ api, clock }: ReturnType<typeof setUp>) =>
    createEventRecorder({
      api,
      clock,
      log: silentLogger,
      namespace: "kube-system",
      leaseName: "leasehold",
      node: "n1",
    });

  test("have everything that events.k8s.io/v1 asks for", async () => {
    const parts = setUp();
    const body = JSON.stringify({
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { name: `leasehold.${1_767_225_600_000_000n.toString(16)}000`, namespace: "kube-system" },
      eventTime: "2026-01-01T00:00:00.000000Z",
      type: "Normal",
      reason: "LeaderElection",
      action: "Elected",
      note: "n1 became leader",
      reportingController: "leasehold.dev/agent",
      reportingInstance: "n1",
      regarding: {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        name: "leasehold",
        namespace: "kube-system",
        uid: "u1",
      },
    });
    parts.transport.expect({
      method: "POST",
      path: "/apis/events.k8s.io/v1/namespaces/kube-system/events",
      contentType: "application/json",
      body,
      reply: { status: 201 },
    });
    recorderOf(parts).record(became, { kind: "Lease", uid: "u1" });
    await settle();
    parts.transport.done();
  });

  test("a flood is cut off after ten, then one every 10 s", async () => {
    const parts = setUp();
    const recorder = recorderOf(parts);
    const accept = { method: "POST", reply: { status: 201 } } as const;
    parts.transport.expect(...Array.from({ length: 10 }, () => accept));
    for (let i = 0; i < 50; i++) recorder.record(numbered(), LEASE);
    await settle();
    parts.transport.done();
    parts.clock.advance(20_000);
    parts.transport.expect(accept, accept);
    for (let i = 0; i < 50; i++) recorder.record(numbered(), LEASE);
    await settle();
    parts.transport.done();
    const names = parts.transport.requests.map(({ body }) =>
      isObject(body) ? JSON.stringify(body["metadata"]) : "",
    );
    assert.equal(new Set(names).size, 12, "every event has a name of its own");
  });

  test("that are refused: RBAC is told to be applied for a 403 and for nothing else", async () => {
    for (const [status, hint] of [
      [403, "apply manifests/rbac.yaml"],
      [401, undefined],
    ] as const) {
      const parts = setUp();
      const warnings: LogFields[] = [];
      const log = { ...silentLogger, warn: (fields: LogFields) => void warnings.push(fields) };
      const { api, clock } = parts;
      parts.transport.expect({ method: "POST", reply: { status } });
      createEventRecorder({
        api,
        clock,
        log,
        namespace: "kube-system",
        leaseName: "leasehold",
        node: "n1",
      }).record(numbered(), LEASE);
      await settle();
      assert.deepEqual(
        warnings.map((fields) => [fields["status"], fields["hint"]]),
        [[status, hint]],
      );
    }
  });

  test("a note that is too long ends at a whole character", async () => {
    const parts = setUp();
    parts.transport.expect({
      method: "POST",
      reply: ({ body }) => {
        const note = isObject(body) ? String(body["note"]) : "";
        assert.equal(note, `a${"ä".repeat(499)}`);
        return { status: 201 };
      },
    });
    recorderOf(parts).record({ ...became, note: `a${"ä".repeat(2000)}` }, LEASE);
    await settle();
    parts.transport.done();
  });

  test("on a Node are in the namespace default, where `kubectl describe node` finds them", async () => {
    const parts = setUp();
    parts.transport.expect({
      method: "POST",
      path: "/apis/events.k8s.io/v1/namespaces/default/events",
      reply: ({ body }) => {
        assert.ok(isObject(body));
        assert.deepEqual(body["regarding"], { apiVersion: "v1", kind: "Node", name: "n2", uid: "n2" });
        return { status: 201 };
      },
    });
    recorderOf(parts).record(became, { kind: "Node", name: "n2" });
    await settle();
    parts.transport.done();
  });

  test("that repeat are one Event with a count, which is written twice a minute at most", async () => {
    const parts = setUp();
    const recorder = recorderOf(parts);
    const paths: string[] = [];
    const series: unknown[] = [];
    parts.transport.expect({ method: "POST", reply: { status: 201 } });
    for (let i = 0; i < 40; i++) recorder.record(became, LEASE);
    await settle();
    parts.transport.done();
    const patched = {
      method: "PATCH",
      contentType: "application/merge-patch+json",
      reply: ({ path, body }: ApiRequest) => {
        paths.push(path);
        series.push(isObject(body) ? body["series"] : body);
        return { status: 200 };
      },
    } as const;
    parts.transport.expect(patched);
    parts.clock.advance(30_000);
    await settle();
    parts.transport.done();
    parts.transport.expect(patched);
    recorder.record(became, LEASE);
    parts.clock.advance(30_000);
    await settle();
    parts.transport.done();
    assert.deepEqual(
      series.map((one) => (isObject(one) ? one["count"] : one)),
      [40, 41],
    );
    assert.match(paths[0] ?? "", /\/namespaces\/kube-system\/events\/leasehold\.[0-9a-f]+$/);
  });

  test("that no API server takes are sent again when one is back", async () => {
    const parts = setUp();
    parts.transport.expect({ method: "POST", reply: { status: 503 } });
    recorderOf(parts).record(became, LEASE);
    await settle();
    parts.transport.done();
    parts.transport.expect({
      method: "POST",
      reply: ({ body }) => {
        assert.equal(isObject(body) ? body["eventTime"] : "", "2026-01-01T00:00:00.000000Z");
        return { status: 201 };
      },
    });
    parts.clock.advance(10_000);
    await settle();
    parts.transport.done();
    parts.clock.advance(600_000);
    await settle();
    parts.transport.done();
  });
});
