// Softmax attention with its mask and its scores as functions. Dong et al. 2024, https://arxiv.org/abs/2412.05496
import {
  and,
  attend,
  type Condition,
  defineBlock,
  fn,
  type ModTable,
  maskMod,
  num,
  type SequenceContext,
  scoreMod,
  type Term,
  Value,
  withContext,
} from '@onnxformers/core';
import { mapMask } from '@onnxformers/core/lowering';
import { kernels } from '../kernels/index';

/** The inputs of the model by name, as tables. */
type Inputs = Readonly<Record<string, Value>>;
type MaskFunction = (b: Term, h: Term, q: Term, k: Term, inputs: Inputs) => Condition<ModTable>;
type ScoreFunction = (score: Term, b: Term, h: Term, q: Term, k: Term, inputs: Inputs) => Term<ModTable>;

/**
 * Softmax attention with its mask and its scores as functions of the sequence `b`, the query head `h` and the positions `q` and `k`, as PyTorch's flex_attention.
 *
 *     y = softmax(mask(scoreMod(scale · q kᵀ + bias))) v      mask: that of the context, and maskMod
 *
 * The functions are those of `maskMod` and `scoreMod`: what they have in common with other masks, scales, softcaps and biases gets their kernels. Their last argument
 * has the inputs of the model by name, for `lookup`. Padding on the left counts as positions: there, functions of `q − k` give what they give without padding, others
 * do not.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; softmax, and functions of scores, in float32
 * Masks    all kinds
 * Cost     time O(seq · kv_seq · dim), memory as the functions say: see `maskMod` and `scoreMod`
 * Throws   ConfigError for wrong functions, and when such a config is written as JSON · ShapeError when q and k differ in head_dim
 * Source   Dong et al. 2024, https://arxiv.org/abs/2412.05496
 * Lowers   cuda, wasm, webgpu: MultiHeadAttention · cpu: GroupQueryAttention, MultiHeadAttention, Attention · portable: primitives
 * Example  const block = flexAttention({ maskMod: (_b, _h, q, k) => q.ge(k).and(q.sub(k).lt(256)) });
 */
export const flexAttention = defineBlock({
  kind: 'attention',
  name: 'flex_attention',
  summary: 'Softmax attention with its mask and its scores as functions.',
  source: 'Dong et al. 2024, https://arxiv.org/abs/2412.05496',
  masks: 'all',
  fields: {
    /** which keys a query attends to, (b, h, q, k, inputs) → condition; default: all. Optional. */
    maskMod: fn<MaskFunction>()({
      doc: 'which keys a query attends to, (b, h, q, k, inputs) → condition; default: all',
      optional: true,
    }),
    /** the modified score, (score, b, h, q, k, inputs) → score; default: the score. Optional. */
    scoreMod: fn<ScoreFunction>()({
      doc: 'the modified score, (score, b, h, q, k, inputs) → score; default: the score',
      optional: true,
    }),
    /** scale of the scores; default 1 / √head_dim. Optional. */
    scale: num({ doc: 'scale of the scores; default 1 / √head_dim', above: 0, optional: true }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [
    {},
    { maskMod: (_b: Term, _h: Term, q: Term, k: Term) => q.ge(k).and(q.sub(k).mod(3).lt(2)) },
    { scoreMod: (score: Term, _b: Term, h: Term, q: Term, k: Term) => score.sub(q.sub(k).abs().div(h.add(2))) },
    { scoreMod: (score: Term) => score.mul(score.tanh()), scale: 0.5 },
  ],
  properties: ({ maskMod, scoreMod }) => (maskMod || scoreMod ? [] : ['batchIndependent', 'permutationEquivariant']),
  rules: kernels,
  create({ maskMod: allowed, scoreMod: score, scale, dropout }) {
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      const { inputs = {} } = ctx;
      const inGraph = (table: ModTable): Value => (table instanceof Value ? table : q.graph.constant(table));
      const own =
        allowed &&
        mapMask(
          maskMod<ModTable>((b, h, i, j) => allowed(b, h, i, j, inputs)),
          inGraph,
        );
      return attend(q, k, v, own ? withContext(ctx, { mask: and(ctx.mask, own) }) : ctx, {
        ...(scale !== undefined && { scale }),
        ...(score && { scoreMod: scoreMod((s, b, h, i, j) => score(s, b, h, i, j, inputs)) }),
        ...(dropout && { dropout }),
      });
    };
  },
});
