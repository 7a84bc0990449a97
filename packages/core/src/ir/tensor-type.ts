// The static type of a tensor: dtype and symbolic dims.
import type { Dim } from '../dim/dim';
import type { DType } from '../tensor/tensor';

/** The static type of a value: dtype and symbolic dims. */
export interface TensorType {
  readonly dtype: DType;
  readonly dims: readonly Dim[];
}

/** `float32[batch, seq, 16]`. */
export function printType(type: TensorType | undefined): string {
  return type ? `${type.dtype}[${type.dims.join(', ')}]` : '–';
}

/** True for equal sizes in the same order. */
export const sameDims = (a: readonly Dim[], b: readonly Dim[]): boolean => a.length === b.length && a.every((d, i) => d === b[i]);
