/**
 * The VIP's Ethernet segment as those who use it see it: neighbours that remember which machine has the VIP,
 * learn from announcements and from answers to their own requests, and may be told wrong: by a foreign host
 * that claims the VIP, or by a frame that was frozen in its sender.
 */
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** Number of a machine, or a host that is none of ours. */
export type Owner = number | "foreign";

/**
 * Linux: how long an answer counts (base_reachable_time 30 s, halved to one and a half times), then a pause,
 * then unicast probes to whom it knows.
 */
const REACHABLE_MS = [15_000, 45_000] as const;
const DELAY_MS = 5_000;
const PROBES = 3;
const PROBE_MS = 1_000;

export interface Neighbour {
  readonly name: string;
  /** undefined: it asks, and nobody has answered yet. */
  owner: Owner | undefined;
}

export class Segment {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #answers: (machine: number) => boolean;
  readonly #owners: () => readonly number[];
  readonly #heard: (by: Owner) => void;
  /** Keeps what it has heard for hours, as routers and switches do: only announcements can tell it better. */
  readonly router: Neighbour = { name: "the router", owner: undefined };
  /** A Linux host with traffic to the VIP: it also asks. */
  readonly host: Neighbour = { name: "a host", owner: undefined };
  readonly neighbours: readonly Neighbour[] = [this.router, this.host];
  /** By whom other software claims the VIP now, once for each time that it was begun. */
  #claimants: readonly Owner[] = [];
  #hostRound = 0;
  /** When a neighbour was last told something by one that had no right to. */
  misledMs = Number.NEGATIVE_INFINITY;
  /** When a foreign host last stopped claiming the VIP. */
  foreignEndedMs = Number.NEGATIVE_INFINITY;
  /** When the machine that announces last changed. */
  announcerChangedMs = 0;
  #announcer: Owner | undefined;

  /**
   * @param answers whether that machine's kernel answers for the VIP now; @param owners all that do; @param
   * heard somebody announces it
   */
  constructor(
    scheduler: Scheduler,
    random: Random,
    answers: (machine: number) => boolean,
    owners: () => readonly number[],
    heard: (by: Owner) => void,
  ) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#answers = answers;
    this.#owners = owners;
    this.#heard = heard;
    // Once the world is there.
    for (const neighbour of this.neighbours) scheduler.after(0, () => this.#ask(neighbour));
  }

  get lastAnnouncer(): Owner | undefined {
    return this.#announcer;
  }

  /** A foreign host has the VIP, or other software on one of the machines. */
  get foreignHostClaims(): boolean {
    return this.#claimants.length > 0;
  }

  /** The kernel of the foreign host answers for the VIP. */
  get foreignHostAnswers(): boolean {
    return this.#claimants.includes("foreign");
  }

  /**
   * A gratuitous announcement reaches everybody. `frozen`: its sender was stopped in the middle of sending
   * it.
   */
  announced(by: Owner, frozen: boolean): void {
    if (this.#announcer !== by) this.announcerChangedMs = this.#scheduler.nowMs;
    this.#announcer = by;
    this.#heard(by);
    if (frozen || by === "foreign") this.misledMs = this.#scheduler.nowMs;
    this.router.owner = by;
    // arp_accept is 0: an entry is updated, none is made. What was not an answer has to be confirmed.
    if (this.host.owner === undefined) return;
    this.host.owner = by;
    this.#confirmIn(DELAY_MS);
  }

  /**
   * A foreign host takes the VIP for its own, or other software on machine `by`: it announces, again and
   * again, and answers; gives the end of it.
   */
  foreignHost(everyMs: number, by: Owner = "foreign"): () => void {
    let claims = true;
    this.#claimants = [...this.#claimants, by];
    const announce = (): void => {
      if (!claims) return;
      this.announced(by, false);
      this.#scheduler.after(everyMs, announce);
    };
    announce();
    return () => {
      claims = false;
      const index = this.#claimants.indexOf(by);
      this.#claimants = this.#claimants.filter((_, one) => one !== index);
      this.misledMs = this.#scheduler.nowMs;
      this.foreignEndedMs = this.#scheduler.nowMs;
    };
  }

  #answering(): readonly Owner[] {
    return [...this.#owners(), ...this.#claimants];
  }

  /** Broadcast requests, one a second, until somebody answers; the first answer counts, whosoever. */
  #ask(neighbour: Neighbour): void {
    const answering = this.#answering();
    if (neighbour.owner !== undefined) return;
    if (answering.length === 0) {
      this.#scheduler.after(PROBE_MS, () => this.#ask(neighbour));
      return;
    }
    neighbour.owner = this.#random.pick(answering);
    if (neighbour.owner === "foreign") this.misledMs = this.#scheduler.nowMs;
    if (neighbour === this.host) this.#confirmIn(this.#random.between(...REACHABLE_MS) + DELAY_MS);
  }

  #confirmIn(afterMs: number): void {
    const round = ++this.#hostRound;
    this.#scheduler.after(afterMs, () => this.#probe(round, 1));
  }

  /** Unicast to the one that it knows; unanswered, it forgets it and asks all. */
  #probe(round: number, attempt: number): void {
    const { host } = this;
    if (round !== this.#hostRound || host.owner === undefined) return;
    const answered =
      this.#claimants.includes(host.owner) || (host.owner !== "foreign" && this.#answers(host.owner));
    if (answered) return this.#confirmIn(this.#random.between(...REACHABLE_MS) + DELAY_MS);
    if (attempt < PROBES) {
      this.#scheduler.after(PROBE_MS, () => this.#probe(round, attempt + 1));
      return;
    }
    host.owner = undefined;
    this.#ask(host);
  }
}
