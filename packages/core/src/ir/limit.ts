// Requirements of a graph on its feeds, besides dtypes and sizes: the runner and the interpreter check them before anything is computed.
import type { Dim } from '../dim/dim';

/**
 * One requirement, as data that is saved with a model: the elements of an input, or a size, are within bounds, both inclusive. Bounds are sizes,
 * so they may depend on the run: lengths are from 0 to `seq`.
 */
export interface Limit {
  /** The input whose elements are checked. */
  readonly input?: string;
  /** What is compared: every element (default), the number of nonzero elements of each row (along the last axis), or the sum of all. */
  readonly of?: 'elements' | 'counts' | 'sum';
  /** The size that is checked, if no input is named. */
  readonly size?: Dim;
  readonly min?: Dim;
  readonly max?: Dim;
  /** In words, for the error: `an index out of range of the table`. */
  readonly problem: string;
  /** The option that decides on the bounds: `encoder.embedding.seqLen`. */
  readonly by?: string;
  /** What to do about it. */
  readonly hint?: string;
}
