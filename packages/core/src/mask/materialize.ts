// A mask in numbers: the dense truth, for looking at masks and for tests.

import { checkArguments } from '../arguments';
import { ShapeError } from '../error';
import { toArray } from '../tensor/convert';
import { countOf, type NDArray, type Tensor } from '../tensor/tensor';
import { checkMask } from './check';
import { type Mask, mapMask } from './mask';
import { mayAttend } from './predicate';

/** The sizes of one attention. */
export interface MaterializeSizes {
  /** Default 1. */
  readonly batch?: number;
  /** Query heads; default 1. */
  readonly heads?: number;
  /** Queries; of packed sequences, tokens. */
  readonly seq: number;
  /** Keys; default as many as queries. */
  readonly kvSeq?: number;
  /** int64 [batch]: keys before query 0; only the first `queryOffset + seq` keys exist. Default: queries and keys end together. */
  readonly queryOffset?: Tensor;
}

/**
 * The dense truth of a mask over tensors: true where a query may attend to a key. It is computed from the predicate of each class, in plain loops, so it is the
 * reference for every kernel.
 *
 * Shapes   → bool [batch, heads, seq, kv_seq]
 * Throws   ShapeError when the mask's data does not fit the sizes
 * Example  const keep = materialize(and(causal, keyLengths(tensor('int64', [2], [3, 5]))), { batch: 2, seq: 5 });
 */
export function materialize(mask: Mask<Tensor>, options: MaterializeSizes): Tensor {
  checkArguments('materialize', { mask, options });
  const { batch = 1, heads = 1, seq, kvSeq = seq, queryOffset } = options;
  const arrays: Mask<NDArray> = mapMask(mask, toArray);
  const offset = queryOffset && toArray(queryOffset);
  checked(() => checkMask(arrays, { batch, heads, seq, kvSeq, queryOffset: offset }));
  const allowed = mayAttend(arrays, { seq, kvSeq }, offset);
  const dims = [batch, heads, seq, kvSeq];
  const data = new Uint8Array(countOf(dims));
  let at = 0;
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < seq; i++) for (let j = 0; j < kvSeq; j++) data[at++] = allowed(b, h, i, j) ? 1 : 0;
  return { dtype: 'bool', dims, data };
}

function checked(check: () => void): void {
  try {
    check();
  } catch (error) {
    throw error instanceof ShapeError ? new ShapeError({ ...error, path: 'materialize' }, { cause: error }) : error;
  }
}
