/** Damages inputs of parsers, as a sender that means harm would: bytes, lengths, words and JSON values. Pure. */
import type { Random } from "../../sim/random.ts";

/** Numbers at which lengths and counters go wrong. */
const EDGES = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0xffffffff,
];
const WORDS = [
  ..."{ } [ ] \" , : \\ \n \r \t \0 # ' ` $ % & * ! | > -".split(" "),
  "null",
  "true",
  "1e999",
  "-0",
  "9007199254740993",
  "__proto__",
  "constructor",
  "toString",
  '"\\ud800"',
  "\u202e",
  "\u{1f600}",
  "\u001b[2J",
  "<script>",
  "/../../",
  "0x10",
  "2001:db8::1%eth0",
  "::ffff:192.0.2.1",
  "255.255.255.255",
  "ff:ff:ff:ff:ff:ff",
  "&a [*a, *a]",
  "-----BEGIN CERTIFICATE-----",
].map((word) => Buffer.from(word));
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  "",
  "x",
  "x".repeat(5_000),
  "\u0000\u001b[31m\u202e",
  "2026-01-01T00:00:00.000000Z",
  "192.0.2.1",
  "[2001:db8::1]:6443",
  [],
  {},
  [[[[]]]],
  { __proto__: null, toString: 1 },
  Array.from({ length: 300 }, (_, index) => index),
];
/** A text of that many brackets is as deep as a parser that calls itself can bear, or deeper. */
const DEEP = 20_000;
const MOST_BYTES = 1 << 18;

const index = (random: Random, length: number): number => Math.floor(random.unit() * Math.max(1, length));
const oneOf = <T>(random: Random, list: readonly [T, ...T[]] | readonly T[]): T | undefined =>
  list[index(random, list.length)];

/** Returns a damaged copy of one of the inputs. The same stream of random numbers makes the same one. */
export function mutate(inputs: readonly Uint8Array[], random: Random): Uint8Array {
  const start = oneOf(random, inputs) ?? new Uint8Array();
  if (random.unit() < 0.02) return noise(random, index(random, 300));
  if (random.unit() < 0.005) return Buffer.from("[{".at(index(random, 2))?.repeat(DEEP) ?? "");
  let bytes = random.unit() < 0.5 ? (changeJson(start, random) ?? start) : start;
  const changes = index(random, 8) + (bytes === start ? 1 : 0);
  for (let count = 0; count < changes; count++) bytes = change(bytes, inputs, random);
  return bytes.length > MOST_BYTES ? bytes.subarray(0, MOST_BYTES) : bytes;
}

function noise(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => index(random, 256));
}

function change(bytes: Uint8Array, inputs: readonly Uint8Array[], random: Random): Uint8Array {
  const at = index(random, bytes.length + 1);
  const size = 1 + index(random, random.unit() < 0.2 ? 4_000 : 12);
  const end = Math.min(bytes.length, at + size);
  const around = (...middle: readonly Uint8Array[]): Uint8Array =>
    Buffer.concat([bytes.subarray(0, at), ...middle, bytes.subarray(end)]);
  switch (index(random, 9)) {
    case 0:
      return around(noise(random, end - at));
    case 1:
      return around();
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return around(...Array.from({ length: 1 + index(random, 40) }, () => bytes.subarray(at, end)));
    case 4: {
      const other = oneOf(random, inputs) ?? bytes;
      const from = index(random, other.length);
      return around(other.subarray(from, from + size));
    }
    case 5:
      return Buffer.concat(
        [bytes.subarray(0, at), oneOf(random, WORDS) ?? "", bytes.subarray(at)].map(asBytes),
      );
    case 6:
      return written(bytes, random, 2);
    case 7:
      return written(bytes, random, 4);
    default: {
      const copy = Uint8Array.from(bytes);
      if (copy.length > 0) copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ (1 << index(random, 8));
      return copy;
    }
  }
}

const asBytes = (part: Uint8Array | string): Uint8Array =>
  typeof part === "string" ? Buffer.from(part) : part;

/** Writes an edge into two or four bytes, in either order. */
function written(bytes: Uint8Array, random: Random, width: 2 | 4): Uint8Array {
  const copy = Buffer.from(bytes);
  if (copy.length < width) return copy;
  // A length stands at an even place in all formats that have one.
  const at = index(random, copy.length - width + 1) & ~(random.unit() < 0.9 ? 1 : 0);
  const value = (oneOf(random, EDGES) ?? 0) % 2 ** (8 * width);
  if (random.unit() < 0.5) copy.writeUIntLE(value, at, width);
  else copy.writeUIntBE(value, at, width);
  return copy;
}

/** Changes one value or one name in JSON; undefined: it is none. */
function changeJson(bytes: Uint8Array, random: Random): Uint8Array | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
  const places: { readonly holder: Record<string, unknown>; readonly key: string }[] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    const holder: Record<string, unknown> = Object.assign(node);
    for (const [key, child] of Object.entries(holder)) {
      places.push({ holder, key });
      walk(child);
    }
  };
  walk(value);
  const place = oneOf(random, places);
  if (place === undefined) return Buffer.from(JSON.stringify(oneOf(random, VALUES)));
  const { holder, key } = place;
  const how = random.unit();
  if (how < 0.6) holder[key] = oneOf(random, VALUES);
  else if (how < 0.75) delete holder[key];
  else if (how < 0.85) holder[`${key}${index(random, 10)}`] = holder[key];
  else {
    const other = oneOf(random, places);
    if (other !== undefined) holder[key] = structuredClone(other.holder[other.key]);
  }
  return Buffer.from(JSON.stringify(value));
}
