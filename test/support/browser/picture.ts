/**
 * A picture of what a browser shows, as SVG: text stays text, and it follows the reader's light or dark theme.
 * It is for the documentation, which has no binary files. It draws boxes, borders, text and the page's own
 * SVG, which is all that the page has.
 */
import type { Tab } from "./chromium.ts";

/** One thing that is drawn, with its colours left out: `#` stands for each. */
interface Drawn {
  readonly markup: string;
  readonly colours: readonly string[];
}

/** Runs in the page, and answers the list of {@link Drawn} as JSON. */
const DRAW = `(() => {
  const drawn = [];
  const n = (value) => String(Math.round(value * 10) / 10);
  const safe = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
  const add = (markup, ...colours) => drawn.push({ markup, colours });
  const clear = (colour) => colour === "transparent" || /, 0\\)$/.test(colour);
  const box = ({ left, top, width, height }) =>
    'x="' + n(left + scrollX) + '" y="' + n(top + scrollY) + '" width="' + n(width) + '" height="' + n(height) + '"';

  function boxOf(element, style) {
    const rect = element.getBoundingClientRect();
    if (rect.width === 0 || rect.height === 0) return;
    const bordered = style.borderTopWidth !== "0px" && style.borderLeftWidth !== "0px";
    const filled = !clear(style.backgroundColor);
    const round = Math.min(parseFloat(style.borderTopLeftRadius) || 0, rect.height / 2);
    if (filled || bordered)
      add(
        '<rect ' + box(rect) + ' rx="' + n(round) + '" ' + (filled ? 'fill="#"' : 'fill="none"') + (bordered ? ' stroke="#"' : "") + "/>",
        ...(filled ? [style.backgroundColor] : []),
        ...(bordered ? [style.borderTopColor] : []),
      );
    for (const [side, y] of [["Top", rect.top], ["Bottom", rect.bottom]])
      if (!bordered && style["border" + side + "Width"] !== "0px")
        add('<rect ' + box({ left: rect.left, top: y, width: rect.width, height: 1 }) + ' fill="#"/>', style["border" + side + "Color"]);
  }

  function textOf(node, style) {
    const range = document.createRange();
    const lines = [];
    for (const { 0: word, index } of node.data.matchAll(/\\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const rect = range.getBoundingClientRect();
      if (rect.width === 0) continue;
      const last = lines.at(-1);
      if (last !== undefined && Math.abs(last.top - rect.top) < 2) {
        last.text += " " + word;
        last.right = rect.right;
      } else lines.push({ text: word, left: rect.left, right: rect.right, top: rect.top, height: rect.height });
    }
    for (const { text, left, right, top, height } of lines)
      add(
        '<text x="' + n(left + scrollX) + '" y="' + n(top + scrollY + height * 0.79) + '" textLength="' + n(right - left) +
          '" font-size="' + n(parseFloat(style.fontSize)) + '"' + (Number(style.fontWeight) > 500 ? ' font-weight="700"' : "") +
          (style.textDecorationLine.includes("underline") ? ' text-decoration="underline"' : "") + ' fill="#">' + safe(text) + "</text>",
        style.color,
      );
  }

  function graphic(svg) {
    const place = svg.getBoundingClientRect();
    const { width, height } = svg.viewBox.baseVal;
    for (const shape of svg.children) {
      const style = getComputedStyle(shape);
      if (shape.tagName === "rect") add('<rect ' + box(shape.getBoundingClientRect()) + ' fill="#"/>', style.fill);
      else {
        const points = shape.getAttribute("points").split(" ").map((point) => {
          const [x, y] = point.split(",").map(Number);
          return n(place.left + scrollX + (x / width) * place.width) + "," + n(place.top + scrollY + (y / height) * place.height);
        });
        const dash = style.strokeDasharray === "none" ? "" : ' stroke-dasharray="' + style.strokeDasharray.replaceAll("px", "") + '"';
        add('<polyline points="' + points.join(" ") + '" fill="none" stroke-width="2"' + dash + ' stroke="#"/>', style.stroke);
      }
    }
  }

  function visit(element) {
    if (!element.checkVisibility() || element.matches(".skip, noscript, script")) return;
    const style = getComputedStyle(element);
    boxOf(element, style);
    if (element.tagName.toLowerCase() === "svg") return graphic(element);
    for (const child of element.childNodes) {
      if (child.nodeType === 3) textOf(child, style);
      else if (child.nodeType === 1) visit(child);
    }
  }
  visit(document.body);
  return { drawn, height: document.documentElement.scrollHeight, width: document.documentElement.scrollWidth };
})()`;

interface Page {
  readonly drawn: readonly Drawn[];
  readonly width: number;
  readonly height: number;
}

async function drawnIn(tab: Tab, scheme: "light" | "dark"): Promise<Page> {
  await tab.call("Emulation.setEmulatedMedia", {
    features: [{ name: "prefers-color-scheme", value: scheme }],
  });
  await tab.value("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as the script above answers
  return (await tab.value(DRAW)) as Page;
}

/** `rgb(1, 2, 3)` as `#010203`. */
function hex(colour: string): string {
  const parts = (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
  return `#${parts.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
}

/** Draws the page of the tab, whose data must stand still meanwhile. */
export async function pictureOf(
  tab: Tab,
  { title, description }: { readonly title: string; readonly description: string },
): Promise<string> {
  const [light, dark] = [await drawnIn(tab, "light"), await drawnIn(tab, "dark")];
  if (light.drawn.length !== dark.drawn.length) throw new Error("the page changed while it was drawn");
  const pairs = new Map<string, string>();
  const classOf = (pair: string): string => {
    const known = pairs.get(pair) ?? `c${pairs.size}`;
    pairs.set(pair, known);
    return known;
  };
  const body = light.drawn.map(({ markup, colours }, at) => {
    const others = dark.drawn[at]?.colours ?? [];
    let next = 0;
    let names = "";
    const rest = markup.replaceAll(/ (fill|stroke)="#"/g, (_, what: string) => {
      names += ` ${classOf(`${what} ${hex(colours[next] ?? "")} ${hex(others[next] ?? "")}`)}`;
      next += 1;
      return "";
    });
    return rest.replace(/^<(\w+)/, `<$1 class="${names.trim()}"`);
  });
  const rules = (which: 1 | 2): string =>
    [...pairs].map(([pair, name]) => `.${name}{${pair.split(" ")[0]}:${pair.split(" ")[which]}}`).join("");
  const paper = String(await tab.value("getComputedStyle(document.body).backgroundColor"));
  const { width, height } = light;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${title}</title>`,
    `<desc id="description">${description}</desc>`,
    `<style>text{font-family:system-ui,"DejaVu Sans",sans-serif;white-space:pre}.paper{fill:#fbfbf9}${rules(1)}`,
    `@media (prefers-color-scheme:dark){.paper{fill:${hex(paper)}}${rules(2)}}</style>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    ...body,
    "</svg>",
    "",
  ].join("\n");
}
