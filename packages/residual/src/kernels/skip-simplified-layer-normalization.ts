// SkipSimplifiedLayerNormalization of com.microsoft: the sum of two inputs and a bias, and its root mean square normalisation.
import { apply, defineOp, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { encodeSkip, inferSkip, matchSkip, type SkipAttrs, skipAsks, skipAttributes, sumOf } from './skip';

const names = ['x', 'skip', 'scale', 'bias?'] as const;
/** The kernel. Operands: x, skip [batch, seq, dim] or [tokens, dim], scale, bias (optional) [dim]. Outputs: the result, and the sum if requested. */
export const SkipSimplifiedLayerNormalization = defineOp<SkipAttrs, typeof names>({
  key: 'com.microsoft.SkipSimplifiedLayerNormalization',
  operands: names,
  attributes: skipAttributes,
  asks: skipAsks,
  infer: inferSkip,
  decompose([x, skip, scale, bias], { epsilon, sum: wanted }) {
    const sum = sumOf(x, skip, bias);
    const y = ops.rmsNorm(sum, scale, { epsilon });
    return wanted ? [y, sum] : [y];
  },
  encode: encodeSkip,
});

/** RMSNormalization(a + b) → SkipSimplifiedLayerNormalization. */
export const useSkipSimplifiedLayerNormalization = rule(
  'RMSNormalization(sum) → SkipSimplifiedLayerNormalization',
  ops.RMSNormalization,
  (node, context) =>
    matchSkip(node, node.attrs.axis, context, (streams, [scale], bias, sum) =>
      apply(SkipSimplifiedLayerNormalization, [...streams, scale, bias], { epsilon: node.attrs.epsilon, sum }),
    ),
);
