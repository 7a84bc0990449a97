// FastGelu of com.microsoft: Gelu approximated by tanh, of x or of a sum with a bias.
import type { Value } from '@onnxformers/core';
import { apply, biasedLinear, defineOp, reasons, refuse, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { biased, inferBiased, withBias } from './biased';

/** The kernel. Operands: x [..., channels], bias [channels] (optional). */
export const FastGelu = defineOp({
  key: 'com.microsoft.FastGelu',
  attributes: {},
  infer: inferBiased,
  decompose: ([x, bias]) => [ops.geluTanh(biased(x, bias))],
});

/** The approximated Gelu → FastGelu, also with the bias of a linear map, which the kernel adds. */
export const useFastGelu = rule('Gelu(tanh) → FastGelu', ops.Gelu, (node, context) => {
  if (node.attrs.approximate !== 'tanh') return undefined;
  const [x] = node.operands as readonly [Value];
  const linear = biasedLinear(x, context);
  return [
    linear ? withBias(FastGelu, {}, node, linear, withItsBias) : refuse(reasons.noBiasedLinear(), withItsBias),
    { covers: node.outputs, emit: (get) => apply(FastGelu, [get(x)], {}) },
  ];
});
const withItsBias = 'with the bias of a linear map';
