/** The roles of an agent and every change between them, drawn from the table of transitions. */
import type { Transition } from "../../src/election/transitions.ts";
import { arrow, box, round, svg, text } from "./svg.ts";
import type { Point } from "./svg.ts";

type Name = Transition["from"];

interface Place {
  /** The middle of its box. */
  readonly at: Point;
  readonly means: string;
  readonly hasVip: boolean;
}

/** The compiler asks for every role that there is. */
const PLACES: Readonly<Record<Name, Place>> = {
  BACKUP: { at: [140, 70], means: "INIT, BACKUP or FAULT", hasVip: false },
  MASTER: { at: [740, 70], means: "holds the Lease", hasVip: true },
  PROVISIONAL: { at: [440, 190], means: "has the VIP without the Lease", hasVip: true },
  STOPPED: { at: [140, 310], means: "the agent exits", hasVip: false },
  RELEASING: { at: [740, 310], means: "empties the Lease", hasVip: false },
};
const SIZE: Point = [230, 56];
/** Two arrows between the same boxes are this far apart. */
const APART = 26;
const LEGEND_Y = 392;
const ROW = 20;

/** An arrow: the rows of the table that lead from one role to the other, by their numbers. */
interface Edge {
  readonly from: Name;
  readonly to: Name;
  readonly numbers: readonly number[];
}

export function states(table: readonly Transition[]): string {
  const edges = edgesOf(table);
  return svg({
    title: "The roles of an agent",
    description: ["Every change of role that there is.", ...table.map(sentence)].join(" "),
    width: 880,
    height: LEGEND_Y + table.length * ROW + 14,
    body: [
      arrow("line", [140, 12], [140, 40]),
      ...edges.map((edge) => draw(edge, edges)),
      ...Object.entries(PLACES).map(([name, { at, means, hasVip }]) =>
        box(
          hasVip ? "vip" : "box",
          [at[0] - SIZE[0] / 2, at[1] - SIZE[1] / 2],
          SIZE,
          ["t b", name],
          ["s", means],
        ),
      ),
      text(
        "s",
        [16, LEGEND_Y - 26],
        "Blue: this node has the VIP. A number names what makes the agent change its role:",
      ),
      ...table.flatMap(({ from, to, when }, index) => {
        const y = LEGEND_Y + index * ROW;
        return [
          text("a b", [36, y], String(index + 1), "end"),
          text("s", [48, y], `${from} → ${to}`),
          text("s", [240, y], when),
        ];
      }),
    ],
  });
}

function sentence({ from, to, when }: Transition): string {
  return `${from} becomes ${to}: ${when}.`;
}

/** One arrow for each pair of roles, with the numbers of its rows. */
function edgesOf(table: readonly Transition[]): readonly Edge[] {
  const edges = new Map<string, { from: Name; to: Name; numbers: number[] }>();
  for (const [index, { from, to }] of table.entries()) {
    const edge = edges.get(`${from} ${to}`) ?? { from, to, numbers: [] };
    edge.numbers.push(index + 1);
    edges.set(`${from} ${to}`, edge);
  }
  return [...edges.values()];
}

function draw({ from, to, numbers }: Edge, all: readonly Edge[]): string {
  const [a, b] = [PLACES[from].at, PLACES[to].at];
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
  const [alongX, alongY] = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
  const aside = all.some((other) => other.from === to && other.to === from) ? APART / 2 : 0;
  const moved = ([x, y]: Point): Point => [x + alongY * aside, y - alongX * aside];
  const start = edgeOfBox(moved(a), a, [alongX, alongY]);
  const end = edgeOfBox(moved(b), b, [-alongX, -alongY]);
  const [x, y] = [round((start[0] + end[0]) / 2), round((start[1] + end[1]) / 2)];
  const label = numbers.join(", ");
  const width = 14 + label.length * 7;
  return [
    `<g data-from="${from}" data-to="${to}">`,
    arrow("line", start, end),
    `<rect class="bg" x="${round(x - width / 2)}" y="${y - 10}" width="${width}" height="20" rx="4"/>`,
    text("a b", [x, y + 5], label, "middle"),
    "</g>",
  ].join("\n");
}

/** Where a ray from within a box leaves it. @param middle of the box @param direction of length 1 */
function edgeOfBox([x, y]: Point, [middleX, middleY]: Point, [alongX, alongY]: Point): Point {
  const reach = (at: number, middle: number, half: number, along: number): number =>
    along === 0 ? Number.POSITIVE_INFINITY : (middle + Math.sign(along) * half - at) / along;
  const by = Math.min(reach(x, middleX, SIZE[0] / 2, alongX), reach(y, middleY, SIZE[1] / 2, alongY)) + 2;
  return [x + alongX * by, y + alongY * by];
}
