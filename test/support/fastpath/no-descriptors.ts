/**
 * Calls nft, and asks the kernel, when this process has no descriptor left, and tells how that ended: the
 * code of each, then "alive".
 */
import { openSync } from "node:fs";
import { createNft } from "../../../src/fastpath/nft.ts";
import { createNftables } from "../../../src/linux/nftables.ts";

const nft = createNft(createNftables(async () => {}));
try {
  for (;;) openSync("/dev/null", "r");
} catch {
  // EMFILE
}
async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "done";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}
const codes = [
  await codeOf(nft.remove()),
  await codeOf(nft.counters()),
  await codeOf(nft.refresh([{ family: "ip", set: "own", elements: ["192.0.2.10"] }])),
];
// An error event that nobody listens to would come now.
await new Promise((resolve) => void setTimeout(resolve, 50));
process.stdout.write(`${codes.join(" ")} alive`);
