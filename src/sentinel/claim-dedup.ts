/**
 * Reports each claim of the VIP by another machine once. An announcement is a burst of several frames. A
 * machine that fights for the VIP announces it again later, and that is another claim.
 */

/** The length of a burst in milliseconds. */
const BURST_MS = 100;
/** The MAC addresses reported in one burst. More are a flood, which must not become a flood of evidence. */
const MOST_CLAIMANTS = 8;

export interface ClaimDedup {
  /** True when the claim of this MAC address is a new one and has to be reported. */
  isNew(mac: string, nowMs: number): boolean;
}

export function createClaimDedup(): ClaimDedup {
  const toldMs = new Map<string, number>();
  return {
    isNew(mac, nowMs) {
      for (const [other, atMs] of toldMs) if (nowMs - atMs >= BURST_MS) toldMs.delete(other);
      if (toldMs.has(mac) || toldMs.size >= MOST_CLAIMANTS) return false;
      toldMs.set(mac, nowMs);
      return true;
    },
  };
}
