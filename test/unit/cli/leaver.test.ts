import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findLeaver } from "../../../src/cli/leaver.ts";
import type { Machine } from "../../../src/cli/leaver.ts";
import { formatCandidate } from "../../../src/kube/record-codec.ts";
import { macBytes } from "../../../src/linux/mac.ts";
import { parseIp } from "../../../src/net.ts";
import { exampleStatus } from "../ops/example.ts";

const example = exampleStatus().election?.candidates[0] ?? assert.fail();

/** As the agents write them: n1 to n3 are 192.0.2.11 to 192.0.2.13. */
function annotations(...numbers: readonly number[]): Record<string, string> {
  return Object.fromEntries(
    numbers.map((n) => [
      `leasehold.dev/candidate.n${n}`,
      formatCandidate({
        ...example,
        node: `n${n}`,
        ip: `192.0.2.1${n}`,
        mac: `02:00:00:00:00:1${n}`,
        fastPath: { version: 1, addresses: [`192.0.2.1${n}`, `2001:db8::1${n}`] },
      }),
    ]),
  );
}

function machine(addresses: readonly string[], mac = "02:00:00:00:00:99"): Machine {
  const link = {
    index: 2,
    name: "eth0",
    altNames: [],
    macBytes: macBytes(mac) ?? new Uint8Array(),
    up: true,
    carrier: true,
    loopback: false,
    ethernet: true,
    ipv6Forwarding: false,
  };
  return {
    links: [{ ...link, index: 1, name: "lo", macBytes: new Uint8Array(6), loopback: true }, link],
    addresses: addresses.map((text) => ({
      address: parseIp(text) ?? assert.fail(),
      prefixLength: 24,
      linkIndex: 2,
      flags: 0,
      validSeconds: null,
      ours: false,
    })),
  };
}

const n3 = machine(["127.0.0.1", "192.0.2.13"]);
const lease = annotations(1, 2, 3);
const others = ["n1", "n2", "n3"];

describe("the node that leaves", () => {
  test("is the one that was named, when the Lease gives it an address of this machine", () => {
    assert.deepEqual(findLeaver(lease, n3, "n3", "elsewhere"), { kind: "named", node: "n3" });
    assert.deepEqual(findLeaver(lease, machine(["2001:db8::13"]), "n3", "elsewhere"), {
      kind: "named",
      node: "n3",
    });
  });

  test("is known by its network card where its address has changed", () => {
    assert.deepEqual(findLeaver(lease, machine(["192.0.2.99"], "02:00:00:00:00:13"), "n3", "n3"), {
      kind: "named",
      node: "n3",
    });
  });

  test("needs no name: the Lease has one for this machine, whatever its host name is", () => {
    for (const hostname of ["n3", "n3.example.com", "localhost", "n1"]) {
      assert.deepEqual(findLeaver(lease, n3, undefined, hostname), { kind: "named", node: "n3" });
    }
  });

  test("is not another one: a wrong name is refused, with the right one", () => {
    assert.deepEqual(findLeaver(lease, n3, "n2", "n3"), {
      kind: "wrong-name",
      node: "n2",
      ip: "192.0.2.12",
      here: "n3",
      names: others,
    });
    assert.deepEqual(findLeaver(lease, n3, "n3.example.com", "n3"), {
      kind: "wrong-name",
      node: "n3.example.com",
      ip: undefined,
      here: "n3",
      names: others,
    });
  });

  test("is not this machine when the Lease gives the name another address, from wherever the name comes", () => {
    const elsewhere = machine(["192.0.2.99"]);
    for (const [name, hostname] of [
      ["n2", "n9"],
      [undefined, "n2"],
    ] as const) {
      assert.deepEqual(findLeaver(lease, elsewhere, name, hostname), {
        kind: "wrong-name",
        node: "n2",
        ip: "192.0.2.12",
        here: undefined,
        names: others,
      });
    }
  });

  test("has left already when neither its name nor its address is there", () => {
    assert.deepEqual(findLeaver(annotations(1, 2), n3, "n3", "n3"), {
      kind: "absent",
      node: "n3",
      names: ["n1", "n2"],
    });
    assert.deepEqual(findLeaver({ "leasehold.dev/description": "text" }, n3, undefined, "n3"), {
      kind: "absent",
      node: "n3",
      names: [],
    });
  });

  test("with an entry that nobody can read goes by its name, unless the Lease has this machine under another one", () => {
    const broken = { ...annotations(1), "leasehold.dev/candidate.n3": "{" };
    assert.deepEqual(findLeaver(broken, n3, "n3", "n3"), { kind: "named", node: "n3" });
    assert.equal(
      findLeaver({ ...broken, ...annotations(2) }, machine(["192.0.2.12"]), "n3", "n3").kind,
      "wrong-name",
    );
  });
});
