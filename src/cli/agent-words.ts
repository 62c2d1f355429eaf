/** Which command lines start the agent. `main.ts` knows it without the parser and its tables. Pure. */
const AGENT: readonly (readonly string[])[] = [[], ["run"], ["run", "--"], ["--", "run"]];

/** Tells whether these words are `leasehold run`. The parser takes no others for it. */
export function startsAgent(words: readonly string[]): boolean {
  return AGENT.some((one) => one.length === words.length && one.every((word, at) => word === words[at]));
}
