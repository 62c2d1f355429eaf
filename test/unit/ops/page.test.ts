/** The page's files and events, over HTTP. What a browser makes of them is in test/lab/page.test.ts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { PictureInput } from "../../../src/ops/page.ts";
import { exampleStatus } from "./example.ts";
import { startedOps } from "./rig.ts";
import type { OpsRig } from "./rig.ts";

interface Rig extends OpsRig {
  /** What each picture was made of. */
  readonly inputs: PictureInput[];
}

async function started(t: TestContext, picture?: (input: PictureInput) => object): Promise<Rig> {
  const inputs: PictureInput[] = [];
  const rig = await startedOps(t, {
    page: {
      node: "n1",
      settings: [
        { section: "Lease", name: "LEASEHOLD_VIP", value: "192.0.2.10", isSet: true, doc: "The VIP." },
      ],
      moves: () => [{ at: "2026-01-01T00:00:00.000Z", from: "BACKUP", to: "MASTER", reason: "claimed" }],
      async picture(input) {
        inputs.push(input);
        return picture?.(input) ?? { nodes: [] };
      },
    },
  });
  return { ...rig, inputs };
}

interface Event {
  readonly name: string;
  readonly data: Record<string, unknown>;
}

/** The next events of a stream; more is read only when it is asked for. */
function eventsOf(t: TestContext, answer: Response): () => Promise<Event> {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader() ?? assert.fail("no body");
  t.after(() => reader.cancel().catch(() => {}));
  let rest = "";
  return async () => {
    for (let reads = 0; reads < 1_000; reads++) {
      const [, name, data = "", more = ""] = /^event: (\w+)\ndata: (.*)\n\n([^]*)$/.exec(rest) ?? [];
      if (name !== undefined) {
        rest = more;
        return { name, data: JSON.parse(data) };
      }
      const { value, done } = await reader.read();
      if (done) assert.fail(`ended after ${rest}`);
      rest = (rest + value).replace(/^retry: \d+\n\n/, "");
    }
    assert.fail("no event");
  };
}

async function turns(count = 50): Promise<void> {
  for (let index = 0; index < count; index++) await turn();
}

describe("the page's files", () => {
  test("load nothing from elsewhere, and no other page may hold them", async (t) => {
    const { get } = await started(t);
    for (const [path, type] of [
      ["/", "text/html; charset=utf-8"],
      ["/page.css", "text/css; charset=utf-8"],
      ["/page.js", "text/javascript; charset=utf-8"],
    ] as const) {
      const answer = await get(path);
      assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, type]);
      const policy = answer.headers.get("content-security-policy") ?? "";
      assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; /);
      assert.match(policy, /frame-ancestors 'none'/);
      assert.doesNotMatch(policy, /unsafe|\*|https?:/);
      assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
      const body = await answer.text();
      assert.ok(body.length > 500);
      assert.doesNotMatch(body.replaceAll("http://www.w3.org/2000/svg", ""), /https?:\/\//);
      assert.doesNotMatch(body, /innerHTML|insertAdjacentHTML|document\.write|style="|onclick=/);
    }
  });

  test("are small", async (t) => {
    const { get } = await started(t);
    const sizes = await Promise.all(
      ["/", "/page.css", "/page.js"].map(async (path) => (await (await get(path)).text()).length),
    );
    assert.ok(sizes.reduce((total, size) => total + size) < 40_000, sizes.join());
  });
});

describe("the page's events", () => {
  test("begin with settings and history, and bring a picture every two seconds while somebody looks", async (t) => {
    const { get, clock, inputs } = await started(t);
    clock.advance(30_000);
    const answer = await get("/events");
    assert.equal(answer.headers.get("content-type"), "text/event-stream");
    const next = eventsOf(t, answer);
    const start = await next();
    assert.equal(start.name, "start");
    assert.match(JSON.stringify(start.data["settings"]), /"LEASEHOLD_VIP","value":"192\.0\.2\.10"/);
    assert.deepEqual(Array.isArray(start.data["samples"]) && start.data["samples"].length, 3);
    const first = await next();
    assert.equal(first.name, "picture");
    assert.match(JSON.stringify(first.data["moves"]), /"node":"n1".*"to":"MASTER"/);
    assert.match(JSON.stringify(first.data["sample"]), /"holder":"n1","states":\[\["n1","MASTER"\]/);
    const [input] = inputs;
    assert.deepEqual([input?.node, [...(input?.statuses.keys() ?? [])]], ["n1", ["n1"]]);
    clock.advance(2_000);
    assert.equal((await next()).name, "picture");
    assert.equal(inputs.length, 2);
  });

  test("have a history that asks the kernel nothing: the whole status is not made for it", async (t) => {
    let made = 0;
    const { clock, get } = await startedOps(t, {
      status: () => exampleStatus({ agent: { uptimeMs: ++made } }),
    });
    clock.advance(30_000);
    assert.equal(made, 0);
    const { data } = await eventsOf(t, await get("/events"))();
    assert.equal(Array.isArray(data["samples"]) && data["samples"].length, 3);
  });

  test("are made once for all who look, and not at all when nobody does", async (t) => {
    const { get, clock, inputs } = await started(t);
    const [one, two] = [eventsOf(t, await get("/events")), new AbortController()];
    await one();
    await one();
    const other = eventsOf(t, await get("/events", { signal: two.signal }));
    await other();
    clock.advance(2_000);
    assert.deepEqual([(await one()).name, (await other()).name], ["picture", "picture"]);
    assert.equal(inputs.length, 2);

    const { get: again, clock: later, inputs: made } = await started(t);
    const leaves = new AbortController();
    const next = eventsOf(t, await again("/events", { signal: leaves.signal }));
    await next();
    await next();
    leaves.abort();
    await turns(500);
    later.advance(2_000);
    await turns();
    const before = made.length;
    later.advance(20_000);
    await turns();
    assert.ok(made.length <= before + 1, `${made.length} pictures for nobody`);
  });

  test("go on after a picture that could not be made", async (t) => {
    let fail = true;
    const { get, clock } = await started(t, () => {
      if (fail) throw new Error("a bug");
      return { well: true };
    });
    const next = eventsOf(t, await get("/events"));
    assert.equal((await next()).name, "start");
    await turns();
    fail = false;
    clock.advance(2_000);
    assert.equal((await next()).data["well"], true);
  });

  test("have room for 32 people, and then for others again", async (t) => {
    const { get } = await started(t);
    const leave = new AbortController();
    const streams = [];
    for (let index = 0; index < 32; index++) {
      const next = eventsOf(t, await get("/events", { signal: leave.signal }));
      await next();
      streams.push(next);
    }
    await turns(200);
    assert.equal((await get("/events")).status, 503);
    assert.equal((await get("/livez")).status, 200);
    leave.abort();
    for (let tries = 0; tries < 2_000; tries++) {
      const answer = await get("/events");
      await answer.body?.cancel();
      if (answer.status === 200) return;
    }
    assert.fail("nobody gets in any more");
  });

  test("are no stream to HEAD, and not another method's", async (t) => {
    const { get } = await started(t);
    const head = await get("/events", { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    assert.equal((await get("/events", { method: "POST" })).status, 405);
  });
});
