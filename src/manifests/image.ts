/** The reference of an image, as containerd reads it. */
import type { Parsed, Parser } from "../config/parsers.ts";
import { VERSION } from "../version.ts";

/** The image of this version, under the name that `npm run image` and the README's commands give it. */
export const DEFAULT_IMAGE = `leasehold:${VERSION}`;

// The grammar of github.com/distribution/reference.
const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const HOST = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?`;
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const TAG = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
const DIGEST = "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}";
const REFERENCE = new RegExp(`^(?:${HOST}/)?${COMPONENT}(?:/${COMPONENT})*(?::${TAG})?(?:@(?:${DIGEST}))?$`);
const MAX_LENGTH = 512;

export const imageReference: Parser<string> = {
  expects:
    "an image such as leasehold:0.1.0, registry.example:5000/leasehold:0.1.0 or leasehold@sha256:<64 hexadecimal digits>",
  parse: (text): Parsed<string> =>
    text.length <= MAX_LENGTH && REFERENCE.test(text)
      ? { kind: "ok", value: text }
      : { kind: "wrong", because: "is not the reference of an image" },
};

/**
 * The reference as containerd's `ctr` needs it. It knows no short names: leasehold:0.1.0 is
 * docker.io/library/leasehold:0.1.0.
 */
export function fullReference(image: string): string {
  const [first = "", ...rest] = image.split("/");
  const hasHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  if (hasHost) return image;
  return rest.length === 0 ? `docker.io/library/${image}` : `docker.io/${image}`;
}
