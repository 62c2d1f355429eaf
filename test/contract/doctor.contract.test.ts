/**
 * What `leasehold doctor` asks of API servers: the agent's rights, and the names in the servers'
 * certificates.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { examine } from "../../src/cli/examine.ts";
import type { Examined } from "../../src/cli/examined.ts";
import { systemClock } from "../../src/clock.ts";
import { parseConfig } from "../../src/config/config.ts";
import { targetKinds } from "./target.ts";
import type { Target } from "./target.ts";

for (const kind of await targetKinds()) {
  describe(`doctor asks the ${kind.name}`, () => {
    let target: Target;

    before(async () => {
      target = await kind.start();
    });
    after(async () => target[Symbol.asyncDispose]());

    function examined(env: Readonly<Record<string, string>> = {}): Promise<Examined> {
      const parsed = parseConfig(
        {
          LEASEHOLD_VIP: "192.0.2.10",
          LEASEHOLD_KUBECONFIG: target.agentKubeconfig,
          LEASEHOLD_ADMIN_KUBECONFIG: "/nonexistent",
          LEASEHOLD_API_SERVERS: target.server,
          LEASEHOLD_DATA_DIR: "/nonexistent",
          ...env,
        },
        "n1",
      );
      assert.ok(parsed.kind === "ok");
      return examine(
        parsed.config,
        systemClock(() => performance.now()),
      );
    }

    test("for the agent's rights, by manifests/rbac.yaml", async () => {
      const { rights } = await examined();
      // The embedded one reviews no access, which is not known then, and not denied.
      if (rights.kind === "failed") assert.match(rights.why, /answered 404/);
      else assert.deepEqual(rights.value, []);
      const other = (await examined({ LEASEHOLD_LEASE_NAME: "another" })).rights;
      assert.equal(other.kind, rights.kind);
      if (other.kind === "ok")
        assert.deepEqual(
          other.value.map(({ right, needed }) => [right, needed]),
          (["get", "watch", "patch", "list", "update"] as const).map((verb) => [
            `${verb} leases/another in kube-system`,
            !["list", "update"].includes(verb),
          ]),
        );
    });

    test("for its certificate, which is not valid for an address that nobody put into it", async () => {
      const [certificate] = (await examined()).servers;
      assert.ok(certificate?.kind === "ok", JSON.stringify(certificate));
      assert.deepEqual(certificate.value.missing, ["192.0.2.10"]);
      assert.ok(certificate.value.expiresAt > new Date());
      // It runs on this machine, whose clock it has.
      assert.ok(Math.abs(certificate.value.skewMs ?? Number.NaN) < 2_000, String(certificate.value.skewMs));
    });

    test("and is told of a server that does not answer", async () => {
      const { servers, rights } = await examined({ LEASEHOLD_API_SERVERS: "127.0.0.1:9" });
      assert.deepEqual(
        servers.map((one) => one.kind),
        ["failed"],
      );
      assert.equal(rights.kind, "failed");
    });
  });
}
