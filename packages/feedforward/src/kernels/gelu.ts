// Gelu of com.microsoft: the exact form.
import { apply, defineOp, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { inferBiased } from './biased';

/** The kernel. Operand: x. */
export const GeluKernel = defineOp({
  key: 'com.microsoft.Gelu',
  attributes: {},
  infer: ([x]) => inferBiased([x]),
  decompose: ([x]) => [ops.gelu(x)],
});

/** Gelu → Gelu of com.microsoft, which exists for every opset. */
export const useGelu = rule('Gelu → com.microsoft.Gelu', ops.Gelu, (node) => {
  if (node.attrs.approximate !== 'none') return undefined;
  return { covers: node.outputs, emit: (get) => apply(GeluKernel, [get(node.operands[0]!)], {}) };
});
