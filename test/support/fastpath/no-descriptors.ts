/** Calls nft when this process has no descriptor left, and tells how that ended: its code, then "alive". */
import { openSync } from "node:fs";
import { createNft } from "../../../src/balancer/fastpath/nft.ts";

const nft = createNft();
try {
  for (;;) openSync("/dev/null", "r");
} catch {
  // EMFILE
}
const code = await nft.counters().then(
  () => "done",
  (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
);
// An error event that nobody listens to would come now.
await new Promise((resolve) => void setTimeout(resolve, 50));
process.stdout.write(`${code} alive`);
