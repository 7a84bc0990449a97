// Which sequences run together: sorted by length, so that a batch needs little padding, and at most so many rows at once.

/** Options of {@link batchesOf}. */
export interface BatchOptions {
  /** Rows of a batch at most, padding included. A longer sequence is a batch of its own. */
  readonly maxTokens: number;
  /** The length of each padded sequence of a batch, for its longest; absent: no padding. */
  readonly widthFor?: (longest: number) => number;
  /** Whether only sequences of equal length may run together. */
  readonly alike?: boolean;
}

/** The longest sequence rounded up to a multiple, unless sequences of that length are not allowed. */
export function widthOf(longest: number, multiple: number, allowed: (width: number) => boolean = () => true): number {
  const width = Math.ceil(longest / multiple) * multiple;
  return allowed(width) ? width : longest;
}

/** The indices of the sequences of each batch, longest first. */
export function batchesOf(
  lengths: readonly number[],
  { maxTokens, widthFor, alike = false }: BatchOptions,
): readonly (readonly number[])[] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const i of order) {
    const current = batches.at(-1);
    // Sorted: the first sequence of a batch is its longest.
    const longest = lengths[current?.[0] ?? i]!;
    const width = widthFor ? widthFor(longest) : lengths[i]!;
    if (current && rows + width <= maxTokens && !(alike && lengths[i] !== longest)) {
      current.push(i);
      rows += width;
    } else {
      batches.push([i]);
      rows = widthFor ? widthFor(lengths[i]!) : lengths[i]!;
    }
  }
  return batches;
}
