// Softmax attention between the blocks of a layout. Child et al. 2019, https://arxiv.org/abs/1904.10509
import {
  and,
  attend,
  blockLayout,
  bool,
  ConfigError,
  causal as causalMask,
  defineBlock,
  int,
  limitPositions,
  list,
  num,
  type SequenceContext,
  ShapeError,
  tensor,
  type Value,
  withContext,
} from '@onnxformers/core';
import { kernels } from '../kernels/index';
import { checkHeads } from './heads';
import { masksFromTheStart } from './masks-from-the-start';

/**
 * Softmax attention between blocks: each block of queries attends to the blocks of keys that its layout marks.
 *
 *     y_i = Σ_j softmax_j(scale · q_i k_jᵀ / √head_dim + bias) v_j      layout[h][⌊i / blockSize⌋][⌊j / blockSize⌋] = 1; j ≤ i if causal
 *
 * A query whose row of the layout is empty has the result 0.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]; seq at most blockSize times the rows
 *          of the layout
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    causal, causalFromTopLeft, window, windowFromTopLeft, dilated, prefix, global, blocks, random, lengths, documents, documentIds, dense,
 *          expression, or, not; each together with the layout. Positions are counted from the start of the batch's rows, so padding is allowed only on
 *          the right, as lengths
 * Cost     time and memory proportional to the number of marked blocks without a mask, causal or under lengths; otherwise O(seq · kv_seq · dim)
 * Throws   ConfigError for a layout that is not square, a padding mask or a memory · ShapeError for another number of heads and for a longer sequence
 * Source   Child et al. 2019, https://arxiv.org/abs/1904.10509
 * Lowers   portable: blocks of keys gathered beside those of queries, in primitives · elsewhere: the same; for few blocks and other masks
 *          MultiHeadAttention with the layout as a tensor
 * Example  const block = blocksparse({ layout: [[[1, 0], [1, 1]]], blockSize: 64 });
 */
export const blocksparse = defineBlock({
  kind: 'attention',
  name: 'blocksparse',
  summary: 'Softmax attention between the blocks of a layout.',
  source: 'Child et al. 2019, https://arxiv.org/abs/1904.10509',
  masks: masksFromTheStart,
  fields: {
    /** for each head, or once for all, 1 for the blocks of keys that each block of queries attends to: [1 or heads][rows][columns]. Default: `[[[1]]]`. */
    layout: list(
      list(list(int({ doc: '1 or 0', min: 0, max: 1 }), { doc: 'the blocks of a row' }), { doc: 'the rows of a head' }),
      {
        doc: 'for each head, or once for all, 1 for the blocks of keys that each block of queries attends to: [1 or heads][rows][columns]',
        default: [[[1]]],
      },
    ),
    /** queries and keys in a block (positions). Default: `16`. */
    blockSize: int({ doc: 'queries and keys in a block', unit: 'positions', min: 1, max: 65_536, default: 16 }),
    /** factor of the scores, besides 1 / √head_dim. Default: `1`. */
    scale: num({ doc: 'factor of the scores, besides 1 / √head_dim', default: 1 }),
    /** no query attends to a later key. Default: `false`. */
    causal: bool({ doc: 'no query attends to a later key', default: false }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [
    {
      blockSize: 8,
      layout: [
        [
          [1, 0, 0, 1],
          [0, 1, 0, 0],
          [1, 0, 1, 0],
          [1, 0, 0, 1],
        ],
      ],
    },
    {
      blockSize: 11,
      causal: true,
      scale: 0.5,
      layout: [
        [
          [1, 1, 0],
          [0, 0, 1],
          [1, 0, 1],
        ],
        [
          [1, 0, 0],
          [1, 1, 0],
          [0, 0, 0],
        ],
      ],
    },
  ],
  properties: ({ causal }) => (causal ? ['batchIndependent', 'causal', 'deterministic'] : ['batchIndependent', 'deterministic']),
  rules: kernels,
  create({ layout, blockSize, scale, causal, dropout }, { path }) {
    const count = layout[0]?.length ?? 0;
    if (count === 0 || layout.some((head) => head.length !== count || head.some((row) => row.length !== count)))
      throw new ConfigError({
        path: `${path}.layout`,
        problem: 'the heads of the layout are not squares of one size',
        expected: 'as many rows as columns, the same in each head',
        got: layout.map((head) => `${head.length} rows of ${head.map((row) => row.length).join(', ')}`).join('; ') || 'no heads',
      });
    const flags = tensor('bool', [layout.length, count, count], layout.flat(2));
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      checkHeads('the layout', layout.length, q, `${path}.layout`);
      limitPositions(q.graph, k.dims[2]!, count * blockSize, `${path}.layout × blockSize`);
      const pattern = blockLayout<Value>(q.graph.root.constant(flags), blockSize);
      const mask = and(ctx.mask, pattern, ...(causal ? [causalMask] : []));
      return attend(q, k, v, withContext(ctx, { mask }), {
        dropout,
        ...(scale !== 1 && { scale: scale / Math.sqrt(widthOf(k)) }),
      });
    };
  },
});

function widthOf(k: Value): number {
  const width = k.dims[3]!;
  if (typeof width === 'number') return width;
  throw new ShapeError({ path: k.graph.where, problem: 'head_dim is not known', expected: 'a number', got: width });
}
