/**
 * The settings as the page shows them: each with the value in force. A command's arguments and a URL's query
 * may be secrets that a person has put there, so they are not shown.
 */
import { textOf } from "./config.ts";
import type { Environment } from "./config.ts";
import { commandLine, httpUrl } from "./parsers.ts";
import type { Parser } from "./parsers.ts";
import { PREFIX, SETTING_NAMES, SETTINGS } from "./settings.ts";
import { visible } from "./text.ts";

export interface ShownSetting {
  readonly section: string;
  /** The variable. */
  readonly name: string;
  readonly value: string;
  /** A person has set it; else the value is the default. */
  readonly isSet: boolean;
  readonly doc: string;
}

const HIDDEN = "(not shown)";

/** What may be a secret in a value, replaced, by the setting's parser. Every other value is shown as it is. */
const WITHOUT_SECRETS: ReadonlyMap<Parser<unknown>, (text: string) => string> = new Map([
  [commandLine, programOnly],
  [httpUrl, placeOnly],
]);

function placeOnly(text: string): string {
  if (!URL.canParse(text)) return HIDDEN;
  const { protocol, host, pathname, search, username, password } = new URL(text);
  const user = username + password === "" ? "" : `${HIDDEN}@`;
  return `${protocol}//${user}${host}${pathname}${search === "" ? "" : `?${HIDDEN}`}`;
}

function programOnly(text: string): string {
  const [program = "", ...more] = text.split(/\s+/);
  return more.length === 0 ? program : `${program} ${HIDDEN}`;
}

/** Reads the environment that {@link parseConfig} has accepted. */
export function shownSettings(env: Environment): readonly ShownSetting[] {
  return SETTING_NAMES.map((name) => {
    const { section, parser, shown, doc } = SETTINGS[name];
    const given = textOf(env, name);
    const isSet = given !== "";
    const safe = WITHOUT_SECRETS.get(parser) ?? ((text: string) => text);
    return { section, name: PREFIX + name, value: isSet ? visible(safe(given)) : shown, isSet, doc };
  });
}
