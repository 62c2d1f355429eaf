import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { HANDED_ON, programEnvironment } from "../../../src/config/program-environment.ts";

const facts = {
  nodeName: "n1",
  leaseName: "leasehold",
  vips: [{ text: "192.0.2.10" }, { text: "2001:db8::10" }],
};

test("the operator's programs get a short list of variables, which docs/configuration.md has", () => {
  const env = {
    PATH: "/bin",
    TZ: "UTC",
    LEASEHOLD_KUBECONFIG: "/k",
    KUBERNETES_SERVICE_HOST: "10.0.0.1",
    NODE_OPTIONS: "-x",
  };
  const given = programEnvironment(env, facts);
  assert.deepEqual(given, {
    PATH: "/bin",
    TZ: "UTC",
    LEASEHOLD_NODE_NAME: "n1",
    LEASEHOLD_LEASE_NAME: "leasehold",
    LEASEHOLD_VIP: "192.0.2.10,2001:db8::10",
  });
  const page = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
  const [, section = ""] = /^### The environment of your programs$(.*?)^##/ms.exec(page) ?? [];
  for (const name of [...HANDED_ON, ...Object.keys(given)]) assert.ok(section.includes(`\`${name}\``), name);
});

test("a program has a PATH in any case", () => {
  assert.match(programEnvironment({}, facts)["PATH"] ?? "", /:\/usr\/bin:/);
});
