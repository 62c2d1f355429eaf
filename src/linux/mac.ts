/** Ethernet addresses: six bytes here, `aa:bb:cc:dd:ee:ff` for people and in annotations. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** For each frame that is heard, so it makes nothing but the text. */
export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += `${i === 0 ? "" : ":"}${HEX[bytes[i] ?? 0]}`;
  return text;
}

/** undefined for anything but six octets. */
export function macBytes(text: string): Uint8Array | undefined {
  return /^[\da-f]{2}(?::[\da-f]{2}){5}$/iu.test(text) ? Uint8Array.from(text.split(":"), (octet) => Number.parseInt(octet, 16)) : undefined;
}

/** Of one machine; undefined for anything else, groups (the first byte is odd) and the zero address included. */
export function parseMac(text: string): Uint8Array | undefined {
  const bytes = macBytes(text);
  return bytes !== undefined && isOneMachine(bytes) ? bytes : undefined;
}

/** Neither a group (the first byte is odd) nor unknown (zero). */
export function isOneMachine(mac: Uint8Array): boolean {
  return mac.length === 6 && ((mac[0] ?? 0) & 1) === 0 && mac.some((byte) => byte !== 0);
}
