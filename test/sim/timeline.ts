/** Tells a run as a short text: who answers for the VIP, what each node does, and when. */
import { OFFER } from "../../src/kube/record.ts";
import type { Write } from "./control-plane.ts";
import { planOf } from "./histories.ts";
import type { History } from "./histories.ts";
import type { SimNode } from "./node.ts";
import type { Production } from "./production.ts";
import { MiddleRandom } from "./random.ts";
import { Recorder } from "./recorder.ts";
import { World } from "./world.ts";

type Row = readonly [seconds: string, answering: string, who: string, what: string];

const COLUMNS: Row = ["seconds", "VIP", "who", "what happens"];
const WIDTH = 110;

interface Line {
  readonly atMs: number;
  readonly who: string;
  readonly what: string;
  /** Machines that answered for the VIP when this had happened. */
  readonly answering: string;
}

/** In one moment a machine first learns something, then changes its state, and then acts. */
const RANK = { learns: 0, is: 1, acts: 2 } as const;

interface News {
  readonly rank: keyof typeof RANK;
  readonly who: string;
  readonly what: string;
}

/** What was last told of a machine. */
interface Told {
  agent: SimNode["agent"];
  state: string;
  reason: string;
  faults: readonly string[];
  bound: boolean;
}

/**
 * Plays that history.
 * @returns its timeline, which ends with a newline; the same text each time
 */
export async function timelineOf(history: History, production: Production): Promise<string> {
  const teller = new Teller(history, production);
  await teller.play();
  return teller.text();
}

class Teller {
  readonly #history: History;
  readonly #world: World;
  readonly #lines: Line[] = [];
  readonly #told = new Map<string, Told>();
  /** What comes from outside, in the order of time: it is told before what comes of it. */
  readonly #script: Omit<Line, "answering">[];
  /** What the agents did since the machines were last looked at. */
  #news: News[] = [];
  /** The machine that announced the VIP last, while it has it. */
  #announcer: string | undefined;
  #isSettled = false;

  constructor(history: History, production: Production) {
    this.#history = history;
    this.#script = history.incidents
      .flatMap(({ fault, at, begins, ends }) => {
        const endMs = fault.atMs + ("forMs" in fault ? fault.forMs : 0);
        return [
          { atMs: fault.atMs, who: at, what: begins },
          { atMs: endMs, who: at, what: ends },
        ];
      })
      .flatMap(({ what, ...rest }) => (what === undefined ? [] : [{ ...rest, what }]))
      .toSorted((a, b) => a.atMs - b.atMs);
    this.#world = new World(planOf(history), production, {
      random: new MiddleRandom(),
      recorder: new Listener((machine, call) => this.#called(machine, call)),
      onWrite: (write) => this.#written(write),
      onProof: (node) => {
        const holder = this.#world.plane.table.record?.holder ?? "";
        this.#add(
          "learns",
          node.label,
          `finds the holder ${holder} dead: it is silent, and another host answers`,
        );
      },
      onBug: (text) => {
        throw new Error(text);
      },
    });
  }

  async play(): Promise<void> {
    const { scheduler, machines } = this.#world;
    await scheduler.runUntil(this.#history.untilMs, () => {
      for (const node of machines) {
        node.agent?.process.settleStall();
        node.touched = false;
      }
      this.#look();
      return true;
    });
  }

  text(): string {
    const { fromMs } = this.#history;
    const told = this.#lines.filter(({ atMs }) => atMs >= fromMs);
    const secondsOf = (atMs: number): string => ((atMs - fromMs) / 1_000).toFixed(3);
    const rowOf = ({ atMs, answering, who, what }: Line): Row => [secondsOf(atMs), answering, who, what];
    const rows = repeatsCounted(told).map(rowOf);
    const widthOf = (column: 1 | 2): number =>
      Math.max(...[COLUMNS, ...rows].map((row) => row[column].length));
    const [vip, who] = [widthOf(1), widthOf(2)];
    const format = ([seconds, answering, node, what]: Row): string => {
      const head = `${seconds.padStart(7)}  ${answering.padEnd(vip)}  ${node.padEnd(who)}  `;
      return `${head}${wrap(what, WIDTH - head.length).join(`\n${" ".repeat(head.length)}`)}`;
    };
    return `${[COLUMNS, ...rows].map(format).join("\n")}\n`;
  }

  #add(rank: News["rank"], who: string, what: string): void {
    this.#news.push({ rank, who, what });
  }

  #called(machine: string, call: string): void {
    const told = this.#toldOf(machine);
    if (call === "bind" && !told.bound) {
      told.bound = true;
      this.#add("acts", machine, "binds the VIP");
    } else if (call === "unbind" && told.bound) {
      told.bound = false;
      this.#add("acts", machine, "unbinds the VIP");
    } else if (call === "announce" && this.#announcer !== machine) {
      // It repeats itself for a while, and once a minute.
      this.#announcer = machine;
      this.#add("acts", machine, "announces the VIP by gratuitous ARP");
    }
  }

  #written({ author, response, change: { before, after, changed } }: Write): void {
    // What a person writes is in the script.
    if (author < 0) return;
    const who = this.#world.machines[author]?.label ?? "";
    if (!changed && (response.status === 409 || response.status === 422)) {
      this.#add("acts", who, `the API refuses its write with ${response.status}: the Lease has changed`);
    }
    if (!changed || after === null) return;
    const [was, is] = [before?.holder ?? "", after.holder];
    const [offered, offers] = [before?.annotations[OFFER], after.annotations[OFFER]];
    const did = (what: string): void => this.#add("acts", who, what);
    if (before === null) did("creates the Lease and claims it");
    else if (is !== was && is === "") did("releases the Lease");
    else if (is !== was || after.leaseTransitions !== before.leaseTransitions) {
      did(was === "" ? "claims the Lease, which had no holder" : `claims the Lease, which named ${was}`);
    } else if (offers !== offered) {
      did(offers === undefined ? "withdraws its offer" : `offers the Lease to ${offers.split(" ")[0] ?? ""}`);
    }
  }

  /** Compares every machine with what was last told of it. */
  #look(): void {
    const { nowMs } = this.#world.scheduler;
    this.#settle(nowMs);
    for (let next = this.#script[0]; next !== undefined && next.atMs <= nowMs; next = this.#script[0]) {
      this.#script.shift();
      this.#lines.push({ ...next, answering: this.#answering() });
    }
    for (const node of this.#world.machines) this.#compare(node);
    const answering = this.#answering();
    const news = this.#news.toSorted((a, b) => RANK[a.rank] - RANK[b.rank]);
    for (const { who, what } of news) this.#lines.push({ atMs: nowMs, who, what, answering });
    this.#news = [];
  }

  /** Tells how the cluster is when the history begins. */
  #settle(nowMs: number): void {
    const { fromMs } = this.#history;
    if (this.#isSettled || fromMs === 0 || nowMs < fromMs) return;
    this.#isSettled = true;
    const told = [...this.#told];
    const states = told.flatMap(([label, { state }]) => (state === "" ? [] : [`${label} is ${state}`]));
    const bound = told.flatMap(([label, { bound }]) => (bound ? [label] : []));
    this.#lines.push({ atMs: fromMs, who: "", what: states.join(", "), answering: bound.join(" ") });
  }

  #toldOf(machine: string): Told {
    const told = this.#told.get(machine) ?? {
      agent: undefined,
      state: "",
      reason: "",
      faults: [],
      bound: false,
    };
    this.#told.set(machine, told);
    return told;
  }

  #compare(node: SimNode): void {
    const { label, agent } = node;
    const told = this.#toldOf(label);
    if (agent !== told.agent) {
      const end = node.exited ? "the agent has exited" : "the agent has been killed";
      if (told.agent !== undefined && node.powered) this.#add("learns", label, end);
      Object.assign(told, { agent, state: "", reason: "", faults: [] } satisfies Omit<Told, "bound">);
    }
    if (told.bound && !node.kernel.bound) {
      told.bound = false;
      if (node.powered) this.#add("acts", label, "the kernel removes the VIP: it was not refreshed");
    }
    if (!told.bound && this.#announcer === label) this.#announcer = undefined;
    const status = node.status();
    if (status === undefined) return;
    const { faults, reason, state } = status;
    const named = state === "FAULT" ? `FAULT (${faults.join(", ")})` : state;
    if (state !== "FAULT" && !told.state.startsWith("FAULT")) {
      const begun = faults.filter((one) => !told.faults.includes(one));
      const over = told.faults.filter((one) => !faults.includes(one));
      if (begun.length > 0) this.#add("learns", label, `is in FAULT now (${begun.join(", ")})`);
      if (over.length > 0) this.#add("learns", label, `is no longer in FAULT (${over.join(", ")})`);
    }
    told.faults = faults;
    if (named === told.state) return;
    // The reason is that of the last change of role: INIT, BACKUP and FAULT are one role.
    const why = reason === told.reason ? "" : `: ${reason.replace(/^provisional: /, "")}`;
    this.#add(
      "is",
      label,
      told.state === "" ? `the agent starts, in ${named}` : `${told.state} → ${named}${why}`,
    );
    Object.assign(told, { state: named, reason });
  }

  /** Machines whose answer gets to the router, as clients see it. */
  #answering(): string {
    const { machines, network, router } = this.#world;
    const isHeard = ({ index, powered, kernel }: SimNode): boolean =>
      powered && kernel.bound && kernel.link.carrier && network.sameSegment(index, router.index);
    const found = machines.filter(isHeard);
    return found.length === 0 ? "-" : found.map(({ label }) => label).join(" ");
  }
}

/** Hears the calls that agents make to their kernel. */
class Listener extends Recorder {
  readonly #onCall: (machine: string, call: string) => void;

  constructor(onCall: (machine: string, call: string) => void) {
    super();
    this.#onCall = onCall;
  }

  override note(_trueMs: number, machine: string, kind: string, what: string): void {
    if (kind === "kernel") this.#onCall(machine, what.split(" ")[0] ?? "");
  }
}

/** Repeats of one line follow each other, and become one. */
function repeatsCounted(lines: readonly Line[]): readonly Line[] {
  const runs: { readonly line: Line; times: number }[] = [];
  for (const line of lines) {
    const last = runs.at(-1);
    if (last !== undefined && last.line.who === line.who && last.line.what === line.what) last.times += 1;
    else runs.push({ line, times: 1 });
  }
  return runs.map(({ line, times }) =>
    times === 1 ? line : { ...line, what: `${line.what} (${times} times)` },
  );
}

/**
 * Breaks a text into lines at its spaces. @param width columns of a line; a longer word has a line of its own
 */
export function wrap(text: string, width: number): readonly string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last !== "" && last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines;
}
