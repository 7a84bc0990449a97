// Values that depend only on sizes.
import { madeBy, type Value } from '../ir/graph';
import type { Sizes } from '../ir/types';
import { toArray } from '../tensor/convert';
import type { NDArray } from '../tensor/tensor';
import { Shape } from './shape';

/** The array of a value for these sizes; undefined if it depends on anything else. For conditions, not for large tensors. */
export function knownFrom(v: Value, sizes: Sizes): NDArray | undefined {
  if (v.leaf?.kind === 'constant') return toArray(v.leaf.tensor);
  if (!v.producer) return undefined;
  const { op, operands, attrs } = v.producer;
  const shape = madeBy(v, Shape);
  if (shape) {
    const dims = operands[0]!.dims.slice(shape.attrs.start, shape.attrs.end);
    return { dtype: v.dtype, dims: [dims.length], data: Float64Array.from(dims, (d) => sizes.of(d)) };
  }
  if (!op.evaluate) return undefined;
  const known: (NDArray | undefined)[] = [];
  for (const operand of operands) {
    const array = operand && knownFrom(operand, sizes);
    if (operand && !array) return undefined;
    known.push(array);
  }
  return op.evaluate(known, attrs, sizes)[v.index];
}
