/** Ethernet addresses are six bytes here, and `aa:bb:cc:dd:ee:ff` for people and in annotations. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Formats a MAC. It runs for each frame that is heard, so it creates nothing but the text. */
export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += `${i === 0 ? "" : ":"}${HEX[bytes[i] ?? 0]}`;
  return text;
}

/** Parses six octets; undefined for anything else. */
export function macBytes(text: string): Uint8Array | undefined {
  return /^[\da-f]{2}(?::[\da-f]{2}){5}$/iu.test(text)
    ? Uint8Array.from(text.split(":"), (octet) => Number.parseInt(octet, 16))
    : undefined;
}

/**
 * Parses the MAC of one machine; undefined for anything else, also for a group (the first byte is odd) and
 * for the zero address.
 */
export function parseMac(text: string): Uint8Array | undefined {
  const bytes = macBytes(text);
  return bytes !== undefined && isOneMachine(bytes) ? bytes : undefined;
}

/** True for the MAC of one machine as {@link formatMac} writes it. It may become a part of rules. */
export function isMacText(text: string): boolean {
  return text === text.toLowerCase() && parseMac(text) !== undefined;
}

/** True for a MAC that is neither a group (the first byte is odd) nor unknown (zero). */
export function isOneMachine(mac: Uint8Array): boolean {
  return mac.length === 6 && ((mac[0] ?? 0) & 1) === 0 && mac.some((byte) => byte !== 0);
}
