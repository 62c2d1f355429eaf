/**
 * The settings as the page shows them: each with the value in force. A command's arguments and a URL's query
 * may be secrets that a person has put there, so they are not shown.
 */
import { visible } from "./text.ts";
import { PREFIX, SETTING_NAMES, SETTINGS } from "./settings.ts";
import type { SettingName } from "./settings.ts";

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

/** What may be a secret in a setting's value, replaced. Every other value is shown as it is. */
const WITHOUT_SECRETS: Partial<Readonly<Record<SettingName, (text: string) => string>>> = {
  TRACK_EXEC: programOnly,
  NOTIFY: programOnly,
  TRACK_HTTP(text) {
    if (!URL.canParse(text)) return HIDDEN;
    const { protocol, host, pathname, search, username, password } = new URL(text);
    const user = username + password === "" ? "" : `${HIDDEN}@`;
    return `${protocol}//${user}${host}${pathname}${search === "" ? "" : `?${HIDDEN}`}`;
  },
};

function programOnly(text: string): string {
  const [program = "", ...more] = text.split(/\s+/);
  return more.length === 0 ? program : `${program} ${HIDDEN}`;
}

/** Reads the environment that {@link parseConfig} has accepted. */
export function shownSettings(env: Readonly<Record<string, string | undefined>>): readonly ShownSetting[] {
  return SETTING_NAMES.map((name) => {
    const { section, shown, doc } = SETTINGS[name];
    const given = env[PREFIX + name]?.trim() ?? "";
    const isSet = given !== "";
    const safe = WITHOUT_SECRETS[name] ?? ((text: string) => text);
    return { section, name: PREFIX + name, value: isSet ? visible(safe(given)) : shown, isSet, doc };
  });
}
