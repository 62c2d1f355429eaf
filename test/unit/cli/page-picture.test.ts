import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { pagePicture } from "../../../src/cli/page-picture.ts";
import type { PictureInput } from "../../../src/ops/page.ts";
import type { PeerAnswer } from "../../../src/peers/ask-peer.ts";
import { exampleStatus, released } from "../ops/example.ts";
import { answers, AT } from "./answers.ts";

const { config } = answers();
const told = (body: unknown): PeerAnswer => ({ kind: "ok", text: JSON.stringify(body) });
const n1 = exampleStatus();
const n2 = exampleStatus({ agent: { node: "n2" }, election: { state: "BACKUP", confirmed: false } });
const places = new Map([["n2", "192.0.2.12:10085"]]);

const input = (statuses: Readonly<Record<string, PeerAnswer>>, node = "n1"): PictureInput => ({
  at: AT,
  node,
  statuses: new Map(Object.entries(statuses)),
  places,
});

describe("the page's picture", () => {
  test("has each node by its own word, and the API servers as each sees them", () => {
    const { nodes, apiServers, lease, missing, node, vips } = pagePicture(
      config,
      input({ n1: told(n1), n2: told(n2) }),
    );
    assert.deepEqual(
      nodes.filter(({ from }) => from === "agent").map((one) => [one.node, one.state, one.self]),
      [
        ["n1", "MASTER", true],
        ["n2", "BACKUP", false],
      ],
    );
    assert.deepEqual([...new Set(apiServers.map(({ seenBy }) => seenBy))], ["n1", "n2"]);
    assert.deepEqual([node, lease.holder, lease.from, missing], ["n1", "n1", "agent", []]);
    assert.ok(vips.length > 0);
  });

  test("of another node is that node's word", () => {
    const picture = pagePicture(config, input({ n1: told(n1), n2: told(n2) }, "n2"));
    assert.equal(picture.node, "n2");
    assert.equal(picture.nodes.find(({ node }) => node === "n2")?.self, true);
  });

  test("says which agent could not be asked, or is another than its name says", () => {
    const why = "the agent of n2 at 192.0.2.12:10085: connect ECONNREFUSED";
    const { missing } = pagePicture(config, input({ n1: told(n1), n2: { kind: "failed", why } }));
    assert.deepEqual(missing, [{ node: "n2", why }]);
    for (const body of [n1, {}, "text", null, { ...n2, node: "<b>" }])
      assert.deepEqual(pagePicture(config, input({ n1: told(n1), n2: told(body) })).missing, [
        {
          node: "n2",
          why: "the agent of n2 at 192.0.2.12:10085: its answer is not of an agent of this version",
        },
      ]);
  });

  test("says during a take-over which machine has the VIP, and that its kernel has it", () => {
    const waits = {
      state: "BACKUP",
      confirmed: false,
      eligible: false,
      taken: true,
      holder: "",
      other: { mac: "02:00:00:00:00:02", node: "n2" },
    } as const;
    const here = exampleStatus({ election: waits, vip: { addresses: released } });
    const there = exampleStatus({
      agent: { node: "n2" },
      election: waits,
      vip: { foreign: true, addresses: released },
    });
    const picture = pagePicture(config, input({ n1: told(here), n2: told(there) }));
    assert.deepEqual(picture.other, { where: "n2 (02:00:00:00:00:02)", node: "n2", standsBy: true });
    assert.deepEqual(
      picture.nodes.map(({ node, vipBound }) => [node, vipBound]),
      [
        ["n1", false],
        ["n2", true],
      ],
    );
    const { other } = pagePicture(config, input({ n1: told(n1), n2: told(there) }));
    assert.equal(other, null, "an agent has the VIP");
  });

  test("says which stranger has the VIP that no agent may take", () => {
    const refuses = exampleStatus({
      election: {
        state: "FAULT",
        confirmed: false,
        eligible: false,
        faults: ["vip-conflict"],
        holder: "",
        contender: { mac: "02:00:00:00:00:99", node: null, agoMs: 400 },
      },
      vip: { addresses: released },
    });
    const { other } = pagePicture(config, input({ n1: told(refuses) }));
    assert.deepEqual(other, { where: "the machine 02:00:00:00:00:99", node: null, standsBy: false });
  });

  test("is a picture even when nothing answers", () => {
    const why = "gone";
    const { node, nodes, missing, version } = pagePicture(
      config,
      input({ n2: { kind: "failed", why } }, "n2"),
    );
    assert.deepEqual([node, nodes, missing, version], ["n2", [], [{ node: "n2", why }], ""]);
  });
});

test("the picture's modules have no native code, which an agent cannot load a second time", () => {
  const seen = new Set<string>();
  const open = [new URL("../../../src/cli/page-picture.ts", import.meta.url)];
  for (let url = open.pop(); url !== undefined; url = open.pop()) {
    if (seen.has(url.pathname)) continue;
    seen.add(url.pathname);
    // A bundle has what is imported for its value, and not what is imported as a type.
    for (const [, path = ""] of readFileSync(url, "utf8").matchAll(
      /^(?:import|export) (?!type )[^;]*from "(\..*)"/gm,
    ))
      open.push(new URL(path, url));
  }
  assert.ok(seen.size > 5);
  assert.deepEqual(
    [...seen].filter((path) => path.endsWith("/linux/libc.ts")),
    [],
  );
});
