/** Who says that the VIP is his, once for each burst: an announcement is several frames, and one that fights for the VIP repeats it, which must be told again. */
const BURST_MS = 100;
/** Different MACs in one burst. More is a flood, which may not become a flood of evidence. */
const MOST = 8;

export interface Claims {
  /** True when this one is to be told. */
  isNew(mac: string, nowMs: number): boolean;
}

export function createClaims(): Claims {
  const toldMs = new Map<string, number>();
  return {
    isNew(mac, nowMs) {
      for (const [other, atMs] of toldMs) if (nowMs - atMs >= BURST_MS) toldMs.delete(other);
      if (toldMs.has(mac) || toldMs.size >= MOST) return false;
      toldMs.set(mac, nowMs);
      return true;
    },
  };
}
