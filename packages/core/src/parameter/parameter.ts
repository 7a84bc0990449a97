// Parameters: tensors that training changes and checkpoints store.
import { ShapeError } from '../error';
import { countOf, type DType } from '../tensor/tensor';
import type { Fans, Init, Role } from './init';

/** Options of a parameter besides its dims and its initialisation. */
export interface ParameterOptions {
  /** The function of its layer in the block; initialisation schemes, quantisation and LoRA select parameters by it. */
  readonly role?: Role;
  /** Which part of its layer it is. */
  readonly part?: 'weight' | 'bias' | 'other';
  /** Layers that are stacked in it along axis 0, such as queries, keys and values: each is initialised separately, by its own role. */
  readonly packed?: readonly { readonly rows: number; readonly role: Role }[];
  /** Fan in and fan out, if they do not follow from the dims (several matrices in one weight). */
  readonly fans?: Fans;
  /** Kept in this dtype, independent of the model's dtype (a router in float32, an int4 block). */
  readonly dtype?: DType;
  /** False for a buffer: stored and loaded, never trained. */
  readonly trainable?: boolean;
}

/**
 * A named array of fixed dims. The same object in two places is a tied weight.
 *
 * Throws   ShapeError for dims whose product is not an integer below 2^53
 */
export class Parameter {
  constructor(
    readonly dims: readonly number[],
    readonly init: Init,
    readonly options: ParameterOptions = {},
  ) {
    if (!Number.isSafeInteger(countOf(dims)))
      throw new ShapeError({
        path: 'parameter',
        problem: 'more numbers than can be counted exactly',
        expected: 'fewer than 2^53',
        got: `[${dims.join(', ')}]`,
      });
  }
}
