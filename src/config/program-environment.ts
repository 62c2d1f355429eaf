/**
 * The environment of the operator's programs: the check TRACK_EXEC and the hook NOTIFY. They get these
 * variables and no others, because the agent's own may hold what is not theirs. Pure.
 */

/** Variables that are handed on as the agent has them. docs/configuration.md lists them. */
export const HANDED_ON = ["PATH", "HOME", "TZ", "LANG", "LC_ALL"] as const;

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export function programEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  facts: {
    readonly nodeName: string;
    readonly leaseName: string;
    readonly vips: readonly { readonly text: string }[];
  },
): Readonly<Record<string, string>> {
  const handedOn = HANDED_ON.flatMap((name) => {
    const value = env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    PATH: DEFAULT_PATH,
    ...Object.fromEntries(handedOn),
    LEASEHOLD_NODE_NAME: facts.nodeName,
    LEASEHOLD_LEASE_NAME: facts.leaseName,
    LEASEHOLD_VIP: facts.vips.map(({ text }) => text).join(","),
  };
}
