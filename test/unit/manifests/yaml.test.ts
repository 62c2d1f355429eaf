import assert from "node:assert/strict";
import { test } from "node:test";
import { loadYaml } from "@kubernetes/client-node";
import fc from "fast-check";
import { envValue, quoted, scalar } from "../../../src/manifests/yaml.ts";
import { expand } from "../../support/manifests/kubelet.ts";

const read = (scalarText: string): unknown => loadYaml<{ readonly a: unknown }>(`a: ${scalarText}`).a;
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({
    unit: fc.constantFrom(...Array.from("$()\"'\\\n\r\t\u0000\u0085\u2028\ufeff:#{}[],&*!|>%@` -?ab1")),
  }),
);

test("a scalar is read as the text that it was", () => {
  fc.assert(fc.property(text, (value) => assert.equal(read(quoted(value)), value.toWellFormed())));
  fc.assert(
    fc.property(
      fc.oneof(
        text,
        fc.constantFrom(
          "true",
          "no",
          "null",
          "y",
          "1",
          "1e3",
          "0x1f",
          "1:30",
          "a:",
          "-",
          "leasehold",
          "a.b/c:1",
        ),
      ),
      (value) => {
        assert.equal(read(scalar(value)), value.toWellFormed());
      },
    ),
  );
});

test("a scalar has no quotes where they are not needed, and has them where some parser would read something else", () => {
  for (const plain of ["leasehold", "leasehold:0.1.0", "registry.example:5000/a/b:1", "kube-system"])
    assert.equal(scalar(plain), plain);
  for (const other of [
    "true",
    "no",
    "y",
    "null",
    "on",
    "1",
    "123",
    "1e3",
    "0x1f",
    "1:30",
    "a:",
    "-a",
    "",
    "a b",
    "~",
    "A",
  ])
    assert.equal(scalar(other), JSON.stringify(other));
});

test("no line of YAML has a character that a parser refuses or takes for the end of the line", () => {
  // oxlint-disable-next-line no-control-regex -- these are what it is about
  const troublesome = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]|\p{Surrogate}/u;
  fc.assert(fc.property(text, (value) => assert.doesNotMatch(quoted(value), troublesome)));
});

test("the kubelet's expansion gives back the value of an environment variable", () => {
  const variables = { a: "!", b: "?" };
  const dollars = fc.string({ unit: fc.constantFrom("$", "$(a)", "$(c)", "(", ")", "a") });
  fc.assert(
    fc.property(fc.oneof(text, dollars), (value) => {
      assert.equal(expand(String(read(envValue(value))), variables), value.toWellFormed());
    }),
  );
});
