/**
 * An ApiTransport that plays a script. Every request must be the next one of the script; one that is not, or
 * that never comes, fails the test in {@link ScriptedTransport.done}.
 */
import assert from "node:assert/strict";
import { ApiNoAnswer } from "../../../src/kube/transport.ts";
import type {
  ApiRequest,
  ApiResponse,
  ApiTransport,
  NoAnswer,
  WatchHandlers,
} from "../../../src/kube/transport.ts";
import type { FakeClock } from "../../support/fake-clock.ts";

export type Reply =
  | { readonly status: number; readonly body?: unknown; readonly afterMs?: number }
  | { readonly fail: NoAnswer; readonly sent: boolean; readonly afterMs?: number }
  /** Fails as silent when its deadline comes. */
  | { readonly hang: true };

export interface Step {
  readonly server?: string;
  readonly method: ApiRequest["method"];
  readonly path?: string;
  readonly contentType?: string;
  /** Compared byte for byte as JSON. */
  readonly body?: string;
  readonly reply: Reply | ((request: ApiRequest) => Reply);
}

export interface OpenWatch {
  readonly server: string;
  readonly path: string;
  readonly handlers: WatchHandlers;
  closed: boolean;
}

export class ScriptedTransport implements ApiTransport {
  readonly requests: (ApiRequest & { readonly server: string; readonly atMs: number })[] = [];
  readonly watches: OpenWatch[] = [];
  list: readonly string[];
  readonly #clock: FakeClock;
  readonly #steps: Step[] = [];
  readonly #unexpected: string[] = [];

  constructor(clock: FakeClock, servers: readonly string[]) {
    this.#clock = clock;
    this.list = servers;
  }

  expect(...steps: readonly Step[]): void {
    this.#steps.push(...steps);
  }

  servers(): readonly string[] {
    return this.list;
  }

  send(server: string, request: ApiRequest, timeoutMs: number): Promise<ApiResponse> {
    const atMs = this.#clock.now();
    this.requests.push({ ...request, server, atMs });
    const step = this.#steps.shift();
    const problem = step === undefined ? "nothing expected" : mismatch(step, server, request);
    if (step === undefined || problem !== undefined) {
      this.#unexpected.push(
        `${server} ${request.method} ${request.path} ${JSON.stringify(request.body)}: ${problem}`,
      );
      return Promise.reject(new ApiNoAnswer(server, "refused", false, "not in the script"));
    }
    const reply = typeof step.reply === "function" ? step.reply(request) : step.reply;
    return new Promise((resolve, reject) => {
      if ("hang" in reply) {
        this.#clock.after(timeoutMs, () => reject(new ApiNoAnswer(server, "silent", true, "deadline")));
        return;
      }
      const answer = (): void => {
        if ("fail" in reply)
          reject(new ApiNoAnswer(server, reply.fail, reply.sent, `scripted ${reply.fail}`));
        else resolve({ server, status: reply.status, body: reply.body });
      };
      if (reply.afterMs === undefined) answer();
      else this.#clock.after(reply.afterMs, answer);
    });
  }

  watch(server: string, path: string, handlers: WatchHandlers): { close(): void } {
    const open: OpenWatch = { server, path, handlers, closed: false };
    this.watches.push(open);
    return { close: () => void (open.closed = true) };
  }

  /** The script was played, to its end, and nothing else. */
  done(): void {
    assert.deepEqual(this.#unexpected, []);
    assert.deepEqual(
      this.#steps.map((step) => `${step.method} ${step.path ?? ""}`),
      [],
      "expected requests that never came",
    );
  }
}

function mismatch(step: Step, server: string, request: ApiRequest): string | undefined {
  if (step.server !== undefined && step.server !== server) return `expected at ${step.server}`;
  if (step.method !== request.method) return `expected ${step.method}`;
  if (step.path !== undefined && step.path !== request.path) return `expected ${step.path}`;
  if (step.contentType !== undefined && step.contentType !== request.contentType)
    return `expected ${step.contentType}`;
  if (step.body !== undefined && step.body !== JSON.stringify(request.body)) return `expected ${step.body}`;
  return undefined;
}

/** Lets every promise that can settle without a timer do so. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Passes `ms` in small steps, settling promises between them. */
export async function pass(clock: FakeClock, ms: number): Promise<void> {
  await settle();
  for (let left = ms; left > 0; left -= 50) {
    clock.advance(Math.min(50, left));
    await settle();
  }
}
