import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { LeaseholdError } from "../../../src/errors.ts";
import type { Flow, FlowList } from "../../../src/fastpath/flows.ts";
import { NoVerdict, createNft } from "../../../src/fastpath/nft.ts";
import type { Table } from "../../../src/fastpath/tables.ts";
import { removal, transaction } from "../../../src/fastpath/transaction.ts";
import type { Nftables, PlacedRule, SetKeys, TableState } from "../../../src/linux/nftables.ts";

const TABLE: Table = { family: "ip", sets: [], counters: [], chains: [{ name: "pre", rules: ["accept"] }] };

/**
 * A program of that name in front of all others, which notes each call; `body` decides how it ends. "$input"
 * is what it was given.
 */
function program(t: TestContext, body: string): { readonly calls: () => readonly string[] } {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-nft-"));
  const path = process.env["PATH"];
  const notes = join(directory, "calls");
  writeFileSync(notes, "");
  writeFileSync(
    join(directory, "nft"),
    `#!/bin/sh\ninput=$(cat)\nprintf '%s\\n%s\\n=\\n' "$*" "$input" >>'${notes}'\n${body}\n`,
  );
  chmodSync(join(directory, "nft"), 0o755);
  process.env["PATH"] = `${directory}:${path}`;
  t.after(() => {
    process.env["PATH"] = path;
    rmSync(directory, { recursive: true });
  });
  return {
    calls: () =>
      readFileSync(notes, "utf8")
        .split("\n=\n")
        .slice(0, -1)
        .map((call) => `${call}\n`),
  };
}

/** What the kernel has in our tables; a field that is an error is its answer. */
class Kernel implements Nftables {
  rulesOf: Readonly<Record<string, readonly PlacedRule[]>> | Error = {};
  tables: Readonly<Record<string, TableState>> = {};
  sets: Readonly<Record<string, readonly Uint8Array[]>> | Error = {};
  readonly renewed: (readonly SetKeys[])[] = [];
  fails: Error | undefined;

  async counters({ family }: { family: string }) {
    return family === "ip" ? [{ name: "unknown", packets: 3, bytes: 180 }] : [];
  }

  async rules({ family }: { family: string }) {
    if (this.rulesOf instanceof Error) throw this.rulesOf;
    return this.rulesOf[family] ?? [];
  }

  async table({ family }: { family: string }) {
    return this.tables[family];
  }

  beforeElements: (set: string) => Promise<void> = async () => {};
  /** How many lists of clients have begun. */
  lists = 0;

  async elements<T>(_: unknown, set: string, parse: (key: Uint8Array) => T | undefined) {
    if (set === "flows4") this.lists += 1;
    await this.beforeElements(set);
    if (this.sets instanceof Error) throw this.sets;
    return this.sets[set]?.map(parse).filter((value) => value !== undefined);
  }

  async renew(elements: readonly SetKeys[], sender: (port: number) => void) {
    sender(3_000_000_000);
    await Promise.resolve();
    if (this.fails !== undefined) throw this.fails;
    this.renewed.push(elements);
  }
}

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const listed = (list: FlowList): readonly (Flow | undefined)[] =>
  Array.from({ length: list.length }, (_, index) => list.at(index));
const OWN = { family: "ip", set: "own", elements: ["10.88.0.100"] } as const;

describe("the nft program", { concurrency: 1 }, () => {
  test("is given one transaction, with the chains that the kernel has; it is not asked for them itself", async (t) => {
    const { calls } = program(t, "");
    const kernel = new Kernel();
    kernel.rulesOf = {
      ip: [
        { chain: "old", handle: 3n },
        { chain: "old", handle: 4n },
      ],
    };
    await createNft(kernel).load([TABLE], []);
    assert.deepEqual(calls(), [`-f -\n${transaction([TABLE], [{ family: "ip", name: "old" }], [])}`]);
  });

  test("is given the rules also when the kernel cannot be asked for chains", async (t) => {
    const { calls } = program(t, "");
    const kernel = new Kernel();
    kernel.rulesOf = new Error("ENOBUFS");
    await createNft(kernel).load([TABLE], []);
    assert.deepEqual(calls(), [`-f -\n${transaction([TABLE], [], [])}`]);
  });

  test("is given the same from nothing when it refuses: sets of another shape are in the way", async (t) => {
    const { calls } = program(
      t,
      `case "$input" in "add table netdev leasehold
delete table netdev leasehold
add table ip leasehold
delete"*|"") exit 0 ;; *) exit 1 ;; esac`,
    );
    await createNft(new Kernel()).load([TABLE], []);
    assert.equal(calls().length, 2);
    assert.equal(calls().at(-1), `-f -\n${removal()}${transaction([TABLE], [], [])}`);
  });

  const silent: readonly (readonly [string, string])[] = [
    ["is killed, as at its time limit", "kill -KILL $$"],
    [
      "cannot read what the kernel has",
      "echo 'netlink: Error: cache initialization failed: Interrupted system call' >&2; exit 1",
    ],
    ["is out of memory", "echo 'src/utils.c:30: Memory allocation failure' >&2; exit 1"],
  ];
  for (const [how, body] of silent) {
    test(`that ${how} has refused nothing: what the sets hold is not given up for it`, async (t) => {
      const { calls } = program(t, body);
      await assert.rejects(
        createNft(new Kernel()).load([TABLE], []),
        (error) => error instanceof NoVerdict && error.code === "LH_NFT",
      );
      assert.equal(calls().length, 1);
    });
  }

  test("says in its own first line why it refuses", async (t) => {
    program(t, "echo 'Error: no such thing' >&2; echo ^^^ >&2; exit 1");
    const isRefusal = (error: unknown): boolean =>
      error instanceof LeaseholdError &&
      !(error instanceof NoVerdict) &&
      error.code === "LH_NFT" &&
      error.message.endsWith("exit 1: Error: no such thing");
    await assert.rejects(createNft(new Kernel()).load([TABLE], []), isRefusal);
  });

  test("is called once at a time, and goes on after a failure", async (t) => {
    // Two at once would find the other's directory.
    const { calls } = program(
      t,
      `mkdir "$0.busy" || { echo two at once >&2; exit 3; }; sleep 0.05; rmdir "$0.busy"; case "$input" in *bad*) exit 1 ;; esac`,
    );
    const nft = createNft(new Kernel());
    const load = (name: string): Promise<void> => nft.load([{ ...TABLE, counters: [name] }], []);
    const ends = await Promise.allSettled([load("a"), load("bad"), load("c")]);
    assert.deepEqual(
      ends.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.equal(calls().length, 4, "the bad one twice");
  });

  test("that is missing is LH_NFT too, and has refused nothing", async (t) => {
    const path = process.env["PATH"];
    process.env["PATH"] = "/nonexistent";
    t.after(() => (process.env["PATH"] = path));
    await assert.rejects(
      createNft(new Kernel()).remove(),
      (error) =>
        error instanceof NoVerdict && error.code === "LH_NFT" && /cannot be started/.test(error.message),
    );
  });

  test("is known by its process id for a while: its own changes are no reason to put anything back", async (t) => {
    const { calls } = program(t, 'echo $$ >>"$0.pids"');
    const nft = createNft(new Kernel());
    assert.equal(nft.isOwn(undefined), false);
    await nft.remove();
    const [directory = ""] = (process.env["PATH"] ?? "").split(":");
    const pid = Number(readFileSync(join(directory, "nft.pids"), "utf8"));
    assert.deepEqual([nft.isOwn(pid), nft.isOwn(pid + 100_000), calls().length], [true, false, 1]);
  });

  test("takes no part in reading and refreshing", async (t) => {
    const { calls } = program(t, "exit 1");
    const kernel = new Kernel();
    kernel.sets = {
      flows4: [hex("020000000009 0000 0a580009 9c40 0000 0a580064 192b 0000"), hex("02")],
      recent4: [hex("020000000009 0000 0a580009 9c41 0000 0a580064 192b 0000")],
      heard4: [hex("020000000002"), hex("0200")],
    };
    const nft = createNft(kernel);
    assert.deepEqual(await nft.counters(), [{ family: "ip", name: "unknown", packets: 3, bytes: 180 }]);
    const found = { mac: "02:00:00:00:00:09", client: "10.88.0.9", vip: "10.88.0.100", vipPort: 6443 };
    assert.deepEqual(listed(await nft.flows(4)), [
      { ...found, clientPort: 40000 },
      { ...found, clientPort: 40001 },
    ]);
    assert.deepEqual(await nft.heard(4), ["02:00:00:00:00:02"]);
    assert.deepEqual(
      [listed(await nft.flows(6)), await nft.heard(6)],
      [[], undefined],
      "of a set that is not there",
    );
    await nft.refresh([
      OWN,
      { family: "ip6", set: "own", elements: ["fd88::100"] },
      { family: "ip", set: "settling", elements: ["6443"] },
      { ...OWN, elements: [] },
    ]);
    assert.deepEqual(
      kernel.renewed.map((sets) =>
        sets.map(({ table, set, keys }) => [
          table.family,
          table.name,
          set,
          ...keys.map((key) => Buffer.from(key).toString("hex")),
        ]),
      ),
      [
        [
          ["ip", "leasehold", "own", "0a580064"],
          ["ip6", "leasehold", "own", "fd880000000000000000000000000100"],
          ["ip", "leasehold", "settling", "192b"],
        ],
      ],
    );
    await nft.refresh([{ ...OWN, elements: [] }]);
    assert.deepEqual([kernel.renewed.length, calls()], [1, []], "nothing to refresh is nothing to do");
  });

  test("a refresh is our own change before the kernel has answered: its notification may be faster", async () => {
    const kernel = new Kernel();
    kernel.fails = new Error("ENOENT");
    const nft = createNft(kernel);
    const refreshed = nft.refresh([OWN]);
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(nft.isOwn(3_000_000_000), true);
    await assert.rejects(refreshed, /ENOENT/);
  });

  test("changes the rules, and reads all else, while the list of clients is under way", async (t) => {
    const { calls } = program(t, "");
    const kernel = new Kernel();
    let release = (): void => {};
    const listing = new Promise<void>((resolve) => (release = resolve));
    kernel.beforeElements = async (set) => {
      if (set === "flows4") await listing;
    };
    const nft = createNft(kernel);
    const done: string[] = [];
    const lists = [nft.flows(4), nft.flows(4)].map((list) => list.then(() => done.push("list")));
    await nft.load([TABLE], []);
    await nft.refresh([OWN]);
    await nft.counters();
    await nft.heard(4);
    assert.equal(await nft.isIntact(), true);
    assert.deepEqual(
      [done, calls().length, kernel.lists],
      [[], 1, 1],
      "and the lists come one after the other",
    );
    release();
    await Promise.all(lists);
    assert.deepEqual(done, ["list", "list"]);
  });

  test("a read that fails is an error, and not an empty set", async () => {
    const kernel = new Kernel();
    kernel.sets = new Error("ENOBUFS");
    const nft = createNft(kernel);
    await assert.rejects(nft.flows(4), /ENOBUFS/);
    await assert.rejects(nft.heard(4), /ENOBUFS/);
  });

  test("rules are intact while the kernel has those that the load left; an error is neither yes nor no", async (t) => {
    program(t, "");
    const kernel = new Kernel();
    const nft = createNft(kernel);
    const rules = {
      ip: [
        { chain: "pre", handle: 7n },
        { chain: "pre", handle: 9n },
      ],
    };
    const tables = { ip: { handle: 2n, flags: 0 } };
    Object.assign(kernel, { rulesOf: rules, tables });
    assert.equal(await nft.isIntact(), true, "nothing has been loaded");
    await nft.load([TABLE], []);
    assert.equal(await nft.isIntact(), true);
    const changes: readonly (readonly [string, Partial<Kernel>])[] = [
      ["a rule is gone", { rulesOf: { ip: [{ chain: "pre", handle: 7n }] } }],
      [
        "a rule was replaced",
        {
          rulesOf: {
            ip: [
              { chain: "pre", handle: 7n },
              { chain: "pre", handle: 10n },
            ],
          },
        },
      ],
      [
        "a rule was added",
        {
          rulesOf: { ...rules, netdev: [{ chain: "ingress", handle: 1n }] },
          tables: { ...tables, netdev: { handle: 5n, flags: 0 } },
        },
      ],
      ["the table is gone", { tables: {} }],
      ["the table is another one", { tables: { ip: { handle: 4n, flags: 0 } } }],
      ["the table is dormant", { tables: { ip: { handle: 2n, flags: 1 } } }],
    ];
    for (const [what, change] of changes) {
      Object.assign(kernel, { rulesOf: rules, tables }, change);
      assert.equal(await nft.isIntact(), false, what);
    }
    Object.assign(kernel, { rulesOf: new Error("ENOBUFS"), tables });
    await assert.rejects(nft.isIntact(), /ENOBUFS/);
    await nft.load([TABLE], []);
    Object.assign(kernel, { rulesOf: rules });
    assert.equal(await nft.isIntact(), true, "there is nothing to compare with");
  });
});

test("without a descriptor left a call fails and nothing else does", async () => {
  const script = fileURLToPath(new URL("../../support/fastpath/no-descriptors.ts", import.meta.url));
  const { stdout } = await promisify(execFile)("sh", [
    "-c",
    `ulimit -n 128; exec "$0" "$1"`,
    process.execPath,
    script,
  ]);
  assert.equal(stdout, "LH_NFT LH_NATIVE LH_NATIVE alive");
});
