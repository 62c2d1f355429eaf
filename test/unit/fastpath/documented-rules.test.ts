/** The listing in docs/fast-path.md is what the agent of its n1 loads. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { timedElements } from "../../../src/fastpath/loader.ts";
import { makePlan } from "../../../src/fastpath/plan.ts";
import { FAST_PATH_VERSION, ruleset } from "../../../src/fastpath/ruleset.ts";
import { transaction } from "../../../src/fastpath/transaction.ts";
import { ip, macOf } from "../../support/fastpath/plans.ts";

const DOCUMENT = readFileSync(new URL("../../../docs/fast-path.md", import.meta.url), "utf8");
const VIP = "192.0.2.10";
const addressOf = (n: number): string => `192.0.2.1${n}`;

/** Lines that make or fill something of the two tables; what removes leftovers is told in words. */
function loaded(): readonly string[] {
  const plan = makePlan(
    {
      vips: [ip(VIP)],
      ports: [6443, 8443],
      podInterfaces: ["cni*", "cali*"],
      node: {
        name: "n1",
        interfaceName: "eth0",
        interfaceIndex: 2,
        addresses: [ip(addressOf(1))],
        subnets: [],
        mac: macOf(1),
        backendPort: 6443,
        balancerPort: 8443,
        wildcardListener: true,
        hasIngress: true,
        shortConntrackTimeouts: true,
      },
    },
    {
      backends: [1, 2, 3].map((n) => ({
        host: addressOf(n),
        port: 6443,
        grade: "UP",
        serving: true,
        drained: false,
        silent: false,
      })),
      peers: [2, 3].map((n) => ({
        node: `n${n}`,
        fastPath: { version: FAST_PATH_VERSION, addresses: [addressOf(n)] },
        mac: macOf(n),
        fresh: true,
        served: true,
        said: "",
      })),
      unheard: new Set(),
      unproven: new Set(),
    },
  );
  const script = transaction(ruleset(plan), [], timedElements(plan));
  return script
    .split("\n")
    .filter((line) => /^add |^delete element /.test(line) && !line.includes("table ip6"));
}

function documented(): readonly string[] {
  return [...DOCUMENT.matchAll(/^```nft\n([\s\S]*?)^```$/gm)].flatMap(([, block = ""]) =>
    block.trim().split("\n"),
  );
}

/** Slots 5 to 1022 are `...` in the document. */
function shortened(line: string): string {
  return line.replace(/( vmap \{ (?:\d+ : goto \w+, ){5}).*(1023 : .*)$/, "$1..., $2");
}

/**
 * `add rule ip leasehold wire` and the like: order counts within a chain, and the document goes through the
 * chains as a packet does.
 */
const chainOf = (line: string): string => line.split(" ").slice(0, 5).join(" ");

test("the document lists the rules as they are loaded, all of them, and those of each chain in their order", () => {
  const byChain = (lines: readonly string[]): Readonly<Record<string, readonly string[] | undefined>> =>
    Object.groupBy(lines, chainOf);
  assert.deepEqual({ ...byChain(documented()) }, { ...byChain(loaded().map(shortened)) });
});
