import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DEFAULT_IMAGE, imageReference } from "../../../src/manifests/image.ts";

const isRight = (text: string): boolean => imageReference.parse(text).kind === "ok";

test("an image is named as containerd names it", () => {
  const sha = `sha256:${"0123456789abcdef".repeat(4)}`;
  for (const right of [
    DEFAULT_IMAGE,
    "a",
    "a/b/c",
    "docker.io/library/a:1",
    "localhost:5000/a",
    "A.example/a:1",
    `a@${sha}`,
    `a:1@${sha}`,
    "a__b--c.d:V_1.2-x",
    "[2001:db8::1]:5000/a",
  ])
    assert.ok(isRight(right), right);
  for (const wrong of [
    "A:1",
    "a b",
    "a:",
    "a@",
    ":1",
    "/a",
    "a/",
    "a//b",
    "a:1:2",
    "a@sha256:0",
    `a@${sha}0`,
    "-a",
    "a#b",
    'a"',
    "http://a/b:1",
    `a:${"t".repeat(129)}`,
    "a\n",
    `${"a/".repeat(300)}a`,
  ]) {
    assert.ok(!isRight(wrong), wrong);
  }
});

test("any text has an answer, and soon", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...Array.from("aA0.-_:/@[]")), maxLength: 600 }), (text) =>
      assert.equal(typeof isRight(text), "boolean"),
    ),
  );
});
