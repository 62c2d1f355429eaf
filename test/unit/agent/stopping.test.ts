import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { createStopping, readManifest, watchManifest } from "../../../src/agent/stopping.ts";
import type { Stopping } from "../../../src/agent/stopping.ts";
import type { Grade } from "../../../src/backends/backend.ts";
import { formatCandidate } from "../../../src/kube/record-codec.ts";
import type { LeaseRecord } from "../../../src/kube/record.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { candidate } from "../election/harness.ts";

interface Node {
  readonly clock: FakeClock;
  readonly stopping: Stopping;
  manifest: string | undefined;
  grade: Grade | undefined;
  changes: number;
  poke: () => void;
}

function node(first: { readonly manifest?: string | undefined } = { manifest: "v1.36.2" }): Node {
  const clock = new FakeClock();
  const state: Omit<Node, "stopping"> = {
    clock,
    manifest: first.manifest,
    grade: "UP",
    changes: 0,
    poke: () => {},
  };
  const stopping = createStopping({
    clock,
    log: silentLogger,
    manifest: "/etc/kubernetes/manifests/kube-apiserver.yaml",
    read: () => state.manifest,
    watch(poke) {
      state.poke = poke;
      return { close: () => {} };
    },
    grade: () => state.grade,
    onChange: () => (state.changes += 1),
  });
  stopping.start();
  return Object.assign(state, { stopping });
}

describe("a node's own API server", () => {
  for (const [what, next] of [
    ["changed", "v1.36.3"],
    ["went", undefined],
  ] as const) {
    test(`is about to stop from the moment that its manifest ${what}, until it is ready again`, () => {
      const state = node();
      state.poke();
      assert.equal(state.stopping.own(), false, "nothing has changed");
      state.manifest = next;
      state.poke();
      assert.deepEqual([state.stopping.own(), state.changes], [true, 1]);
      state.stopping.update();
      assert.equal(state.stopping.own(), true, "it is still UP, because it has not stopped yet");
      state.grade = "DOWN";
      state.stopping.update();
      state.grade = "DRAIN";
      state.stopping.update();
      assert.equal(state.stopping.own(), true, "it starts");
      state.grade = "UP";
      state.stopping.update();
      assert.deepEqual([state.stopping.own(), state.changes], [false, 2]);
    });
  }

  test("is found about to stop within 10 s where nobody tells of the change", () => {
    const state = node();
    state.manifest = "v1.36.3";
    state.clock.advance(10_000);
    assert.equal(state.stopping.own(), true);
  });

  test("that kubelet does not stop is given back after two minutes; a change in between starts them again", () => {
    const state = node();
    for (const manifest of ["v1.36.3", "v1.36.4"]) {
      state.manifest = manifest;
      state.poke();
      state.clock.advance(100_000);
      assert.equal(state.stopping.own(), true);
    }
    state.clock.advance(20_000);
    assert.deepEqual([state.stopping.own(), state.changes], [false, 2]);
  });

  test("that is not UP has nothing to give away, and neither has one whose first manifest comes", () => {
    for (const [manifest, grade] of [
      ["v1.36.2", "DOWN"],
      ["v1.36.2", undefined],
      [undefined, "UP"],
    ] as const) {
      const state = node({ manifest });
      state.grade = grade;
      state.manifest = "v1.36.3";
      state.poke();
      assert.equal(state.stopping.own(), false);
    }
  });
});

test("a manifest that cannot be read has not gone: the process may be out of descriptors", (t) => {
  const state = node();
  let isReadable = false;
  Object.defineProperty(state, "manifest", { get: () => (isReadable ? "v1.36.3" : assert.fail("EMFILE")) });
  state.poke();
  assert.equal(state.stopping.own(), false);
  isReadable = true;
  state.clock.advance(10_000);
  assert.equal(state.stopping.own(), true, "it has changed meanwhile");
  const directory = mkdtempSync(join(tmpdir(), "leasehold-manifest-"));
  t.after(() => rmSync(directory, { recursive: true }));
  assert.throws(() => readManifest(directory), { code: "EISDIR" });
  writeFileSync(join(directory, "file"), "");
  assert.equal(readManifest(join(directory, "file", "kube-apiserver.yaml")), undefined);
});

describe("the others' API servers", () => {
  const lease = (...stopping: readonly (number | undefined)[]): LeaseRecord => ({
    uid: "u",
    resourceVersion: "1",
    holder: "n1",
    leaseDurationMs: 4_000,
    acquireTime: null,
    renewTime: null,
    leaseTransitions: null,
    annotations: Object.fromEntries(
      stopping.map((port, index) => {
        const name = `n${index + 1}`;
        const fastPath = {
          version: 2,
          addresses: [`10.88.0.1${index + 1}`, `fd88::1${index + 1}`],
          ...(port === undefined ? {} : { stopping: port }),
        };
        return [`leasehold.dev/candidate.${name}`, formatCandidate(candidate(name, { fastPath }))];
      }),
    ),
  });

  test("are about to stop while their nodes say so, by each of their addresses", () => {
    const { stopping } = node();
    stopping.observe(lease(undefined, 6443));
    assert.deepEqual(stopping.others(), ["10.88.0.12:6443", "[fd88::12]:6443"]);
    stopping.observe(null);
    assert.equal(stopping.others().length, 2, "a Lease that is gone says nothing else");
    stopping.observe(lease(undefined, undefined));
    assert.deepEqual(stopping.others(), []);
  });

  test("are not believed for longer than two minutes: an agent that has ended says nothing else any more", () => {
    const state = node();
    state.stopping.observe(lease(undefined, 6443));
    state.clock.advance(60_000);
    state.stopping.observe(lease(undefined, 6443, 6443));
    state.clock.advance(60_000);
    assert.deepEqual(state.stopping.others(), ["10.88.0.13:6443", "[fd88::13]:6443"]);
    state.stopping.observe(lease(undefined, 6443, 6443));
    assert.deepEqual(state.stopping.others(), ["10.88.0.13:6443", "[fd88::13]:6443"]);
    state.clock.advance(60_000);
    assert.deepEqual(state.stopping.others(), []);
  });
});

test("a manifest is read and watched where it is, also when another file takes its name", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-manifest-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "kube-apiserver.yaml");
  assert.equal(readManifest(path), undefined);
  let told = (): void => {};
  const poked = new Promise<void>((resolve) => (told = resolve));
  const watcher = watchManifest(path, told);
  writeFileSync(join(directory, "new"), "kind: Pod\n");
  renameSync(join(directory, "new"), path);
  await poked;
  watcher.close();
  assert.equal(readManifest(path), "kind: Pod\n");
  watchManifest(join(directory, "none", "x.yaml"), told).close();
});
