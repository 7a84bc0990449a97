// Attend: the high-level op of every softmax attention. It is lowered to kernels; `decompose` is its definition.

import type { Dim } from '../dim/dim';
import { aMask, anObject, given } from '../given';
import { defineOp, printType } from '../ir/define-op';
import { apply, mismatch, type Value } from '../ir/graph';
import { reasons } from '../lower/reasons';
import { dense } from '../mask/dense';
import { type Mask, mapMask } from '../mask/mask';
import { atSizes } from '../mask/places';
import { decomposeAttend } from './attend-definition';
import { attendFlops } from './attend-flops';
import type { AttendOpOptions } from './attend-options';
import { type AttendAttrs, attendParts, checkParts, scaleOf } from './attend-parts';
import { greater, where } from './comparison';
import { mapModifiers } from './modifiers';

export type { AttendOpOptions } from './attend-options';

/** The high-level op behind {@link attendOp}. */
export const Attend = defineOp<AttendAttrs>({
  key: 'onnxformers.Attend',
  results: ['y', 'weights'],
  attributes: {
    mask: 'data',
    scale: 'float',
    softcap: 'float',
    dropout: 'data',
    slots: 'data',
    undivided: 'data',
    weights: 'data',
  },
  infer(operands, attrs) {
    const parts = attendParts(operands, attrs);
    checkParts(parts);
    scaleOf(parts.k, attrs.scale);
    if (attrs.softcap !== undefined && !(attrs.softcap > 0))
      throw mismatch('softcap is not positive', 'a number above 0', String(attrs.softcap));
    const { dropout = 0 } = attrs;
    if (!(dropout >= 0 && dropout <= 1)) throw mismatch('dropout is not a probability', 'a number from 0 to 1', String(dropout));
    const [batch, heads, seq] = parts.q.dims as [Dim, Dim, Dim];
    const { dtype } = parts.q;
    const y = { dtype, dims: [batch, heads, seq, parts.v.dims[3]!] };
    return attrs.weights ? [y, { dtype, dims: [batch, heads, seq, parts.k.dims[2]!] }] : [y];
  },
  flops: attendFlops,
  notes: ({ outputs: [, weights] }) => (weights ? [reasons.weightsReturned({ type: printType(weights) })] : []),
  decompose: (operands, attrs, ops) => decomposeAttend(attendParts(operands, attrs), attrs, ops),
});

/**
 * Softmax attention with its mask as data.
 *
 *     y = softmax(mask(softcap(scale · q kᵀ) + bias)) v
 *
 * Query `i` is at position `queryOffset + i`, key `j` at `j`; under a documents mask both are counted within their sequence, aligned at
 * the ends. The result of a query that may attend to no key (fully masked row) is 0. Under a window it is computed in blocks of primitives on
 * every target where that costs less than its kernels. On cpu, wasm and portable more than 2²⁴ scores are not in memory together: unless a kernel keeps none,
 * attention runs in chunks of 128 queries.
 *
 * A masked key stays masked for any scores and bias below half of the largest float32; above that, a causal mask of a kernel's own,
 * which adds a finite number instead of −∞, can be outweighed. k and v must be finite, also at
 * masked positions: their weight is 0, and 0 · NaN is NaN. Kernels that never read these positions may return a number there. Padded
 * positions of a model's inputs are set to 0 before blocks read them, see `contextOf`.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, kv_heads, kv_seq, head_dim] · v [batch, kv_heads, kv_seq, v_head_dim] →
 *          [batch, heads, seq, v_head_dim]; kv_heads divides heads, query head h reads kv head ⌊h · kv_heads / heads⌋.
 *          Packed: batch 1, seq = tokens
 * Dtypes   one float dtype for q, k, v, bias and sinks; scores and softmax of 16-bit floats in float32
 * Throws   ShapeError when operands do not fit, or a documents mask is inside or / not, or is combined with `queryOffset`. The runner refuses
 *          negative offsets that are an input
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; grouped heads: Ainslie et al. 2023, https://arxiv.org/abs/2305.13245
 * Lowers   portable: primitives · cpu, wasm: GroupQueryAttention, MultiHeadAttention, Attention · webgpu: GroupQueryAttention,
 *          MultiHeadAttention · cuda: PagedAttention, PackedMultiHeadAttention, GroupQueryAttention, MultiHeadAttention,
 *          Attention
 * Example  const y = ops.attendOp(q, k, v, { mask: causal });
 */
export function attendOp(q: Value, k: Value, v: Value, options: AttendOpOptions): Value {
  return emit(q, k, v, options)[0]!;
}

/** The results of {@link attendWithWeights}. */
export interface AttendResult {
  readonly y: Value;
  readonly weights: Value;
}

/**
 * Softmax attention that also returns its weights, after softmax and before dropout. Masked keys have a weight of exactly 0, all weights of a fully masked row are
 * 0, and with a sink the weights sum to less than 1.
 *
 *     weights = softmax(mask(softcap(scale · q kᵀ) + bias))      y = weights v
 *
 * Shapes   as {@link attendOp}; weights [batch, heads, seq, kv_seq]
 * Dtypes   as {@link attendOp}; weights in the dtype of q
 * Throws   as {@link attendOp}
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   cpu, wasm: Attention · elsewhere: primitives. Other kernels do not return weights, and memory is seq · kv_seq everywhere
 * Example  const { y, weights } = ops.attendWithWeights(q, k, v, { mask: causal });
 */
export function attendWithWeights(q: Value, k: Value, v: Value, options: AttendOpOptions): AttendResult {
  const [y, weights] = emit(q, k, v, options, true) as [Value, Value];
  return { y, weights };
}

// Kernels read from memory that is not theirs where a query offset is negative. Of one that the graph computes, the sign is not known.
function limitOffset({ leaf, graph }: Value): void {
  if (leaf?.kind !== 'input') return;
  const hint = 'Hide keys by the mask instead';
  graph.root.limit({ input: leaf.name, min: 0, problem: 'a negative query offset', hint });
}

function emit(q: Value, k: Value, v: Value, of: AttendOpOptions, weights?: true): readonly Value[] {
  given('attendOp', { q, k, v, options: of, 'options.mask': of?.mask }, { options: anObject, 'options.mask': aMask });
  const scored = of.scoreMod?.resolve(q, k, of);
  const weighted = of.weightMod?.resolve(q);
  const { queryOffset, bias, sinks, scale, softcap, dropout, mask: own } = scored?.options ?? of;
  if (queryOffset) limitOffset(queryOffset);
  const operands: Value[] = [q, k, v];
  const add = (value: Value): number => (operands.includes(value, 3) ? operands.indexOf(value, 3) : operands.push(value) - 1);
  const slots: Record<string, number> = {};
  for (const [name, value] of Object.entries({ queryOffset, bias, sinks, noise: dropout?.noise }))
    if (value) slots[name] = add(value);
  const sizes = { batch: q.dims[0]!, heads: q.dims[1]!, seq: q.dims[2]!, kvSeq: k.dims[2]!, queryOffset };
  const mask = mapMask(atSizes(own, sizes), add);
  const attrs = { mask, scale, softcap, dropout: dropout?.probability, slots, ...(weights && { weights }) };
  const rest = scored?.rest ?? weighted;
  if (!rest) return apply(Attend, operands, attrs);
  const modifiers = mapModifiers({ ...scored?.rest?.modifiers, ...weighted?.modifiers }, add);
  return apply(rest.op, operands, { ...attrs, modifiers });
}

/**
 * Splits an additive mask, as other libraries use it, into a mask (−∞) and an attention bias.
 *
 * Shapes   [1 or batch, 1 or heads, seq, kv_seq] → a mask of these dims, and a finite bias
 * Throws   nothing
 * Lowers   everywhere: Equal, Where
 */
export function fromAdditive(additive: Value): { readonly mask: Mask<Value>; readonly bias: Value } {
  const keep = greater(additive, Number.NEGATIVE_INFINITY);
  return { mask: dense(keep), bias: where(keep, additive, 0) };
}
