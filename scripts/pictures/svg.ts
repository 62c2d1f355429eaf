/**
 * The parts that the documentation's pictures are made of. A picture is one SVG file that loads nothing. Its
 * text is text, and it has a title and a description for screen readers. It follows the reader's light or
 * dark theme, and has a background of its own, because a page's theme need not be the one that the reader's
 * system has.
 */

/** Fill and stroke of each class, in the light and in the dark theme. */
const THEMES = {
  light: {
    ".bg": "fill:#ffffff",
    ".box": "fill:#f6f8fa;stroke:#6e7781",
    ".vip": "fill:#ddf4ff;stroke:#0969da",
    ".none": "fill:none;stroke:#6e7781",
    ".lost": "fill:#ffebe9;stroke:#cf222e",
    ".t": "fill:#1f2328",
    ".s": "fill:#57606a",
    ".a": "fill:#0550ae",
    ".w": "fill:#a40e26",
    ".line": "stroke:#6e7781",
    ".way": "stroke:#0969da",
    ".miss": "stroke:#cf222e",
    ".head-line": "fill:#6e7781",
    ".head-way": "fill:#0969da",
    ".head-miss": "fill:#cf222e",
  },
  dark: {
    ".bg": "fill:#0d1117",
    ".box": "fill:#161b22;stroke:#8b949e",
    ".vip": "fill:#0c2d6b;stroke:#58a6ff",
    ".none": "fill:none;stroke:#8b949e",
    ".lost": "fill:#490202;stroke:#ff7b72",
    ".t": "fill:#f0f6fc",
    ".s": "fill:#b1bac4",
    ".a": "fill:#a5d6ff",
    ".w": "fill:#ffa198",
    ".line": "stroke:#8b949e",
    ".way": "stroke:#58a6ff",
    ".miss": "stroke:#ff7b72",
    ".head-line": "fill:#8b949e",
    ".head-way": "fill:#58a6ff",
    ".head-miss": "fill:#ff7b72",
  },
} as const;

const SHAPES = `text{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;font-size:14px}
.s{font-size:12px}.b{font-weight:600}
.line,.way,.miss{fill:none;stroke-width:1.5}.way{stroke-width:2.5}
.none,.dash{stroke-dasharray:5 4}`;

type Line = "line" | "way" | "miss";
/** `a` and `w`: the colours of the VIP and of what is lost. `s`: small. */
type Ink = "t" | "s" | "a" | "w" | "t b" | "a b" | "w b";
/** `vip`: who has the VIP. `none`: who might, and has not. */
type Ground = "box" | "vip" | "none" | "lost";
type Words = readonly [ink: Ink, content: string];
export type Point = readonly [x: number, y: number];

interface Picture {
  readonly title: string;
  /** What a reader has to know who cannot see the picture. */
  readonly description: string;
  readonly width: number;
  readonly height: number;
  readonly body: readonly string[];
}

export function svg({ title, description, width, height, body }: Picture): string {
  const rules = (theme: keyof typeof THEMES): string =>
    Object.entries(THEMES[theme])
      .map(([name, rule]) => `${name}{${rule}}`)
      .join("\n");
  const size = 'markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse"';
  const head = (
    line: Line,
  ): string => `<marker id="${line}" viewBox="0 0 8 8" refX="7" refY="4" ${size} orient="auto">
<path class="head-${line}" d="M0 0L8 4L0 8z"/></marker>`;
  const area = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${area} role="img" aria-labelledby="title description">
<title id="title">${escaped(title)}</title>
<desc id="description">${escaped(description)}</desc>
<style>
${SHAPES}
${rules("light")}
@media (prefers-color-scheme:dark){
${rules("dark")}
}
</style>
<defs>
${(["line", "way", "miss"] as const).map(head).join("\n")}
</defs>
<rect class="bg" width="${width}" height="${height}" rx="8"/>
${body.join("\n")}
</svg>
`;
}

/** A box with lines of text in its middle. */
export function box(name: Ground, [x, y]: Point, [width, height]: Point, ...lines: readonly Words[]): string {
  const firstY = y + height / 2 + 5 - (lines.length - 1) * 9;
  const middle = x + width / 2;
  const texts = lines.map(([ink, line], index) => text(ink, [middle, firstY + index * 18], line, "middle"));
  const rect = `<rect class="${name}" x="${x}" y="${y}" width="${width}" height="${height}" rx="6"/>`;
  return [rect, ...texts].join("\n");
}

type Anchor = "start" | "middle" | "end";

export function text(ink: Ink, [x, y]: Point, content: string, anchor: Anchor = "start"): string {
  const anchored = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
  return `<text class="${ink}" x="${x}" y="${y}"${anchored}>${escaped(content)}</text>`;
}

/** A line through these points. */
export function line(kind: Line, ...points: readonly Point[]): string {
  return `<path class="${kind}" d="${pathOf(points)}"/>`;
}

export function arrow(kind: Line, ...points: readonly Point[]): string {
  return `<path class="${kind}" d="${pathOf(points)}" marker-end="url(#${kind})"/>`;
}

/** Two strokes: what was sent ends here. */
export function cross([x, y]: Point): string {
  const [left, right, top, bottom] = [x - 5, x + 5, y - 5, y + 5].map(round);
  return `<path class="miss" d="M${left} ${top}L${right} ${bottom}M${right} ${top}L${left} ${bottom}"/>`;
}

function pathOf(points: readonly Point[]): string {
  return `M${points.map(([x, y]) => `${round(x)} ${round(y)}`).join("L")}`;
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
