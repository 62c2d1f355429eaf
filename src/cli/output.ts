/** Writes a value as JSON or YAML, for programs. Pure. */
import { dumpYaml } from "@kubernetes/client-node";

export function document(value: unknown, format: "json" | "yaml"): string {
  return format === "json" ? `${JSON.stringify(value, null, 2)}\n` : dumpYaml(value, { lineWidth: -1 });
}
