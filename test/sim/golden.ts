/** The golden timelines as files, and the page that shows them. `npm run docs` writes both. */
import { HISTORIES } from "./histories.ts";
import type { History } from "./histories.ts";
import type { Production } from "./production.ts";
import { timelineOf, wrap } from "./timeline.ts";

/** Columns of a line of the page. */
const PROSE = 120;

const INTRODUCTION = `# Timelines

Six short histories of a cluster of three control-plane nodes, n1 to n3, with Leasehold's default settings. The
simulation (\`test/sim/\`) plays the product's own election, Lease store, sentinel and VIP against simulated kernels, API
servers and a network. Its clocks are ideal, and every delay has the middle of its range: a message takes 0.6 ms, and a
write to the Lease 5 ms. So this page shows the order of events. How long a failover takes on real machines is measured in
[benchmarks.md](benchmarks.md#failover).

* **seconds** count from the beginning of the history.
* **VIP** names the machines that answer for the VIP, as a client's router sees them, once the event of that line has
  happened. \`-\` means that no machine answers.
* **who** is the machine, the person or the part that does something.
* The states are those that \`/status\` shows ([their meaning](architecture.md#states)). **PROVISIONAL** has the VIP and
  does not hold the Lease.
* Renewals, the candidates' annotations and repeated announcements are left out.

\`npm run docs\` plays the histories and writes \`test/sim/golden/\` and this page. A test fails while either differs from
what the product does.
`;

/** Texts by their paths in the repository. */
export async function goldenFiles(production: Production): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  const sections: string[] = [INTRODUCTION];
  for (const [name, history] of Object.entries<History>(HISTORIES)) {
    const timeline = await timelineOf(history, production);
    files.set(`test/sim/golden/${name}.txt`, timeline);
    sections.push(
      `## ${history.title}\n\n${wrap(history.lookAt, PROSE).join("\n")}\n\n\`\`\`text\n${timeline}\`\`\`\n`,
    );
  }
  files.set("docs/timelines.md", sections.join("\n"));
  return files;
}
