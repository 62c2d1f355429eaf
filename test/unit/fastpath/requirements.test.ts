import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { missingRequirements } from "../../../src/fastpath/requirements.ts";
import { VIP4, VIP6 } from "../../support/fastpath/plans.ts";

describe("requirements", () => {
  const files =
    (present: Readonly<Record<string, string>>) =>
    (file: string): string | undefined =>
      present[file];
  const LOOSE = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose";
  const FORWARD = "/proc/sys/net/ipv4/ip_forward";
  const BOND = "/sys/class/net/bond0/bonding/mode";

  test("are met where the files say so, or do not exist", () => {
    assert.deepEqual(
      missingRequirements("bond0", [VIP4], files({ [LOOSE]: "1", [FORWARD]: "1", [BOND]: "802.3ad 4" })),
      [],
    );
    assert.deepEqual(missingRequirements("eth0", [VIP4], files({})), []);
  });

  test("are named with what to do, all at once", () => {
    assert.deepEqual(
      missingRequirements("bond0", [VIP4], files({ [LOOSE]: "0", [FORWARD]: "0", [BOND]: "balance-alb 6" })),
      [
        "net.netfilter.nf_conntrack_tcp_loose is 0, set it to 1",
        "net.ipv4.ip_forward is 0, set it to 1",
        "bond0 is a bond in mode balance-alb, which sends from several MAC addresses; use active-backup or 802.3ad",
      ],
    );
    assert.match(
      missingRequirements("bond0", [VIP4], files({ [BOND]: "balance-tlb 5" })).join(),
      /balance-tlb/,
    );
  });

  test("of IPv6 are not those of IPv4", () =>
    assert.deepEqual(missingRequirements("eth0", [VIP6], files({ [FORWARD]: "0" })), []));
});
