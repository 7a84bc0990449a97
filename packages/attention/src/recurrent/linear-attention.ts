// Attention by a feature map instead of a softmax. Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236
import { bool, ConfigError, type Dim, defineBlock, module, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { recurrenceRules } from '../kernels/linear-attention';
import { inOrder, ofReal, realRows, recurrence } from './between-calls';
import { headFields } from './fields';
import { inHeads, projectionsOf } from './projections';

/**
 * Linear attention: keys and values are summed before they meet a query, so that a sequence takes linear time, and a causal one constant memory.
 *
 *     y_i = W_o φ(q_i)ᵀ Σ_j φ(k_j) v_jᵀ / φ(q_i)ᵀ Σ_j φ(k_j)      φ(x) = elu(x) + 1; j ≤ i if causal
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; kept between calls: recurrent [batch, heads, headDim, valueHeadDim + 1] in float32
 * Dtypes   float32, float16, bfloat16; the sums in float32
 * Masks    causal, lengths, keyPadding
 * Cost     time O(seq · dim · (dim + headDim)), memory O(seq · dim); if causal O(seq · dim · headDim / 64) more; a step O(1)
 * Throws   ConfigError for another mask, an attention bias, and a state without causal order
 * Source   Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236
 * Lowers   cpu, wasm, webgpu, cuda: LinearAttention if causal, otherwise MatMul · portable: MatMul, in chunks of 64 positions if causal
 * Example  const block = linearAttention({ dim: 512, heads: 8, causal: true });
 */
export const linearAttention = defineBlock({
  kind: 'mixer',
  name: 'linear_attention',
  summary: 'Attention by a feature map instead of a softmax: keys and values are summed before they meet a query.',
  source: 'Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236',
  masks: inOrder,
  fields: {
    ...headFields,
    /** no position reads a later one. Default: `false`. */
    causal: bool({ doc: 'no position reads a later one', default: false }),
    /** projections have a bias. Default: `true`. */
    bias: bool({ doc: 'projections have a bias', default: true }),
  },
  examples: [
    { dim: 10, heads: 2 },
    { dim: 7, heads: 3, headDim: 5, valueHeadDim: 4, causal: true, bias: false },
  ],
  properties: ({ causal }) =>
    causal
      ? ['batchIndependent', 'deterministic', 'linear', 'causal']
      : ['batchIndependent', 'deterministic', 'linear', 'permutationEquivariant'],
  rules: recurrenceRules,
  create({ dim, heads, headDim, valueHeadDim, causal, bias }, { path }) {
    const maps = projectionsOf({ dim, heads, headDim, valueHeadDim }, bias);
    return module(maps, (x: Value, ctx: SequenceContext) => {
      const [batch, seq] = x.dims as readonly [Dim, Dim];
      const mask = realRows(x, ctx, path);
      const ordered = causal || mask.causal;
      if (ctx.state && !ordered)
        throw new ConfigError({
          path: `${path}.causal`,
          problem: 'a state keeps what earlier positions left, and every position would read all others',
          expected: 'causal: true, or no state',
          got: 'causal: false',
        });
      const q = features(inHeads(maps.q_proj(x), heads));
      const k = ofReal(mask.real, features(inHeads(maps.k_proj(x), heads)));
      const values = inHeads(maps.v_proj(x), heads);
      // One more channel is the sum of the weights.
      const v = ops.concat([values, ops.fill(x, [batch, seq, heads, 1], 1, 'float32')], 3);
      const sums = ordered ? recurrence(ctx, { q, k, v }) : ofAll(q, k, v);
      const total = ops.slice(sums, { axes: [3], starts: [valueHeadDim], ends: [valueHeadDim + 1] });
      const y = ops.div(ops.cropTo(sums, 3, valueHeadDim), ops.max(total, least));
      return maps.o_proj(ops.cast(ops.reshape(y, [batch, seq, heads * valueHeadDim]), x.dtype));
    });
  },
});

/** Below this number a sum of features is that of no key. */
const least = 1e-30;

/** elu(x) + 1, in a form that neither overflows nor cancels. */
const features = (x: Value): Value => ops.add(ops.max(x, 0), ops.exp(ops.min(x, 0)));

/** Every query with the sum over all keys. */
function ofAll(q: Value, k: Value, v: Value): Value {
  const perHead = (x: Value): Value => ops.transpose(x, [0, 2, 1, 3]);
  const state = ops.matmul(ops.swapLast(perHead(k)), perHead(v));
  return perHead(ops.matmul(perHead(q), state));
}
