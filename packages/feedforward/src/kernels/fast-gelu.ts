// FastGelu of com.microsoft: the form with tanh, of x or of a sum of rows and bias.
import { apply, biasedLinear, defineOp, Gelu, geluTanh, refuse, rule } from '@onnxformers/core';
import { biased, inferBiased, withBias } from './biased';

/** The kernel. Operands: x [..., channels], bias [channels] (may be left out). */
export const FastGelu = defineOp({
  key: 'com.microsoft.FastGelu',
  attributes: {},
  infer: inferBiased,
  decompose: ([x, bias]) => [geluTanh(biased(x, bias))],
});

/** The approximated Gelu → FastGelu. */
export const useFastGelu = rule('Gelu(tanh) → FastGelu', Gelu, (node) => {
  if (node.attrs.approximate !== 'tanh') return undefined;
  return { covers: node.outputs, emit: (get) => apply(FastGelu, [get(node.operands[0]!)], {}) };
});

/** The same of a linear map, whose bias the kernel adds. */
export const useFastGeluWithBias = rule('Gelu(tanh, Linear + bias) → FastGelu', Gelu, (node, around) => {
  if (node.attrs.approximate !== 'tanh') return undefined;
  const linear = biasedLinear(node.operands[0]!, around);
  return linear
    ? withBias(FastGelu, {}, node, linear)
    : refuse('there is no linear map with a bias before it that nothing else reads');
});
