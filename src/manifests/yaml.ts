/** Text as a YAML scalar that every parser of Kubernetes' tools reads as the same string. */

/**
 * What YAML 1.1 and 1.2 take for a line break or refuse inside double quotes, and JSON leaves as it is:
 * DEL, C1 controls, NEL, the line and paragraph separators, the byte order mark and the two non-characters
 * (YAML 1.2.2 section 5.1).
 */
// oxlint-disable-next-line no-control-regex -- these are what it is about
const TROUBLESOME = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** `text` in double quotes. A lone surrogate, which is no character, becomes U+FFFD. */
export function quoted(text: string): string {
  return JSON.stringify(text.toWellFormed()).replaceAll(
    TROUBLESOME,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Words that YAML 1.1 reads as a boolean or as nothing. */
const WORDS = new Set(["true", "false", "yes", "no", "on", "off", "y", "n", "null"]);

/**
 * `text` without quotes where no parser can take it for a number, a boolean or nothing; otherwise {@link
 * quoted}.
 */
export function scalar(text: string): string {
  return /^[a-z](?:[\w./:@-]*[\w/-])?$/.test(text) && !WORDS.has(text.toLowerCase()) ? text : quoted(text);
}

/**
 * The value of an environment variable in a pod. The kubelet puts another variable's value in place of
 * `$(NAME)` and `$` in place of `$$` (Kubernetes' third_party/forked/golang/expansion), and neither is
 * meant in a setting.
 */
export function envValue(text: string): string {
  return quoted(text.replaceAll(/\$(?=[$(])/g, "$$$$"));
}
