// Which sequences run together: sorted by length, so that a batch needs little padding, and at most so many rows at once.

/** Options of {@link batchesOf}. */
export interface BatchOptions {
  /** Rows of a batch at most, padding included. A longer sequence is a batch of its own. */
  readonly maxTokens: number;
  /** Padded batches: sequences are padded to a multiple of this; absent: no padding. */
  readonly paddedTo?: number;
}

/** The length of each padded sequence of a batch. */
export const widthOf = (longest: number, multiple: number): number => Math.ceil(longest / multiple) * multiple;

/** The indices of the sequences of each batch, longest first. */
export function batchesOf(lengths: readonly number[], { maxTokens, paddedTo }: BatchOptions): readonly (readonly number[])[] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const i of order) {
    const current = batches.at(-1);
    // Sorted: the first sequence of a batch is its longest.
    const width = paddedTo === undefined ? lengths[i]! : widthOf(lengths[current?.[0] ?? i]!, paddedTo);
    if (current && rows + width <= maxTokens) {
      current.push(i);
      rows += width;
    } else {
      batches.push([i]);
      rows = paddedTo === undefined ? lengths[i]! : widthOf(lengths[i]!, paddedTo);
    }
  }
  return batches;
}
