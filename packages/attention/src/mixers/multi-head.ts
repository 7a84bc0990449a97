// Multi-head attention: projections, heads, rotary embedding and an attention mechanism. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import {
  bool,
  ConfigError,
  choice,
  crossAttentionKeyValues,
  defineBlock,
  dropout,
  each,
  init,
  int,
  linear,
  list,
  type Memory,
  type Module,
  mergeHeads,
  module,
  num,
  Parameter,
  positionsWithin,
  type SequenceContext,
  slot,
  splitHeads,
  updateCache,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { scaledDotProduct } from '../softmax/scaled-dot-product';
import { valueResidual } from './value-residual';

type Projection = (x: Value) => Value;

/**
 * Multi-head attention: projections, heads and an attention mechanism.
 *
 *     y = W_o concat_h attention(W_q x, W_k m, W_v m)      m = x, or the memory in cross attention
 *
 * With a gate the result of attention is multiplied by σ(W_g x), for each channel or for each head. With valueResidual the values are λ₁ v₁ + λ₂ v, where v₁ are
 * the values of the first layer of the stack, whose own values do not change; in a block outside of a list of layers v₁ = v.
 * With clipQkv all elements of queries, keys and values are limited to −clipQkv … clipQkv.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → [batch, seq, outDim]; memory [batch, memory_seq, memoryDim]
 * Dtypes   float32, float16, bfloat16
 * Masks    those of the mechanism in `attention`
 * Cost     time O(seq · dim²) plus that of the mechanism
 * Throws   ConfigError when heads does not divide dim (without headDim), or kvHeads does not divide heads, and for valueResidual in cross attention ·
 *          ShapeError when layers with valueResidual differ in the sizes of their values
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; kvHeads: Ainslie et al. 2023, https://arxiv.org/abs/2305.13245; gate:
 *          Qiu et al. 2025, https://arxiv.org/abs/2505.06708; valueResidual: Zhou et al. 2024, https://arxiv.org/abs/2410.17897; qkNorm:
 *          Henry et al. 2020, https://arxiv.org/abs/2010.04245, Dehghani et al. 2023, https://arxiv.org/abs/2302.05442
 * Lowers   portable: primitives · elsewhere: MatMul around the mechanism's kernel
 * Example  const block = multiHead({ dim: 512, heads: 8 });
 */
export const multiHead = defineBlock({
  kind: 'mixer',
  name: 'multi_head',
  summary: 'Multi-head attention: projections, heads and an attention mechanism.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** query heads. Inherited from the enclosing block. */
    heads: int({ doc: 'query heads', min: 1, inherit: true }),
    /** key and value heads; each one serves heads / kvHeads query heads. Default: computed from other options. */
    kvHeads: int({
      doc: 'key and value heads; each one serves heads / kvHeads query heads',
      min: 1,
      default: (c: { heads: number }) => c.heads,
    }),
    /** channels of a query or key head; if absent, dim / heads. Default: computed from other options. */
    headDim: int({
      doc: 'channels of a query or key head; if absent, dim / heads',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number; heads: number }) => headDimOf(c),
    }),
    /** channels of a value head. Default: computed from other options. */
    valueHeadDim: int({
      doc: 'channels of a value head',
      unit: 'channels',
      min: 1,
      default: (c: { headDim: number }) => c.headDim,
    }),
    /** output channels. Default: computed from other options. */
    outDim: int({ doc: 'output channels', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** largest number of keys, for a mechanism of fixed length (positions). Inherited from the enclosing block. */
    seqLen: int({
      doc: 'largest number of keys, for a mechanism of fixed length',
      unit: 'positions',
      min: 1,
      inherit: true,
      optional: true,
    }),
    /** cross attention: keys and values come from the memory. Default: `false`. */
    cross: bool({ doc: 'cross attention: keys and values come from the memory', default: false }),
    /** channels of the memory. Inherited from the enclosing block. Default: computed from other options. */
    memoryDim: int({
      doc: 'channels of the memory',
      unit: 'channels',
      min: 1,
      inherit: true,
      default: (c: { dim: number }) => c.dim,
    }),
    /** projections have a bias. Default: `true`. */
    bias: bool({ doc: 'projections have a bias', default: true }),
    /** the query projection has a bias. Default: computed from other options. */
    queryBias: bool({ doc: 'the query projection has a bias', default: (c: { bias: boolean }) => c.bias }),
    /** the key projection has a bias. Default: computed from other options. */
    keyBias: bool({ doc: 'the key projection has a bias', default: (c: { bias: boolean }) => c.bias }),
    /** the value projection has a bias. Default: computed from other options. */
    valueBias: bool({ doc: 'the value projection has a bias', default: (c: { bias: boolean }) => c.bias }),
    /** the output projection has a bias. Default: computed from other options. */
    outBias: bool({ doc: 'the output projection has a bias', default: (c: { bias: boolean }) => c.bias }),
    /** the checkpoint stores the query, key and value projections as one weight, qkv_proj. Default: `false`. */
    fused: bool({ doc: 'the checkpoint stores the query, key and value projections as one weight, qkv_proj', default: false }),
    /** qkNorm normalises each head by itself, with the same weights or with weights of its own, or all channels of the projection. Default: `"head"`. */
    qkNormOver: choice(['head', 'eachHead', 'all'], {
      doc: 'qkNorm normalises each head by itself, with the same weights or with weights of its own, or all channels of the projection',
      default: 'head',
    }),
    /** bound on the elements of queries, keys and values, after qkNorm and before the rotary embedding; absent: no bound. Optional. */
    clipQkv: num({
      doc: 'bound on the elements of queries, keys and values, after qkNorm and before the rotary embedding; absent: no bound',
      above: 0,
      optional: true,
    }),
    /** multiplies the result of attention by σ(W_g x): a gate for each channel or for each head; absent: no gate. Optional. */
    gate: choice(['channel', 'head'], {
      doc: 'multiplies the result of attention by σ(W_g x): a gate for each channel or for each head; absent: no gate',
      optional: true,
    }),
    /** the projection of the gate has a bias. Default: computed from other options. */
    gateBias: bool({ doc: 'the projection of the gate has a bias', default: (c: { bias: boolean }) => c.bias }),
    /** values are λ₁ v₁ + λ₂ v, where v₁ are those of the first layer; λ constant or learned; absent: v. Optional. */
    valueResidual: choice(['constant', 'learned'], {
      doc: 'values are λ₁ v₁ + λ₂ v, where v₁ are those of the first layer; λ constant or learned; absent: v',
      optional: true,
    }),
    /** [λ₁, λ₂] of valueResidual, or their initial values. Default: `[0.5,0.5]`. */
    valueShares: list(num({ doc: 'a factor' }), {
      doc: '[λ₁, λ₂] of valueResidual, or their initial values',
      length: 2,
      default: [0.5, 0.5],
    }),
    /** dropout probability of the output in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the output in training', min: 0, max: 0.99, default: 0 }),
    /** the attention mechanism. Default: `scaled_dot_product`. */
    attention: slot('attention', { doc: 'the attention mechanism', default: scaledDotProduct }),
    /** rotary embedding of queries and keys. Optional. */
    rotaryEmbedding: slot('rotaryEmbedding', {
      doc: 'rotary embedding of queries and keys',
      optional: true,
      inside: (c: { headDim: number }) => ({ dim: c.headDim }),
    }),
    /** attention bias, added to the scores. Optional. */
    attentionBias: slot('attentionBias', { doc: 'attention bias, added to the scores', optional: true }),
    /** normalises queries and keys before the rotary embedding. Optional. */
    qkNorm: each('norm', {
      doc: 'normalises queries and keys before the rotary embedding',
      optional: true,
      inside: (c, which) => ({ dim: c.qkNormOver === 'all' ? c.headDim * (which === 0 ? c.heads : c.kvHeads) : c.headDim }),
    }),
  },
  examples: [
    { dim: 12, heads: 3 },
    { dim: 10, heads: 2, outDim: 7, bias: false },
    { dim: 12, heads: 6, kvHeads: 2, headDim: 8, fused: true },
    { dim: 14, heads: 2, valueHeadDim: 5, keyBias: false },
    { dim: 12, heads: 4, kvHeads: 2, gate: 'channel', valueResidual: 'learned' },
    { dim: 12, heads: 3, gate: 'head', gateBias: false, valueResidual: 'constant', valueShares: [0.25, 1.5] },
  ],
  create(c, { path, layer }) {
    const {
      dim,
      heads,
      kvHeads,
      headDim,
      valueHeadDim,
      outDim,
      attention,
      rotaryEmbedding,
      attentionBias,
      cross,
      fused,
      qkNorm,
    } = c;
    if (heads % kvHeads)
      throw new ConfigError({
        path: `${path}.kvHeads`,
        problem: 'heads is not a multiple of kvHeads',
        expected: `a divisor of heads = ${heads}`,
        got: String(kvHeads),
      });
    if (fused && cross)
      throw new ConfigError({
        path: `${path}.fused`,
        problem: 'cross attention projects queries and keys from different inputs, so they cannot share one weight',
        expected: 'fused: false',
        got: 'fused: true',
      });
    if (c.valueResidual && cross)
      throw new ConfigError({
        path: `${path}.valueResidual`,
        problem: 'the values of cross attention are those of the memory, not of an earlier layer',
        expected: 'no valueResidual, or cross: false',
        got: `valueResidual: '${c.valueResidual}'`,
      });
    const source = cross ? c.memoryDim : dim;
    const sizes = { q: heads * headDim, k: kvHeads * headDim, v: kvHeads * valueHeadDim };
    const { record, q_proj, k_proj, v_proj } = fused
      ? fusedProjections(dim, sizes, c)
      : separateProjections(dim, source, sizes, c);
    const o_proj = linear(heads * valueHeadDim, outDim, { bias: c.outBias, role: 'output', biasInit: init.zeros });
    const gates = { channel: heads * valueHeadDim, head: heads };
    const gate_proj = c.gate && linear(dim, gates[c.gate], { bias: c.gateBias, role: 'mechanism' });
    const value_residual = c.valueResidual && valueResidual({ kind: c.valueResidual, shares: c.valueShares, path, layer });
    const overAll = c.qkNormOver === 'all';
    const norms = (first: number, count: number): Module<Projection> =>
      c.qkNormOver === 'eachHead'
        ? normOfEach(Array.from({ length: count }, (_, i) => qkNorm!(first + i)))
        : qkNorm!(first ? 1 : 0);
    const [q_norm, k_norm] = qkNorm ? [norms(0, heads), norms(heads, kvHeads)] : [];
    const limited = (x: Value): Value => (c.clipQkv === undefined ? x : x.graph.ops.clip(x, -c.clipQkv, c.clipQkv));
    const split = (x: Value, n: number, ctx: Pick<SequenceContext, 'layout'>, norm?: Projection): Value => {
      if (!norm) return splitHeads(limited(x), n, ctx.layout);
      return overAll ? splitHeads(limited(norm(x)), n, ctx.layout) : limited(norm(splitHeads(x, n, ctx.layout)));
    };
    const parts = { ...record, o_proj, gate_proj, value_residual, q_norm, k_norm };
    const children = { ...parts, attention, rotary_emb: rotaryEmbedding, attention_bias: attentionBias };
    return module(children, (x: Value, ctx: SequenceContext) => {
      const query = split(q_proj(x), heads, ctx, q_norm);
      const fromMemory = (memory: Memory): readonly [Value, Value] => {
        const k = split(k_proj(memory.hiddenStates), kvHeads, memory, k_norm);
        const turned = rotaryEmbedding
          ? rotaryEmbedding(
              k,
              k,
              withContext(ctx, {
                positions: positionsWithin(memory.layout, [k.dims[0]!, k.dims[2]!], k.graph.root),
                keys: { layout: memory.layout },
              }),
            )[1]
          : k;
        return [turned, split(v_proj(memory.valueStates ?? memory.hiddenStates), kvHeads, memory)];
      };
      const ownRows = (): readonly [Value, Value, Value, SequenceContext] => {
        const key = split(k_proj(x), kvHeads, ctx, k_norm);
        const [q, k] = rotaryEmbedding ? rotaryEmbedding(query, key, ctx) : [query, key];
        const values = split(v_proj(x), kvHeads, ctx);
        return [q, ...updateCache(ctx, k, value_residual ? value_residual(values, ctx) : values)];
      };
      // A memory's keys may have been rotated in an earlier call; the queries are new in each call.
      const otherRows = (): readonly [Value, Value, Value, SequenceContext] => [
        rotaryEmbedding ? rotaryEmbedding(query, query, ctx)[0] : query,
        ...crossAttentionKeyValues(ctx, fromMemory),
      ];
      const [q, k, v, at] = cross ? otherRows() : ownRows();
      const bias = attentionBias?.(q, k, at);
      const y = attention(q, k, v, bias ? withContext(at, { bias: at.bias ? ops.add(at.bias, bias) : bias }) : at);
      const gated = gate_proj ? gatedBy(splitHeads(gate_proj(x), heads, ctx.layout), y) : y;
      return dropout(o_proj(mergeHeads(gated, ctx.layout)), c.dropout);
    });
  },
});

interface Sizes {
  readonly q: number;
  readonly k: number;
  readonly v: number;
}
interface Biases {
  readonly queryBias: boolean;
  readonly keyBias: boolean;
  readonly valueBias: boolean;
}

function headDimOf({ dim, heads }: { dim: number; heads: number }): number {
  if (dim % heads)
    throw new ConfigError({
      path: 'multi_head.heads',
      problem: 'the number of channels is not a multiple of the number of heads',
      expected: `a divisor of dim = ${dim}`,
      got: String(heads),
      hint: 'Or set headDim',
    });
  return dim / heads;
}

// Ops that only some configs need are the graph's own: a bundle of this block need not contain them.
const gatedBy = (gate: Value, y: Value): Value => y.graph.ops.mul(y, y.graph.ops.sigmoid(gate));

// A norm for each head, with weights of its own.
function normOfEach(norms: readonly Module<Projection>[]): Module<Projection> {
  return module({ norms }, (x: Value) =>
    x.graph.ops.concat(
      norms.map((norm, h) => norm(x.graph.ops.slice(x, { axes: [1], starts: [h], ends: [h + 1] }))),
      1,
    ),
  );
}

function separateProjections(dim: number, source: number, { q, k, v }: Sizes, c: Biases) {
  const q_proj = linear(dim, q, { bias: c.queryBias, role: 'query' });
  const k_proj = linear(source, k, { bias: c.keyBias, role: 'key' });
  const v_proj = linear(source, v, { bias: c.valueBias, role: 'value' });
  return { record: { q_proj, k_proj, v_proj }, q_proj, k_proj, v_proj };
}

// One stored weight, three linear maps: it is sliced once, when the model is written.
function fusedProjections(dim: number, { q, k, v }: Sizes, c: Biases) {
  const bias = c.queryBias || c.keyBias || c.valueBias;
  if (bias && !(c.queryBias && c.keyBias && c.valueBias))
    throw new ConfigError({
      path: 'multi_head.fused',
      problem: 'the fused projection has either one bias or none',
      expected: 'the same value for queryBias, keyBias and valueBias',
    });
  const packed = [q, k, v].map((rows, i) => ({ rows, role: ['query', 'key', 'value'][i]! }));
  const weight = new Parameter([q + k + v, dim], init.fanIn(dim), { role: 'query', part: 'weight', packed });
  const offset = bias ? new Parameter([q + k + v], init.fanIn(dim), { role: 'query', part: 'bias', packed }) : undefined;
  const part =
    (from: number, to: number): Projection =>
    (x) => {
      const g = x.graph.root;
      const cut = (p: Parameter) => g.ops.slice(g.param(p), { axes: [0], starts: [from], ends: [to] });
      return ops.linear(x, cut(weight), offset && cut(offset));
    };
  const qkv_proj = module({ weight, bias: offset }, (x: Value) => x);
  return { record: { qkv_proj }, q_proj: part(0, q), k_proj: part(q, q + k), v_proj: part(q + k, q + k + v) };
}
