// Attention as a difference of two softmaxes. Ye et al. 2024, https://arxiv.org/abs/2410.05258
import {
  attend,
  type Dim,
  defineBlock,
  divDims,
  init,
  int,
  module,
  mulDims,
  num,
  Parameter,
  type SequenceContext,
  ShapeError,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { kernels } from '../kernels/index';

/**
 * Differential attention: heads 2i and 2i + 1 of queries and keys are a pair, and the weights of the second are subtracted from those of the first. The values
 * of a pair are those of both heads, one after another.
 *
 *     y_i = (1 − λ₀) · norm((softmax(scale · q₂ᵢ k₂ᵢᵀ) − λ softmax(scale · q₂ᵢ₊₁ k₂ᵢ₊₁ᵀ)) [v₂ᵢ, v₂ᵢ₊₁])
 *     λ = exp(λ_q1 · λ_k1) − exp(λ_q2 · λ_k2) + λ₀      λ₀ = 0.8 − 0.6 exp(−0.3 · layer), layers counted from 0
 *
 * The norm is an RMS norm of each pair by itself, with the same weights for all pairs. The projections of `multi_head` are those of the paper for half as many heads
 * of twice the width.
 *
 * Shapes   q [batch, heads, seq, headDim] · k [batch, kv_heads, kv_seq, headDim] · v [batch, kv_heads, kv_seq, valueHeadDim] → [batch, heads, seq, valueHeadDim]
 * Dtypes   float32, float16, bfloat16; softmax and λ in float32
 * Masks    all kinds
 * Cost     time O(seq · kv_seq · dim), memory O(seq) fused, O(seq · kv_seq) decomposed
 * Throws   ShapeError for an odd number of heads, and for other widths than headDim and valueHeadDim
 * Source   Ye et al. 2024, https://arxiv.org/abs/2410.05258
 * Lowers   portable: RMSNormalization, primitives · cpu, wasm: two of Attention, RMSNormalization · webgpu: two of MultiHeadAttention · cuda: two of
 *          MultiHeadAttention or Attention, RMSNormalization
 * Example  const block = differential({ headDim: 64 });
 */
export const differential = defineBlock({
  kind: 'attention',
  name: 'differential',
  summary: 'Softmax attention whose weights are the difference of those of two heads.',
  source: 'Ye et al. 2024, https://arxiv.org/abs/2410.05258',
  masks: 'all',
  fields: {
    /** channels of a query or key head. Inherited from the enclosing block. */
    headDim: int({ doc: 'channels of a query or key head', unit: 'channels', min: 1, inherit: true }),
    /** channels of a value head. Inherited from the enclosing block. Default: computed from other options. */
    valueHeadDim: int({
      doc: 'channels of a value head',
      unit: 'channels',
      min: 1,
      inherit: true,
      default: (c: { headDim: number }) => c.headDim,
    }),
    /** λ₀; default by the depth of the layer. Optional. */
    lambdaInit: num({ doc: 'λ₀; default by the depth of the layer', min: 0, max: 1, optional: true }),
    /** scale of the scores; default 1 / √headDim. Optional. */
    scale: num({ doc: 'scale of the scores; default 1 / √headDim', above: 0, optional: true }),
    /** added to the mean square of the norm. Default: `0.00001`. */
    eps: num({ doc: 'added to the mean square of the norm', min: 0, default: 1e-5 }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  inputs: ({ about: { config } }) => {
    const { headDim, valueHeadDim } = config as { readonly headDim: number; readonly valueHeadDim: number };
    const heads = (count: number, width: number) => ({ dtype: 'float32', dims: ['batch', count, 'seq', width] }) as const;
    return { q: heads(4, headDim), k: heads(2, headDim), v: heads(2, valueHeadDim) };
  },
  examples: [{ headDim: 8 }, { headDim: 8, lambdaInit: 0.3, scale: 0.4, eps: 0.01 }],
  properties: ['batchIndependent', 'permutationEquivariant'],
  rules: kernels,
  create({ headDim, valueHeadDim, lambdaInit, scale, eps, dropout }, { path, layer = 0 }) {
    const start = lambdaInit ?? 0.8 - 0.6 * Math.exp(-0.3 * layer);
    const vector = () => new Parameter([headDim], init.normal(0.1), { role: 'mechanism', part: 'other' });
    const [lambda_q1, lambda_k1, lambda_q2, lambda_k2] = [vector(), vector(), vector(), vector()];
    const weight = new Parameter([2 * valueHeadDim], init.ones, { role: 'norm', part: 'weight' });
    const subln = module({ weight }, (x: Value) => ops.rmsNorm(x, weight, { epsilon: eps }));
    const options = { ...(scale !== undefined && { scale }), ...(dropout && { dropout }) };
    const record = { lambda_q1, lambda_k1, lambda_q2, lambda_k2, subln };
    return module(record, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      checkWidth(k, headDim, `${path}.headDim`);
      checkWidth(v, valueHeadDim, `${path}.valueHeadDim`);
      const { graph: g } = q;
      const power = (a: Parameter, b: Parameter): Value => {
        const [x, y] = [a, b].map((p) => ops.cast(g.root.param(p), 'float32')) as [Value, Value];
        return ops.exp(ops.reduceSum(ops.mul(x, y), [0]));
      };
      const lambda = ops.add(ops.sub(power(lambda_q1, lambda_k1), power(lambda_q2, lambda_k2)), start);
      const [pairsOfQ, pairsOfK] = [inPairs(q, path), inPairs(k, path)];
      const values = joined(inPairs(v, path));
      const [first, second] = [0, 1].map((i) => attend(ofPair(pairsOfQ, i), ofPair(pairsOfK, i), values, ctx, options));
      const difference = ops.sub(first!, ops.mul(second!, ops.cast(lambda, q.dtype)));
      return apart(ops.mul(subln(difference), 1 - start), valueHeadDim);
    });
  },
});

/** [batch, heads, rows, width] → [batch, heads / 2, 2, rows, width] */
function inPairs(x: Value, path: string): Value {
  const [batch, heads, rows, width] = x.dims as [Dim, Dim, Dim, Dim];
  if (typeof heads === 'number' && heads % 2)
    throw new ShapeError({
      path,
      problem: 'an odd number of heads is not a number of pairs',
      expected: 'an even number of query heads and of key heads',
      got: String(heads),
    });
  return ops.reshape(x, [batch, divDims(heads, 2), 2, rows, width]);
}

/** One head of each pair, [batch, pairs, rows, width]. */
function ofPair(x: Value, i: number): Value {
  const [batch, pairs, , rows, width] = x.dims as [Dim, Dim, Dim, Dim, Dim];
  return ops.reshape(ops.slice(x, { axes: [2], starts: [i], ends: [i + 1] }), [batch, pairs, rows, width]);
}

/** The channels of both heads of a pair one after another, [batch, pairs, rows, 2 · width]. */
function joined(x: Value): Value {
  const [batch, pairs, , rows, width] = x.dims as [Dim, Dim, Dim, Dim, Dim];
  return ops.reshape(ops.transpose(x, [0, 1, 3, 2, 4]), [batch, pairs, rows, mulDims(2, width)]);
}

/** The inverse of {@link joined}, [batch, heads, rows, width]. */
function apart(x: Value, width: number): Value {
  const [batch, pairs, rows] = x.dims as [Dim, Dim, Dim];
  const halves = ops.transpose(ops.reshape(x, [batch, pairs, rows, 2, width]), [0, 1, 3, 2, 4]);
  return ops.reshape(halves, [batch, mulDims(pairs, 2), rows, width]);
}

function checkWidth(x: Value, width: number, path: string): void {
  if (x.dims[3] === width) return;
  throw new ShapeError({ path, problem: 'differs from the width of a head', expected: String(width), got: String(x.dims[3]) });
}
