/** sock_diag messages: requests byte for byte, sockets as a kernel (6.18) gave them, and anything else. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { encodeMessage, type NetlinkMessage } from "../../../src/linux/netlink.ts";
import {
  TCP_STATES_CONNECTED,
  TCP_STATE_LISTEN,
  destroyTcpSocket,
  dumpTcpSockets,
  hasWildcard,
  parseTcpSocket,
  type TcpSocket,
} from "../../../src/linux/sock-diag.ts";

const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const message = (payload: Uint8Array, type = 20): NetlinkMessage => ({
  type,
  flags: 2,
  sequence: 1,
  port: 0,
  payload,
});
const parse = (...parts: readonly string[]): TcpSocket =>
  parseTcpSocket(message(hex(...parts))) ?? assert.fail("not parsed");
const brief = ({ family, state, local, remote }: TcpSocket): string =>
  `${family} ${state} ${local.address.text} ${local.port} ${remote.address.text} ${remote.port}`;

const REST = "00000000 00000000 00000000 00000000 93be1c00";
const ATTRIBUTES = "0500080000000000 08000f0000000000 0c00150001000000 00000000 0600160052000000";
/** Interface 0 and a cookie. */
const TAIL = "00000000 0810000000000000";
const ID_4 = `9c41 192b c0000201 ${"00".repeat(12)} c0000264 ${"00".repeat(12)} ${TAIL}`;
const ID_6 = `9c42 192b 20010db8000000000000000000000001 20010db8000000000000000000000100 ${TAIL}`;
const ID_MAPPED = `192c 9c41 00000000000000000000ffffc0000201 00000000000000000000ffffc0000202 ${TAIL}`;
const LISTENER = `192c 0000 ${"00".repeat(32)} ${TAIL}`;

describe("a request", () => {
  test("to list the TCP sockets of a family in some states", () => {
    assert.deepEqual(
      encodeMessage(dumpTcpSockets(2, TCP_STATES_CONNECTED), 1),
      hex("48000000 1400 0103 01000000 00000000", "02 06 00 00 3e0b0000", "00".repeat(48)),
    );
    assert.deepEqual(
      dumpTcpSockets(10, TCP_STATE_LISTEN).payload.subarray(0, 8),
      hex("0a 06 00 00 00040000"),
    );
  });

  test("to list the listeners on a port", () =>
    assert.deepEqual(
      dumpTcpSockets(2, TCP_STATE_LISTEN, 6443).payload,
      hex("02 06 00 00 00040000", "192b", "00".repeat(46)),
    ));

  test("to destroy one repeats its id, under the family that the id is of", () => {
    const request = (family: string, id: string): Uint8Array =>
      hex("48000000 1500 0500 01000000 00000000", family, "06 00 00 ffffffff", id);
    assert.deepEqual(
      encodeMessage(destroyTcpSocket(parse("02 01 00 00", ID_4, REST)), 1),
      request("02", ID_4),
    );
    assert.deepEqual(
      encodeMessage(destroyTcpSocket(parse("0a 01 00 00", ID_6, REST)), 1),
      request("0a", ID_6),
    );
    assert.deepEqual(
      encodeMessage(destroyTcpSocket(parse("0a 01 00 00", ID_MAPPED, REST)), 1),
      request("0a", ID_MAPPED),
    );
  });
});

describe("a socket as the kernel reports it", () => {
  test("of IPv4, of IPv6, and of IPv4 in an IPv6 socket", () => {
    assert.equal(brief(parse("02 01 00 00", ID_4, REST, ATTRIBUTES)), "4 1 192.0.2.1 40001 192.0.2.100 6443");
    assert.equal(
      brief(parse("0a 01 00 00", ID_6, REST, ATTRIBUTES)),
      "6 1 2001:db8::1 40002 2001:db8::100 6443",
    );
    assert.equal(
      brief(parse("0a 08 00 00", ID_MAPPED, REST, ATTRIBUTES)),
      "4 8 192.0.2.1 6444 192.0.2.2 40001",
    );
    assert.deepEqual(parse("02 01 00 00", ID_4, REST).id, hex(ID_4));
  });

  test("that listens, on both families or IPv6 only", () => {
    const listener = parse("0a 0a 00 00", LISTENER, REST, "05000b0000000000");
    assert.equal(brief(listener), "6 10 :: 6444 :: 0");
    assert.equal(listener.v6only, false);
    assert.equal(parse("0a 0a 00 00", LISTENER, REST, "05000b0001000000").v6only, true);
    assert.equal(parse("02 0a 00 00", LISTENER, REST).v6only, undefined);
  });

  test("is none when it is of another kind, another family or cut short", () => {
    const whole = hex("02 01 00 00", ID_4, REST);
    assert.equal(parseTcpSocket(message(whole, 21)), undefined);
    assert.equal(parseTcpSocket(message(whole.subarray(0, -1))), undefined);
    assert.equal(parseTcpSocket(message(hex("01 01 00 00", ID_4, REST))), undefined);
  });
});

describe("a wildcard listener", () => {
  const families = (...listeners: readonly TcpSocket[]): readonly boolean[] => [
    hasWildcard(listeners, 4),
    hasWildcard(listeners, 6),
  ];
  const four = parse("02 0a 00 00", LISTENER, REST);
  const both = parse("0a 0a 00 00", LISTENER, REST, "05000b0000000000");
  const only6 = parse("0a 0a 00 00", LISTENER, REST, "05000b0001000000");
  const loopback = parse("02 0a 00 00", LISTENER.replace("00000000", "7f000001"), REST);

  test("on 0.0.0.0 is for IPv4; on :: for both, unless it is for IPv6 only", () => {
    assert.deepEqual(families(four), [true, false]);
    assert.deepEqual(families(both), [true, true]);
    assert.deepEqual(families(only6), [false, true]);
    assert.deepEqual(families(only6, four), [true, true]);
  });

  test("is none on one address", () => {
    assert.equal(loopback.local.address.text, "127.0.0.1");
    assert.deepEqual(families(loopback), [false, false]);
  });
});

test("arbitrary bytes, and real ones with some changed or cut off, never make the parser throw or hang", () => {
  const real = hex("0a 0a 00 00", ID_MAPPED, REST, ATTRIBUTES);
  const change = fc.record({ at: fc.nat({ max: real.length - 1 }), to: fc.nat({ max: 255 }) });
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 8 }),
      fc.nat({ max: real.length }),
      fc.uint8Array({ maxLength: 120 }),
      (changes, length, noise) => {
        const bytes = Uint8Array.from(real);
        for (const { at, to } of changes) bytes[at] = to;
        for (const payload of [bytes.subarray(0, length), noise]) {
          const socket = parseTcpSocket(message(payload));
          if (socket === undefined) continue;
          assert.equal(socket.id.length, 48);
          assert.equal(socket.local.address.family, socket.family);
          if (payload[0] === 10) assert.equal(destroyTcpSocket(socket).payload[0], 10);
        }
      },
    ),
    { numRuns: 2000 },
  );
});
