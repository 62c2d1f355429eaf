import assert from "node:assert/strict";
import { test } from "node:test";
import { aptOptions, sourceLines } from "../../../scripts/image/base.ts";

test("the base comes from this machine's own mirrors of that Debian release, by http", () => {
  const targets = [
    "https://mirror.example/debian/ bookworm main",
    "https://mirror.example/debian/ bookworm-updates main",
    "https://mirror.example/debian/ bookworm main",
    "http://mirror.example/debian-security/ bookworm-security main",
    "http://mirror.example/debian/ trixie main",
    "http://mirror.example/debian/ bookwormish main",
    "file:/srv/mirror/ bookworm main",
    "mirror+file:/etc/apt/mirrors bookworm main",
    "",
    "nonsense",
  ];
  assert.deepEqual(sourceLines(targets.join("\n")), [
    "deb https://mirror.example/debian/ bookworm main",
    "deb https://mirror.example/debian/ bookworm-updates main",
    "deb http://mirror.example/debian-security/ bookworm-security main",
  ]);
});

test("mmdebstrap's own mirrors are taken where this machine has none of that release", () => {
  for (const targets of [
    "",
    "http://mirror.example/ubuntu/ noble main",
    "http://mirror.example/debian/ bookworm-updates main",
    "http://mirror.example/debian/ trixie main",
  ]) {
    assert.deepEqual(sourceLines(targets), []);
  }
});

test("of apt's configuration only what the way to the mirrors takes is used", () => {
  const dump = [
    'APT "";',
    'APT::Install-Recommends "0";',
    'Acquire::http::Proxy "http://proxy.example:3128";',
    'Acquire::https::mirror.example::Proxy "DIRECT";',
    'Acquire::https::CaInfo "/etc/ssl/own.pem";',
    'Acquire::http::Timeout "30";',
    'DPkg::Post-Invoke:: "rm -rf /";',
    'Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";',
  ];
  assert.deepEqual(aptOptions(dump.join("\n")), [
    'Acquire::http::Proxy "http://proxy.example:3128";',
    'Acquire::https::mirror.example::Proxy "DIRECT";',
    'Acquire::https::CaInfo "/etc/ssl/own.pem";',
  ]);
});
