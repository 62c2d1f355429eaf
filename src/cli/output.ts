/** Writes a value as JSON or YAML, for programs. Pure. */
import { dump } from "js-yaml";

export function document(value: unknown, format: "json" | "yaml"): string {
  return format === "json" ? `${JSON.stringify(value, null, 2)}\n` : dump(value, { lineWidth: -1 });
}
