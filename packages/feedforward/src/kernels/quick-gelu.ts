// QuickGelu of com.microsoft: x times the sigmoid of alpha x.
import { apply, defineOp, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { inferBiased } from './biased';

type QuickGeluAttrs = { readonly alpha: number };

/** The kernel. Operand: x. */
export const QuickGelu = defineOp<QuickGeluAttrs>({
  key: 'com.microsoft.QuickGelu',
  attributes: { alpha: 'float' },
  infer: ([x]) => inferBiased([x]),
  decompose: ([x], { alpha }) => [ops.swish(x, alpha)],
});

/** Swish → QuickGelu; silu is QuickGelu with alpha 1. */
export const useQuickGelu = rule('Swish → QuickGelu', ops.Swish, (node) => ({
  covers: node.outputs,
  emit: (get) => apply(QuickGelu, [get(node.operands[0]!)], { alpha: node.attrs.alpha }),
}));
