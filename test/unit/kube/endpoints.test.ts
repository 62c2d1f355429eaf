import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createApiClient } from "../../../src/kube/api.ts";
import { watchEndpoints } from "../../../src/kube/endpoints.ts";
import { silentLogger } from "../../../src/log.ts";
import type { HostPort } from "../../../src/net.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { pass, ScriptedTransport } from "./scripted-transport.ts";
import type { Reply, Step } from "./scripted-transport.ts";

function setUp() {
  const clock = new FakeClock();
  const transport = new ScriptedTransport(clock, ["192.0.2.1:6443"]);
  return { clock, transport, api: createApiClient({ transport, clock, log: silentLogger }) };
}

describe("discovery", () => {
  const answer = (...addresses: string[]) => ({
    status: 200,
    body: {
      items: [
        {
          ports: [{ name: "https", port: 6443 }],
          endpoints: addresses.map((address) => ({ addresses: [address] })),
        },
      ],
    },
  });

  test("tells changes only, asks sooner until the first answer, and never believes in an empty list", async () => {
    const { clock, transport, api } = setUp();
    const told: (readonly HostPort[])[] = [];
    const get = (reply: ReturnType<typeof answer> | { readonly status: number }) =>
      ({ method: "GET", reply }) as const;
    transport.expect(get({ status: 403 }), get(answer()), get(answer("192.0.2.2", "192.0.2.1")));
    const endpoints = watchEndpoints({
      api,
      clock,
      log: silentLogger,
      onServers: (servers) => told.push(servers),
    });
    await pass(clock, 2500);
    assert.deepEqual(told, [
      [
        { host: "192.0.2.1", port: 6443 },
        { host: "192.0.2.2", port: 6443 },
      ],
    ]);
    transport.done();
    transport.expect(get(answer("192.0.2.1", "192.0.2.2")), get(answer()), get(answer("192.0.2.1")));
    await pass(clock, 30_000);
    assert.deepEqual(told.slice(1), [[{ host: "192.0.2.1", port: 6443 }]]);
    transport.done();
    endpoints.close();
    assert.equal(clock.pendingTimers, 0);
  });

  test("tells every answer to those who count the time, also an empty one, and no failure", async () => {
    const { clock, transport, api } = setUp();
    const answers: string[] = [];
    const get = (reply: Reply): Step => ({ method: "GET", reply });
    transport.expect(
      get({ status: 403 }),
      get(answer("192.0.2.1")),
      get(answer("192.0.2.1")),
      get(answer()),
      get({ fail: "refused", sent: false }),
    );
    const endpoints = watchEndpoints({
      api,
      clock,
      log: silentLogger,
      onServers: () => {},
      onAnswer: (servers) => answers.push(servers.map(({ host }) => host).join()),
    });
    await pass(clock, 32_000);
    assert.deepEqual(answers, ["192.0.2.1", "192.0.2.1", ""]);
    endpoints.close();
  });

  test("tells what came of the last question", async () => {
    const { clock, transport, api } = setUp();
    const get = (reply: Reply): Step => ({ method: "GET", reply });
    transport.expect(
      get({ fail: "credentials", sent: false }),
      get({ status: 403, body: { kind: "Status", message: "endpointslices is forbidden" } }),
      get(answer()),
      get(answer("192.0.2.1")),
    );
    const endpoints = watchEndpoints({ api, clock, log: silentLogger, onServers: () => {} });
    assert.equal(endpoints.discovery().kind, "asking");
    const seen = [];
    for (let i = 0; i < 4; i++) {
      await pass(clock, i === 0 ? 10 : 1_000);
      seen.push(endpoints.discovery());
    }
    assert.deepEqual(
      seen.map(({ kind }) => kind),
      ["no-answer", "refused", "none", "found"],
    );
    assert.equal(seen[0]?.kind === "no-answer" && seen[0].reason, "credentials");
    assert.deepEqual(seen[1], {
      kind: "refused",
      server: "192.0.2.1:6443",
      status: 403,
      message: "endpointslices is forbidden",
    });
    endpoints.close();
  });
});
