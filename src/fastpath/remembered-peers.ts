/**
 * The nodes that took part in the fast path when the Lease was last read, on disk. With them an agent that
 * starts while no API server answers keeps the fast path as it was.
 */
import { parseFastPathOffer } from "../kube/record-codec.ts";
import { isMacText } from "../linux/mac.ts";
import type { Logger } from "../log.ts";
import { isRecord, readRememberedItems, writeRememberedItems } from "../remembered-file.ts";
import type { PlanPeer } from "./plan.ts";

const WHAT = "peers";

/**
 * Reads the peers, the longest known first. They are not fresh, because nothing is known of their agents. An
 * older agent wrote only nodes that took part.
 */
export function readPeers(path: string, log: Logger): readonly PlanPeer[] {
  return readRememberedItems(path, WHAT, parsePeer, log);
}

/** Replaces the file in one step. Logs a failure. */
export function writePeers(path: string, peers: readonly PlanPeer[], log: Logger): void {
  writeRememberedItems(
    path,
    WHAT,
    peers.map(({ node, fastPath, mac, served }) => ({ node, fastPath, mac, served })),
    log,
  );
}

function parsePeer(item: unknown): PlanPeer | undefined {
  if (!isRecord(item)) return undefined;
  const { node, mac } = item;
  const fastPath = parseFastPathOffer(item["fastPath"]);
  if (typeof node !== "string" || typeof mac !== "string" || !isMacText(mac) || fastPath === null)
    return undefined;
  return { node, fastPath, mac, fresh: false, served: item["served"] !== false, said: "" };
}
