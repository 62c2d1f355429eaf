/** Plays random faults on a real cluster for as long as told: `npm run soak -- --help`. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { EX_UNAVAILABLE } from "../src/needed-node.js";
import { FAULT_KINDS } from "../test/soak/bounds.ts";
import type { FaultKind } from "../test/soak/bounds.ts";
import { soak } from "../test/soak/soak.ts";
import { findBinaries } from "../test/support/control-plane/binaries.ts";
import { enterSandbox, insideSandbox } from "../test/support/sandbox/sandbox.ts";
import { setUp } from "../test/support/set-up/set-up.ts";

const HELP = `npm run soak -- [options]

Plays random faults on three nodes with real API servers and the built bundle,
while a client asks for the VIP 20 times a second and for /readyz over it. Every
fault has a bound (docs/verification.md). Exit status 1 if one was broken: it
prints the fault, what happened around it, and where the journals are.
Exit status 75 if the machine was too busy to tell. Ctrl-C ends it early and
leaves nothing behind.

  --minutes N         how long (60)
  --seed N            which faults, 0 to 4294967295; without it a random one,
                      which is printed
  --only KIND,...     these kinds of faults only; a second one that overlaps may
                      be of any kind

The kinds are:
${kindLines()}
`;

/** 75 is EX_TEMPFAIL of sysexits.h: try again, on a machine with less to do. */
const EXIT = { held: 0, broken: 1, busy: 75 } as const;
const options = parse();
if (options.help) process.stdout.write(HELP);
else process.exitCode = await main();

async function main(): Promise<number> {
  if (!insideSandbox()) {
    await setUp(["test"]);
    // Here and not in the sandbox: both may need the network.
    const found = await findBinaries((line) => console.log(`control plane: ${line}`));
    if (found.kind === "unavailable") fail(EX_UNAVAILABLE, found.reason);
    const built = spawnSync(process.execPath, [fileURLToPath(new URL("build.ts", import.meta.url))], {
      encoding: "utf8",
    });
    if (built.status !== 0) fail(1, `the build failed:\n${built.stderr}`);
  }
  await enterSandbox();
  const { seed, minutes, kinds } = options;
  return EXIT[await soak({ seed, minutes, kinds, say: (line) => console.log(line) })];
}

function kindLines(): string {
  const lines = [""];
  for (const kind of FAULT_KINDS) {
    const last = lines.at(-1) ?? "";
    if (last.length + kind.length > 74) lines.push(kind);
    else lines[lines.length - 1] = last === "" ? kind : `${last}, ${kind}`;
  }
  return lines.map((line) => `  ${line}`).join("\n");
}

function parse(): {
  readonly help: boolean;
  readonly seed: number;
  readonly minutes: number;
  readonly kinds: readonly FaultKind[];
} {
  try {
    const { values } = parseArgs({
      options: {
        help: { type: "boolean", default: false },
        minutes: { type: "string", default: "60" },
        seed: { type: "string" },
        only: { type: "string" },
      },
    });
    const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed);
    const minutes = Number(values.minutes);
    const words = values.only?.split(",") ?? FAULT_KINDS;
    const unknown = words.filter((word) => !isKind(word));
    const problems = [
      ...(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32
        ? []
        : [`--seed is ${values.seed}: a whole number from 0 to 4294967295`]),
      ...(minutes > 0 && minutes <= 24 * 60
        ? []
        : [`--minutes is ${values.minutes}: more than 0, 1440 at most`]),
      ...(unknown.length === 0 ? [] : [`--only names ${unknown.join(", ")}: --help lists the kinds`]),
    ];
    if (problems.length > 0) fail(2, problems.join("\n"));
    return { help: values.help, seed, minutes, kinds: words.filter(isKind) };
  } catch (error) {
    return fail(2, `${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
  }
}

function isKind(word: string): word is FaultKind {
  return FAULT_KINDS.some((kind) => kind === word);
}

function fail(code: number, text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(code);
}
