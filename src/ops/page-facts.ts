/**
 * What an agent tells for the page besides its status: the last changes of its role (`/moves`), and its
 * history and settings (`/page`). A peer's bytes are read strictly. Pure.
 */
import type { ShownSetting } from "../config/shown.ts";
import { readSamples } from "./history.ts";
import type { Sample } from "./history.ts";
import { boolean, list, object, readable, text } from "./strict.ts";

/** One change of a node's role. */
export interface Move {
  readonly at: string;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
}

export interface PageFacts {
  readonly samples: readonly Sample[];
  readonly settings: readonly ShownSetting[];
}

/** Most changes of role that an agent tells, and that a page shows. */
export const MOST_MOVES = 20;
/** Most settings that are read. */
const MOST_SETTINGS = 200;
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;

/** Reads the text of `/moves`; undefined when it is not one. */
export function parseMoves(body: string): readonly Move[] | undefined {
  return readable(() =>
    list(
      object(JSON.parse(body))["moves"],
      (one) => {
        const { at, from, to, reason } = object(one);
        return { at: text(at), from: text(from), to: text(to), reason: text(reason) };
      },
      MOST_MOVES,
    ).filter(({ at }) => RFC_3339.test(at)),
  );
}

/** Reads the text of `/page`; undefined when it is not one. */
export function parsePageFacts(body: string): PageFacts | undefined {
  return readable(() => {
    const { samples, settings } = object(JSON.parse(body));
    return {
      samples: readSamples(samples),
      settings: list(
        settings,
        (one) => {
          const { section, name, value, isSet, doc } = object(one);
          return {
            section: text(section),
            name: text(name),
            value: text(value),
            isSet: boolean(isSet),
            // The longest has some 600 characters, and plain text is cut at 300 by default.
            doc: typeof doc === "string" ? doc.slice(0, 2_000) : "",
          };
        },
        MOST_SETTINGS,
      ),
    };
  });
}
