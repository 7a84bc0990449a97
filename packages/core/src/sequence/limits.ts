// What a model requires of lengths, positions and ids, said where they are used.
import { addDims, type Dim, subDims } from '../dim/dim';
import { ShapeError } from '../error';
import { inputNameOf, largestOf, type Value } from '../ir/graph';

/** Requires lengths from 0 to so many rows, where they are an input. */
export function limitLengths(lengths: Value, rows: Dim): void {
  const input = inputNameOf(lengths);
  if (input !== undefined)
    lengths.graph.root.limit({ input, min: 0, max: rows, problem: 'a length that its sequence does not have', why: 'these are its rows' });
}

/** Requires lengths that add up to the rows of a packed batch, where they are an input. */
export function limitPackedLengths(lengths: Value, rows: Dim): void {
  const input = inputNameOf(lengths);
  if (input === undefined) return;
  const g = lengths.graph.root;
  g.limit({ input, min: 0, problem: 'a length below 0' });
  g.limit({ input, of: 'sum', min: rows, max: rows, problem: 'the lengths do not add up to the rows' });
}

/**
 * Requires indices from 0 to before the number of rows, as far as an input or a size tells them. What is computed inside the graph in another
 * way is not looked at: there an index that is too large is an error of the runtime, or anything.
 *
 * Throws   ShapeError where known sizes are too large already
 */
export function limitIndices(indices: Value, rows: Dim, table: string): void {
  const largest = largestOf(indices);
  if (!largest) return;
  const g = indices.graph.root;
  const why = `${table} has ${rows} rows`;
  if (largest.input !== undefined) {
    const max = subDims(rows, addDims(largest.plus, 1));
    const problem = largest.of === 'counts' ? 'more positions than the table has rows' : 'an index outside of the table';
    g.limit({ input: largest.input, ...(largest.of && { of: largest.of }), min: 0, max, problem, why });
    return;
  }
  const count = addDims(largest.plus, 1);
  if (typeof count === 'number' && typeof rows === 'number') {
    if (count > rows)
      throw new ShapeError({
        path: indices.graph.where,
        problem: 'more positions than the table has rows',
        expected: `at most ${rows}`,
        got: String(count),
      });
    return;
  }
  g.limit({ size: count, max: rows, problem: 'more positions than the table has rows', why });
}
