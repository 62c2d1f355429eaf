/**
 * Writes a demo that ran as one animated SVG: what stood on the screen, with the time. It loads nothing, and
 * a line that stays the same is in it once. Where nothing moves, it shows the picture of `poster`. Pure.
 */
import type { Paint, Style } from "./view.ts";

export interface Frame {
  /** Milliseconds since the recording began. */
  readonly atMs: number;
  /** The screen, painted by {@link mark}. */
  readonly text: string;
}

const COLUMN = 8.43;
const LINE = 18;
const MARGIN = 14;
/** The last picture stands for this long before the film begins again. */
const LAST_MS = 5_000;

const LETTERS: Readonly<Record<Style, string>> = {
  bold: "b",
  green: "g",
  red: "r",
  cyan: "c",
  yellow: "y",
  gray: "s",
};
// Characters of the private use area, which no text of the demo has.
const BEGIN = "\ue000";
const MIDDLE = "\ue001";
const END = "\ue002";

/** Paints with marks that {@link recording} turns into colours. */
export const mark: Paint = (style, text) =>
  `${BEGIN}${[style]
    .flat()
    .map((each) => LETTERS[each])
    .join(" ")}${MIDDLE}${text}${END}`;

/** A painted part with its style, or text without one. */
const PARTS = new RegExp(`${BEGIN}([^${MIDDLE}]*)${MIDDLE}([^${END}]*)${END}|([^${BEGIN}]+)`, "g");

const unmarked = (line: string): string =>
  line.replaceAll(new RegExp(`${BEGIN}[^${MIDDLE}]*${MIDDLE}|${END}`, "g"), "");

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Marks become tspans. Neighbours of one colour become one, as in a row of forty marks. */
function painted(line: string): string {
  let out = "";
  let open: string | undefined;
  for (const [, style, inside = "", plain = ""] of line.matchAll(PARTS)) {
    if (style !== open) {
      if (open !== undefined) out += "</tspan>";
      if (style !== undefined) out += `<tspan class="${style}">`;
      open = style;
    }
    out += escaped(style === undefined ? plain : inside);
  }
  return open === undefined ? out : `${out}</tspan>`;
}

interface Span {
  readonly line: string;
  readonly fromMs: number;
  toMs: number;
}

/** What stands in one row, and from when to when. */
function spans(frames: readonly Frame[], row: number, endMs: number): readonly Span[] {
  const found: Span[] = [];
  for (const { atMs, text } of frames) {
    const line = (text.split("\n")[row] ?? "").trimEnd();
    const last = found.at(-1);
    if (last?.line === line) continue;
    if (last !== undefined) last.toMs = atMs;
    found.push({ line, fromMs: atMs, toMs: endMs });
  }
  return found.filter(({ line }) => unmarked(line) !== "");
}

const STYLE = `text{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:14px;white-space:pre}
.bg{fill:#ffffff}text{fill:#1f2328}
.g{fill:#116329}.r{fill:#a40e26}.c{fill:#0550ae}.y{fill:#7d4e00}.s{fill:#57606a}.b{font-weight:600}
@media (prefers-color-scheme:dark){.bg{fill:#0d1117}text{fill:#f0f6fc}
.g{fill:#7ee787}.r{fill:#ffa198}.c{fill:#a5d6ff}.y{fill:#e3b341}.s{fill:#b1bac4}}`;

/**
 * @param frames in order, at least one
 * @param posterMs the time whose picture stands where SVG is not animated
 */
export function recording(
  frames: readonly Frame[],
  posterMs: number,
  words: { readonly title: string; readonly description: string },
): string {
  const endMs = (frames.at(-1)?.atMs ?? 0) + LAST_MS;
  const rows = Math.max(...frames.map(({ text }) => text.split("\n").length));
  const columns = Math.max(
    ...frames.flatMap(({ text }) => text.split("\n").map((line) => unmarked(line).trimEnd().length)),
  );
  const width = Math.ceil(columns * COLUMN + 2 * MARGIN);
  const height = rows * LINE + 2 * MARGIN;
  const seconds = (endMs / 1_000).toFixed(1);
  const part = (ms: number): string => String(Math.round((ms / endMs) * 10_000) / 10_000);
  const lines = Array.from({ length: rows }, (_, row) =>
    spans(frames, row, endMs).map(({ line, fromMs, toMs }) => {
      const y = MARGIN + (row + 1) * LINE - 4;
      const begin = `<text x="${MARGIN}" y="${y}"`;
      if (fromMs === 0 && toMs === endMs) return `${begin}>${painted(line)}</text>`;
      const shown = fromMs <= posterMs && posterMs < toMs;
      const last = toMs === endMs;
      const values = [...(fromMs > 0 ? ["hidden"] : []), "visible", ...(last ? [] : ["hidden"])];
      const times = [...(fromMs > 0 ? ["0"] : []), part(fromMs), ...(last ? [] : [part(toMs)])];
      const animation = `<animate attributeName="visibility" calcMode="discrete" dur="${seconds}s" repeatCount="indefinite" values="${values.join(";")}" keyTimes="${times.join(";")}"/>`;
      return `${begin} visibility="${shown ? "visible" : "hidden"}">${painted(line)}${animation}</text>`;
    }),
  ).flat();
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(words.title)}</title>`,
    `<desc id="description">${escaped(words.description)}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="bg" width="${width}" height="${height}" rx="6"/>`,
    ...lines,
    "</svg>",
    "",
  ].join("\n");
}
