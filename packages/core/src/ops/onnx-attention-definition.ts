// The definition of ONNX Attention in smaller ops.
import { type Dim, subDims } from '../dim/dim';
import type { Value, Vocabulary } from '../ir/graph';
import { and } from '../mask/and';
import { causal } from '../mask/causal';
import { dense } from '../mask/dense';
import { keyLengths } from '../mask/lengths';
import { maskTensor, rowHasKey } from '../mask/tensor';
import { grouped, headwise, maskScores, scaledScores, weightedRows, wide } from './attend-definition';
import {
  type AttentionAttrs,
  type AttentionParts,
  type AttentionSizes,
  attentionSizes,
  floatOfNumber,
  isShort,
} from './onnx-attention-parts';

/** The outputs of ONNX Attention. */
export function decomposeAttention(
  parts: AttentionParts<Value>,
  attrs: AttentionAttrs,
  opset: 23 | 24,
  ops: Vocabulary,
): readonly Value[] {
  const s = attentionSizes(parts, attrs);
  const { softcap = 0, qk_matmul_output_mode: mode = 0 } = attrs;
  const q = splitHeads(parts.q, s.heads, s.headDim, ops);
  const key = joined(parts.pastKey, splitHeads(parts.k, s.kvHeads, s.headDim, ops), ops);
  const value = joined(parts.pastValue, splitHeads(parts.v, s.kvHeads, s.valueDim, ops), ops);
  const precision = attrs.softmax_precision === undefined ? wide(q.dtype) : floatOfNumber[attrs.softmax_precision]!;

  const scale = attrs.scale ?? 1 / Math.sqrt(s.headDim as number);
  const raw = ops.cast(headwise(scaledScores(grouped(q, key, ops), key, scale, undefined, ops), q, ops), precision);
  const capped = softcap ? ops.mul(ops.tanh(ops.mul(raw, 1 / softcap)), softcap) : raw;
  const { keep, bias, certain } = allowed(parts, s, attrs, opset, ops);
  const biased = bias ? ops.add(capped, ops.cast(bias, precision)) : capped;
  const some = keep && !certain ? rowHasKey(keep) : true;
  const guarded = ops.softmax(keep ? maskScores(biased, keep, some, ops) : biased, -1);
  const weights = some === true ? guarded : ops.where(some, guarded, 0);
  const y = weightedRows(weights, ops.cast(value, q.dtype), q, ops);
  const shown = [raw, capped, keep ? ops.where(keep, biased, Number.NEGATIVE_INFINITY) : biased, weights][mode]!;
  return [parts.q.rank === 4 ? y : mergeHeads(y, ops), key, value, ops.cast(shown, q.dtype)].slice(0, attrs.outputs);
}

const joined = (past: Value | undefined, rows: Value, { concat }: Vocabulary): Value => (past ? concat([past, rows], 2) : rows);

function splitHeads(x: Value, heads: Dim, width: Dim, { reshape, transpose }: Vocabulary): Value {
  if (x.rank === 4) return x;
  const [batch, seq] = x.dims as [Dim, Dim];
  return transpose(reshape(x, [batch, seq, heads, width]), [0, 2, 1, 3]);
}
function mergeHeads(y: Value, { reshape, transpose }: Vocabulary): Value {
  const rows = transpose(y, [0, 2, 1, 3]);
  return reshape(rows, [rows.dims[0]!, rows.dims[1]!, -1]);
}

interface Allowed {
  /** bool that broadcasts to the scores. */
  readonly keep?: Value;
  /** Added to the scores; −∞ only where `keep` is false. */
  readonly bias?: Value;
  /** True if every query is known to have a key. */
  readonly certain: boolean;
}

function allowed(
  parts: AttentionParts<Value>,
  s: AttentionSizes,
  attrs: AttentionAttrs,
  opset: 23 | 24,
  ops: Vocabulary,
): Allowed {
  const { q, mask, nonpad } = parts;
  const isCausal = attrs.is_causal === 1;
  const padded = mask && spread(mask, s, opset, ops);
  const tensor = padded && dense(padded.dtype === 'bool' ? padded : ops.greater(padded, Number.NEGATIVE_INFINITY));
  const lengths = nonpad && !isCausal ? keyLengths(nonpad) : undefined;
  const all = and<Value>(...[isCausal ? causal : undefined, lengths, tensor].filter((m) => m !== undefined));
  const keep = maskTensor(all, {
    graph: q.graph,
    batch: s.batch,
    heads: s.heads,
    seq: s.seq,
    kvSeq: s.total,
    ...(isCausal && causalStart(parts, s, ops)),
  });
  const certain = !tensor && !nonpad;
  return { ...(keep && { keep }), ...(padded && padded.dtype !== 'bool' && { bias: padded }), certain };
}

// Query 0 is after the past, or after the positions that an outer cache already contains; without either it is at 0.
function causalStart(
  { q, nonpad }: AttentionParts<Value>,
  { past, seq, kvSeq }: AttentionSizes,
  { reshape, size, sub }: Vocabulary,
): { queryOffset?: Value } {
  if (nonpad) return { queryOffset: sub(nonpad, size(q.graph, seq)) };
  return kvSeq === seq ? {} : { queryOffset: reshape(size(q.graph, past), [1]) };
}

// With four axes, and extended to all keys: those beyond the end of a short mask are masked.
function spread(mask: Value, { total }: AttentionSizes, opset: 23 | 24, { concat, fill, reshape }: Vocabulary): Value {
  const whole = reshape(mask, [...Array.from({ length: 4 - mask.rank }, () => 1), ...mask.dims]);
  if (!isShort(mask, total, opset)) return whole;
  const missing = subDims(total, whole.dims[3]!);
  const masked = fill(
    mask.graph,
    [...whole.dims.slice(0, 3), missing],
    mask.dtype === 'bool' ? 0 : Number.NEGATIVE_INFINITY,
    mask.dtype,
  );
  return concat([whole, masked], 3);
}
