// MultiHeadAttention of com.microsoft: fused attention for as many key heads as query heads.
import {
  add, and, apply, Attend, type AttendAttrs, attendOp, attendParts, cast, causal, concat, defineOp, type Get, greaterOrEqual, type Mask, type Match, mismatch, type Node, none, ops, padded,
  printMask, printType, readMask, type Refusal, refuse, reshape, rule, slice, splitHeads, type Surroundings, type Value, where,
} from '@onnxformers/core';
import { biasedProjection, toHeads, toRows } from './rows';

type MultiHeadAttentionAttrs = { readonly num_heads: number; readonly scale?: number | undefined; readonly unidirectional?: number | undefined };

/**
 * The kernel. Operands: query [batch, seq, heads · head_dim], key, value, bias of the three projections, key_padding_mask int32 [batch] (lengths),
 * attention_bias [1 or batch, 1 or heads, seq, kv_seq].
 */
export const MultiHeadAttention = defineOp<MultiHeadAttentionAttrs>({
  key: 'com.microsoft.MultiHeadAttention',
  attributes: { num_heads: 'int', scale: 'float', unidirectional: 'int' },
  infer([query, key, value, , lengths]) {
    for (const t of [query, key, value]) if (t?.dims.length !== 3) throw mismatch('rows are needed', '[batch, seq, heads · head_dim]', printType(t));
    if (lengths && lengths.dtype !== 'int32') throw mismatch('the lengths are no int32', 'int32[batch]', printType(lengths));
    return [{ dtype: query!.dtype, dims: [query!.dims[0]!, query!.dims[1]!, value!.dims[2]!] }];
  },
  decompose([query, key, value, bias, lengths, scores], { num_heads, scale, unidirectional }) {
    let at = 0;
    const heads = (rows: Value): Value => {
      const width = rows.dims[2] as number;
      const part = bias && slice(bias, { axes: [0], starts: [at], ends: [(at += width)] });
      return splitHeads(part ? add(rows, part) : rows, num_heads, padded);
    };
    const [q, k, v] = [heads(query!), heads(key!), heads(value!)];
    const masks: Mask<Value>[] = [unidirectional ? causal : none];
    if (lengths) masks.push({ kind: 'lengths', keys: cast(lengths, 'int64') });
    return [toRows(attendOp(q, k, v, { mask: and(...masks), ...(scores && { bias: scores }), ...(scale !== undefined && { scale }) }))];
  },
});

// Why the kernel cannot stand for this attention, if it cannot.
function objection(node: Node<AttendAttrs>): string | undefined {
  const { q, k, start, sinks, noise, mask } = attendParts(node.operands, node.attrs);
  const m = readMask(mask);
  if (typeof q.dims[1] !== 'number' || q.dims[1] !== k.dims[1]) return `it needs as many key heads as query heads; there are ${q.dims[1]} and ${k.dims[1]}`;
  if (m.rest.length || m.keys || m.documents || m.left !== undefined || (m.right !== undefined && m.right !== 0)) return `it cannot express the mask: ${printMask(mask)}`;
  if (m.right === 0 && q.dims[2] !== k.dims[2]) return 'where queries and keys differ in number, providers disagree on what causal means';
  if (start) return 'it has no cache with a place for each row';
  if (node.attrs.softcap !== undefined) return 'it has no softcap';
  if (sinks) return 'it has no sinks';
  if (noise) return 'it has no dropout';
  return undefined;
}

function match(node: Node<AttendAttrs>, around: Surroundings, withBiases: boolean): Match | Refusal | undefined {
  const why = objection(node);
  if (why) return withBiases ? undefined : refuse(why);
  const parts = attendParts(node.operands, node.attrs);
  const projections = [parts.q, parts.k, parts.v].map(biasedProjection);
  if (withBiases && !projections.every((p) => p !== undefined)) return undefined;
  const m = readMask(parts.mask);
  const heads = parts.q.dims[1] as number;
  const absorbs = withBiases ? projections.flatMap((p) => p!.outputs) : [];
  const emit = (get: Get): readonly Value[] => {
    const rows = withBiases
      ? projections.map((p) => ops.linear(get(p!.operands[0]!), get(p!.operands[1]!)))
      : [parts.q, parts.k, parts.v].map((h) => toRows(get(h)));
    const bias = withBiases ? concat(projections.map((p) => get(p!.operands[2]!)), 0) : undefined;
    const lengths = m.lengths && get(m.lengths);
    const attrs = { num_heads: heads, scale: node.attrs.scale, unidirectional: m.right === 0 ? 1 : undefined };
    const y = toHeads(apply(MultiHeadAttention, [...rows, bias, lengths && cast(lengths, 'int32'), parts.bias && get(parts.bias)], attrs)[0]!, heads);
    // A sequence without keys gives the mean of all values here, and 0 by our meaning.
    const empty = lengths && !around.promised('no empty sequences');
    return [empty ? where(reshape(greaterOrEqual(lengths, 1), [lengths.dims[0]!, 1, 1, 1]), y, 0) : y];
  };
  return { covers: node.outputs, absorbs, emit };
}

/** Attend → MultiHeadAttention. */
export const useMultiHeadAttention = rule('Attend → MultiHeadAttention', Attend, (node, around) => match(node, around, false));
/** The same with the biases of the three projections, which the kernel adds on its way. */
export const useMultiHeadAttentionWithBias = rule('Attend(Linear + bias) → MultiHeadAttention', Attend, (node, around) => match(node, around, true));
