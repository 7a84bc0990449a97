// SimplifiedLayerNormalization: the runtime's root mean square normalisation, which is older than the standard's.
import { apply, defineOp, defineReasons, printType, refuse, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

type SimplifiedAttrs = { readonly axis: number; readonly epsilon: number; readonly stash_type: number };

/** The kernel, in the standard's domain for any opset. Operands: x, scale. */
export const SimplifiedLayerNormalization = defineOp<SimplifiedAttrs>({
  key: 'SimplifiedLayerNormalization',
  since: 1,
  attributes: { axis: 'int', epsilon: 'float', stash_type: 'int' },
  infer: (operands, attrs) => ops.RMSNormalization.infer(operands, attrs),
  decompose: ([x, scale], { axis, epsilon }) => [ops.rmsNorm(x, scale, { axis, epsilon })],
});

const own = defineReasons({
  scaleDims: ({ expected, got }: { readonly expected: string; readonly got: string }) =>
    `the scale must be ${expected}, got ${got}`,
});

/** RMSNormalization → SimplifiedLayerNormalization. */
export const useSimplifiedLayerNormalization = rule(
  'RMSNormalization → SimplifiedLayerNormalization',
  ops.RMSNormalization,
  (node) => {
    const [x, scale] = node.operands;
    const normalized = x!.dims.slice(node.attrs.axis);
    const [expected, got] = [printType({ dtype: x!.dtype, dims: normalized }), printType(scale)];
    if (got !== expected) return refuse(own.scaleDims({ expected, got }));
    return { covers: node.outputs, emit: (get) => apply(SimplifiedLayerNormalization, [get(x!), get(scale!)], node.attrs) };
  },
);
