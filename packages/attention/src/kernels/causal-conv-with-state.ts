// CausalConvWithState of com.microsoft: a causal convolution of each channel by itself.
import { apply, defineOp, operandsOf, rule } from '@onnxformers/core/lowering';
import { CausalConvolution, causalConvolution } from '../recurrent/causal-convolution';

type CausalConvAttrs = { readonly activation: 'none' | 'silu' };

const names = ['input', 'weight', 'bias?', 'past_state?'] as const;

/** The kernel. Operands: input [batch, channels, seq], weight [channels, 1, width], bias [channels], past_state [batch, channels, width − 1]. */
export const CausalConvWithState = defineOp<CausalConvAttrs, typeof names>({
  key: 'com.microsoft.CausalConvWithState',
  operands: names,
  results: ['output', 'present_state'],
  attributes: { activation: 'string' },
  infer: (given) => CausalConvolution.infer(given, { activation: 'none' }),
  decompose(given, { activation }) {
    const { input, weight, bias, past_state: past } = operandsOf(names, given);
    return causalConvolution(input, weight, { bias, past, activation });
  },
});

/** CausalConvolution → CausalConvWithState. */
export const useCausalConvWithState = rule('CausalConvolution → CausalConvWithState', CausalConvolution, (node) => ({
  covers: node.outputs,
  emit: (get) =>
    apply<CausalConvAttrs>(
      CausalConvWithState,
      node.operands.map((x) => x && get(x)),
      { activation: node.attrs.activation },
    ),
}));
