// BiasGelu of com.microsoft: exact Gelu of a sum with a bias.
import { biasedLinear, defineOp, mismatch, reasons, refuse, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { biased, inferBiased, withBias } from './biased';

/** The kernel. Operands: x [..., channels], bias [channels]. */
export const BiasGelu = defineOp({
  key: 'com.microsoft.BiasGelu',
  attributes: {},
  infer([x, bias]) {
    if (!bias) throw mismatch('the bias is missing');
    return inferBiased([x, bias]);
  },
  decompose: ([x, bias]) => [ops.gelu(biased(x, bias))],
});

/** Gelu(Linear(x, W, b)) → BiasGelu(Linear(x, W), b). */
export const useBiasGelu = rule('Gelu(Linear + bias) → BiasGelu', ops.Gelu, (node, context) => {
  if (node.attrs.approximate !== 'none') return undefined;
  const linear = biasedLinear(node.operands[0]!, context);
  return linear ? withBias(BiasGelu, {}, node, linear) : refuse(reasons.noBiasedLinear());
});
