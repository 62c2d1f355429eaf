import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  formatCandidate,
  formatMicroTime,
  parseCandidate,
  parseLease,
} from "../../../src/kube/record-codec.ts";
import type { Candidate } from "../../../src/kube/record.ts";
import { candidate, held, lease } from "./lease-fixture.ts";
import { isMachineAddress, parseIp } from "../../../src/net.ts";

const priority = fc.integer({ min: 1, max: 254 });
const word = fc.stringMatching(/^[\w.:+-]{1,64}$/);
const hex = fc.integer({ min: 0, max: 255 }).map((byte) => byte.toString(16).padStart(2, "0"));
const anyCandidate: fc.Arbitrary<Candidate> = fc.record(
  {
    node: fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?$/),
    base: priority,
    effective: priority,
    eligible: fc.boolean(),
    state: fc.constantFrom("INIT", "BACKUP", "MASTER", "FAULT"),
    faults: fc.array(word, { maxLength: 8 }),
    preempt: fc.boolean(),
    ip: fc.oneof(
      fc.ipV4().filter((text) => isMachineAddress(parseIp(text) ?? assert.fail())),
      fc.constant("2001:db8::1"),
    ),
    mac: fc.oneof(
      fc.constant(""),
      fc.array(hex, { minLength: 5, maxLength: 5 }).map((bytes) => ["02", ...bytes].join(":")),
    ),
    fastPath: fc.option(
      fc.record(
        {
          version: fc.integer({ min: 1 }),
          addresses: fc.constantFrom(["192.0.2.1"], ["2001:db8::1"], ["192.0.2.1", "2001:db8::1"]),
        },
        { noNullPrototype: true },
      ),
    ),
    vips: fc.constantFrom(null, ["192.0.2.9"], ["192.0.2.9", "2001:db8::9"]),
    instance: word,
    version: word,
    counter: fc.nat(),
  },
  { noNullPrototype: true },
);

describe("candidate annotations", () => {
  test("what is written is read back", () => {
    fc.assert(
      fc.property(anyCandidate, (each) => {
        assert.deepEqual(parseCandidate(each.node, formatCandidate(each)), each);
      }),
    );
  });

  test("one damaged member makes the whole annotation invalid", () => {
    const good: Record<string, unknown> = JSON.parse(formatCandidate(candidate()));
    const damage: [string, unknown][] = [
      ["base", 0],
      ["base", 255],
      ["base", "100"],
      ["base", 1.5],
      ["effective", -1],
      ["effective", null],
      ["eligible", "true"],
      ["eligible", 1],
      ["state", "master"],
      ["state", ""],
      ["faults", "balancer"],
      ["faults", [1]],
      ["faults", Array.from({ length: 17 }, () => "x")],
      ["faults", ["\u001b[2J"]],
      ["preempt", undefined],
      ["ip", "n1.example.com"],
      ["ip", "192.0.2.1/24"],
      ["ip", "2001:DB8::1"],
      ["ip", "fe80::1%eth0"],
      ["ip", "255.255.255.255"],
      ["ip", "224.0.0.1"],
      ["ip", "127.0.0.1"],
      ["ip", "0.0.0.0"],
      ["ip", "ff02::1"],
      ["ip", "::1"],
      ["mac", "00:00:00:00:00:00"],
      ["mac", "ff:ff:ff:ff:ff:ff"],
      ["mac", "01:00:5e:00:00:01"],
      ["mac", "02:00:00:00:00:0A"],
      ["mac", "02:00:00:00:00"],
      ["mac", "02-00-00-00-00-01"],
      ["mac", "02:00:00:00:00:0G"],
      ["instance", ""],
      ["instance", "a\nb"],
      ["version", "x".repeat(65)],
      ["counter", -1],
      ["counter", 1e300],
      ["counter", 0.5],
    ];
    for (const [member, value] of damage) {
      assert.equal(
        parseCandidate("n1", JSON.stringify({ ...good, [member]: value })),
        undefined,
        `${member} = ${JSON.stringify(value)}`,
      );
    }
    for (const member of Object.keys(good).filter((name) => name !== "fastPath" && name !== "vips")) {
      const { [member]: _, ...rest } = good;
      assert.equal(parseCandidate("n1", JSON.stringify(rest)), undefined, `without ${member}`);
    }
  });

  test("an offer of the fast path that does not fit is none, and hides nothing else", () => {
    const text = (fastPath: unknown): string =>
      JSON.stringify({ ...JSON.parse(formatCandidate(candidate())), fastPath });
    const offer = { version: 1, addresses: ["192.0.2.1", "2001:db8::1"] };
    assert.deepEqual(parseCandidate("n1", text(offer))?.fastPath, offer);
    const stopping = { ...offer, stopping: 6443 };
    assert.deepEqual(parseCandidate("n1", text(stopping))?.fastPath, stopping);
    for (const port of [0, 65_536, 1.5, "6443", true, null])
      assert.deepEqual(parseCandidate("n1", text({ ...offer, stopping: port }))?.fastPath, offer);
    const odd: readonly unknown[] = [
      undefined,
      2,
      "on",
      [],
      {},
      { version: 1 },
      { ...offer, version: 0 },
      { ...offer, version: "1" },
      { ...offer, addresses: [] },
      { ...offer, addresses: ["n1"] },
      { ...offer, addresses: ["192.0.2.1", "192.0.2.2"] },
      { ...offer, addresses: ["192.0.2.1 }", "2001:db8::1"] },
      { ...offer, addresses: ["192.0.2.1", "2001:db8::1", "192.0.2.3"] },
    ];
    for (const value of odd)
      assert.deepEqual(parseCandidate("n1", text(value)), candidate(), JSON.stringify(value));
  });

  test("an offer to the peers is read back, and one that does not fit is none and hides nothing else", () => {
    const text = (peer: unknown): string =>
      JSON.stringify({ ...JSON.parse(formatCandidate(candidate())), peer });
    const offer = { port: 10_085, key: "0f".repeat(32) };
    assert.deepEqual(parseCandidate("n1", formatCandidate({ ...candidate(), peer: offer }))?.peer, offer);
    assert.deepEqual(parseCandidate("n1", text({ ...offer, another: 1 }))?.peer, offer);
    const odd: readonly unknown[] = [
      undefined,
      null,
      10_085,
      [offer],
      {},
      { key: offer.key },
      { ...offer, port: 0 },
      { ...offer, port: 65_536 },
      { ...offer, port: "10085" },
      { ...offer, port: 1.5 },
      { ...offer, key: "0F".repeat(32) },
      { ...offer, key: `${offer.key}\n` },
      { ...offer, key: "0f".repeat(31) },
      { ...offer, key: ["0f".repeat(32)] },
    ];
    for (const value of odd)
      assert.deepEqual(parseCandidate("n1", text(value)), candidate(), JSON.stringify(value));
  });

  test("a newer agent's additional members do not hide it", () => {
    const text = JSON.stringify({ ...JSON.parse(formatCandidate(candidate())), another: 2 });
    assert.deepEqual(parseCandidate("n1", text), candidate());
  });

  test("a text that was read before is not parsed again, and each node has its own", () => {
    const text = formatCandidate(candidate());
    const first = parseCandidate("n1", text);
    assert.equal(parseCandidate("n1", text), first);
    assert.equal(parseCandidate("n2", text)?.node, "n2");
    for (let counter = 0; counter < 500; counter++) {
      const next = { ...candidate(), counter };
      assert.deepEqual(parseCandidate("n1", formatCandidate(next)), next);
    }
    assert.notEqual(parseCandidate("n1", text), first, "what is remembered is bounded");
    assert.deepEqual(parseCandidate("n1", text), first);
  });

  test("names that no node can have, and texts that are too long, are refused", () => {
    const text = formatCandidate(candidate());
    for (const node of ["", "N1", "-n1", "n1/", "n 1", "a".repeat(254)])
      assert.equal(parseCandidate(node, text), undefined, node);
    assert.equal(parseCandidate("n1", text + " ".repeat(3000)), undefined);
  });

  test("no text and no JSON makes the parser throw", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.oneof(fc.string(), fc.json()),
        (node, text) => void parseCandidate(node, text),
      ),
    );
  });
});

describe("Lease JSON", () => {
  test("absent members are told apart from set ones", () => {
    assert.deepEqual(parseLease(lease({})), {
      uid: "u1",
      resourceVersion: "7",
      holder: "",
      leaseDurationMs: 0,
      acquireTime: null,
      renewTime: null,
      leaseTransitions: null,
      annotations: {},
    });
    assert.equal(parseLease(lease(held("n1")))?.leaseTransitions, 4);
  });

  test("members of a wrong type count as absent", () => {
    const parsed = parseLease({
      ...lease({}),
      spec: { holderIdentity: 3, leaseDurationSeconds: "10", leaseTransitions: 1.5, renewTime: {} },
    });
    assert.deepEqual(
      [parsed?.holder, parsed?.leaseDurationMs, parsed?.leaseTransitions, parsed?.renewTime],
      ["", 0, null, null],
    );
  });

  test("a duration that is no positive number of 32 bits counts as absent", () => {
    const durationOf = (leaseDurationSeconds: number): number | undefined =>
      parseLease({ ...lease({}), spec: { leaseDurationSeconds } })?.leaseDurationMs;
    assert.deepEqual([durationOf(10), durationOf(2_147_483_647)], [10_000, 2_147_483_647_000]);
    for (const value of [1e308, 2_147_483_648, Number.POSITIVE_INFINITY, Number.NaN, 0, -1])
      assert.equal(durationOf(value), 0, String(value));
  });

  test("an annotation called __proto__ is an annotation like any other", () => {
    const parsed = parseLease(
      JSON.parse('{"metadata":{"uid":"u","resourceVersion":"1","annotations":{"__proto__":"x","n":1}}}'),
    );
    assert.deepEqual(Object.entries(parsed?.annotations ?? {}), [["__proto__", "x"]]);
    assert.equal(Object.hasOwn(Object.prototype, "x"), false);
  });

  test("what is no Lease is none", () => {
    for (const body of [
      undefined,
      null,
      "",
      [],
      {},
      { metadata: null },
      { kind: "Status", metadata: { uid: "u", resourceVersion: "1" } },
      { metadata: { uid: "u" } },
      { metadata: { uid: "u", resourceVersion: "" } },
    ]) {
      assert.equal(parseLease(body), undefined, JSON.stringify(body));
    }
  });

  test("no JSON makes the parser throw, and what it accepts has the promised types", () => {
    const anySpec = fc.record({
      metadata: fc.oneof(
        fc.anything(),
        fc.record({ uid: fc.string(), resourceVersion: fc.string(), annotations: fc.anything() }),
      ),
      spec: fc.anything(),
    });
    fc.assert(
      fc.property(fc.oneof(fc.anything(), anySpec), (body) => {
        const parsed = parseLease(body);
        if (parsed === undefined) return;
        assert.equal(typeof parsed.holder, "string");
        assert.ok(Number.isFinite(parsed.leaseDurationMs) && parsed.leaseDurationMs >= 0);
        assert.ok(Object.values(parsed.annotations).every((value) => typeof value === "string"));
      }),
    );
  });
});

describe("MicroTime", () => {
  test("has six digits, whatever they are", () => {
    assert.equal(formatMicroTime(0n), "1970-01-01T00:00:00.000000Z");
    assert.equal(formatMicroTime(1_767_225_600_000_001n), "2026-01-01T00:00:00.000001Z");
    assert.equal(formatMicroTime(1_767_225_599_999_999n), "2025-12-31T23:59:59.999999Z");
  });
});
