// Kernels that add the bias of the preceding linear map.
import type { Node, TensorType, Value } from '@onnxformers/core';
import { type Attrs, apply, type Get, type Match, mismatch, type Op, operandsOf, printType } from '@onnxformers/core/lowering';

/** The type of x, whose channels the bias fits. */
export function inferBiased([x, bias]: readonly (TensorType | undefined)[]): readonly TensorType[] {
  if (bias && (bias.dims.length !== 1 || bias.dims[0] !== x!.dims.at(-1) || bias.dtype !== x!.dtype))
    throw mismatch('the bias does not fit the channels', `${x!.dtype}[${x!.dims.at(-1)}]`, printType(bias));
  return [x!];
}

/** x with the bias, if there is one. */
export const biased = (x: Value | undefined, bias: Value | undefined): Value => (bias ? bias.graph.ops.add(x, bias) : x!);

/** Replaces the node, a function of one linear map, by a kernel that adds the map's bias itself. */
export function withBias<A extends Attrs>(
  kernel: Op<A>,
  attrs: A,
  node: { readonly outputs: readonly Value[] },
  linear: Node,
  variant?: string,
): Match {
  const { ops } = linear.graph;
  const { x, weight, bias } = operandsOf(ops.Linear, linear.operands);
  const emit = (get: Get) => apply(kernel, [ops.linear(get(x), get(weight)), bias && get(bias)], attrs);
  return { ...(variant && { variant }), covers: node.outputs, absorbs: linear.outputs, emit };
}
