// ONNX Attention: its attributes, its operands by name, and the checks that they fit together.
import { addDims, type Dim, divDims, mulDims, tryDivDims } from '../dim/dim';
import { type Asked, type NamedOperands, operandsOf, printType, type TensorType } from '../ir/define-op';
import { mismatch } from '../ir/graph';
import type { DType } from '../tensor/tensor';
import { accept } from './accept';

/** Attributes of ONNX Attention, by the standard's names. */
export type AttentionAttrs = {
  readonly is_causal?: number | undefined;
  /** With operands of 3 axes only. */
  readonly q_num_heads?: number | undefined;
  readonly kv_num_heads?: number | undefined;
  /** Default 1 / √head_size. */
  readonly scale?: number | undefined;
  /** Default 0: no softcap. */
  readonly softcap?: number | undefined;
  /** The dtype of the softmax, by its number in ONNX files: see {@link floatOfNumber}. Default: float32, for float64 itself. */
  readonly softmax_precision?: number | undefined;
  /** The contents of output 3: 0 the scores before softcap, 1 these after softcap, 2 after the mask, 3 after softmax. */
  readonly qk_matmul_output_mode?: number | undefined;
  /** Number of outputs, in the order Y, present_key, present_value and qk_matmul_output. */
  readonly outputs: number;
};

/** The float dtypes by their numbers in ONNX files. */
export const floatOfNumber: Readonly<Record<number, DType>> = { 1: 'float32', 10: 'float16', 11: 'float64', 16: 'bfloat16' };

/** Names of the operands. */
export const attentionOperands = ['q', 'k', 'v', 'mask?', 'pastKey?', 'pastValue?', 'nonpad?'] as const;
/** The operands by name. */
export type AttentionParts<V> = NamedOperands<typeof attentionOperands, V>;

/** The sizes of one call; `kvSeq` counts the keys of this call, `total` also those of the past. */
export interface AttentionSizes {
  readonly batch: Dim;
  readonly heads: Dim;
  readonly kvHeads: Dim;
  readonly seq: Dim;
  readonly kvSeq: Dim;
  readonly past: Dim;
  readonly total: Dim;
  readonly headDim: Dim;
  readonly valueDim: Dim;
}

/** Reads the sizes from operands of either form. */
export function attentionSizes({ q, k, v, pastKey }: AttentionParts<TensorType>, attrs: AttentionAttrs): AttentionSizes {
  const rank = q.dims.length;
  if (rank !== 3 && rank !== 4)
    throw mismatch('Q has neither 3 nor 4 axes', '[batch, seq, hidden] or [batch, heads, seq, head_size]', printType(q));
  for (const [name, t] of [
    ['K', k],
    ['V', v],
  ] as const)
    if (t.dims.length !== rank) throw mismatch(`${name} and Q have different numbers of axes`, String(rank), printType(t));
  const [heads, kvHeads] = headCounts(q, k, attrs);
  const width = (t: TensorType, count: Dim): Dim => (rank === 4 ? t.dims[3]! : divDims(t.dims[2]!, count));
  const seqAxis = rank - 2;
  const [kvSeq, past] = [k.dims[seqAxis]!, pastKey?.dims[2] ?? 0];
  return {
    batch: q.dims[0]!,
    heads,
    kvHeads,
    seq: q.dims[seqAxis]!,
    kvSeq,
    past,
    total: addDims(past, kvSeq),
    headDim: width(q, heads),
    valueDim: width(v, kvHeads),
  };
}

function headCounts(q: TensorType, k: TensorType, { q_num_heads, kv_num_heads }: AttentionAttrs): readonly [Dim, Dim] {
  if (q.dims.length === 4) {
    for (const [name, given, got] of [
      ['q_num_heads', q_num_heads, q.dims[1]],
      ['kv_num_heads', kv_num_heads, k.dims[1]],
    ] as const)
      if (given !== undefined && given !== got) throw mismatch(`${name} contradicts the operand`, String(got), String(given));
    return [q.dims[1]!, k.dims[1]!];
  }
  if (q_num_heads === undefined || kv_num_heads === undefined)
    throw mismatch(
      'operands of 3 axes require q_num_heads and kv_num_heads',
      'two numbers',
      `${q_num_heads} and ${kv_num_heads}`,
    );
  return [q_num_heads, kv_num_heads];
}

/** What a call asks of a kernel. */
export function attentionAsks(parts: AttentionParts<TensorType>, attrs: AttentionAttrs, opset: 23 | 24): Asked {
  const { heads, kvHeads, seq, kvSeq, total, headDim, valueDim } = attentionSizes(parts, attrs);
  const { q, mask, pastKey, nonpad } = parts;
  const { is_causal, scale = 1, softcap, softmax_precision: precision, qk_matmul_output_mode: mode = 0, outputs } = attrs;
  const scores = outputs > 3;
  return {
    head_dim: headDim,
    'v_head_dim other than head_dim': valueDim !== headDim,
    '4-D operands': q.dims.length === 4,
    'grouped heads': heads !== kvHeads,
    'kv_seq other than seq': seq !== kvSeq,
    'causal mask': is_causal === 1,
    'bool mask': mask?.dtype === 'bool',
    'float mask': mask !== undefined && mask.dtype !== 'bool',
    'mask broadcast over queries': mask !== undefined && mask.dims.at(-2) !== seq,
    'mask shorter than kv_seq': mask !== undefined && isShort(mask, total, opset),
    past: !!pastKey,
    nonpad_kv_seqlen: !!nonpad,
    softcap: !!softcap,
    'scale of 0': Math.fround(scale) === 0,
    'negative scale': Math.fround(scale) < 0,
    'scores before softcap': scores && mode === 0,
    'scores after softcap': scores && mode === 1,
    'scores after mask': scores && mode === 2,
    weights: scores && mode === 3,
    ...(precision !== undefined && { [`softmax in ${floatOfNumber[precision]}`]: true }),
  };
}

/** The types of the outputs. */
export function inferAttention(
  operands: readonly (TensorType | undefined)[],
  attrs: AttentionAttrs,
  opset: 23 | 24,
): TensorType[] {
  for (const [i, name] of ['Q', 'K', 'V'].entries()) accept(operands[i], 'float', name);
  const parts = operandsOf(attentionOperands, operands);
  const { q, k, v } = parts;
  const sizes = attentionSizes(parts, attrs);
  const { batch, heads, kvHeads, seq, total, headDim, valueDim } = sizes;
  if (k.dtype !== q.dtype) throw mismatch('Q and K differ in dtype', q.dtype, k.dtype);
  if (tryDivDims(heads, kvHeads) === undefined)
    throw mismatch('the heads of Q are not a multiple of the heads of K', `a divisor of ${heads}`, String(kvHeads));
  const form = (name: string, t: TensorType, count: Dim, rows: Dim, width: Dim): void =>
    expect(name, t, t.dtype, q.dims.length === 4 ? [batch, count, rows, width] : [batch, rows, mulDims(count, width)]);
  form('K', k, kvHeads, sizes.kvSeq, headDim);
  form('V', v, kvHeads, sizes.kvSeq, valueDim);
  checkPast(parts, sizes, opset);
  if (parts.mask) checkAttentionMask(parts.mask, q, sizes, opset);
  checkAttributes(attrs);
  if (attrs.scale === undefined && typeof headDim !== 'number')
    throw mismatch('the default scale needs a known head size', 'a number', headDim);
  const y: TensorType = {
    dtype: q.dtype,
    dims: q.dims.length === 4 ? [batch, heads, seq, valueDim] : [batch, seq, mulDims(heads, valueDim)],
  };
  const present = (t: TensorType, width: Dim): TensorType => ({ dtype: t.dtype, dims: [batch, kvHeads, total, width] });
  const scores: TensorType = { dtype: q.dtype, dims: [batch, heads, seq, total] };
  return [y, present(k, headDim), present(v, valueDim), scores].slice(0, attrs.outputs);
}

function checkPast({ k, v, pastKey, pastValue, nonpad }: AttentionParts<TensorType>, s: AttentionSizes, opset: 23 | 24): void {
  if (!pastKey !== !pastValue)
    throw mismatch(
      'past_key and past_value must be given together',
      'both or neither',
      pastKey ? 'past_key alone' : 'past_value alone',
    );
  if (pastKey) expect('past_key', pastKey, k.dtype, [s.batch, s.kvHeads, s.past, s.headDim]);
  if (pastValue) expect('past_value', pastValue, v.dtype, [s.batch, s.kvHeads, s.past, s.valueDim]);
  if (!nonpad) return;
  if (opset < 24) throw mismatch('nonpad_kv_seqlen requires opset 24', 'no operand 6', printType(nonpad));
  if (pastKey)
    throw mismatch('nonpad_kv_seqlen is for caches updated outside, past_key for those updated here', 'one of them', 'both');
  expect('nonpad_kv_seqlen', nonpad, 'int64', [s.batch]);
}

function checkAttentionMask(mask: TensorType, q: TensorType, { batch, heads, seq, total }: AttentionSizes, opset: 23 | 24): void {
  if (mask.dtype !== 'bool' && mask.dtype !== q.dtype)
    throw mismatch('the mask has the wrong dtype', `bool or ${q.dtype}`, mask.dtype);
  const full = [batch, heads, seq, total].slice(Math.max(0, 4 - mask.dims.length));
  const fits =
    mask.dims.length <= 4 &&
    mask.dims.every((d, i) => d === full[i] || d === 1 || (i === full.length - 1 && isShort(mask, total, opset)));
  if (!fits)
    throw mismatch('the mask does not broadcast to the scores', `[${[batch, heads, seq, total].join(', ')}]`, printType(mask));
}

/** True for a mask that covers only the first keys: the others are masked. Also for a mask of 1 key, at opset 24. */
export function isShort({ dims }: TensorType, total: Dim, opset: 23 | 24): boolean {
  const keys = dims.at(-1);
  return (
    opset >= 24 &&
    keys !== undefined &&
    keys !== total &&
    !(typeof keys === 'number' && typeof total === 'number' && keys > total)
  );
}

function checkAttributes({
  outputs,
  softcap = 0,
  qk_matmul_output_mode: mode = 0,
  softmax_precision: precision = 1,
}: AttentionAttrs): void {
  if (!floatOfNumber[precision])
    throw mismatch('softmax_precision is not a float dtype', `one of ${Object.keys(floatOfNumber)}`, String(precision));
  if (!(softcap >= 0)) throw mismatch('softcap is negative', 'a number of at least 0', String(softcap));
  if (![0, 1, 2, 3].includes(mode)) throw mismatch('unknown qk_matmul_output_mode', '0, 1, 2 or 3', String(mode));
  if (![1, 2, 3, 4].includes(outputs)) throw mismatch('the number of outputs is wrong', '1 to 4', String(outputs));
}

function expect(name: string, t: TensorType, dtype: string, dims: readonly Dim[]): void {
  if (t.dtype !== dtype || t.dims.length !== dims.length || t.dims.some((d, i) => d !== dims[i]))
    throw mismatch(`${name} has the wrong type`, `${dtype}[${dims.join(', ')}]`, printType(t));
}
