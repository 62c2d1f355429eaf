/** `leasehold forget NODE`, with the agent's own rights, against the embedded API server and a real one. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { forgetNode } from "../../src/cli/forget.ts";
import { createApiClient } from "../../src/kube/api.ts";
import { createCredentials } from "../../src/kube/credentials.ts";
import { formatCandidate, parseLease } from "../../src/kube/record-codec.ts";
import type { Candidate } from "../../src/kube/record.ts";
import { createHttpsTransport } from "../../src/kube/https-transport.ts";
import { systemClock } from "../../src/clock.ts";
import { silentLogger } from "../../src/log.ts";
import { rawClient, targetKinds } from "./target.ts";
import type { RawClient, Target } from "./target.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const MERGE = "application/merge-patch+json";
/** How much faster than the real one the command's clock runs: its half minute takes a third of a second. */
const HASTE = 100;

const hasty = {
  now: () => performance.now() * HASTE,
  after(delayMs: number, callback: () => void) {
    const timer = setTimeout(callback, delayMs / HASTE);
    return { cancel: () => clearTimeout(timer) };
  },
};

function annotation(node: string, counter: number, ip: string): Record<string, string> {
  const candidate: Candidate = {
    node,
    base: 100,
    effective: 100,
    eligible: true,
    state: "BACKUP",
    faults: [],
    preempt: false,
    ip,
    mac: "02:00:00:00:00:04",
    fastPath: { version: 2, addresses: [ip] },
    vips: null,
    instance: "i",
    version: "0.1.0",
    counter,
  };
  return { [`leasehold.dev/candidate.${node}`]: formatCandidate(candidate) };
}

for (const kind of await targetKinds()) {
  describe(`leasehold forget over ${kind.name}:`, { timeout: 120_000 }, () => {
    let target: Target;
    let admin: RawClient;
    let closeApi: () => Promise<void>;
    let run: (node: string) => Promise<string>;
    let serial = 0;

    before(async () => {
      target = await kind.start();
      admin = await rawClient(target);
      const clock = systemClock(() => performance.now());
      const log = silentLogger;
      const credentials = createCredentials({
        clock,
        log,
        ownPath: target.agentKubeconfig,
        adminPath: `${target.agentKubeconfig}.none`,
        onChange: () => {},
      });
      await credentials.start();
      const servers = (): readonly string[] => [target.server];
      const transport = createHttpsTransport({
        clock,
        log,
        credentials,
        servers,
        userAgent: "leasehold-test",
      });
      const api = createApiClient({ transport, clock, log });
      run = async (node) => {
        let printed = "";
        const lease = { api, namespace: "kube-system", name: "leasehold" };
        await forgetNode({ ...lease, clock: hasty, node, print: (text) => void (printed += text) });
        return printed;
      };
      closeApi = async () => {
        credentials.stop();
        transport.close();
      };
    });
    after(async () => {
      await closeApi();
      await target[Symbol.asyncDispose]();
    });
    beforeEach(async () => {
      await admin.call("DELETE", `${LEASES}/leasehold`);
      const spec = { holderIdentity: "n1", leaseDurationSeconds: 10 };
      const annotations = {
        ...annotation("n1", 1, "192.0.2.11"),
        ...annotation("n2", 1, "192.0.2.12"),
        ...annotation("n4", 7, "192.0.2.14"),
      };
      const made = await admin.call("POST", LEASES, { metadata: { name: "leasehold", annotations }, spec });
      assert.equal(made.status, 201);
      await serve("192.0.2.11", "192.0.2.12");
    });

    /** The cluster names these API servers, in a slice that a person may have made. */
    async function serve(...addresses: readonly string[]): Promise<void> {
      await admin.call("DELETE", `${SLICES}/by-hand`);
      if (addresses.length === 0) return;
      const labels = { "kubernetes.io/service-name": "kubernetes" };
      const made = await admin.call("POST", SLICES, {
        metadata: { name: "by-hand", labels },
        addressType: "IPv4",
        endpoints: [{ addresses }],
        ports: [{ name: "https", port: 6443 }],
      });
      assert.equal(made.status, 201, JSON.stringify(made.body));
    }

    async function annotate(annotations: Record<string, string | null>): Promise<void> {
      const answer = await admin.call("PATCH", `${LEASES}/leasehold`, { metadata: { annotations } }, MERGE);
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
    }

    async function names(): Promise<readonly string[]> {
      const { body } = await admin.call("GET", `${LEASES}/leasehold`);
      return Object.keys(parseLease(body)?.annotations ?? assert.fail("there is no Lease"))
        .map((key) => key.replace("leasehold.dev/candidate.", ""))
        .toSorted();
    }

    /** The holder, and whatever else writes all the while. */
    async function whileOthersWrite<T>(
      work: () => Promise<T>,
      write: () => Record<string, string | null> = () => annotation("n1", ++serial, "192.0.2.11"),
    ): Promise<T> {
      const over = new AbortController();
      const writes = (async () => {
        while (!over.signal.aborted) {
          await annotate(write());
          await new Promise((resolve) => void setTimeout(resolve, 20));
        }
      })();
      try {
        return await work();
      } finally {
        over.abort();
        await writes;
      }
    }

    test("a node that is silent leaves, and the command says what it did", async () => {
      const printed = await whileOthersWrite(() => run("n4"));
      assert.match(printed, /names n4, last at 192\.0\.2\.14\. Watching for 30 s/);
      assert.match(printed, /n4 was taken out of the Lease kube-system\/leasehold\. It names n1, n2 now/);
      assert.match(printed, /comes back, its agent joins again by itself/);
      assert.match(printed, /etcdctl member remove, kubectl delete node n4\): see "A dead node" in docs/);
      assert.deepEqual(await names(), ["n1", "n2"]);
      assert.match(await run("n4"), /does not name n4\. Nothing was changed\. It names n1, n2/);
    });

    test("a node leaves where the cluster names no API servers, and where its annotation is damaged", async () => {
      await serve();
      await annotate({ "leasehold.dev/candidate.n5": "{" });
      await whileOthersWrite(() => run("n4"));
      await whileOthersWrite(() => run("n5"));
      assert.deepEqual(await names(), ["n1", "n2"]);
    });

    test("a node that was replaced under another name leaves, though its address is in use", async () => {
      await serve("192.0.2.11", "192.0.2.12", "192.0.2.14");
      await annotate(annotation("n7", 1, "192.0.2.14"));
      await whileOthersWrite(
        () => run("n4"),
        () => annotation("n7", ++serial, "192.0.2.14"),
      );
      assert.deepEqual(await names(), ["n1", "n2", "n7"]);
      await assert.rejects(
        whileOthersWrite(
          () => run("n7"),
          () => annotation("n7", ++serial, "192.0.2.14"),
        ),
        /n7/,
      );
    });

    test("an asked-for move to the node is named", async () => {
      await annotate({ "leasehold.dev/move-to": "n4" });
      assert.match(
        await whileOthersWrite(() => run("n4")),
        /kubectl annotate lease .* leasehold\.dev\/move-to-/,
      );
    });

    for (const [what, node, prepare, write, pattern] of [
      [
        "whose agent writes",
        "n4",
        () => Promise.resolve(),
        () => annotation("n4", 100 + ++serial, "192.0.2.14"),
        /n4 is alive: its agent has just written/,
      ],
      [
        "that holds the Lease",
        "n1",
        () => serve(),
        () => annotation("n2", ++serial, "192.0.2.12"),
        /n1 holds the Lease/,
      ],
      [
        "whose API server the cluster names",
        "n4",
        () => serve("192.0.2.11", "192.0.2.14"),
        () => annotation("n1", ++serial, "192.0.2.11"),
        /the cluster still names the API server of n4, 192\.0\.2\.14/,
      ],
      [
        "that shares its address with a silent one",
        "n4",
        async () => {
          await serve("192.0.2.11", "192.0.2.14");
          await annotate(annotation("n7", 1, "192.0.2.14"));
        },
        () => annotation("n1", ++serial, "192.0.2.11"),
        /the cluster still names the API server of n4/,
      ],
    ] as const) {
      test(`a node stays ${what}`, async () => {
        await prepare();
        const before = await names();
        await assert.rejects(
          whileOthersWrite(() => run(node), write),
          pattern,
        );
        assert.deepEqual(await names(), before);
      });
    }

    test("a node stays while nobody writes: silence then proves nothing", async () => {
      await assert.rejects(run("n4"), /nobody has written .*proves nothing[^]*kubectl annotate lease/);
      assert.deepEqual(await names(), ["n1", "n2", "n4"]);
    });

    test("without a Lease it says so", async () => {
      await admin.call("DELETE", `${LEASES}/leasehold`);
      await assert.rejects(run("n4"), /there is no Lease kube-system\/leasehold/);
    });

    test("a name with a typing error gets advice", async () => {
      await annotate(annotation("controller-4", 1, "192.0.2.15"));
      assert.match(await run("controler-4"), /did you mean controller-4\?/);
    });
  });
}
