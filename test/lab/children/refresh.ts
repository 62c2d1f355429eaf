/**
 * Refreshes set elements as an agent does, by netlink. Standard input is JSON: what `timedElements` returns.
 */
import { text } from "node:stream/consumers";
import { createNft } from "../../../src/fastpath/nft.ts";
import { createNftables } from "../../../src/linux/nftables.ts";

const pause = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
await createNft(createNftables(pause)).refresh(JSON.parse(await text(process.stdin)));
process.exit(0);
