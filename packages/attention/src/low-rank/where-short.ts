// One of two computations, by the size of a sequence.
import type { Dim, Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** One of two results, by whether any of the sizes is at most `limit`; selected at run time if that is not known. */
export function whereShort(near: Value, sizes: readonly Dim[], limit: number, yes: () => Value, no: () => Value): Value {
  if (sizes.some((d) => typeof d === 'number' && d <= limit)) return yes();
  const open = [...new Set(sizes)].filter((d) => typeof d !== 'number').map((d) => ops.size(near, d));
  if (open.length === 0) return no();
  return ops.cond(
    ops.lessOrEqual(open.length === 1 ? open[0]! : ops.min(...open), limit),
    () => [yes()],
    () => [no()],
  )[0]!;
}
