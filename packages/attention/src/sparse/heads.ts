// Patterns with a part for each head.
import { ShapeError, type Value } from '@onnxformers/core';

/** Throws ShapeError unless a pattern is that of all heads of q, or has one for each. */
export function checkHeads(what: string, heads: number, q: Value, path: string): void {
  const own = q.dims[1]!;
  if (heads === 1 || heads === own) return;
  throw new ShapeError({
    path,
    problem: `${what} has another number of heads`,
    expected: `1 or ${own} heads`,
    got: String(heads),
  });
}
