/**
 * Gives the reasons of the election as codes, for labels of metrics. Pure. The sentences name nodes and the
 * API's own words, which would make a new time series each time. People read the sentences in the log and in
 * `leasehold why`.
 */

/** Code by what its sentence looks like. The first that fits counts. */
const CODES: readonly (readonly [pattern: RegExp, code: string])[] = [
  [/^this node holds the Lease$/, "lease-held"],
  [/^provisional: .* does not answer on the wire/s, "holder-silent"],
  [/^provisional: no API server lets this node read/, "bootstrap"],
  [/^provisional: this node cannot renew the Lease/, "api-loss"],
  [/^provisional: this node cannot write the Lease/, "unwritten"],
  [/^provisional: another candidate claims the VIP/, "contested"],
  [/^this node could not renew the Lease before the renew deadline/, "renew-deadline"],
  [/^this node has no reason any more to keep the VIP$/, "provisional-over"],
  [/^the successor has taken the Lease$/, "handed-over"],
  [/^another machine (?:named .* holds the Lease|has this node's name)$/s, "duplicate-node-name"],
  [/ holds the Lease$/, "other-holder"],
  [/ answers on the wire after all$/, "holder-answers"],
  [/ claims the VIP as well$/, "other-claims"],
  [/^other software has the VIP, and this node gives it back/, "given-back"],
  [/^the VIP's link is dead$/, "link-dead"],
  [/^the agent is stopping/, "stopping"],
  [/^the agent has stopped$/, "stopped"],
  [/^the agent has started$/, "started"],
  [/^this node has a fault\b/, "fault"],
  [/^this node has no fault any more$/, "fault-over"],
  [/^every check has reported$/, "checked"],
];

/** The codes that there are, and `other`. */
export const REASON_CODES: readonly string[] = [...new Set(CODES.map(([, code]) => code)), "other"];

/** The code of a sentence; `other` for one that there is none of. */
export function reasonCode(reason: string): string {
  return CODES.find(([pattern]) => pattern.test(reason))?.[1] ?? "other";
}

/**
 * The code of what a health check found: its first word or words, without what the server or its TLS added
 * behind a colon.
 */
export function resultCode(result: string): string {
  const code = (result.split(":", 1)[0] ?? "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")
    .slice(0, 40);
  return code === "" ? "other" : code;
}
