/**
 * Collects what other programs' configurations become: settings, each with the lines that it comes from, and
 * the lines that were left out, each with the reason. Pure.
 */
import { parseConfig } from "../config/config.ts";
import { PREFIX } from "../config/settings.ts";
import type { SettingName } from "../config/settings.ts";
import type { Line } from "./foreign-text.ts";

export interface DraftSetting {
  readonly name: string;
  readonly value: string;
  /** Where it comes from, as `keepalived.conf:12: priority 101`. */
  readonly from: readonly string[];
  /** What has to be known of it; "" for nothing. */
  readonly note: string;
}

export interface LeftOut {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  readonly reason: string;
}

export interface Imported {
  readonly settings: readonly DraftSetting[];
  readonly leftOut: readonly LeftOut[];
  /** What a person has to do before the settings are whole. */
  readonly todo: readonly string[];
}

/** Keywords whose words are secrets. */
const SECRET = /^(?:auth_pass|password|user|stats|smtp_server|insecure-password)$/;

/** A line as its program's reader would write it, without secrets and not longer than a line. */
function textOf({ words }: Line): string {
  const [keyword = ""] = words;
  const text = SECRET.test(keyword) && words.length > 1 ? `${keyword} ...` : words.join(" ");
  return text.length > 100 ? `${text.slice(0, 97)}...` : text;
}

export class Draft {
  readonly #settings = new Map<SettingName, DraftSetting>();
  readonly #leftOut: LeftOut[] = [];
  readonly #todo: string[] = [];

  leaveOut(line: Line, reason: string): void {
    this.#leftOut.push({ file: line.file, line: line.line, text: textOf(line), reason });
  }

  /** Adds what a person has to do. */
  remind(todo: string): void {
    this.#todo.push(todo);
  }

  value(name: SettingName): string | undefined {
    return this.#settings.get(name)?.value;
  }

  /**
   * Takes a setting. A value that the agent would refuse is left out, with the agent's own reason. The first of
   * two lines counts.
   */
  set(name: SettingName, value: string, lines: readonly Line[], note = ""): void {
    const [first] = lines;
    const before = this.#settings.get(name);
    const from = lines.map((line) => `${line.file}:${line.line}: ${textOf(line)}`);
    if (before !== undefined) {
      if (before.value === value) this.#settings.set(name, { ...before, from: [...before.from, ...from] });
      else if (first !== undefined)
        this.leaveOut(
          first,
          `${PREFIX}${name} is ${before.value} already, by ${before.from[0] ?? "another line"}`,
        );
      return;
    }
    if (value.trim() === "") {
      if (first !== undefined) this.leaveOut(first, "it has no value");
      return;
    }
    const problem = this.#problem({ ...this.environment(), [PREFIX + name]: value });
    if (problem === undefined) this.#settings.set(name, { name: PREFIX + name, value, from, note });
    else if (first !== undefined) this.leaveOut(first, problem);
  }

  environment(): Record<string, string> {
    return Object.fromEntries([...this.#settings.values()].map(({ name, value }) => [name, value]));
  }

  #problem(env: Record<string, string>): string | undefined {
    // A worker needs no VIP. Without one the rest can still be judged.
    const role = env[`${PREFIX}VIP`] === undefined ? { [`${PREFIX}ROLE`]: "balancer" } : {};
    const parsed = parseConfig({ ...env, ...role }, "node");
    return parsed.kind === "error" ? parsed.problems.join(". ") : undefined;
  }

  finish(): Imported {
    return {
      settings: [...this.#settings.values()],
      leftOut: this.#leftOut.toSorted((a, b) => a.file.localeCompare(b.file) || a.line - b.line),
      todo: this.#todo,
    };
  }
}
