/** What `leasehold status` may hear, and how to change parts of it. */
import type { AgentFacts } from "../../../src/cli/agent-facts.ts";
import { parseAgentFacts } from "../../../src/cli/agent-facts.ts";
import type { Answers, Asking } from "../../../src/cli/ask.ts";
import { parseConfig } from "../../../src/config/config.ts";
import type { LeaseRecord } from "../../../src/kube/record.ts";
import type { AgentStatus } from "../../../src/ops/status.ts";
import { createRecorder } from "../../../src/recorder/recorder.ts";
import { formatRecording, parseRecording } from "../../../src/recorder/recording.ts";
import type { Recording } from "../../../src/recorder/recording.ts";
import { candidate, held, Subject } from "../election/harness.ts";
import { backend, exampleStatus } from "../ops/example.ts";
import type { Changes } from "../ops/example.ts";

export const AT = new Date("2026-01-01T00:00:01.400Z");

export const ok = <T>(value: T): Asking<T> => ({ kind: "ok", value });
export const failed = (where: string, why: string): Asking<never> => ({ kind: "failed", where, why });

const n1 = candidate("n1", { ip: "192.0.2.11", state: "MASTER" });
const n2 = candidate("n2", { ip: "192.0.2.12", base: 90, effective: 90 });
const n3 = candidate("n3", {
  ip: "192.0.2.13",
  state: "FAULT",
  eligible: false,
  effective: 50,
  faults: ["balancer"],
});

export function leaseOf(holder = "n1", annotations: Readonly<Record<string, string>> = {}): LeaseRecord {
  return held(holder, 1, [n1, n2, n3], { annotations });
}

/** Every node of {@link leaseOf} has an API server. */
const servers = [
  backend,
  ...["192.0.2.12", "192.0.2.13"].map((host) => ({ ...backend, id: `${host}:6443`, host, local: false })),
];

export function agentOf(changes: Changes = {}): AgentFacts {
  const status: AgentStatus = exampleStatus({
    ...changes,
    balancer: { backends: servers, ...changes.balancer },
    agent: { api: { lastRefusal: null }, ...changes.agent },
  });
  const facts = parseAgentFacts(JSON.stringify(status));
  if (facts === undefined) throw new Error("the example is no status");
  return facts;
}

/** n1's recorder: it took the VIP from n2, whose kernel was silent, 4.7 s before {@link AT}. */
export function recordingOf(): Recording {
  const offer = { version: 1, addresses: ["10.88.0.11"] };
  const self = candidate("n1", { base: 120, effective: 120, fastPath: offer });
  const witness = candidate("n3", { mac: "02:00:00:00:00:03" });
  const subject = new Subject({ base: 120 })
    .healthy({ fastPath: offer })
    .sees(held("n2", 1, [self, candidate("n2"), witness]));
  const { acquireTime, leaseTransitions } = held("n2", 1);
  subject.to(300).hears({ kind: "silent", tenure: ["n2", acquireTime, leaseTransitions].join("/") });
  subject.to(320).answer("claim", {
    kind: "ok",
    record: held("n1", 2, [self, candidate("n2"), witness], { leaseTransitions: 4 }),
  });
  return recorded(subject, 5_000);
}

/** What the recorder of n1 has of this machine, asked at {@link AT}. */
export function recorded(subject: Subject, nowMs: number): Recording {
  const recorder = createRecorder();
  for (const taken of subject.taken) recorder.note(taken);
  return parseRecording(
    formatRecording(
      { node: "n1", agent: "0.1.0", cause: "asked", wall: AT, nowMs },
      recorder.settings(),
      recorder.decisions(),
    ),
  );
}

export function answers(change: Partial<Answers> = {}): Answers {
  const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10", LEASEHOLD_NODE_NAME: "n1" }, "n1");
  if (parsed.kind === "error") throw new Error(parsed.problems.join());
  return {
    at: AT,
    config: parsed.config,
    agent: ok(agentOf()),
    peers: new Map(),
    kernel: ok({ addresses: [{ address: "192.0.2.10", interface: "eth0" }] }),
    lease: ok(leaseOf()),
    servers: ["192.0.2.11:6443", "192.0.2.12:6443"],
    recording: ok(recordingOf()),
    disks: [],
    ...change,
  };
}
