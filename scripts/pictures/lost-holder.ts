/** A lost holder: what happens, in the order and at the times of src/sentinel/proof-rules.ts. */
import { arrow, box, cross, line, round, svg, text } from "./svg.ts";
import type { Point } from "./svg.ts";

export interface LostHolder {
  /** The default of LEASEHOLD_PROBE_INTERVAL. */
  readonly intervalMs: number;
  /** The default of LEASEHOLD_PROBE_MISSES. */
  readonly misses: number;
  /** The gap that clients saw when a node was lost, in ms, as docs/benchmarks.md has it. */
  readonly measured: { readonly median: number; readonly least: number; readonly most: number };
}

const LANES = { n1: 92, n2: 172, n3: 252, api: 318, clients: 372 } as const;
type Lane = keyof typeof LANES;
const NAMES: readonly (readonly [lane: Lane, name: string, part: string])[] = [
  ["n1", "n1", "holder"],
  ["n2", "n2", "best candidate"],
  ["n3", "n3", "a third host"],
  ["api", "API servers", "the Lease"],
  ["clients", "Clients", "of the VIP"],
];
const LEFT = 130;
const RIGHT = 856;
const BOTTOM = 418;

export function lostHolder({ intervalMs, misses, measured }: LostHolder): string {
  const verdictMs = intervalMs * misses;
  const [fromMs, toMs] = [-1.5 * intervalMs, verdictMs + 1.6 * intervalMs];
  const xOf = (ms: number): number => round(LEFT + ((ms - fromMs) / (toMs - fromMs)) * (RIGHT - LEFT));
  const at = (ms: number, lane: Lane, dy = 0): Point => [xOf(ms), LANES[lane] + dy];
  const lossMs = -intervalMs / 2;
  // Clients have heard the announcement. Drawn a little late, so that the arrow is seen to move.
  const takenMs = verdictMs + 8;
  const figures = `${measured.median} ms in the median, ${measured.least} to ${measured.most} ms in all rounds`;
  const turns = Array.from({ length: misses }, (_, turn) => turn * intervalMs);
  const asksMs = verdictMs - intervalMs;
  return svg({
    title: "When the holder's node loses power",
    description:
      `n2 asks the VIP by an echo every ${intervalMs} ms. n1 loses power at some moment before the ` +
      `echo at 0 ms, which stays unanswered, as do the next ones. From ${intervalMs} ms on a third ` +
      `host is asked as well, and answers. At ${asksMs} ms n2 asks by ARP who has the VIP, and no ` +
      `machine answers. At ${verdictMs} ms, after ${misses} misses, n1 is found dead: n2 claims the ` +
      "Lease, binds the VIP and announces it by gratuitous ARP. Measured: clients had no answer for " +
      `${measured.median} ms in the median, ${measured.least} to ${measured.most} ms.`,
    width: 880,
    height: 484,
    body: [
      ...[-intervalMs, ...turns, verdictMs].flatMap((ms) => [
        `<path class="line" opacity="0.35" d="M${xOf(ms)} 46L${xOf(ms)} ${BOTTOM}"/>`,
        text(ms === verdictMs ? "a" : "s", [xOf(ms), 36], `${ms} ms`.replace("-", "−"), "middle"),
      ]),
      ...NAMES.flatMap(([lane, name, part]) => [
        text("t b", [16, LANES[lane] - 1], name),
        text("s", [16, LANES[lane] + 15], part),
        line("line", at(fromMs, lane), at(toMs, lane)),
      ]),
      bar("vip", at(fromMs, "n1"), at(lossMs, "n1")),
      cross(at(lossMs, "n1")),
      text("w b", [xOf(lossMs) - 8, LANES.n1 - 16], "loses power", "middle"),
      bar("vip", at(verdictMs, "n2"), at(toMs, "n2")),
      text("a b", [xOf(verdictMs) + 10, LANES.n2 - 14], "binds the VIP"),
      // The last echo that was answered.
      arrow("way", at(-intervalMs, "n2"), at(-intervalMs + 4, "n1", 10)),
      arrow("way", at(-intervalMs + 4, "n1", 10), at(-intervalMs + 8, "n2")),
      ...turns.flatMap((ms) => [
        line("miss", at(ms, "n2"), at(ms + 4, "n1", 14)),
        cross(at(ms + 4, "n1", 14)),
      ]),
      text("s", [xOf(0) + 10, LANES.n2 - 26], "echo"),
      ...turns.slice(1).map((ms, index) => text("w", [xOf(ms) + 7, LANES.n2 - 8], `miss ${index + 1}`)),
      text("w", [xOf(verdictMs) - 7, LANES.n2 - 8], `miss ${misses}`, "end"),
      text("s", [xOf(asksMs) + 10, LANES.n2 - 40], "echo, and ARP:"),
      text("s", [xOf(asksMs) + 10, LANES.n2 - 26], "who has the VIP?"),
      ...turns
        .slice(1)
        .flatMap((ms) => [
          arrow("line", at(ms, "n2"), at(ms + 4, "n3", -2)),
          arrow("way", at(ms + 4, "n3", -2), at(ms + 8, "n2", 3)),
          text("s", [xOf(ms) + 26, LANES.n3 - 28], "answers"),
        ]),
      arrow("way", at(verdictMs, "n2", 8), at(verdictMs + 3, "api", -2)),
      text("a", [xOf(verdictMs) - 8, LANES.api - 10], "claims the Lease", "end"),
      arrow("way", at(verdictMs + 2, "n2", 8), at(takenMs, "clients", -11)),
      text("a", [xOf(takenMs) + 2, LANES.clients - 26], "gratuitous ARP"),
      bar("vip", at(fromMs, "clients"), at(lossMs, "clients"), "served"),
      bar("lost", at(lossMs, "clients"), at(takenMs, "clients"), "no answer"),
      bar("vip", at(takenMs, "clients"), at(toMs, "clients"), "served by n2"),
      text("t", [16, 446], `Measured (docs/benchmarks.md): no answer for ${figures}.`),
      text(
        "s",
        [16, 466],
        `0 ms: the first echo that is missed. The power is lost up to ${intervalMs} ms before.`,
      ),
    ],
  });
}

function bar(name: "vip" | "lost", [x, y]: Point, [endX]: Point, label?: string): string {
  const lines = label === undefined ? [] : ([[name === "vip" ? "a" : "w", label]] as const);
  return box(name, [x, y - 10], [round(endX - x), 20], ...lines);
}
