// Softmax attention over learned mixtures of positions. Wang et al. 2020, https://arxiv.org/abs/2006.04768
import {
  attend,
  ConfigError,
  type Dim,
  defineBlock,
  dropout,
  init,
  int,
  limitPositions,
  mergeHeads,
  module,
  none,
  num,
  Parameter,
  padded,
  type SequenceContext,
  splitHeads,
  type Value,
} from '@onnxformers/core';
import { expressedBy } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { unmaskedKernels } from '../kernels/index';

/**
 * Softmax attention over `k` learned mixtures of the keys' positions: time and memory linear in the sequence.
 *
 *     y = softmax(q (E k)ᵀ / √head_dim) (F v)
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]; kv_seq ≤ seqLen,
 *          if it is shorter, only the first columns of E and F are used
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    lengths, packed sequences: keys and values of padding are 0 in the mixtures, as if E and F had fewer columns; no other, because keys are projected
 *          along the sequence before scores are computed
 * Cost     time O((seq + kv_seq) · k · dim), memory O(k · kv_seq)
 * Throws   ShapeError when kv_seq is known to exceed seqLen (otherwise the runner refuses longer sequences) · ConfigError for a mask, an attention bias
 *          or a cache of fixed capacity
 * Source   Wang et al. 2020, https://arxiv.org/abs/2006.04768
 * Lowers   portable: primitives · elsewhere: MatMul and MultiHeadAttention
 * Example  const block = linformer({ seqLen: 1024, k: 128 });
 */
export const linformer = defineBlock({
  kind: 'attention',
  name: 'linformer',
  summary: 'Softmax attention over learned mixtures of positions.',
  source: 'Wang et al. 2020, https://arxiv.org/abs/2006.04768',
  masks: ['lengths'],
  fields: {
    /** largest number of keys; the number of columns of E and F (positions). Inherited from the enclosing block. */
    seqLen: int({ doc: 'largest number of keys; the number of columns of E and F', unit: 'positions', min: 1, inherit: true }),
    /** number of learned mixtures (projected positions). Default: computed from other options. */
    k: int({
      doc: 'number of learned mixtures (projected positions)',
      unit: 'positions',
      min: 1,
      default: (c: { seqLen: number }) => Math.max(1, Math.floor(c.seqLen / 4)),
    }),
    /** dropout probability in training, of attention weights and again of the result. Default: `0`. */
    dropout: num({
      doc: 'dropout probability in training, of attention weights and again of the result',
      min: 0,
      max: 0.99,
      default: 0,
    }),
  },
  examples: [{ seqLen: 13 }, { seqLen: 17, k: 6 }],
  properties: ['batchIndependent', 'fixedLength', 'linear'],
  rules: unmaskedKernels,
  create({ seqLen, k, dropout: probability }, { path }) {
    const mixture = () => new Parameter([k, seqLen], init.fanIn(), { role: 'mechanism', part: 'weight' });
    const [E, F] = [mixture(), mixture()];
    // Over all heads at once: one product for a sequence, and no transpose between a projection and a kernel.
    const mix = (x: Value, weights: Parameter): Value => {
      const [, heads, length] = x.dims as readonly [Dim, number, Dim];
      const mixed = ops.matmul(ops.cropTo(x.graph.param(weights), 1, length), mergeHeads(x, padded));
      return splitHeads(mixed, heads, padded);
    };
    const real = (x: Value, { mask }: SequenceContext): Value => {
      const reading = expressedBy(mask, { lengths: true });
      if (reading.inexpressible !== undefined)
        throw new ConfigError({ path, problem: 'two masks of lengths', expected: 'one', got: reading.inexpressible.mask });
      const { lengths } = reading;
      if (!lengths) return x;
      // From the graph's own ops, which a bundle of this block need not contain.
      const { iota, less, reshape, unsqueeze, where } = x.graph.ops;
      const rows = x.dims[2]!;
      return where(less(reshape(iota(x, rows), [1, 1, rows, 1]), unsqueeze(lengths, [1, 2, 3])), x, 0);
    };
    return module({ E: { weight: E }, F: { weight: F } }, (q: Value, keys: Value, values: Value, ctx: SequenceContext) => {
      if (ctx.bias || ctx.keys?.queryOffset)
        throw new ConfigError({
          path,
          problem: 'keys are projected along the sequence before scores are computed',
          expected: 'no attention bias and no cache of fixed capacity',
          got: ctx.bias ? 'an attention bias' : 'a cache of fixed capacity',
        });
      limitPositions(q.graph, keys.dims[2]!, seqLen, `${path}.seqLen`);
      return dropout(
        attend(q, mix(real(keys, ctx), E), mix(real(values, ctx), F), { mask: none }, { dropout: probability }),
        probability,
      );
    });
  },
});
