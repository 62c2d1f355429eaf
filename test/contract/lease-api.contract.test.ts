/**
 * One suite against the embedded API server and a real one: what Leasehold relies on, and that the two agree
 * on it.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import type { Answer, RawClient, Target } from "./target.ts";
import { rawClient, targetKinds } from "./target.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const EVENTS = "/apis/events.k8s.io/v1/namespaces/kube-system/events";
const JSON_PATCH = "application/json-patch+json";
const MERGE_PATCH = "application/merge-patch+json";
const REJECTED = "the server rejected our request due to an error in our request";

interface Meta {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  readonly annotations?: Record<string, string>;
}

interface Lease {
  readonly kind?: string;
  readonly metadata: Meta;
  readonly spec: Record<string, unknown>;
}

function lease(answer: Answer, status = 200): Lease {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  return asLease(answer.body);
}

function asLease(body: unknown): Lease {
  assert.ok(
    typeof body === "object" && body !== null && "metadata" in body && "spec" in body,
    JSON.stringify(body),
  );
  // oxlint-disable-next-line no-unsafe-type-assertion -- what the assertions look at, they check
  return body as Lease;
}

interface Expected {
  readonly status: number;
  readonly reason: string | undefined;
  readonly message?: string | RegExp;
  readonly details?: object;
}

function refused(answer: Answer, expected: Expected): void {
  const { body } = answer;
  assert.ok(
    typeof body === "object" && body !== null && "message" in body && "code" in body,
    JSON.stringify(body),
  );
  const reason = "reason" in body ? body.reason : undefined;
  assert.deepEqual(
    [answer.status, body.code, reason],
    [expected.status, expected.status, expected.reason],
    JSON.stringify(body),
  );
  assert.ok("kind" in body && body.kind === "Status" && "status" in body && body.status === "Failure");
  const message = String(body.message);
  if (typeof expected.message === "string") assert.equal(message, expected.message);
  if (expected.message instanceof RegExp) assert.match(message, expected.message);
  if (expected.details !== undefined)
    assert.deepEqual("details" in body ? body.details : undefined, expected.details);
}

const about = (name: string): object => ({ name, group: "coordination.k8s.io", kind: "leases" });

const kinds = await targetKinds();

for (const kind of kinds) {
  describe(`${kind.name}:`, { timeout: 120_000 }, () => {
    let target: Target;
    let client: RawClient;
    let serial = 0;

    before(async () => {
      target = await kind.start();
      client = await rawClient(target);
    });
    after(() => target[Symbol.asyncDispose]());

    const get = async (name: string): Promise<Lease> => lease(await client.call("GET", `${LEASES}/${name}`));
    const jsonPatch = (name: string, ...operations: readonly object[]): Promise<Answer> =>
      client.call("PATCH", `${LEASES}/${name}`, operations, JSON_PATCH);
    const mergePatch = (name: string, patch: unknown): Promise<Answer> =>
      client.call("PATCH", `${LEASES}/${name}`, patch, MERGE_PATCH);
    const freshName = (): string => `lease-${++serial}`;
    async function create(spec: object = {}, annotations?: Record<string, string>): Promise<Lease> {
      const metadata = { name: freshName(), ...(annotations === undefined ? {} : { annotations }) };
      return lease(await client.call("POST", LEASES, { metadata, spec }), 201);
    }

    test("a Lease that does not exist is 404", async () => {
      const expected = {
        status: 404,
        reason: "NotFound",
        message: 'leases.coordination.k8s.io "none" not found',
        details: about("none"),
      };
      refused(await client.call("GET", `${LEASES}/none`), expected);
      refused(await jsonPatch("none", { op: "test", path: "/spec/holderIdentity", value: null }), expected);
      refused(await mergePatch("none", { metadata: { annotations: { a: "1" } } }), expected);
      refused(await client.call("DELETE", `${LEASES}/none`), expected);
    });

    test("create answers 201 with the object, and 409 AlreadyExists the second time", async () => {
      const made = await create({ holderIdentity: "", leaseDurationSeconds: 1, bogus: 1 });
      const { name } = made.metadata;
      assert.equal(made.kind, "Lease");
      assert.deepEqual(made.spec, { holderIdentity: "", leaseDurationSeconds: 1 });
      assert.match(made.metadata.resourceVersion, /^\d+$/);
      assert.match(made.metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.deepEqual(await get(name), made);
      const message = `leases.coordination.k8s.io "${name}" already exists`;
      refused(await client.call("POST", LEASES, { metadata: { name } }), {
        status: 409,
        reason: "AlreadyExists",
        message,
        details: about(name),
      });
    });

    test("create refuses what is malformed with 400 and what is invalid with 422", async () => {
      const post = (body: unknown): Promise<Answer> => client.call("POST", LEASES, body);
      const bad = { status: 400, reason: "BadRequest" };
      refused(await post("{"), bad);
      refused(await post({ apiVersion: "v1", kind: "Pod", metadata: { name: "p" } }), bad);
      refused(await post({ metadata: { name: "p" }, spec: { holderIdentity: 5 } }), bad);
      refused(await post({ metadata: { name: "p" }, spec: { leaseTransitions: 1.5 } }), bad);
      refused(await post({ metadata: { name: "p" }, spec: { renewTime: "2026-01-01T00:00:00Z" } }), bad);
      refused(await post({ metadata: { name: "p", namespace: "default" } }), {
        ...bad,
        message: "the namespace of the provided object does not match the namespace sent on the request",
      });
      const wrong = { status: 422, reason: "Invalid" };
      refused(await post({ metadata: { name: "P_" } }), {
        ...wrong,
        message: /^Lease\.coordination\.k8s\.io "P_" is invalid: metadata\.name: /,
      });
      refused(await post({ metadata: {} }), { ...wrong, message: /name or generateName is required$/ });
      refused(
        await post({ metadata: { name: "p" }, spec: { leaseDurationSeconds: 0, leaseTransitions: -1 } }),
        {
          ...wrong,
          message:
            'Lease.coordination.k8s.io "p" is invalid: [spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0, spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0]',
        },
      );
      refused(
        await client.call("POST", LEASES.replace("kube-system", "nowhere"), { metadata: { name: "p" } }),
        {
          status: 404,
          reason: "NotFound",
          message: 'namespaces "nowhere" not found',
        },
      );
    });

    test("times keep six digits and come back in UTC", async () => {
      const made = await create({
        renewTime: "2026-01-01T01:30:00.000001+01:00",
        acquireTime: "2026-01-01T00:00:00.000000Z",
      });
      assert.deepEqual(made.spec, {
        renewTime: "2026-01-01T00:30:00.000001Z",
        acquireTime: "2026-01-01T00:00:00.000000Z",
      });
    });

    test("a JSON Patch whose tests pass is applied as one write", async () => {
      const made = await create({
        holderIdentity: "n1",
        leaseTransitions: 1,
        renewTime: "2026-01-01T00:00:00.000000Z",
      });
      const { name } = made.metadata;
      const answer = await jsonPatch(
        name,
        { op: "test", path: "/spec/holderIdentity", value: "n1" },
        { op: "test", path: "/spec/leaseTransitions", value: 1 },
        { op: "test", path: "/spec/renewTime", value: "2026-01-01T00:00:00.000000Z" },
        { op: "add", path: "/spec/holderIdentity", value: "n2" },
        { op: "add", path: "/spec/leaseTransitions", value: 2 },
      );
      const patched = lease(answer);
      assert.deepEqual(patched.spec, { ...made.spec, holderIdentity: "n2", leaseTransitions: 2 });
      assert.ok(BigInt(patched.metadata.resourceVersion) > BigInt(made.metadata.resourceVersion));
      assert.equal(patched.metadata.uid, made.metadata.uid);
      assert.deepEqual(await get(name), patched);
    });

    test("a failing test is 422 Invalid with a message that says nothing, and nothing of the patch is applied", async () => {
      const made = await create({ holderIdentity: "n1" });
      const { name } = made.metadata;
      const failing = [
        { op: "add", path: "/spec/leaseTransitions", value: 7 },
        { op: "test", path: "/spec/holderIdentity", value: "n2" },
      ];
      refused(await jsonPatch(name, ...failing), {
        status: 422,
        reason: "Invalid",
        message: REJECTED,
        details: {},
      });
      assert.deepEqual(await get(name), made);
    });

    test("a test for null passes on an absent member, and fails where its parent is missing", async () => {
      const made = await create();
      const { name } = made.metadata;
      assert.deepEqual(
        lease(await jsonPatch(name, { op: "test", path: "/spec/renewTime", value: null })),
        made,
      );
      assert.deepEqual(lease(await jsonPatch(name, { op: "test", path: "/spec/renewTime" })), made);
      const nothing = { status: 422, reason: "Invalid", message: REJECTED, details: {} };
      refused(await jsonPatch(name, { op: "test", path: "/metadata/annotations/x", value: null }), nothing);
      refused(await jsonPatch(name, { op: "add", path: "/metadata/annotations/x", value: "1" }), nothing);
    });

    test("removing the last annotation removes their parent", async () => {
      const { metadata } = await create({}, { a: "1" });
      const gone = lease(await jsonPatch(metadata.name, { op: "remove", path: "/metadata/annotations/a" }));
      assert.equal(gone.metadata.annotations, undefined);
      refused(await jsonPatch(metadata.name, { op: "add", path: "/metadata/annotations/a", value: "1" }), {
        status: 422,
        reason: "Invalid",
      });
    });

    test("patch operations that cannot be applied are 422, patches that are none 400 or 415", async () => {
      const { metadata } = await create({ holderIdentity: "n1" }, { a: "1", "leasehold.dev/offer": "n2" });
      const { name } = metadata;
      for (const operation of [
        { op: "remove", path: "/metadata/annotations/none" },
        { op: "remove", path: "/spec/renewTime" },
        { op: "move", from: "/metadata/annotations/none", path: "/metadata/annotations/b" },
        { op: "test", path: "/metadata/annotations/none", value: "1" },
        { op: "test", path: "spec", value: 1 },
        { op: "frob", path: "/spec" },
      ]) {
        refused(await jsonPatch(name, operation), { status: 422, reason: "Invalid", message: REJECTED });
      }
      const bad = { status: 400, reason: "BadRequest" };
      refused(await client.call("PATCH", `${LEASES}/${name}`, { op: "test" }, JSON_PATCH), bad);
      refused(await client.call("PATCH", `${LEASES}/${name}`, "[", JSON_PATCH), bad);
      refused(await mergePatch(name, []), bad);
      refused(await mergePatch(name, "{"), bad);
      refused(await client.call("PATCH", `${LEASES}/${name}`, {}), {
        status: 415,
        reason: "UnsupportedMediaType",
        message: "415: Unsupported Media Type",
      });
      const escaped = [
        { op: "replace", path: "/spec/leaseTransitions", value: 1 },
        { op: "remove", path: "/metadata/annotations/leasehold.dev~1offer" },
        { op: "move", from: "/metadata/annotations/a", path: "/metadata/annotations/b" },
        { op: "copy", from: "/metadata/annotations/b", path: "/metadata/annotations/c" },
      ];
      const patched = lease(await jsonPatch(name, ...escaped));
      assert.deepEqual(patched.metadata.annotations, { b: "1", c: "1" });
      assert.equal(patched.spec["leaseTransitions"], 1);
    });

    test("a patch with an invalid result is 422, one that moves the object elsewhere 400", async () => {
      const { metadata } = await create();
      const { name } = metadata;
      const set = (path: string, value: unknown): Promise<Answer> =>
        jsonPatch(name, { op: "add", path, value });
      refused(await set("/spec/leaseDurationSeconds", 0), {
        status: 422,
        reason: "Invalid",
        message: /must be greater than 0$/,
      });
      refused(await set("/spec/leaseDurationSeconds", "x"), {
        status: 422,
        reason: "Invalid",
        message: /^ "" is invalid: patch: /,
      });
      refused(await set("/metadata/annotations", { "a b": "1" }), {
        status: 422,
        reason: "Invalid",
        message: /metadata\.annotations: Invalid value: "a b"/,
      });
      refused(await set("/metadata/annotations", { a: 1 }), {
        status: 422,
        reason: "Invalid",
        message: /^ "" is invalid: patch: /,
      });
      refused(await set("/metadata/uid", "1"), { status: 422, reason: "Invalid", message: /metadata\.uid/ });
      refused(await set("/metadata/name", "other"), { status: 400, reason: "BadRequest" });
      refused(await set("/metadata/resourceVersion", "1"), {
        status: 409,
        reason: "Conflict",
        details: about(name),
      });
    });

    test("merge patches of annotations leave the others' alone, null removes, and they never conflict", async () => {
      const { metadata } = await create({ holderIdentity: "n1" }, { a: "1" });
      const { name } = metadata;
      const writers = Array.from({ length: 8 }, (_, i) =>
        mergePatch(name, { metadata: { annotations: { [`w${i}`]: "x" } } }),
      );
      for (const answer of await Promise.all(writers)) lease(answer);
      const removed = lease(
        await mergePatch(name, { metadata: { annotations: { a: null, w0: null, none: null } } }),
      );
      assert.deepEqual(Object.keys(removed.metadata.annotations ?? {}).sort(), [
        "w1",
        "w2",
        "w3",
        "w4",
        "w5",
        "w6",
        "w7",
      ]);
      assert.deepEqual(removed.spec, { holderIdentity: "n1" });
      refused(await mergePatch(name, { metadata: { resourceVersion: "1", annotations: { a: "1" } } }), {
        status: 409,
        reason: "Conflict",
        details: about(name),
      });
    });

    test("of many claims that test the same holder exactly one succeeds", async () => {
      const { metadata } = await create({ holderIdentity: "", leaseTransitions: 0 });
      const claims = Array.from({ length: 8 }, (_, i) =>
        jsonPatch(
          metadata.name,
          { op: "test", path: "/spec/holderIdentity", value: "" },
          { op: "test", path: "/spec/leaseTransitions", value: 0 },
          { op: "add", path: "/spec/holderIdentity", value: `n${i}` },
          { op: "add", path: "/spec/leaseTransitions", value: 1 },
        ),
      );
      const statuses = (await Promise.all(claims)).map(({ status }) => status).sort((a, b) => a - b);
      assert.deepEqual(statuses, [200, 422, 422, 422, 422, 422, 422, 422]);
    });

    test("a write that changes nothing keeps the resourceVersion", async () => {
      const made = await create({ holderIdentity: "n1" }, { a: "1" });
      const { name } = made.metadata;
      assert.deepEqual(lease(await mergePatch(name, { metadata: { annotations: { a: "1" } } })), made);
      assert.deepEqual(
        lease(await jsonPatch(name, { op: "add", path: "/spec/holderIdentity", value: "n1" })),
        made,
      );
      assert.deepEqual(lease(await client.call("PUT", `${LEASES}/${name}`, made)), made);
    });

    test("an update needs the current resourceVersion: 409 when stale, 422 without", async () => {
      const made = await create({ holderIdentity: "n1" });
      const { name } = made.metadata;
      const put = (body: object): Promise<Answer> => client.call("PUT", `${LEASES}/${name}`, body);
      const updated = lease(await put({ ...made, spec: { holderIdentity: "n2" } }));
      assert.ok(BigInt(updated.metadata.resourceVersion) > BigInt(made.metadata.resourceVersion));
      const message = `Operation cannot be fulfilled on leases.coordination.k8s.io "${name}": the object has been modified; please apply your changes to the latest version and try again`;
      refused(await put({ ...made, spec: { holderIdentity: "n3" } }), {
        status: 409,
        reason: "Conflict",
        message,
        details: about(name),
      });
      refused(await put({ metadata: { name }, spec: {} }), {
        status: 422,
        reason: "Invalid",
        message: /must be specified for an update$/,
      });
      refused(await put({ ...updated, metadata: { ...updated.metadata, name: "other" } }), {
        status: 400,
        reason: "BadRequest",
      });
      assert.deepEqual(await get(name), updated);
      lease(
        await client.call("PUT", `${LEASES}/${freshName()}`, {
          metadata: { name: `lease-${serial}`, resourceVersion: "5" },
        }),
        201,
      );
    });

    test("a list answers by name, with a resourceVersion to watch from", async () => {
      const made = await create({ holderIdentity: "n1" });
      const list = async (query: string): Promise<{ items: unknown[]; version: string }> => {
        const { status, body } = await client.call("GET", `${LEASES}?${query}`);
        assert.equal(status, 200);
        assert.ok(typeof body === "object" && body !== null && "items" in body && Array.isArray(body.items));
        assert.ok("kind" in body && body.kind === "LeaseList" && "metadata" in body);
        const { metadata } = body;
        assert.ok(typeof metadata === "object" && metadata !== null && "resourceVersion" in metadata);
        return { items: body.items, version: String(metadata.resourceVersion) };
      };
      const { items, version } = await list(`fieldSelector=metadata.name%3D${made.metadata.name}`);
      assert.deepEqual(items, [{ metadata: made.metadata, spec: made.spec }]);
      assert.ok(BigInt(version) >= BigInt(made.metadata.resourceVersion));
      assert.deepEqual((await list("fieldSelector=metadata.name%3Dnone")).items, []);
      refused(await client.call("GET", `${LEASES}?fieldSelector=spec.foo%3Dx`), {
        status: 400,
        reason: "BadRequest",
        message: /^"spec.foo" is not a known field selector/,
      });
    });

    test("a read that names a resourceVersion from the future is 504, a cached one answers", async () => {
      const made = await create({ holderIdentity: "n1" });
      const path = `${LEASES}/${made.metadata.name}`;
      refused(await client.call("GET", `${path}?resourceVersion=99999999`), {
        status: 504,
        reason: "Timeout",
        message: /^Timeout: Too large resource version: 99999999, current: \d+$/,
      });
      refused(await client.call("GET", `${path}?resourceVersion=abc`), { status: 500, reason: undefined });
      assert.deepEqual(
        lease(await client.call("GET", `${path}?resourceVersion=${made.metadata.resourceVersion}`)),
        made,
      );
    });

    test("a watch tells every change after its resourceVersion, in order, and nothing of other Leases", async () => {
      const made = await create({ holderIdentity: "n1" });
      const { name, resourceVersion } = made.metadata;
      const second = lease(await mergePatch(name, { spec: { holderIdentity: "n2" } }));
      await create({ holderIdentity: "other" });
      const third = lease(await mergePatch(name, { metadata: { annotations: { a: "1" } } }));
      await mergePatch(name, { metadata: { annotations: { a: "1" } } });
      assert.equal((await client.call("DELETE", `${LEASES}/${name}`)).status, 200);
      const lines = await client.watch(
        `${LEASES}?watch=true&fieldSelector=metadata.name%3D${name}&resourceVersion=${resourceVersion}&timeoutSeconds=4`,
        3,
      );
      assert.deepEqual(
        lines.map(({ type }) => type),
        ["MODIFIED", "MODIFIED", "DELETED"],
      );
      const [one, two, end] = lines.map(({ object }) => asLease(object));
      assert.deepEqual([one, two], [second, third]);
      assert.deepEqual(end?.spec, third.spec);
      assert.ok(BigInt(end?.metadata.resourceVersion ?? 0) > BigInt(third.metadata.resourceVersion));
    });

    test("a watch without a resourceVersion begins with what there is, and goes on with what happens", async () => {
      const made = await create({ holderIdentity: "n1" });
      const { name } = made.metadata;
      for (const version of ["", "&resourceVersion=0"]) {
        const watch = client.watch(
          `${LEASES}?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D${name}${version}&timeoutSeconds=4`,
          2,
        );
        const timer = setTimeout(
          () => void mergePatch(name, { spec: { holderIdentity: `n2${version}` } }),
          300,
        );
        const lines = await watch;
        clearTimeout(timer);
        assert.deepEqual(
          lines.map(({ type }) => type),
          ["ADDED", "MODIFIED"],
        );
        assert.equal(asLease(lines[1]?.object).spec["holderIdentity"], `n2${version}`);
      }
    });

    test("a watch ends by itself after timeoutSeconds", async () => {
      const { metadata } = await create();
      const lines = await client.watch(
        `${LEASES}?watch=true&fieldSelector=metadata.name%3D${metadata.name}&timeoutSeconds=1`,
        2,
      );
      assert.deepEqual(
        lines.map(({ type }) => type),
        ["ADDED"],
      );
    });

    test("health answers without credentials, the Lease does not", async () => {
      const anonymous = await rawClient(target, true);
      for (const path of ["/readyz", "/livez"]) {
        assert.deepEqual(await anonymous.call("GET", path), {
          status: 200,
          type: "text/plain; charset=utf-8",
          body: "ok",
        });
      }
      refused(await anonymous.call("GET", `${LEASES}/x`), {
        status: 403,
        reason: "Forbidden",
        message: /User "system:anonymous" cannot get/,
      });
      assert.equal((await client.call("GET", "/nope")).status, 404);
    });

    test("what is below /livez is for admins: the agent is answered all the same", async () => {
      assert.deepEqual(await client.call("GET", "/livez/ping"), {
        status: 200,
        type: "text/plain; charset=utf-8",
        body: "ok",
      });
      const agent = await rawClient({ server: target.server, adminKubeconfig: target.agentKubeconfig });
      const message = 'forbidden: User "leasehold" cannot get path "/livez/ping"';
      refused(await agent.call("GET", "/livez/ping"), {
        status: 403,
        reason: "Forbidden",
        message,
        details: {},
      });
    });

    test("a read of any version is served, from the cache, and may be late", async () => {
      const made = await create({ holderIdentity: "n1" });
      const cached = (): Promise<Answer> =>
        client.call("GET", `${LEASES}/${made.metadata.name}?resourceVersion=0`);
      let answer = await cached();
      for (let tries = 0; answer.status === 404 && tries < 100; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        answer = await cached();
      }
      assert.deepEqual(lease(answer), made);
    });

    test("the kubernetes EndpointSlice names the API servers", async () => {
      const { status, body } = await client.call(
        "GET",
        `${SLICES}?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes`,
      );
      assert.equal(status, 200);
      assert.ok(typeof body === "object" && body !== null && "items" in body && Array.isArray(body.items));
      const [slice]: unknown[] = body.items;
      assert.ok(
        typeof slice === "object" &&
          slice !== null &&
          "addressType" in slice &&
          "endpoints" in slice &&
          "ports" in slice,
      );
      assert.equal(slice.addressType, "IPv4");
      assert.ok(Array.isArray(slice.endpoints) && slice.endpoints.length === 1);
      assert.match(
        JSON.stringify(slice.endpoints),
        /^\[\{"addresses":\["[\d.]+"\],"conditions":\{"ready":true\}\}\]$/,
      );
      assert.deepEqual(slice.ports, [
        { name: "https", protocol: "TCP", port: Number(target.server.split(":")[1]) },
      ]);
      const lines = await client.watch(
        `${SLICES}?watch=true&fieldSelector=metadata.name%3Dkubernetes&timeoutSeconds=4`,
        1,
      );
      assert.deepEqual(
        lines.map(({ type }) => type),
        ["ADDED"],
      );
    });

    test("Events about the Lease are taken, incomplete ones refused with 422", async () => {
      const event = {
        metadata: { name: freshName() },
        regarding: { kind: "Lease", namespace: "kube-system", name: "leasehold" },
        reason: "LeaderElection",
        note: "n1 became leader",
        type: "Normal",
        eventTime: "2026-01-01T00:00:00.000000Z",
        reportingController: "leasehold.dev/agent",
        reportingInstance: "n1",
        action: "Claim",
      };
      assert.equal((await client.call("POST", EVENTS, event)).status, 201);
      for (const member of [
        "reason",
        "type",
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
      ]) {
        const incomplete = { ...event, metadata: { name: freshName() }, [member]: undefined };
        refused(await client.call("POST", EVENTS, incomplete), { status: 422, reason: "Invalid" });
      }
    });

    test("Events about a Node are taken in the namespace default, and counted by a merge patch", async () => {
      const name = freshName();
      const nodes = "/apis/events.k8s.io/v1/namespaces/default/events";
      const event = {
        metadata: { name },
        regarding: { apiVersion: "v1", kind: "Node", name: "n1", uid: "n1" },
        reason: "VIPAcquired",
        note: "n1 has the VIP: this node holds the Lease",
        type: "Normal",
        eventTime: "2026-01-01T00:00:00.000000Z",
        reportingController: "leasehold.dev/agent",
        reportingInstance: "n1",
        action: "BindVIP",
      };
      assert.equal((await client.call("POST", nodes, event)).status, 201);
      const series = { count: 7, lastObservedTime: "2026-01-01T00:01:00.000000Z" };
      const counted = await client.call(
        "PATCH",
        `${nodes}/${name}`,
        { series },
        "application/merge-patch+json",
      );
      assert.equal(counted.status, 200, JSON.stringify(counted.body));
    });

    // Last: the real server is restarted.
    test("a watch from a resourceVersion that is forgotten gets 410 Expired as its only event", async () => {
      const { metadata } = await create();
      await mergePatch(metadata.name, { metadata: { annotations: { a: "1" } } });
      await target.forget();
      const lines = await client.watch(
        `${LEASES}?watch=true&fieldSelector=metadata.name%3D${metadata.name}&resourceVersion=2`,
        2,
      );
      const [line] = lines;
      assert.deepEqual(
        lines.map(({ type }) => type),
        ["ERROR"],
      );
      refused(
        { status: 410, type: "", body: line?.object },
        { status: 410, reason: "Expired", message: /^too old resource version: 2 \(\d+\)$/ },
      );
    });
  });
}

describe(
  "the embedded API server answers as the real one does:",
  { skip: kinds.length < 2 && "there is no real one", timeout: 120_000 },
  () => {
    const targets: Target[] = [];
    const clients: RawClient[] = [];
    before(async () => {
      for (const kind of kinds) {
        const target = await kind.start();
        targets.push(target);
        clients.push(await rawClient(target));
      }
    });
    after(async () => {
      for (const target of targets) await target[Symbol.asyncDispose]();
    });

    const member = fc.constantFrom(
      "/spec",
      "/spec/holderIdentity",
      "/spec/leaseTransitions",
      "/spec/leaseDurationSeconds",
      "/spec/renewTime",
      "/spec/none",
      "/metadata/annotations",
      "/metadata/annotations/a",
      "/metadata/annotations/b",
      "/metadata/labels",
      "/metadata/none/x",
      "/kind",
      "/x",
      "/",
    );
    const value = fc.constantFrom<unknown>(
      null,
      "",
      "n1",
      "n2",
      0,
      1,
      2,
      -1,
      true,
      {},
      [],
      { a: "1" },
      { a: null },
      { holderIdentity: "n1" },
      "2026-01-01T00:00:00.000001Z",
    );
    const operation = fc.oneof(
      fc.record({ op: fc.constantFrom("add", "replace", "test"), path: member, value }),
      fc.record({ op: fc.constant("remove"), path: member }),
      fc.record({ op: fc.constantFrom("move", "copy"), from: member, path: member }),
    );
    const write = fc.oneof(
      fc.record({ type: fc.constant(JSON_PATCH), body: fc.array(operation, { maxLength: 4 }) }),
      fc.record({
        type: fc.constant(MERGE_PATCH),
        body: fc.record(
          {
            metadata: fc.record({ annotations: value, labels: value }, { requiredKeys: [] }),
            spec: fc.record(
              { holderIdentity: value, leaseTransitions: value, renewTime: value, none: value },
              { requiredKeys: [] },
            ),
          },
          { requiredKeys: [] },
        ),
      }),
    );

    test("any run of patches gives the same answers", async () => {
      let run = 0;
      const property = fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 12 }), async (writes) => {
        const path = `${LEASES}/random-${++run}`;
        const body = {
          metadata: { name: `random-${run}`, annotations: { a: "1" } },
          spec: { holderIdentity: "n1", leaseTransitions: 1 },
        };
        const runs = clients.map(async (client) => {
          const answers = [comparable(await client.call("POST", LEASES, body))];
          let before = "";
          for (const { type, body: patch } of writes) {
            const answer = await client.call("PATCH", path, patch, type);
            const version = answer.status === 200 ? lease(answer).metadata.resourceVersion : before;
            answers.push({ ...comparable(answer), changed: version !== before });
            before = version;
          }
          return answers;
        });
        const [embedded, real] = await Promise.all(runs);
        for (const [i, answer] of (real ?? []).entries()) {
          assert.deepEqual(embedded?.[i], answer, i === 0 ? "create" : JSON.stringify(writes[i - 1]));
        }
      });
      await fc.assert(property, { numRuns: 150 });
    });
  },
);

/**
 * What must be equal: everything but ids, versions, times of creation, and Go's words for a decoding error.
 */
function comparable({ status, body }: Answer): Record<string, unknown> {
  if (status < 300) {
    const { metadata, spec } = asLease(body);
    const { uid: _uid, resourceVersion: _version, creationTimestamp: _created, ...rest } = metadata;
    return { status, metadata: rest, spec };
  }
  return {
    status,
    reason: typeof body === "object" && body !== null && "reason" in body ? body.reason : undefined,
  };
}
