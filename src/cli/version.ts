/** What `leasehold version` prints. */
export interface VersionFacts {
  readonly version: string;
  readonly nodeVersion: string;
  readonly platform: string;
}

export function versionText(facts: VersionFacts, output: "text" | "json"): string {
  if (output === "json") return `${JSON.stringify(facts, null, 2)}\n`;
  return `leasehold ${facts.version} (node ${facts.nodeVersion}, ${facts.platform})\n`;
}
