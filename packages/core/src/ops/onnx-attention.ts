// ONNX Attention, opsets 23 and 24: the standard's op for attention, for which some runtimes have a kernel.

import { anObject, given } from '../given';
import { defineOp, type Op, operandsOf } from '../ir/define-op';
import { apply, type Value } from '../ir/graph';
import type { DType } from '../tensor/tensor';
import { decomposeAttention } from './onnx-attention-definition';
import { type AttentionAttrs, attentionAsks, attentionOperands, floatOfNumber, inferAttention } from './onnx-attention-parts';
import { evaluateAttention } from './onnx-attention-reference';

/* @__NO_SIDE_EFFECTS__ */
function attentionOf(opset: 23 | 24): Op<AttentionAttrs, typeof attentionOperands> {
  return defineOp<AttentionAttrs, typeof attentionOperands>({
    key: 'Attention',
    operands: attentionOperands,
    since: opset,
    attributes: {
      is_causal: 'int',
      q_num_heads: 'int',
      kv_num_heads: 'int',
      scale: 'float',
      softcap: 'float',
      softmax_precision: 'int',
      qk_matmul_output_mode: 'int',
      outputs: 'data',
    },
    asks: (operands, attrs) => attentionAsks(operandsOf(attentionOperands, operands), attrs, opset),
    infer: (operands, attrs) => inferAttention(operands, attrs, opset),
    decompose: (operands, attrs, ops) => decomposeAttention(operandsOf(attentionOperands, operands), attrs, opset, ops),
    evaluate: (operands, attrs) => evaluateAttention(operandsOf(attentionOperands, operands), attrs, opset),
  });
}

/** ONNX Attention as of opset 23. */
export const Attention = attentionOf(23);
/** ONNX Attention as of opset 24: caches updated outside (`nonpad_kv_seqlen`), masks of the first keys only. */
export const Attention24 = attentionOf(24);

/** Options of {@link onnxAttention}. */
export interface OnnxAttentionOptions {
  /** bool (true: may attend) or float (added to the scores), broadcast to [batch, heads, seq, total]. */
  readonly mask?: Value;
  /** The cached keys and values before those of k and v, [batch, kv_heads, past, …]. */
  readonly past?: { readonly key: Value; readonly value: Value };
  /** int64 [batch]: number of valid keys (the rest is padding); opset 24, not with a past. */
  readonly nonpad?: Value;
  /** Causal: keys up to the query's position, which is after the past, at the end of the `nonpad` keys, or otherwise counted from 0. */
  readonly causal?: boolean;
  /** Number of heads that are side by side in operands of 3 axes. */
  readonly heads?: { readonly q: number; readonly kv: number };
  /** Default 1 / √head_size. */
  readonly scale?: number;
  readonly softcap?: number;
  /** The dtype of the softmax. */
  readonly precision?: DType;
  /** Also returns the scores. */
  readonly scores?: keyof typeof scoreModes;
}
const scoreModes = { scaled: 0, capped: 1, masked: 2, softmax: 3 } as const;

/** What {@link onnxAttention} returns. */
export interface OnnxAttentionResult {
  readonly y: Value;
  /** Past and new keys and values, [batch, kv_heads, total, …]; returned if there is a past, or if scores are requested. */
  readonly present?: { readonly key: Value; readonly value: Value };
  readonly scores?: Value;
}

/**
 * ONNX Attention.
 *
 *     y = softmax(softcap(scale · q kᵀ) + mask) v
 *
 * The result of a query that may attend to no key is 0.
 *
 * Shapes   q [batch, heads, seq, head_size], k [batch, kv_heads, kv_seq, head_size], v [batch, kv_heads, kv_seq, v_head_size] →
 *          [batch, heads, seq, v_head_size]; or heads side by side: q [batch, seq, heads · head_size], …; kv_heads divides heads
 * Dtypes   q and k one float dtype, v a float dtype; y like q
 * Throws   ShapeError when operands do not fit, or `nonpad` is combined with a past
 * Source   https://onnx.ai/onnx/operators/onnx__Attention.html
 * Lowers   cpu, wasm, cuda: Attention · elsewhere: primitives
 */
export function onnxAttention(q: Value, k: Value, v: Value, o: OnnxAttentionOptions = {}): OnnxAttentionResult {
  given('onnxAttention', { q, k, v, options: o }, { options: anObject });
  const outputs = o.scores ? 4 : o.past ? 3 : 1;
  const attrs: AttentionAttrs = {
    is_causal: o.causal ? 1 : undefined,
    q_num_heads: o.heads?.q,
    kv_num_heads: o.heads?.kv,
    scale: o.scale,
    softcap: o.softcap,
    softmax_precision: o.precision && numberOfFloat(o.precision),
    qk_matmul_output_mode: o.scores && scoreModes[o.scores],
    outputs,
  };
  const op = o.nonpad ? Attention24 : Attention;
  const [y, key, value, scores] = apply(
    op,
    { q, k, v, mask: o.mask, pastKey: o.past?.key, pastValue: o.past?.value, nonpad: o.nonpad },
    attrs,
  );
  return { y: y!, ...(key && value && { present: { key, value } }), ...(scores && { scores }) };
}

const numberOfFloat = (dtype: DType): number => Number(Object.entries(floatOfNumber).find(([, d]) => d === dtype)?.[0]);
