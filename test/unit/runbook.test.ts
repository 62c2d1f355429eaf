/** The runbook has a section for whatever sends somebody to it, and its commands are ones that exist. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseArgs } from "../../src/cli/args.ts";
import { ERRORS } from "../../src/errors.ts";
import { REASON_CODES } from "../../src/ops/reason-codes.ts";
import { prometheusRule } from "../../src/manifests/monitoring.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const RUNBOOK = read("docs/operations.md");

/** GitHub's anchor of a heading. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(/\s/g, "-");

const anchorsOf = (page: string): readonly string[] =>
  [...page.replaceAll(/^```.*?^```/gms, "").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    anchor(heading),
  );

/** The text of the section with that anchor, up to the next heading. */
function section(name: string): string {
  const [, text = ""] = new RegExp(`^#+ ${name}$(.*?)(?=^#+ |(?![^]))`, "ms").exec(RUNBOOK) ?? [];
  return text.trim();
}

describe("the runbook", () => {
  const rule = prometheusRule({
    leaseName: "leasehold",
    leaseNamespace: "kube-system",
    runbookUrl: undefined,
  });
  const urlsOf = (text: string): readonly string[] =>
    [...text.matchAll(/runbook_url: (.*)$/gm)].map(([, url = ""]) => url.replaceAll('"', ""));
  const alerts = [...rule.matchAll(/- alert: (\w+)/g)].map(([, name = ""]) => name);

  test("has a section for every alert, to which the alert's runbook_url leads", () => {
    assert.ok(alerts.length > 10);
    for (const [runbookUrl, base] of [
      [undefined, "docs/operations.md"],
      ["https://example.com/ops?page=1", "https://example.com/ops?page=1"],
    ] as const) {
      const text = prometheusRule({ leaseName: "leasehold", leaseNamespace: "kube-system", runbookUrl });
      assert.deepEqual(
        urlsOf(text),
        alerts.map((alert) => `${base}#${anchor(alert)}`),
      );
    }
    // GitHub makes the same anchors of the headings.
    const anchors = anchorsOf(RUNBOOK);
    for (const url of urlsOf(rule)) assert.ok(anchors.includes(url.split("#")[1] ?? ""), url);
    for (const alert of alerts) assert.ok(section(alert).length > 80, alert);
  });

  test("has a section for every error code, and none for one that is gone", () => {
    for (const code of Object.keys(ERRORS)) assert.ok(section(code).length > 80, code);
    const sections = [...RUNBOOK.matchAll(/^### (LH_\w+|Leasehold\w+)$/gm)].map(([, name = ""]) => name);
    assert.deepEqual(sections.toSorted(), [...alerts, ...Object.keys(ERRORS)].toSorted());
  });

  test("has every section to which a text of the program sends somebody", () => {
    const named = globSync("src/**/*.ts", { cwd: ROOT }).flatMap((path) =>
      [
        ...read(path).matchAll(/(?:"([A-Z][\w ]+)\\?"|\b((?:LH_|Leasehold)\w+)) in docs\/operations\.md/g),
      ].map(([, title, code]) => title ?? code ?? ""),
    );
    assert.ok(named.includes("A dead node") && named.includes("LH_KUBECONFIG"));
    const anchors = anchorsOf(RUNBOOK);
    for (const name of named) assert.ok(anchors.includes(anchor(name)), name);
  });

  test("takes a dead node out of etcd, the cluster and the Lease, in commands to paste", () => {
    assert.match(
      section("A dead node"),
      /export KUBECONFIG=[^]*endpoint health[^]*member remove[^]*kubectl delete node[^]*leasehold forget[^]*leasehold status/,
    );
    for (const alert of ["LeaseholdAgentDown", "LeaseholdBackendDown"])
      assert.match(section(alert), /#a-dead-node/, alert);
  });

  test("names every code of a reason for a move", () => {
    const text = section("LeaseholdFlapping");
    for (const code of REASON_CODES) assert.ok(text.includes(`\`${code}\``), code);
  });

  test("begins with what works when the VIP does not", () => {
    assert.equal(/^## (.*)$/m.exec(RUNBOOK)?.[1], "When the VIP does not work");
    const first = section("When the VIP does not work");
    for (const way of ["--server https://NODE:6443", "crictl logs"]) assert.ok(first.includes(way), way);
    assert.match(
      section("Bind the VIP by hand"),
      /ip address add VIP\/32[^]*Give it back[^]*ip address del VIP\/32/,
    );
  });

  test("shows commands of leasehold that exist", () => {
    const shown = [...RUNBOOK.matchAll(/(?:^ {4}|`|-q\) )(leasehold [a-z][^`\n|>#\\]*)/gm)].map(
      ([, text = ""]) => text,
    );
    assert.ok(shown.length > 15);
    for (const text of shown) {
      const words = text.trim().split(/\s+/).slice(1);
      const command = parseArgs(words);
      assert.notEqual(command.kind, "usage-error", `${text}: ${JSON.stringify(command)}`);
    }
  });
});

describe("a link of the documentation", () => {
  test("leads to a heading that exists", () => {
    for (const page of globSync(["*.md", "docs/**/*.md"], { cwd: ROOT })) {
      for (const [, target = "", name = ""] of read(page).matchAll(/\]\((?!https?:)([^)#]*)#([^)]*)\)/g)) {
        const file = target === "" ? page : join(dirname(page), target);
        if (!file.endsWith(".md")) continue;
        assert.ok(anchorsOf(read(file)).includes(name), `${page}: ${target}#${name}`);
      }
    }
  });
});
