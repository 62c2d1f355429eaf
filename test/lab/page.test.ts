/** The page of real agents in a real browser: what it shows, live, narrow and wide, light and dark. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Chromium } from "../support/browser/chromium.ts";
import type { Screen, Tab } from "../support/browser/chromium.ts";
import { pictureOf } from "../support/browser/picture.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";
import { startKeepalived } from "./strangers.ts";

const URL_OF_PAGE = "http://127.0.0.1:10081/";
const WIDE: Screen = { width: 1_280, height: 900, dark: false };
/** With this variable the screenshots are kept there. */
const PICTURES = process.env["LEASEHOLD_TEST_SCREENSHOTS"];

let cluster: EmbeddedCluster;
let holder: EmbeddedNode;
let browser: Chromium;

before(async () => {
  cluster = await createEmbeddedCluster();
  await Promise.all(
    cluster.nodes.map((node) =>
      node.startAgent({
        LEASEHOLD_TRACK_HTTP: `http://127.0.0.1:10084/livez?token=hidden-${node.name}`,
      }),
    ),
  );
  holder = await cluster.holder(30_000);
  browser = await Chromium.start((argv) => other().host.inside(argv));
});
after(async () => {
  await browser[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

/** The browser is on this node, which does not hold the VIP. */
const other = (): EmbeddedNode => cluster.nodes.find((node) => node !== holder) ?? holder;

function shows(tab: Tab, selector: string, pattern: RegExp, timeoutMs = 20_000): Promise<string> {
  return cluster.lab.until(
    async () => {
      const text = await tab.text(selector);
      if (!pattern.test(text)) throw new Error(`${selector} shows: ${text}`);
      return text;
    },
    timeoutMs,
    `${selector} shows ${pattern.source}`,
  );
}

async function keep(tab: Tab, name: string): Promise<void> {
  if (PICTURES === undefined) return;
  mkdirSync(PICTURES, { recursive: true });
  writeFileSync(join(PICTURES, `${name}.png`), await tab.screenshot());
}

/** With LEASEHOLD_TEST_SCREENSHOTS this is docs/pictures/page.svg. */
async function keepPicture(tab: Tab): Promise<void> {
  await shows(tab, "#server-rows tr", /UP.*UP.*UP/);
  await shows(tab, "#move-rows", /MASTER/);
  await tab.value("source.close()");
  const svg = await pictureOf(tab, {
    title: "The page of a node",
    description:
      "The headline says who holds the VIP. Below it are tables of the nodes with their states, priorities and " +
      "reasons, a bar for each node with its states over time, the API servers as each node sees them, charts " +
      "of health checks, connections and packets, and the last changes of role with their reasons.",
  });
  assert.match(svg, /<text [^>]*>n\d holds the VIP [\d.]+<\/text>/);
  assert.doesNotMatch(svg.replace("http://www.w3.org/2000/svg", ""), /https?:|href|<image|NaN|undefined|#</);
  assert.equal(svg.match(/<text /g)?.length, svg.match(/<\/text>/g)?.length);
  if (PICTURES !== undefined) writeFileSync(join(PICTURES, "page.svg"), svg);
  await tab.close();
}

test("shows who holds the VIP, every node's own word, and what each sees of the API servers", async () => {
  const tab = await browser.open(URL_OF_PAGE, WIDE);
  await shows(tab, "h1", new RegExp(`^${holder.name} holds the VIP ${cluster.lab.vip4}$`));
  assert.equal(await tab.text("#seen-by"), `as ${other().name} sees it`);
  for (const { name } of cluster.nodes) {
    const state = name === holder.name ? "MASTER" : "BACKUP";
    const vip = name === holder.name ? "bound" : "no";
    // That its agent has started is no reason that a BACKUP's row would give.
    const why = name === holder.name ? "\\S" : "$";
    // An agent learns the key of another one when it next reads the Lease. Only then the row has its word.
    await shows(
      tab,
      "#node-rows tr",
      new RegExp(`^${name}\\t${state}\\t[\\d.]+ (s|min)\\t100 of 100\\tyes\\t${vip}\\t${why}`, "m"),
    );
  }
  assert.match(await tab.text("#server-head"), /by n1\s+by n2\s+by n3/);
  const servers = await shows(tab, "#server-rows tr", /UP.*UP.*UP/);
  for (const { host } of cluster.nodes) assert.ok(servers.includes(`${host.ipv4}:6443`));
  await shows(tab, "#move-rows", new RegExp(`${holder.name}\\s+BACKUP to (MASTER|PROVISIONAL)`));
  await shows(tab, "#latency .legend", /10\.77\.\d+\.\d+:6443\s*\d/);
  assert.equal(await tab.value("document.querySelectorAll('#states .strip rect').length >= 3"), true);
  await tab.close();
});

test("shows each setting and its value, and no secret of it", async () => {
  const tab = await browser.open(URL_OF_PAGE, WIDE);
  await shows(tab, "h1", /holds the VIP/);
  await tab.value("document.querySelector('details').open = true");
  const settings = await shows(tab, "#setting-rows", /LEASEHOLD_PRIORITY\s+100/);
  assert.match(settings, new RegExp(`LEASEHOLD_VIP\\s+${cluster.lab.vip4.replaceAll(".", "\\.")}`));
  assert.match(settings, /LEASEHOLD_TRACK_HTTP\s+http:\/\/127\.0\.0\.1:10084\/livez\?\(not shown\)/);
  assert.doesNotMatch(String(await tab.value("document.documentElement.outerHTML")), /hidden-n\d/);
  await tab.value("document.querySelector('#changed-only').click()");
  await shows(tab, "#setting-rows", /^(?!.*LEASEHOLD_PRIORITY)[^]*LEASEHOLD_VIP/);
  await tab.close();
});

test("another node's page is one link away, with its metrics", async () => {
  const tab = await browser.open(URL_OF_PAGE, WIDE);
  await shows(tab, "h1", /holds the VIP/);
  await tab.value(
    `[...document.querySelectorAll("#node-rows a")].find((a) => a.innerText === "${holder.name}").click()`,
  );
  await shows(tab, "#seen-by", new RegExp(`^as ${holder.name} sees it$`));
  assert.equal(await tab.value("location.pathname"), `/peers/${holder.name}/`);
  await shows(tab, "#version", new RegExp(`^${holder.name}, version`));
  const metrics = String(await tab.value("fetch('metrics').then((answer) => answer.text())"));
  assert.match(metrics, /leader_election_master_status\{name="leasehold"\} 1/);
  await tab.value(
    `[...document.querySelectorAll("#node-rows a")].find((a) => a.innerText === "${other().name}").click()`,
  );
  await shows(tab, "#seen-by", new RegExp(`^as ${other().name} sees it$`));
  assert.equal(await tab.value("location.pathname"), "/");
  await tab.close();
});

test("is useful at 360 px and at 1280 px, light and dark", async () => {
  for (const width of [360, 1_280])
    for (const dark of [false, true]) {
      const tab = await browser.open(URL_OF_PAGE, { width, height: 800, dark });
      await shows(tab, "h1", /holds the VIP/);
      await shows(tab, "#server-rows tr", /UP/);
      const name = `${width}-${dark ? "dark" : "light"}`;
      await keep(tab, name);
      assert.equal(
        await tab.value("document.documentElement.scrollWidth"),
        width,
        `${name}: nothing is cut off`,
      );
      const least = await tab.value(CONTRASTS);
      assert.ok(Number(least) >= 4.5, `${name}: contrast ${String(least)} is below WCAG's 4.5`);
      await tab.close();
    }
});

/** The least contrast (WCAG 2.2, 1.4.3) of any text with its background. */
const CONTRASTS = `(() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(one).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim() !== "");
    if (!own || node.closest("noscript, [hidden]")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color).slice(0, 3)), light(paper(node))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()`;

test("is read by a screen reader and used by keyboard", async () => {
  for (const width of [360, 1_280]) {
    const tab = await browser.open(URL_OF_PAGE, { ...WIDE, width });
    await shows(tab, "h1", /holds the VIP/);
    await shows(tab, "#server-rows tr", /UP/);
    const met = await tab.accessible();
    const has = (role: string, name: RegExp): void =>
      assert.ok(
        met.some((one) => one.role === role && name.test(one.name)),
        `${role} ${name.source} at ${width}`,
      );
    has("heading", /holds the VIP/);
    for (const name of [/^Nodes$/, /^API servers, as/, /^Last changes of role$/]) has("table", name);
    has("rowheader", /^n1$/);
    has("cell", /^MASTER$/);
    has("image", /^n1: (MASTER|BACKUP|INIT)/);
    has("image", /^Now 10\.77.*ms/);
    has("status", /^/);
    has("navigation", /^The same as text$/);
    // Nothing that can be used lacks a name.
    assert.deepEqual(
      met.filter(({ role, name }) => ["link", "checkbox", "button"].includes(role) && name === ""),
      [],
    );

    const visited: string[] = [];
    for (let key = 0; key < 20; key++) {
      await tab.press("Tab");
      visited.push(String(await tab.value("document.activeElement?.innerText?.trim() ?? ''")));
      if (visited.at(-1)?.startsWith("Settings of") === true) break;
    }
    assert.equal(visited[0], "Skip to the nodes");
    for (const { name } of cluster.nodes) assert.ok(visited.includes(name), visited.join("|"));
    await tab.press("Enter");
    assert.equal(await tab.value("document.querySelector('details').open"), true);
    // A picture that comes does not move the focus.
    const at = await tab.text("#link");
    await cluster.lab.until(async () => (await tab.text("#link")) !== at, 20_000, "the next picture");
    assert.equal(await tab.value("document.activeElement.tagName"), "SUMMARY");
    await tab.close();
  }
});

test("follows a move and the loss of the API by itself, and says when its agent is gone", async () => {
  const tab = await browser.open(URL_OF_PAGE, WIDE);
  await shows(tab, "h1", new RegExp(`^${holder.name} holds`));
  const node = other();
  const before = holder;
  before.agent?.kill("SIGTERM");
  await before.agent?.exited;
  await shows(tab, "h1", new RegExp(`^(?!${before.name})n\\d holds the VIP`));
  await shows(tab, "#warnings", new RegExp(`the agent of ${before.name} at .*: .*ECONNREFUSED`));
  await shows(tab, "#node-rows", new RegExp(`${before.name}\\s+\\w+, silent`), 60_000);
  await before.startAgent();
  await shows(tab, "#node-rows", new RegExp(`${before.name}\\s+BACKUP\\s`), 60_000);

  await keepPicture(await browser.open(URL_OF_PAGE, { width: 1_100, height: 900, dark: false }));

  for (const server of cluster.api.servers) server.stop();
  try {
    await shows(tab, "#server-rows", /DOWN/, 60_000);
    await shows(tab, "h1", /has the VIP .* provisionally|holds the VIP/);
    await shows(tab, "#node-rows", /PROVISIONAL/, 60_000);
    await keep(tab, "api-down");
  } finally {
    for (const server of cluster.api.servers) server.continue();
  }
  await shows(tab, "#server-rows", /UP/, 60_000);

  await node.endAgent();
  await shows(tab, "#link", /The agent does not answer\. What you see is of/);
  await keep(tab, "agent-gone");
  await node.startAgent();
  await shows(tab, "#link", /^Live/, 60_000);
  await tab.close();
});

test("names the machine on which other software has the VIP during a take-over, and then the agent's", async () => {
  await Promise.all(cluster.nodes.map((node) => node.endAgent()));
  const [first] = cluster.nodes;
  assert.ok(first !== undefined);
  const keepalived = await startKeepalived({ lab: cluster.lab, vip: cluster.lab.vip4 }, first.host);
  await Promise.all(cluster.nodes.map((node) => node.startAgent({ LEASEHOLD_TAKE_OVER: "true" })));
  await cluster.lab.until(
    async () => (await other().status()).election?.taken === true,
    30_000,
    "it stands by",
  );
  const tab = await browser.open(URL_OF_PAGE, WIDE);
  const vip = cluster.lab.vip4.replaceAll(".", "\\.");
  await shows(
    tab,
    "h1",
    new RegExp(
      `^Other software on ${first.name} \\([0-9a-f:]{17}\\) has the VIP ${vip}, and the agents stand by$`,
    ),
  );
  for (const { name } of cluster.nodes)
    await shows(
      tab,
      "#node-rows tr",
      new RegExp(
        `^${name}\\tBACKUP\\t.*\\tno\\t${name === first.name ? "bound" : "no"}\\tother software on`,
        "m",
      ),
    );
  await shows(tab, "#warnings", /A take-over is under way: other software on/);
  await keep(tab, "take-over");
  await keepalived.terminate();
  await shows(tab, "h1", /^n\d holds the VIP/);
  await tab.close();
});

test("nothing of it came from elsewhere, and no script or policy complained", () => {
  const real = browser.complaints.filter(
    (line) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|502/.test(line),
  );
  assert.deepEqual(real, []);
});
