// SkipLayerNormalization of com.microsoft: the sum of two inputs and a bias, and its layer normalisation.
import { apply, defineOp, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { encodeSkip, inferSkip, matchSkip, type SkipAttrs, skipAsks, skipAttributes, sumOf } from './skip';

const names = ['x', 'skip', 'scale', 'shift?', 'bias?'] as const;
/** The kernel. Operands: x, skip [batch, seq, dim] or [tokens, dim], scale, shift (optional), bias (optional) [dim]. Outputs: the result, and the sum if requested. */
export const SkipLayerNormalization = defineOp<SkipAttrs, typeof names>({
  key: 'com.microsoft.SkipLayerNormalization',
  operands: names,
  attributes: skipAttributes,
  asks: skipAsks,
  infer: inferSkip,
  decompose([x, skip, scale, shift, bias], { epsilon, sum: wanted }) {
    const sum = sumOf(x, skip, bias);
    const y = ops.layerNorm(sum, scale, shift, { epsilon });
    return wanted ? [y, sum] : [y];
  },
  encode: encodeSkip,
});

/** LayerNormalization(a + b) → SkipLayerNormalization. */
export const useSkipLayerNormalization = rule(
  'LayerNormalization(sum) → SkipLayerNormalization',
  ops.LayerNormalization,
  (node, context) =>
    matchSkip(node, node.attrs.axis, context, (streams, [scale, shift], bias, sum) =>
      apply(SkipLayerNormalization, [...streams, scale, shift, bias], { epsilon: node.attrs.epsilon, sum }),
    ),
);
