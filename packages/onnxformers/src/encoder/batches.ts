// Which sequences run together: sorted by length, so that a batch needs little padding, and at most so many rows at once.

/** Options of {@link batchesOf}. */
export interface BatchOptions {
  /** Rows of a batch at most, padding included. A longer sequence is a batch of its own. */
  readonly maxTokens: number;
  /** For each axis the length of each padded sequence of a batch, for its longest; absent: no padding. */
  readonly widths?: readonly ((longest: number) => number)[];
  /** Whether only sequences of equal lengths may run together. */
  readonly alike?: boolean;
  /** Whether attention takes the time of sequences that are all as long as the longest. Then a batch of enough rows takes no much shorter sequences. */
  readonly paddedAttention?: boolean;
}

/** Rows of a batch from which on more rows do not save time on a CPU, and little on a GPU. */
const enoughRows = 2048;
/** The least share of real pairs of positions in padded attention. */
const leastShare = 0.8;

/** The longest sequence rounded up to a multiple, unless sequences of that length are not allowed. */
export function widthOf(longest: number, multiple: number, allowed: (width: number) => boolean = () => true): number {
  const width = Math.ceil(longest / multiple) * multiple;
  return allowed(width) ? width : longest;
}

/** What sequences of a batch take. */
interface Taken {
  readonly sequences: number;
  /** The longest along each axis. */
  readonly longest: readonly number[];
  readonly rows: number;
  /** Pairs of positions that attend to each other. */
  readonly pairs: number;
}
const nothing: Taken = { sequences: 0, longest: [], rows: 0, pairs: 0 };

/** The indices of the sequences of each batch, longest first. `lengths` has the lengths of each sequence along each axis: those of an encoder and of its decoder. */
export function batchesOf(
  lengths: readonly (readonly number[])[],
  { maxTokens, widths, alike = false, paddedAttention = false }: BatchOptions,
): readonly (readonly number[])[] {
  const order = lengths.map((_, i) => i).sort((a, b) => compareLengths(lengths[b]!, lengths[a]!) || a - b);
  const including = (taken: Taken, own: readonly number[]): Taken => {
    const sequences = taken.sequences + 1;
    const longest = own.map((n, axis) => Math.max(n, taken.longest[axis] ?? 0));
    const rows = widths ? sequences * sum(longest.map((n, axis) => widths[axis]!(n))) : taken.rows + sum(own);
    return { sequences, longest, rows, pairs: taken.pairs + pairsOf(own) };
  };
  const batches: number[][] = [];
  let taken = nothing;
  for (const i of order) {
    const own = lengths[i]!;
    const all = including(taken, own);
    const differs = alike && compareLengths(own, taken.longest) !== 0;
    const wasteful = paddedAttention && taken.rows >= enoughRows && all.pairs < leastShare * all.sequences * pairsOf(all.longest);
    if (taken.sequences && all.rows <= maxTokens && !differs && !wasteful) {
      batches.at(-1)!.push(i);
      taken = all;
    } else {
      batches.push([i]);
      taken = including(nothing, own);
    }
  }
  return batches;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const pairsOf = (lengths: readonly number[]): number => sum(lengths.map((n) => n ** 2));

/** By the first axis, then by the next. */
function compareLengths(a: readonly number[], b: readonly number[]): number {
  const axis = a.findIndex((n, i) => n !== b[i]);
  return axis < 0 ? 0 : a[axis]! - b[axis]!;
}
