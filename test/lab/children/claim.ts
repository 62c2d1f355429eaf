/**
 * A machine that says again and again that an address is its own, as one does that was given it by mistake:
 * `claim.ts ADDRESS EVERY_MS`.
 */
import { silentLogger } from "../../../src/log.ts";
import { parseIp } from "../../../src/net.ts";
import { createVipKernel } from "../../../src/vip/linux-kernel.ts";

const [text = "", everyMs = ""] = process.argv.slice(2);
const address = parseIp(text);
if (address === undefined) throw new Error(`${text} is no address`);
const kernel = createVipKernel({ interfaceName: () => "eth0", log: silentLogger });
kernel.announce([address]);
setInterval(() => kernel.announce([address]), Number(everyMs));
