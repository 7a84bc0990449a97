// What a graph requires of its feeds beside dtypes and sizes: the runner and the interpreter refuse others before anything is computed.
import type { Dim } from '../dim/dim';

/**
 * One requirement, as data that a saved model keeps: the numbers of an input, or a size, lie within bounds, both inclusive. Bounds are sizes,
 * so they may depend on the run: lengths are from 0 to `seq`.
 */
export interface Limit {
  /** The input whose numbers are looked at. */
  readonly input?: string;
  /** Which numbers: every element (default), how many of each row are not 0, or the sum of all. A row is the last axis. */
  readonly of?: 'elements' | 'counts' | 'sum';
  /** The size that is looked at, where no input is named. */
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
