// Where special tokens stand around the texts of a sequence.
import { ConfigError } from '@onnxformers/core';

/** A place in a sequence: a special token, or a text with all its tokens. */
export interface Place {
  /** The id of a special token, or the text: 0 is the first, 1 the second. */
  readonly special?: number;
  readonly text?: 0 | 1;
  /** Which text the place belongs to. */
  readonly type: number;
}

/** Ids of a sequence with the text that each belongs to; `undefined` for special tokens. */
export interface Sequence {
  readonly ids: readonly number[];
  readonly types: readonly number[];
  readonly texts: readonly (0 | 1 | undefined)[];
}

/** Which text is shortened. `true` and `longest_first` drop the end of the longer one. */
export type Truncation = true | 'longest_first' | 'only_first' | 'only_second';

/** Puts the ids of one or two texts in their places. */
export function arranged(places: readonly Place[], texts: readonly (readonly number[])[]): Sequence {
  const each = places.map(({ special, text, type }) => {
    const ids = text === undefined ? [special!] : texts[text]!;
    return ids.map((id) => ({ id, type, text }));
  });
  const all = each.flat();
  return { ids: all.map(({ id }) => id), types: all.map(({ type }) => type), texts: all.map(({ text }) => text) };
}

/** How many ids of each text stay. */
function kept([a, b]: readonly [number, number], room: number, how: Truncation): readonly [number, number] {
  if (how === 'only_first') return [Math.min(a, room - b), b];
  if (how === 'only_second') return [a, Math.min(b, room - a)];
  const half = Math.floor(room / 2);
  if (b <= half) return [Math.min(a, room - b), b];
  return a <= room - half ? [a, Math.min(b, room - a)] : [room - half, half];
}

/**
 * The ids of the texts without those that have no room in a sequence of `max` ids with its special tokens.
 *
 * Throws   ConfigError if not even the special tokens and the text that may not be cut have room
 */
export function shortened(
  places: readonly Place[],
  texts: readonly (readonly number[])[],
  max: number,
  how: Truncation,
): readonly (readonly number[])[] {
  const [first = [], second = []] = texts;
  const added = places.filter(({ text }) => text === undefined).length;
  if (added + first.length + second.length <= max) return texts;
  const keep = kept([first.length, second.length], max - added, how);
  if (keep.some((n) => n < 0))
    throw new ConfigError({
      path: 'tokenizer: max_length',
      problem: 'no room for the special tokens and the text that is not cut',
      expected: `at least ${max - Math.min(...keep)}`,
      got: String(max),
    });
  return texts.map((ids, i) => ids.slice(0, keep[i]));
}
