/**
 * Writes what is generated. `--check` writes nothing, and exits 1 when a file is out of date.
 *
 * * the settings in docs/configuration.md and README.md, between their markers
 * * the table of commands in README.md, and the soak's bounds in docs/verification.md
 * * the files of manifests/, as `leasehold manifest` prints them
 * * the simulation's golden timelines, and docs/timelines.md
 * * the files of docs/guides/files that hold what `leasehold manifest` prints
 * * docs/pictures/
 * * the man page, docs/leasehold.8
 * * what `leasehold status` and `why` print in each situation
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { COMMANDS, synopsis } from "../src/cli/commands.ts";
import { manPage } from "../src/cli/man.ts";
import { manifest } from "../src/cli/manifest.ts";
import { PREFIX, SECTIONS, SETTING_NAMES, SETTINGS } from "../src/config/settings.ts";
import type { Section, SettingName } from "../src/config/settings.ts";
import { VERSION } from "../src/version.ts";
import { MANIFESTS } from "../src/manifests/manifests.ts";
import { goldenFiles } from "../test/sim/golden.ts";
import { loadProduction } from "../test/sim/production.ts";
import { goldenCommands } from "../test/unit/cli/golden.ts";
import { boundsTable } from "../test/soak/bounds.ts";
import { guideFiles } from "./guides/files.ts";
import { pictures } from "./pictures/all.ts";

const root = new URL("../", import.meta.url);

const cell = (text: string): string => text.replaceAll("|", "\\|");
const shown = (name: SettingName): string => {
  const { fallback, shown: text } = SETTINGS[name];
  return fallback === undefined ? text : `\`${text}\``;
};
const inSection = (section: Section): readonly SettingName[] =>
  SETTING_NAMES.filter((name) => SETTINGS[name].section === section);

function readmeTable(): string {
  const rows = SETTING_NAMES.map(
    (name) => `| \`${PREFIX}${name}\` | ${cell(shown(name))} | ${cell(SETTINGS[name].doc)} |`,
  );
  return ["| variable | default | meaning |", "|---|---|---|", ...rows].join("\n");
}

function commandTable(): string {
  const rows = COMMANDS.map(
    (command) => `| \`leasehold ${cell(synopsis(command))}\` | ${cell(command.summary)} |`,
  );
  return ["| command | what it does |", "|---|---|", ...rows].join("\n");
}

function reference(): string {
  return SECTIONS.map((section) => {
    const entries = inSection(section).map((name) => {
      const { parser, doc, electionOnly } = SETTINGS[name];
      const scope = electionOnly ? `\n* No effect with \`${PREFIX}ROLE=balancer\`` : "";
      return `### ${PREFIX}${name}\n\n${doc}\n\n* Default: ${shown(name)}\n* Value: ${parser.expects}${scope}`;
    });
    return `## ${section}\n\n${entries.join("\n\n")}`;
  }).join("\n\n");
}

/** Whole files below manifests/: what `leasehold manifest` prints, with the documentation's VIP. */
function manifests(): readonly (readonly [path: string, text: string])[] {
  const kinds: readonly (readonly string[])[] = [
    ...MANIFESTS.map((kind) => [kind]),
    ["pod", "--admin-kubeconfig", "none"],
  ];
  return kinds.flatMap((words) => {
    const answer = manifest([...words, "--vip", "192.0.2.10"], {});
    if (answer.kind === "error") throw new Error(answer.message);
    return Object.entries(answer.files).map(([name, text]) => [`manifests/${name}`, text] as const);
  });
}

interface Target {
  readonly file: string;
  readonly begin: string;
  readonly end: string;
  readonly text: string;
}

const MARKDOWN = {
  begin: "<!-- settings:begin (written by scripts/docs.ts) -->",
  end: "<!-- settings:end -->",
};
const TARGETS: readonly Target[] = [
  {
    file: "README.md",
    begin: "<!-- commands:begin (written by scripts/docs.ts) -->",
    end: "<!-- commands:end -->",
    text: `\n${commandTable()}\n`,
  },
  { file: "README.md", ...MARKDOWN, text: `\n${readmeTable()}\n` },
  { file: "docs/configuration.md", ...MARKDOWN, text: `\n${reference()}\n` },
  {
    file: "docs/verification.md",
    begin: "<!-- soak:begin (written by scripts/docs.ts) -->",
    end: "<!-- soak:end -->",
    text: `\n${boundsTable()}\n`,
  },
];

/** Files that are generated as a whole, by their paths. */
const WHOLE = [
  ...(await goldenFiles(await loadProduction())),
  ...pictures(),
  ...manifests(),
  ...guideFiles(),
  ...goldenCommands(),
  ["docs/leasehold.8", manPage(VERSION)],
];

const check = process.argv.includes("--check");
let stale = 0;

function settle(file: string, before: string, after: string): void {
  if (after === before) return;
  stale++;
  console.log(check ? `${file} is out of date: run \`npm run docs\`` : `${file} written`);
  if (!check) writeFileSync(new URL(file, root), after);
}

for (const { file, begin, end, text } of TARGETS) {
  const before = readFileSync(new URL(file, root), "utf8");
  const [start, stop] = [before.indexOf(`${begin}\n`), before.indexOf(end)];
  if (start < 0 || stop < start) throw new Error(`${file} lacks its markers`);
  settle(file, before, `${before.slice(0, start + begin.length + 1)}${text}\n${before.slice(stop)}`);
}
for (const [file, text] of WHOLE) {
  const path = new URL(file, root);
  settle(file, existsSync(path) ? readFileSync(path, "utf8") : "", text);
}
if (check && stale > 0) process.exitCode = 1;
