import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseIp } from "../../../src/net.ts";
import type { BoundAddress, LinkState } from "../../../src/vip/kernel.ts";
import { vipStatus } from "../../../src/vip/status.ts";
import type { VipState } from "../../../src/vip/types.ts";

const v4 = parseIp("192.0.2.100") ?? assert.fail();
const v6 = parseIp("2001:db8::100") ?? assert.fail();
const up: LinkState = { name: "eth0", index: 2, mac: "02:00:00:00:00:01", up: true, carrier: true };
const held: VipState = {
  held: true,
  bound: true,
  foreign: false,
  boundSinceMs: 1000,
  untilMs: 9500,
  failure: undefined,
  announcements: 3,
  readded: 1,
  fenced: 0,
  strays: 0,
};
const bind = (address: typeof v4): BoundAddress => ({
  address,
  prefixLength: 32,
  linkIndex: 2,
  ours: true,
  validSeconds: 4,
});

function statusOf({
  link = up,
  bound = [bind(v4)],
  state = held,
}: {
  link?: LinkState | null;
  bound?: readonly BoundAddress[];
  state?: VipState;
}) {
  return vipStatus({
    interfaceName: "eth0",
    addresses: [v4, v6],
    nowMs: 2000,
    kernel: { link: () => link ?? undefined, addresses: () => bound },
    vip: { status: () => state },
  });
}

describe("the status of the VIP", () => {
  test("says of each address whether the kernel has it, and how long the right lasts from now", () => {
    assert.deepEqual(statusOf({}), {
      interface: "eth0",
      link: "up",
      wanted: true,
      foreign: false,
      failure: null,
      validForMs: 7500,
      announcements: 3,
      readded: 1,
      addresses: [
        { address: "192.0.2.100", bound: true },
        { address: "2001:db8::100", bound: false },
      ],
    });
    assert.equal(statusOf({ state: { ...held, held: false, untilMs: undefined } }).validForMs, null);
  });

  test("tells an interface that is missing, one that is down, and one without a carrier apart", () => {
    assert.equal(statusOf({ link: null }).link, "missing");
    assert.equal(statusOf({ link: { ...up, up: false } }).link, "down");
    assert.equal(statusOf({ link: { ...up, carrier: false } }).link, "no-carrier");
  });
});
