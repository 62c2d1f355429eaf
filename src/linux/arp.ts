/** ARP (RFC 826) announcements as whole Ethernet frames. Pure. */
import { concatBytes } from "./bytes.ts";

const BROADCAST = new Uint8Array(6).fill(0xff);
const ETHERTYPE_ARP = [0x08, 0x06];
/** Hardware type Ethernet, protocol IPv4, six and four bytes long. */
const FIXED = [0x00, 0x01, 0x08, 0x00, 0x06, 0x04];
const OPERATION = { request: [0x00, 0x01], reply: [0x00, 0x02] } as const;

/**
 * A gratuitous ARP, broadcast: "`ip` is at `mac`". RFC 5227 section 2.3 wants the request form with an unknown (zero) target hardware
 * address; some stacks and switches learn from the reply form only, whose target is the announced pair itself (RFC 2002 section 4.6).
 */
export function arpAnnouncement(form: "request" | "reply", mac: Uint8Array, ip: Uint8Array): Uint8Array {
  return concatBytes([
    BROADCAST,
    mac,
    Uint8Array.of(...ETHERTYPE_ARP, ...FIXED, ...OPERATION[form]),
    mac,
    ip,
    form === "request" ? new Uint8Array(6) : mac,
    ip,
  ]);
}
