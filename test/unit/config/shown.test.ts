import assert from "node:assert/strict";
import { test } from "node:test";
import { SETTING_NAMES } from "../../../src/config/settings.ts";
import { shownSettings } from "../../../src/config/shown.ts";

const shown = (env: Readonly<Record<string, string>>, name: string): string | undefined =>
  shownSettings(env).find((setting) => setting.name === name)?.value;

test("every setting is shown, with what a person has set or else the default", () => {
  const all = shownSettings({
    LEASEHOLD_VIP: " 192.0.2.10 ",
    LEASEHOLD_PRIORITY: "",
    LEASEHOLD_OTHER: "x",
    HOME: "/",
  });
  assert.deepEqual(
    all.map(({ name }) => name),
    SETTING_NAMES.map((name) => `LEASEHOLD_${name}`),
  );
  const of = (name: string) => all.find((one) => one.name === name);
  assert.deepEqual([of("LEASEHOLD_VIP")?.value, of("LEASEHOLD_VIP")?.isSet], ["192.0.2.10", true]);
  assert.deepEqual([of("LEASEHOLD_PRIORITY")?.value, of("LEASEHOLD_PRIORITY")?.isSet], ["100", false]);
  for (const { section, doc } of all) assert.ok(section !== "" && doc !== "");
});

test("what may be a secret is not shown", () => {
  for (const [command, safe] of [
    ["/opt/check", "/opt/check"],
    ["/opt/check --token geheim", "/opt/check (not shown)"],
    ["/opt/check\t'geheim'", "/opt/check (not shown)"],
  ] as const)
    for (const name of ["LEASEHOLD_TRACK_EXEC", "LEASEHOLD_NOTIFY"])
      assert.equal(shown({ [name]: command }, name), safe);
  for (const [url, safe] of [
    ["http://127.0.0.1:80/well", "http://127.0.0.1:80/well"],
    ["https://user:geheim@n1.example/a?key=geheim", "https://(not shown)@n1.example/a?(not shown)"],
    ["https://geheim@n1.example/", "https://(not shown)@n1.example/"],
    ["geheim", "(not shown)"],
  ] as const) {
    const value = shown({ LEASEHOLD_TRACK_HTTP: url }, "LEASEHOLD_TRACK_HTTP");
    assert.doesNotMatch(value ?? "", /geheim/);
    assert.equal(value?.replace(":80", ""), safe.replace(":80", ""));
  }
});
