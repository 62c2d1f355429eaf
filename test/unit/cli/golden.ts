/** What `status` and `why` print in each situation: `npm run docs` writes it to golden/. */
import type { Answers } from "../../../src/cli/ask.ts";
import { clusterView } from "../../../src/cli/cluster-view.ts";
import { document } from "../../../src/cli/output.ts";
import { statusExit, statusText } from "../../../src/cli/render-status.ts";
import { why, whyText } from "../../../src/cli/why.ts";
import { candidate, held, record, Subject } from "../election/harness.ts";
import { backend, released } from "../ops/example.ts";
import { agentOf, answers, failed, leaseOf, ok, recorded } from "./answers.ts";

export const NO_AGENT = failed(
  "the agent at http://127.0.0.1:10081/status",
  "connect ECONNREFUSED 127.0.0.1:10081",
);
export const NO_API = failed("the API (192.0.2.11:6443, 192.0.2.12:6443)", "no answer before the deadline");
const NO_RECORDING = failed("the recordings in /var/lib/leasehold/decisions", "there is none");
const NOT_BOUND = ok({ addresses: [{ address: "192.0.2.10", interface: null }] });

const provisional = agentOf({
  election: {
    confirmed: false,
    reason: "provisional: the Lease cannot be renewed, and no other node can claim it",
    renewedAtMs: null,
  },
});
const foreign = agentOf({
  election: { state: "FAULT", eligible: false, faults: ["vip"], holder: "n2", renewedAtMs: null },
  vip: { foreign: true, failure: "192.0.2.10 on eth0 is another program's", addresses: released },
});
const waiting = {
  state: "BACKUP",
  confirmed: false,
  eligible: false,
  taken: true,
  faults: [],
  holder: "",
  renewedAtMs: null,
} as const;
const standingBy = agentOf({
  election: {
    ...waiting,
    other: { mac: "02:00:00:00:00:01", node: "n1" },
    reason:
      "other software on this machine has the VIP, and this node waits until it lets go (LEASEHOLD_TAKE_OVER)",
  },
  vip: { foreign: true, failure: "192.0.2.10 on eth0 is another program's", addresses: released },
});
const besideAnother = agentOf({
  election: {
    ...waiting,
    other: { mac: "02:00:00:00:00:99", node: null },
    reason:
      "other software on the machine 02:00:00:00:00:99 has the VIP, and this node waits until it lets go (LEASEHOLD_TAKE_OVER)",
  },
  vip: { addresses: released },
});
const STRANGER = "02:00:00:00:00:99";
const contender = { mac: STRANGER, node: null, agoMs: 400 } as const;
/** n1 found the VIP in use before the first claim. */
const refusing = agentOf({
  election: {
    state: "FAULT",
    confirmed: false,
    eligible: false,
    faults: ["vip-conflict"],
    holder: "",
    renewedAtMs: null,
    contender,
  },
  vip: { addresses: released },
});
function refused(): Subject {
  const subject = new Subject().healthy();
  subject.wire = { owner: STRANGER, prober: null };
  subject.sees(record({}, [candidate("n1")]));
  return subject.to(1_000);
}
/** n1 holds the VIP, and a machine that is no candidate claims it once a second. */
function defended(): Subject {
  const subject = new Subject().master([candidate("n2")]);
  const all = [candidate("n1"), candidate("n2")];
  for (let n = 1; n <= 25; n += 1) {
    subject.to(n * 1_000).hears({ kind: "claimed", mac: STRANGER });
    while (subject.sent("renew").length > 0)
      subject.answer("renew", { kind: "ok", record: held("n1", n, all) });
  }
  return subject;
}
/** n1 was given another VIP than n2 and n3. */
const OTHER_VIPS = held("n2", 1, [
  candidate("n1", { ip: "192.0.2.11", vips: ["192.0.2.10"], eligible: false, faults: ["vip-mismatch"] }),
  candidate("n2", { ip: "192.0.2.12", vips: ["192.0.2.20"], state: "MASTER" }),
  candidate("n3", { ip: "192.0.2.13", vips: ["192.0.2.20"] }),
]);
const differing = agentOf({
  election: {
    state: "FAULT",
    confirmed: false,
    eligible: false,
    faults: ["vip-mismatch"],
    holder: "n2",
    renewedAtMs: null,
  },
  vip: { addresses: [{ address: "192.0.2.10", bound: false }] },
});
const mismatched = (): Subject => new Subject({ vips: ["192.0.2.10"] }).healthy().sees(OTHER_VIPS).to(4_000);

/** n1 stands by for keepalived on its machine, and n2 for the same. */
const waitingLease = held("", 1, [
  candidate("n1", { ip: "192.0.2.11", eligible: false, faults: ["vip"] }),
  candidate("n2", { ip: "192.0.2.12", eligible: false }),
]);
const peer = agentOf({
  agent: { node: "n2" },
  election: { state: "BACKUP", confirmed: false, basePriority: 90, effectivePriority: 90, reason: "waits" },
  vip: { addresses: released },
});

const far = { ...backend, id: "192.0.2.12:6443", host: "192.0.2.12", local: false };
const third = { ...far, id: "192.0.2.13:6443", host: "192.0.2.13" };
const fallback = "/etc/kubernetes/leasehold/admin.conf: no such file (the fallback, which need not exist)";
const withoutCredentials = (node: string, ended: string) =>
  agentOf({
    agent: {
      node,
      credentials: {
        source: "",
        expiresAt: null,
        problem: `/etc/kubernetes/leasehold/kubeconfig: the client certificate ended at ${ended}; ${fallback}`,
        warning: null,
        certificates: [],
      },
    },
    balancer: { backends: [backend, far, third].map((one) => ({ ...one, reason: "401" })) },
  });
/** How n1 and n3 see the API server of n2 behind a closed firewall. */
const closed = {
  backends: [backend, third, { ...far, grade: "DOWN", serving: false, reason: "timeout: tcp" }],
} as const;
const writing = ["n1", "n2"].map((node) => ({
  ...candidate(node, { ip: node === "n1" ? "192.0.2.11" : "192.0.2.12" }),
  counter: 1,
  fresh: true,
}));

/** The situations of a runbook, and what could be asked in each. */
export const SITUATIONS: Readonly<Record<string, Partial<Answers>>> = {
  well: {},
  "no-api": { lease: NO_API },
  "no-agent": { agent: NO_AGENT, recording: NO_RECORDING, kernel: NOT_BOUND },
  "nothing-answers": { agent: NO_AGENT, recording: NO_RECORDING, lease: NO_API },
  provisional: { agent: ok(provisional), lease: NO_API },
  "vip-of-another-program": {
    agent: ok(foreign),
    lease: ok(leaseOf("n2", { "leasehold.dev/move-to": "n1" })),
  },
  "take-over": { agent: ok(standingBy), lease: ok(leaseOf("")) },
  "take-over-from-a-stranger": { agent: ok(besideAnother), lease: NO_API, kernel: NOT_BOUND },
  "take-over-by-the-lease": {
    agent: NO_AGENT,
    recording: NO_RECORDING,
    kernel: NOT_BOUND,
    lease: ok(waitingLease),
  },
  "vip-conflict": {
    agent: ok(refusing),
    lease: ok(leaseOf("")),
    kernel: NOT_BOUND,
    recording: ok(recorded(refused(), 5_000)),
  },
  "address-conflict": {
    agent: ok(agentOf({ election: { contender } })),
    recording: ok(recorded(defended(), 26_000)),
  },
  "vip-mismatch": {
    agent: ok(differing),
    lease: ok(OTHER_VIPS),
    kernel: NOT_BOUND,
    recording: ok(recorded(mismatched(), 5_000)),
  },
  drained: {
    agent: ok(
      agentOf({
        agent: { drained: ["192.0.2.12:6443"] },
        balancer: {
          backends: [
            backend,
            {
              ...backend,
              id: "192.0.2.12:6443",
              host: "192.0.2.12",
              local: false,
              serving: false,
              drained: true,
            },
            third,
          ],
        },
      }),
    ),
    lease: ok(
      leaseOf("n1", {
        "leasehold.dev/drain.192.0.2.12-6443": "192.0.2.12:6443",
        "leasehold.dev/drain.192.0.2.99-6443": "192.0.2.99:6443",
      }),
    ),
  },
  "no-lease": { lease: ok(null) },
  "peers-answer": {
    peers: new Map([
      ["n2", ok(peer)],
      ["n3", failed("the agent at http://192.0.2.13:10081/status", "no answer in 1500 ms")],
    ]),
  },
  "expired-credentials": {
    agent: ok(withoutCredentials("n1", "2025-12-31T00:00:00.000Z")),
    peers: new Map([["n2", ok(withoutCredentials("n2", "2025-12-31T00:02:00.000Z"))]]),
    lease: failed("the API (192.0.2.11:6443, 192.0.2.12:6443)", "192.0.2.11:6443 answered 401: Unauthorized"),
  },
  "closed-firewall": {
    agent: ok(agentOf({ election: { candidates: writing }, balancer: closed })),
    peers: new Map([
      ["n2", failed("the agent of n2 at 192.0.2.12:10085", "no answer in 1500 ms")],
      ["n3", ok({ ...peer, node: "n3", apiServers: agentOf({ balancer: closed }).apiServers })],
    ]),
  },
  "closed-firewall-seen-from-behind": {
    agent: ok(agentOf({ balancer: closed })),
    peers: new Map([
      [
        "n2",
        ok({ ...peer, apiServers: agentOf({ balancer: { backends: [backend, far, third] } }).apiServers }),
      ],
    ]),
  },
  "dead-node": {
    agent: ok(agentOf({ balancer: { backends: [backend, third] } })),
    peers: new Map([
      ["n2", failed("the agent of n2 at 192.0.2.12:10085", "connect EHOSTUNREACH 192.0.2.12:10085")],
    ]),
  },
  "no-rights": {
    lease: failed(
      "the API (127.0.0.1:6443, 192.0.2.12:6443)",
      '127.0.0.1:6443 answered 403: leases is forbidden: User "leasehold" cannot get resource',
    ),
  },
  "hung-api-server": {
    agent: ok(agentOf({ election: { candidates: writing }, balancer: { backends: [backend, third] } })),
    peers: new Map([
      [
        "n2",
        ok({
          ...peer,
          apiServers: agentOf({
            balancer: {
              backends: [backend, { ...far, grade: "DOWN", serving: false, reason: "timeout: tls" }],
            },
          }).apiServers,
        }),
      ],
    ]),
    lease: ok(
      held("n1", 1, [
        candidate("n1", { ip: "192.0.2.11", state: "MASTER" }),
        candidate("n2", { ip: "192.0.2.12" }),
      ]),
    ),
  },
  "no-quorum": {
    agent: ok(
      agentOf({
        balancer: {
          backends: [
            { ...backend, grade: "DRAIN", serving: false, reason: "500" },
            { ...far, grade: "DOWN", serving: false, reason: "refused" },
          ],
        },
      }),
    ),
    lease: NO_API,
  },
  "expired-lease": { at: new Date("2026-01-01T00:01:00.000Z"), agent: NO_AGENT, kernel: NOT_BOUND },
};

function printed(name: string, change: Partial<Answers>): string {
  const heard = answers(change);
  const view = clusterView(heard);
  const recording = heard.recording.kind === "ok" ? heard.recording.value : undefined;
  const asked = [undefined, "n2", "n3", "n9"].map(
    (node) =>
      `$ leasehold why${node === undefined ? "" : ` ${node}`}\n${whyText(why(view, recording, { node, all: false, last: 2 }))}\n`,
  );
  const more =
    name === "well"
      ? `$ leasehold status -o wide\n${statusText(view, true)}\n$ leasehold status -o yaml\n${document(view, "yaml")}\n`
      : "";
  return `$ leasehold status\n${statusText(view, false)}exit status ${statusExit(view)}\n\n${more}${asked.join("")}`;
}

/** Every golden file, by its path below the repository. */
export function goldenCommands(): readonly (readonly [path: string, text: string])[] {
  return Object.entries(SITUATIONS).map(([name, change]) => [
    `test/unit/cli/golden/${name}.txt`,
    printed(name, change),
  ]);
}
