/**
 * The page's script. It shows what the server-sent events of `events` say. Every text reaches the page as
 * text, never as markup. Rows and cells are kept and changed in place, so that a person's focus and selection
 * stay where they are.
 */
"use strict";

/** Milliseconds of the charts, and between two samples that belong together. */
const SPAN_MS = 3_600_000;
const GAP_MS = 45_000;
const SVG = "http://www.w3.org/2000/svg";
const STATES = ["MASTER", "PROVISIONAL", "BACKUP", "INIT", "FAULT"];

const distinct = (names) => [...new Set(names)].toSorted((a, b) => (a < b ? -1 : 1));
const byId = (id) => document.getElementById(id);

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setClass(node, name) {
  if (node.getAttribute("class") !== name) node.setAttribute("class", name);
}

/** Makes `parent` have `count` children; `make` makes one. */
function children(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(make(parent.children.length));
  return [...parent.children];
}

function element(name, attributes = {}) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawing(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/**
 * Writes the rows of a table. A cell is a text, or {text, badge, href, nowrap}. The first cell of a row is its
 * header. Cells are named after the head of their column for narrow screens, which show no head.
 */
function table(body, rows) {
  const labels = [...body.parentElement.querySelectorAll("thead th")].map((head) => head.textContent);
  const made = children(body, rows.length, () => element("tr", { role: "row" }));
  rows.forEach((cells, at) => {
    const places = children(made[at], cells.length, (index) =>
      index === 0 ? element("th", { role: "rowheader", scope: "row" }) : element("td", { role: "cell" }),
    );
    cells.forEach((cell, index) => write(places[index], cell, labels[index] ?? ""));
  });
}

function write(place, cell, label) {
  const { text, badge, href, nowrap = false } = typeof cell === "string" ? { text: cell } : cell;
  if (place.dataset.label !== label) place.dataset.label = label;
  setClass(place, [nowrap ? "nowrap" : "", text === "" ? "empty" : ""].join(" ").trim());
  const kind = href !== undefined ? "A" : "SPAN";
  if (place.firstElementChild?.tagName !== kind) place.replaceChildren(element(kind));
  const inner = place.firstElementChild;
  setText(inner, text);
  setClass(inner, badge === undefined ? "" : `badge ${badge}`);
  if (href !== undefined && inner.getAttribute("href") !== href) inner.setAttribute("href", href);
}

function duration(ms) {
  if (ms === null) return "";
  const seconds = Math.abs(ms) / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const clockTime = (at) => new Date(at).toLocaleTimeString([], { hour12: false });
const goodness = { MASTER: "good", PROVISIONAL: "warn", BACKUP: "", INIT: "warn", FAULT: "bad" };
const grades = { UP: "good", DRAIN: "warn", DOWN: "bad", UNKNOWN: "" };
const listed = (names) =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;

let samples = [];
let settings = [];
let home = "";

/** The way from this page, "/" or "/peers/NODE/", to that of another node. */
function pageOf(node) {
  const root = /\/peers\/[^/]+\/$/.test(location.pathname) ? "../../" : "./";
  return node === home ? root : `${root}peers/${encodeURIComponent(node)}/`;
}

function headline({ nodes, vips, lease, other, missing }) {
  const vip = vips.length === 0 ? "the VIP" : `the VIP ${listed(vips)}`;
  const named = (state) =>
    nodes.filter((one) => one.state === state && one.alive !== false).map((one) => one.node);
  const masters = named("MASTER");
  const provisional = named("PROVISIONAL");
  if (masters.length === 1 && provisional.length === 0) return [`${masters[0]} holds ${vip}`, "good"];
  if (masters.length + provisional.length > 1)
    return [`${listed([...masters, ...provisional])} have ${vip}`, "warn"];
  if (provisional.length === 1) return [`${provisional[0]} has ${vip} provisionally`, "warn"];
  if (other?.standsBy)
    return [`Other software on ${other.where} has ${vip}, and the agents stand by`, "warn"];
  if (other) {
    const who =
      other.node === null ? `${other.where}, which is no candidate,` : `another program on ${other.where}`;
    return [`${who.charAt(0).toUpperCase()}${who.slice(1)} has ${vip}, and no node holds it`, "bad"];
  }
  if (nodes.length === 0 && missing.length === 0) return ["This agent takes no part in the election", ""];
  return [
    lease.holder
      ? `No agent that answers has ${vip}. The Lease names ${lease.holder}`
      : `No node holds ${vip}`,
    "bad",
  ];
}

function leaseLine({ lease, node }) {
  const name = `${lease.namespace}/${lease.name}`;
  if (lease.from === null) return `${node} has not read the Lease ${name}.`;
  const parts = [lease.holder ? `held by ${lease.holder}` : "without a holder"];
  if (lease.renewedAgoMs !== null) parts.push(`renewed ${duration(lease.renewedAgoMs)} ago`);
  if (lease.transitions !== null) parts.push(`${lease.transitions} transitions`);
  if (lease.readAgoMs !== null) parts.push(`read ${duration(lease.readAgoMs)} ago`);
  return `Lease ${name}: ${parts.join(", ")}.`;
}

function showNodes({ nodes }) {
  table(
    byId("node-rows"),
    nodes.map((one) => [
      { text: one.node, href: pageOf(one.node), nowrap: true },
      {
        text: one.alive === false ? `${one.state}, silent` : one.state,
        badge: one.alive === false ? "bad" : (goodness[one.state] ?? ""),
      },
      { text: duration(one.sinceMs), nowrap: true },
      { text: `${one.effective} of ${one.base}`, nowrap: true },
      { text: one.eligible ? "yes" : "no", nowrap: true },
      { text: one.vipBound === null ? "not known" : one.vipBound ? "bound" : "no", nowrap: true },
      one.why,
    ]),
  );
}

function showServers({ apiServers }) {
  const seers = distinct(apiServers.map((one) => one.seenBy));
  const servers = distinct(apiServers.map((one) => one.server));
  const heads = children(byId("server-head"), seers.length + 1, () =>
    element("th", { role: "columnheader", scope: "col" }),
  );
  ["API server", ...seers.map((seer) => `by ${seer}`)].forEach((text, at) => setText(heads[at], text));
  table(
    byId("server-rows"),
    servers.map((server) => [
      { text: server, nowrap: true },
      ...seers.map((seer) => {
        const found = apiServers.find((one) => one.server === server && one.seenBy === seer);
        if (found === undefined) return "";
        const why = found.grade === "UP" ? "" : ` (${found.reason})`;
        return { text: `${found.grade}${why}, ${duration(found.sinceMs)}`, badge: grades[found.grade] ?? "" };
      }),
    ]),
  );
}

function showMoves({ moves }) {
  byId("no-moves").hidden = moves.length > 0;
  table(
    byId("move-rows"),
    moves.map((move) => [
      { text: duration(move.agoMs), nowrap: true },
      { text: move.at.replace("T", " ").replace(/\.\d+Z$/, "Z"), nowrap: true },
      { text: move.node, href: pageOf(move.node), nowrap: true },
      { text: `${move.from} to ${move.to}`, nowrap: true },
      move.reason,
    ]),
  );
}

function showSettings() {
  const only = byId("changed-only").checked;
  table(
    byId("setting-rows"),
    settings
      .filter((one) => one.isSet || !only)
      .map((one) => [
        one.name,
        { text: one.value, badge: one.isSet ? "good" : undefined },
        one.doc.replaceAll("`", ""),
      ]),
  );
}

function showAttention({ warnings, missing }) {
  const lines = [
    ...warnings,
    ...missing.map(
      ({ node, why }) =>
        `No usable answer: ${why}. What is said here of ${node} is from the Lease. Run leasehold status on ${node}.`,
    ),
  ];
  byId("attention").hidden = lines.length === 0;
  children(byId("warnings"), lines.length, () => element("li")).forEach((item, at) =>
    setText(item, lines[at]),
  );
}

/** The time that the charts show: the last hour, or since the first sample. */
function span() {
  const to = samples.at(-1)?.at ?? Date.now();
  // The newest sample is shown for as long as it is the newest.
  return { from: Math.max(samples[0]?.at ?? to, to - SPAN_MS), to: to + 2_000 };
}

function showStates() {
  const { from, to } = span();
  setText(byId("states-from"), `${duration(to - from)} ago`);
  const nodes = distinct(samples.flatMap((sample) => sample.states.map(([node]) => node)));
  const rows = children(byId("states"), nodes.length, () => {
    const row = element("div", { class: "strip-row" });
    row.append(
      element("span"),
      drawing("svg", { class: "strip", viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img" }),
    );
    return row;
  });
  nodes.forEach((node, at) => {
    const [name, strip] = rows[at].children;
    setText(name, node);
    const parts = bands(node, to);
    const texts = parts.slice(-6).map((part) => `${part.state || "silent"} from ${clockTime(part.from)}`);
    strip.setAttribute("aria-label", `${node}: ${texts.join(", ") || "nothing known"}`);
    children(strip, parts.length, () => drawing("rect", { y: 0, height: 10 })).forEach((rect, index) => {
      const part = parts[index];
      const left = ((Math.max(part.from, from) - from) / (to - from)) * 1_000;
      rect.setAttribute("x", left.toFixed(1));
      rect.setAttribute("width", Math.max(1, ((part.to - from) / (to - from)) * 1_000 - left).toFixed(1));
      setClass(rect, STATES.includes(part.state) ? part.state : "silent");
    });
  });
  const seen = [...STATES, ""].filter((state) =>
    samples.some((sample) => sample.states.some(([, one]) => one === state)),
  );
  legend(
    byId("states-legend"),
    seen.map((state) => ({ name: state || "silent", className: state || "silent", value: "" })),
    "rect",
  );
}

/** The times in which a node had one state. */
function bands(node, end) {
  const parts = [];
  samples.forEach((sample, at) => {
    const state = sample.states.find(([name]) => name === node)?.[1];
    const next = samples[at + 1]?.at ?? end;
    const to = Math.min(next, sample.at + GAP_MS);
    const last = parts.at(-1);
    if (state === undefined) return;
    if (last !== undefined && last.state === state && sample.at - last.to <= 1) last.to = to;
    else parts.push({ state, from: sample.at, to });
  });
  return parts;
}

function legend(list, entries, shape) {
  const items = children(list, entries.length, () => {
    const item = element("li");
    const swatch = drawing("svg", { viewBox: "0 0 24 12", "aria-hidden": "true" });
    swatch.append(
      shape === "rect"
        ? drawing("rect", { width: 24, height: 12 })
        : drawing("polyline", { points: "0,6 24,6" }),
    );
    item.append(swatch, element("span"), element("b"));
    return item;
  });
  entries.forEach(({ name, className, value }, at) => {
    const [swatch, label, figure] = items[at].children;
    setClass(swatch.firstElementChild, className);
    setText(label, name);
    setText(figure, value);
  });
}

/**
 * Draws a chart of lines.
 * @param series [{name, points: [[at, value]]}], value null: unknown
 */
function chart(place, series, unit) {
  const { from, to } = span();
  const most = Math.max(1, ...series.flatMap(({ points }) => points.map(([, value]) => value ?? 0)));
  const top = most <= 10 ? Math.ceil(most) : Math.ceil(most / 10) * 10;
  if (place.childElementCount === 0) {
    const axis = element("p", { class: "axis" });
    axis.append(element("span"));
    const times = element("p", { class: "axis" });
    times.append(element("span"), element("span"));
    place.append(
      axis,
      drawing("svg", { class: "plot", viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img" }),
      times,
      element("ul", { class: "legend" }),
    );
  }
  const [axis, plot, times, list] = place.children;
  setText(axis.firstElementChild, `${top} ${unit}`.trim());
  setText(times.firstElementChild, `${duration(to - from)} ago`);
  setText(times.lastElementChild, "now");
  const drawn = series.flatMap(({ points }, at) =>
    lines(points, from, to, top).map((text) => ({ text, at })),
  );
  children(plot, drawn.length, () => drawing("polyline")).forEach((line, index) => {
    line.setAttribute("points", drawn[index].text);
    setClass(line, `s${drawn[index].at % 8}`);
  });
  const figure = (points) => {
    const value = points.at(-1)?.[1] ?? null;
    return value === null ? "unknown" : `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)}`;
  };
  const entries = series.map(({ name, points }, at) => ({
    name,
    className: `s${at % 8}`,
    value: figure(points),
  }));
  plot.setAttribute(
    "aria-label",
    `Now ${entries.map(({ name, value }) => `${name} ${value} ${unit}`.trim()).join(", ") || "nothing known"}`,
  );
  legend(list, entries, "line");
}

/** The points as lines that end where a sample is missing. */
function lines(points, from, to, top) {
  const parts = [];
  let before = Number.NEGATIVE_INFINITY;
  for (const [at, value] of points) {
    if (value === null || at < from) continue;
    if (at - before > GAP_MS) parts.push([]);
    before = at;
    const y = 100 - (value / top) * 96;
    parts.at(-1).push(`${(((at - from) / (to - from)) * 1_000).toFixed(1)},${y.toFixed(1)}`);
  }
  return parts.map((part) => part.join(" "));
}

function showCharts() {
  const servers = distinct(samples.flatMap((sample) => sample.servers.map((one) => one.server)));
  const of = (what) =>
    servers.map((name) => ({
      name,
      points: samples.map((sample) => [
        sample.at,
        sample.servers.find((one) => one.server === name)?.[what] ?? null,
      ]),
    }));
  chart(byId("latency"), of("checkMs"), "ms");
  chart(byId("connections"), of("active"), "");
  const nodes = distinct(samples.flatMap((sample) => sample.packets.map(([node]) => node)));
  byId("packets-section").hidden = nodes.length === 0;
  const count = (sample, node) => sample?.packets.find(([name]) => name === node)?.[1];
  chart(
    byId("packets"),
    nodes.map((name) => ({
      name: `to ${name}`,
      points: samples.slice(1).map((sample, at) => {
        const [before, after] = [count(samples[at], name), count(sample, name)];
        const ms = sample.at - samples[at].at;
        const known =
          before !== undefined && after !== undefined && after >= before && ms > 0 && ms <= GAP_MS;
        return [sample.at, known ? ((after - before) / ms) * 1_000 : null];
      }),
    })),
    "",
  );
}

function show(picture) {
  home = picture.home;
  const [text, kind] = headline(picture);
  setText(byId("headline"), text);
  setClass(byId("headline"), kind);
  document.title = `${text} - Leasehold`;
  setText(byId("seen-by"), `as ${picture.node} sees it`);
  setText(byId("settings-of"), picture.node);
  setText(byId("lease"), leaseLine(picture));
  setText(
    byId("version"),
    `${picture.node}, ${picture.version === "" ? "its agent does not answer" : `version ${picture.version}, up ${duration(picture.uptimeMs)}`}`,
  );
  connected(picture.at);
  showAttention(picture);
  showNodes(picture);
  showServers(picture);
  showMoves(picture);
  if (picture.sample !== null && picture.sample.at > (samples.at(-1)?.at ?? 0)) {
    // The Lease says of the other nodes what they wrote last. What they say themselves is newer.
    const states = picture.nodes.map((one) => [one.node, one.alive === false ? "" : one.state]);
    samples.push({ ...picture.sample, states });
  }
  samples = thinned(samples);
  showStates();
  showCharts();
}

/** The last hour: everything of the last five minutes, and before that one sample in ten seconds. */
function thinned(all) {
  const now = all.at(-1)?.at ?? 0;
  let last = Number.NEGATIVE_INFINITY;
  return all.filter(({ at }) => {
    if (at < now - SPAN_MS || (at < now - 300_000 && at - last < 9_000)) return false;
    last = at;
    return true;
  });
}

let lastAt = null;

function connected(at) {
  lastAt = at;
  setText(byId("link"), `Live, as of ${clockTime(at)}`);
  setClass(byId("link"), "");
}

function disconnected() {
  setText(
    byId("link"),
    lastAt === null
      ? "The agent does not answer. Trying again."
      : `The agent does not answer. What you see is of ${clockTime(lastAt)}. Trying again.`,
  );
  setClass(byId("link"), "bad");
}

let source;
let retry;

function open() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("events");
  source.addEventListener("start", ({ data }) => {
    ({ samples, settings } = JSON.parse(data));
    showSettings();
  });
  source.addEventListener("picture", ({ data }) => show(JSON.parse(data)));
  source.addEventListener("error", () => {
    disconnected();
    // The browser tries again by itself, unless the answer was not a stream.
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 5_000);
  });
}

// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") open();
  else source?.close();
});
byId("changed-only").addEventListener("change", showSettings);
open();
