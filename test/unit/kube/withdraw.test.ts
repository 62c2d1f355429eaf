import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createApiClient } from "../../../src/kube/api.ts";
import { formatCandidate } from "../../../src/kube/record-codec.ts";
import { withdraw } from "../../../src/kube/withdraw.ts";
import type { Withdrawal } from "../../../src/kube/withdraw.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { candidate } from "../election/harness.ts";
import { A, held, lease, NOT_FOUND, PATH } from "./lease-fixture.ts";
import { pass, ScriptedTransport } from "./scripted-transport.ts";
import type { Step } from "./scripted-transport.ts";

const OURS = "leasehold.dev/candidate.n3";
const THEIRS = { "leasehold.dev/candidate.n1": "{}" };
const read = (annotations: Record<string, string>): Step => ({
  method: "GET",
  path: PATH,
  reply: { status: 200, body: lease(held("n1"), annotations) },
});

/** What comes of it when the API server answers like this, and nothing else is asked. */
async function outcome(...steps: readonly Step[]): Promise<Withdrawal> {
  const clock = new FakeClock();
  const transport = new ScriptedTransport(clock, [A]);
  transport.expect(...steps);
  const api = createApiClient({ transport, clock, log: silentLogger });
  const result = withdraw({ api, namespace: "kube-system", name: "leasehold", node: "n3" });
  await pass(clock, 20_000);
  transport.done();
  return result;
}

describe("a node that leaves the Lease", () => {
  test("removes its own annotation and nothing else", async () => {
    const patch: Step = {
      method: "PATCH",
      path: PATH,
      contentType: "application/merge-patch+json",
      body: JSON.stringify({ metadata: { annotations: { [OURS]: null } } }),
      reply: { status: 200, body: lease(held("n1"), THEIRS, "8") },
    };
    assert.deepEqual(await outcome(read({ ...THEIRS, [OURS]: "{}" }), patch), { kind: "withdrawn" });
  });

  test("takes the drain of its API server with it, and no other", async () => {
    const ours = formatCandidate(candidate("n3", { ip: "10.0.0.3" }));
    const drains = {
      "leasehold.dev/drain.10.0.0.3-6443": "10.0.0.3:6443",
      "leasehold.dev/drain.10.0.0.1-6443": "10.0.0.1:6443",
    };
    const patch: Step = {
      method: "PATCH",
      path: PATH,
      body: JSON.stringify({
        metadata: { annotations: { [OURS]: null, "leasehold.dev/drain.10.0.0.3-6443": null } },
      }),
      reply: { status: 200, body: lease(held("n1"), THEIRS, "8") },
    };
    assert.deepEqual(await outcome(read({ ...THEIRS, ...drains, [OURS]: ours }), patch), {
      kind: "withdrawn",
    });
  });

  test("writes nothing where it is not named, or where there is no Lease", async () => {
    assert.deepEqual(await outcome(read(THEIRS)), { kind: "unknown" });
    assert.deepEqual(await outcome({ method: "GET", reply: { status: 404, body: NOT_FOUND } }), {
      kind: "unknown",
    });
  });

  for (const [what, steps, message] of [
    [
      "nobody answers",
      [
        { method: "GET", reply: { hang: true } },
        { method: "GET", reply: { hang: true } },
      ],
      /.+/,
    ],
    ["there are no credentials", [{ method: "GET", reply: { fail: "credentials", sent: false } }], /.+/],
    [
      "it may not read",
      [{ method: "GET", reply: { status: 403, body: { kind: "Status", message: "no rights" } } }],
      /403: no rights/,
    ],
    ["something else answers", [{ method: "GET", reply: { status: 200, body: "hello" } }], /no Lease/],
    ["it may not write", [read({ [OURS]: "{}" }), { method: "PATCH", reply: { status: 403 } }], /403/],
    [
      "an agent has written again",
      [
        read({ [OURS]: "{}" }),
        { method: "PATCH", reply: { status: 200, body: lease(held("n1"), { [OURS]: "{}" }, "9") } },
      ],
      /still there/,
    ],
  ] satisfies [string, Step[], RegExp][]) {
    test(`says so when ${what}`, async () => {
      const result = await outcome(...steps);
      assert.ok(result.kind === "failed");
      assert.match(result.message, message);
    });
  }
});
