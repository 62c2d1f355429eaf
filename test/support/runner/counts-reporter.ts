/** A node:test reporter that writes one JSON line for each test that ended; read by `layers.ts`. */
import { resolve } from "node:path";

export interface TestRecord {
  readonly outcome: "passed" | "failed" | "skipped";
  readonly name: string;
  readonly file: string;
  /** Why it was skipped; "" when no reason was given. */
  readonly reason: string;
  /**
   * node:test reports a file as one test when it has no tests or its process fails. Only the
   * second says anything: a passed one means that nothing was tested.
   */
  readonly isFile: boolean;
}

interface TestEvent {
  readonly type: string;
  readonly data?: {
    readonly name?: string;
    readonly file?: string;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly details?: { readonly type?: string };
  };
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if ((type !== "test:pass" && type !== "test:fail") || data?.details?.type === "suite") continue;
    const name = data?.name ?? "";
    const file = data?.file ?? "";
    const omitted = data?.skip ?? data?.todo;
    const left = omitted !== undefined && omitted !== false;
    const record: TestRecord = {
      outcome: left ? "skipped" : type === "test:pass" ? "passed" : "failed",
      name,
      file,
      reason: typeof omitted === "string" ? omitted : "",
      isFile: resolve(name) === file,
    };
    yield `${JSON.stringify(record)}\n`;
  }
}
