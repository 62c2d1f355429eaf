/**
 * The part of pino that the code uses. Messages are constant, and what varies goes into fields (camelCase).
 */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * The fields of one line, checked. An error goes under `err`, where every reader looks for it, and nowhere
 * else. A value that may be an error (`unknown`, which is what `catch` gives) does not compile under another
 * key either, at any depth.
 */
export type Checked<Fields> = {
  readonly [Key in keyof Fields]: Key extends "err"
    ? unknown
    : unknown extends Fields[Key]
      ? never
      : NoError<Fields[Key]>;
};
/** Distributes over unions: one member that is an error is enough to refuse the type. */
type NoError<Value> = Value extends Error ? never : Value extends object ? Checked<Value> : Value;

type Write = <Fields extends LogFields>(fields: Fields & Checked<Fields>, message: string) => void;

export interface Logger {
  readonly error: Write;
  readonly warn: Write;
  readonly info: Write;
  readonly debug: Write;
  child<Fields extends LogFields>(fields: Fields & Checked<Fields>): Logger;
}

export const silentLogger: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  child: () => silentLogger,
};
