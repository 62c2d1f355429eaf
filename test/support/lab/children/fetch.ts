/** Fetches on request: one line `id url` in, one line of JSON out. Lives as long as its input. */
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const [id, url = ""] = line.split(" ");
  void fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
    async (response) => print({ id, status: response.status, body: await response.text() }),
    (error: unknown) => print({ id, status: 0, body: why(error) }),
  );
}

function print(answer: {
  readonly id: string | undefined;
  readonly status: number;
  readonly body: string;
}): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

/** `fetch` hides the cause: "fetch failed". */
function why(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
