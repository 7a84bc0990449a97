// Which sequences run together: sorted by length, so that a batch needs little padding, and at most so many rows at once.

/** Options of {@link batchesOf}. */
export interface BatchOptions {
  /** Rows of a batch at most, padding included. A longer sequence is a batch of its own. */
  readonly maxTokens: number;
  /** The length of each padded sequence of a batch, for its longest; absent: no padding. */
  readonly widthFor?: (longest: number) => number;
  /** Whether only sequences of equal length may run together. */
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

/** The indices of the sequences of each batch, longest first. */
export function batchesOf(
  lengths: readonly number[],
  { maxTokens, widthFor, alike = false, paddedAttention = false }: BatchOptions,
): readonly (readonly number[])[] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  let [rows, pairs] = [0, 0];
  for (const i of order) {
    const current = batches.at(-1);
    // Sorted: the first sequence of a batch is its longest.
    const longest = lengths[current?.[0] ?? i]!;
    const length = lengths[i]!;
    const width = widthFor ? widthFor(longest) : length;
    const all = pairs + length ** 2;
    const wasteful = paddedAttention && rows >= enoughRows && all < leastShare * ((current?.length ?? 0) + 1) * longest ** 2;
    if (current && rows + width <= maxTokens && !(alike && length !== longest) && !wasteful) {
      current.push(i);
      rows += width;
      pairs = all;
    } else {
      batches.push([i]);
      rows = widthFor ? widthFor(length) : length;
      pairs = length ** 2;
    }
  }
  return batches;
}
