/**
 * Seeded randomness. One seed gives one timeline; each purpose draws from a stream of its own, so that
 * dropping a fault moves no other's dice.
 */

/** FNV-1a over UTF-16 units, finished as in MurmurHash3. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** sfc32 (PractRand's small fast counting generator). */
export class Random {
  readonly #name: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(name: string) {
    this.#name = name;
    this.#a = hash(`${name}/a`);
    this.#b = hash(`${name}/b`);
    this.#c = hash(`${name}/c`);
    for (let i = 0; i < 12; i += 1) this.unit();
  }

  /** An independent stream, the same for the same label whatever was drawn before. */
  fork(label: string): Random {
    return new Random(`${this.#name}/${label}`);
  }

  /** [0, 1) */
  unit(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return (sum >>> 0) / 4_294_967_296;
  }

  /** [low, high) */
  between(low: number, high: number): number {
    return low + this.unit() * (high - low);
  }

  /** low..high, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  /** Short values are as likely as long ones: pauses of 1 ms to minutes. */
  logarithmic(low: number, high: number): number {
    return low * (high / low) ** this.unit();
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.unit() * items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  /** One of the keys, as likely as its weight says. */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of a record of K
    const entries = Object.entries(weights) as [K, number][];
    let rest = this.unit() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      rest -= weight;
      if (rest < 0) return key;
    }
    throw new RangeError("no weight is positive");
  }
}

/**
 * A source without chance: every delay is the middle of its range. So a run does not depend on how often its
 * parts ask for a number.
 */
export class MiddleRandom extends Random {
  constructor() {
    super("middle");
  }

  override fork(): Random {
    return this;
  }

  override unit(): number {
    return 0.5;
  }
}
