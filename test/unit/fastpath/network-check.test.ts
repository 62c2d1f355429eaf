import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createProber, probesHeard } from "../../../src/fastpath/network-check.ts";
import { macBytes } from "../../../src/linux/mac.ts";
import type { Family } from "../../../src/net.ts";
import { fastPathNode, macOf, rulesetPlan, VIP4, VIP6, wirePlan } from "../../support/fastpath/plans.ts";

const MAC = macBytes(macOf(1));

describe("probes", () => {
  test("go from each VIP to each peer that has an address of its family, in a frame to the peer's MAC address", () => {
    const frames: string[] = [];
    const probe = createProber({
      vips: [VIP4, VIP6],
      mac: () => MAC,
      send: (frame) => void frames.push(Buffer.from(frame).toString("hex")),
    });
    probe([fastPathNode(2, [4, 6]), fastPathNode(3, [4])]);
    assert.deepEqual(
      frames.map((frame) => [frame.slice(0, 12), frame.slice(24, 28)]),
      [
        ["020000000002", "0800"],
        ["020000000002", "86dd"],
        ["020000000003", "0800"],
      ],
    );
  });

  test("are not sent without a MAC address, and a link that is down ends the round without an error", () => {
    let sent = 0;
    const down = (): void => {
      sent += 1;
      throw new Error("ENETDOWN");
    };
    createProber({ vips: [VIP4], mac: () => undefined, send: down })([fastPathNode(2, [4])]);
    assert.equal(sent, 0);
    createProber({ vips: [VIP4], mac: () => MAC, send: down })([fastPathNode(2, [4]), fastPathNode(3, [4])]);
    assert.equal(sent, 1);
  });
});

describe("the probes that were heard", () => {
  const plan = rulesetPlan({ vips: [VIP4, VIP6], wire: wirePlan({ self: fastPathNode(1, [4]) }) });

  test("are read in the families of the VIPs in which this node has an address", async () => {
    const asked: Family[] = [];
    const heard = async (family: Family): Promise<readonly string[]> => {
      asked.push(family);
      return [macOf(2)];
    };
    assert.deepEqual([...(await probesHeard({ heard }, plan))], [macOf(2)]);
    assert.deepEqual(asked, [4]);
    assert.deepEqual([...(await probesHeard({ heard }, rulesetPlan({ wire: wirePlan({ peers: [] }) })))], []);
  });

  test("are unknown where the kernel's set is missing", async () => {
    await assert.rejects(probesHeard({ heard: async () => undefined }, plan), /the set heard4 is missing/);
  });
});
