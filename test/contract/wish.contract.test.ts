/** `leasehold move`, `unpin` and `resign` against API servers, with the rights that the agents have. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { wish } from "../../src/cli/wish.ts";
import type { WishCommand } from "../../src/cli/wish.ts";
import { systemClock } from "../../src/clock.ts";
import { formatCandidate, parseLease } from "../../src/kube/record-codec.ts";
import { candidate } from "../unit/election/harness.ts";
import { rawClient, targetKinds } from "./target.ts";
import type { RawClient, Target } from "./target.ts";

const PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const WAITING = { wait: true, timeoutMs: 3_000 } as const;
const clock = systemClock(() => performance.now());

interface Done {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

for (const kind of await targetKinds()) {
  describe(`wishes for the VIP's place, on the ${kind.name}`, () => {
    let target: Target;
    let raw: RawClient;

    before(async () => {
      target = await kind.start();
      raw = await rawClient(target);
    });
    after(async () => target[Symbol.asyncDispose]());

    async function run(command: WishCommand, env: Readonly<Record<string, string>> = {}): Promise<Done> {
      let [out, err] = ["", ""];
      using _ = beating();
      const exit = await wish(command, {
        env: {
          LEASEHOLD_KUBECONFIG: target.agentKubeconfig,
          LEASEHOLD_ADMIN_KUBECONFIG: "/nonexistent",
          LEASEHOLD_API_SERVERS: target.server,
          LEASEHOLD_DATA_DIR: "/nonexistent",
          // No agent answers on this machine.
          LEASEHOLD_OPS_ADDRESS: "127.0.0.1:9",
          ...env,
        },
        hostname: "n1",
        clock,
        print: (text) => (out += text),
        printError: (text) => (err += text),
      });
      return { exit, out, err };
    }

    /** What the agents say of themselves. The counter shows that they live. */
    const annotationsOf = (counter: number): Readonly<Record<string, string>> =>
      Object.fromEntries(
        [
          candidate("n1", { counter, state: "MASTER" }),
          candidate("n2", { counter }),
          candidate("n3", { counter, eligible: false, state: "FAULT", faults: ["balancer"] }),
        ].map((one) => [`leasehold.dev/candidate.${one.node}`, formatCandidate(one)]),
      );

    /** The agents live: until it is disposed of, their counters go on. */
    function beating(): Disposable {
      let counter = 1;
      const beat = clock.every(300, () => {
        const annotations = annotationsOf((counter += 1));
        const change = { metadata: { annotations } };
        void raw.call("PATCH", `${PATH}/leasehold`, change, "application/merge-patch+json");
      });
      return { [Symbol.dispose]: () => beat.cancel() };
    }

    /** Puts the Lease into place, held by n1. */
    async function lease(annotations: Readonly<Record<string, string>> = {}): Promise<void> {
      await raw.call("DELETE", `${PATH}/leasehold`);
      const made = await raw.call("POST", PATH, {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: {
          name: "leasehold",
          annotations: {
            ...annotationsOf(1),
            ...annotations,
          },
        },
        spec: { holderIdentity: "n1", leaseDurationSeconds: 10 },
      });
      assert.equal(made.status, 201);
    }

    async function wished(): Promise<string | undefined> {
      const { body } = await raw.call("GET", `${PATH}/leasehold`);
      return parseLease(body)?.annotations["leasehold.dev/move-to"];
    }

    /** What the agents do: the node that is wished for becomes the holder. */
    async function obey(): Promise<void> {
      for (let looks = 0; looks < 100; looks += 1) {
        const holder = await wished();
        if (holder !== undefined) {
          const spec = { holderIdentity: holder };
          await raw.call("PATCH", `${PATH}/leasehold`, { spec }, "application/merge-patch+json");
          return;
        }
        await new Promise<void>((resolve) => void clock.after(20, resolve));
      }
    }

    test("move stores the wish, says where it is and what ends it, and changes no more", async () => {
      await lease();
      const { exit, out } = await run({
        kind: "move",
        to: "n2",
        force: false,
        wait: false,
        timeoutMs: 1_000,
      });
      assert.deepEqual([exit, await wished()], [0, "n2"]);
      assert.match(out, /Lease kube-system\/leasehold, as the annotation leasehold\.dev\/move-to=n2/);
      assert.match(out, /until `leasehold unpin` or another move/);
    });

    test("move --wait says how long it took", async () => {
      await lease();
      const [done] = await Promise.all([run({ kind: "move", to: "n2", force: false, ...WAITING }), obey()]);
      assert.equal(done.exit, 0, done.err);
      assert.match(done.out, /n2 holds the VIP after [\d.]+ s/);
    });

    test("move --wait ends in time when no agent obeys, and leaves the wish", async () => {
      await lease();
      const command = { kind: "move", to: "n2", force: false, wait: true, timeoutMs: 1_000 } as const;
      const { exit, err } = await run(command);
      assert.deepEqual([exit, await wished()], [1, "n2"]);
      assert.match(err, /n2 does not hold the VIP after 1 s: n1 holds the Lease/);
    });

    test("move to a node that cannot take the VIP is refused, and stores nothing", async () => {
      await lease();
      for (const to of ["n3", "n9"]) {
        const { exit, err } = await run({ kind: "move", to, force: false, ...WAITING });
        assert.deepEqual([exit, await wished()], [3, undefined], err);
      }
      const forced = await run({ kind: "move", to: "n3", force: true, wait: false, timeoutMs: 1_000 });
      assert.deepEqual([forced.exit, await wished()], [0, "n3"]);
      assert.match(forced.out, /cannot take the VIP now/);
    });

    test("unpin removes the wish, and nothing when there is none", async () => {
      await lease({ "leasehold.dev/move-to": "n2" });
      const removed = await run({ kind: "unpin" });
      assert.deepEqual([removed.exit, await wished()], [0, undefined]);
      assert.match(removed.out, /move-to=n2 was removed/);
      const again = await run({ kind: "unpin" });
      assert.equal(again.exit, 0);
      assert.match(again.out, /nothing pins the VIP/);
    });

    test("resign moves the VIP to the best other node, and leaves no wish", async () => {
      await lease();
      const [done] = await Promise.all([run({ kind: "resign", ...WAITING }), obey()]);
      assert.deepEqual([done.exit, await wished()], [0, undefined], done.err);
      assert.match(done.out, /n1 resigns, and n2 shall have the VIP/);
    });

    test("resign that no agent obeys removes the wish as well", async () => {
      await lease();
      const { exit } = await run({ kind: "resign", wait: false, timeoutMs: 1_000 });
      assert.deepEqual([exit, await wished()], [1, undefined]);
    });

    test("without a Lease, and without the API, nothing is stored, and what to do is said", async () => {
      await raw.call("DELETE", `${PATH}/leasehold`);
      const none = await run({ kind: "move", to: "n2", force: true, ...WAITING });
      assert.equal(none.exit, 1);
      assert.match(none.err, /there is no Lease kube-system\/leasehold/);
      const away = await run({ kind: "resign", ...WAITING }, { LEASEHOLD_API_SERVERS: "127.0.0.1:7" });
      assert.equal(away.exit, 1);
      assert.match(away.err, /could not be read: .*\n?.*mv \/etc\/kubernetes\/manifests\/leasehold\.yaml/s);
    });

    test("wrong settings are all named, with exit status 2", async () => {
      const { exit, err } = await run({ kind: "unpin" }, { LEASEHOLD_PRIORITY: "900" });
      assert.equal(exit, 2);
      assert.match(err, /LEASEHOLD_PRIORITY/);
    });
  });
}
