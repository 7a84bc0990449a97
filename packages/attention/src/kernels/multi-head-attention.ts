// MultiHeadAttention of com.microsoft: fused attention for as many key heads as query heads.
import {
  Attend,
  type AttendAttrs,
  add,
  and,
  apply,
  attendOp,
  cast,
  causal,
  defineOp,
  type Get,
  greaterOrEqual,
  type Mask,
  type Match,
  mismatch,
  type Node,
  none,
  padded,
  printMask,
  printType,
  type Refusal,
  refuse,
  reshape,
  rule,
  type Surroundings,
  slice,
  splitHeads,
  type Value,
} from '@onnxformers/core';
import { biasedProjections, toHeads, toRows, withoutBiases } from './rows';
import { allPairs, isPlain, maskAsBias, type Reading, readAttend, scoreMask, zeroBlind } from './score-mask';

type MultiHeadAttentionAttrs = {
  readonly num_heads: number;
  readonly scale?: number | undefined;
  readonly unidirectional?: number | undefined;
};

/**
 * The kernel. Operands: query [batch, seq, heads · head_dim], key, value, bias of the three projections, key_padding_mask int32 [batch] (lengths),
 * attention_bias [1 or batch, 1 or heads, seq, kv_seq].
 */
export const MultiHeadAttention = defineOp<MultiHeadAttentionAttrs>({
  key: 'com.microsoft.MultiHeadAttention',
  attributes: { num_heads: 'int', scale: 'float', unidirectional: 'int' },
  infer([query, key, value, , lengths]) {
    for (const t of [query, key, value])
      if (t?.dims.length !== 3) throw mismatch('rows are needed', '[batch, seq, heads · head_dim]', printType(t));
    if (lengths && lengths.dtype !== 'int32') throw mismatch('the lengths are no int32', 'int32[batch]', printType(lengths));
    return [{ dtype: query!.dtype, dims: [query!.dims[0]!, query!.dims[1]!, value!.dims[2]!] }];
  },
  decompose([query, key, value, bias, lengths, scores], { num_heads, scale, unidirectional }) {
    const heads = (rows: Value, at: number): Value => {
      const part = bias && slice(bias, { axes: [0], starts: [at], ends: [at + (rows.dims[2] as number)] });
      return splitHeads(part ? add(rows, part) : rows, num_heads, padded);
    };
    const width = query!.dims[2] as number;
    const [q, k, v] = [heads(query!, 0), heads(key!, width), heads(value!, 2 * width)];
    const masks: Mask<Value>[] = [unidirectional ? causal : none];
    if (lengths) masks.push({ kind: 'lengths', keys: cast(lengths, 'int64') });
    return [
      toRows(attendOp(q, k, v, { mask: and(...masks), ...(scores && { bias: scores }), ...(scale !== undefined && { scale }) })),
    ];
  },
});

// Why the kernel cannot stand for this attention, whatever becomes of its mask.
function objection({ parts: { q, k, sinks, noise } }: Reading, { softcap, scale }: AttendAttrs): string | undefined {
  if (typeof q.dims[1] !== 'number' || q.dims[1] !== k.dims[1])
    return `it needs as many key heads as query heads; there are ${q.dims[1]} and ${k.dims[1]}`;
  if (softcap !== undefined) return 'it has no softcap';
  if (scale === 0) return 'a scale of 0 is its default';
  if (sinks) return 'it has no sinks';
  if (noise) return 'it has no dropout';
  return undefined;
}

// Why it cannot say the mask in its own words.
function objectionToMask({ parts, mask, causal: ahead, askew }: Reading): string | undefined {
  if (!isPlain(mask, { lengths: true })) return `it cannot express the mask: ${printMask(parts.mask)}`;
  if (ahead && askew) return 'where queries and keys differ in number, providers disagree on what causal means';
  if (parts.start) return 'it has no cache with a place for each row';
  return undefined;
}

interface Variant {
  /** The kernel adds the biases of the projections. */
  readonly biases: boolean;
  /** The mask becomes a bias over all scores. */
  readonly maskAsBias: boolean;
}

function match(node: Node<AttendAttrs>, around: Surroundings, variant: Variant): Match | Refusal | undefined {
  const reading = readAttend(node);
  const { parts, mask } = reading;
  const why = objection(reading, node.attrs) ?? (variant.maskAsBias ? undefined : objectionToMask(reading));
  const values = [parts.q, parts.k, parts.v];
  const projections = variant.biases ? biasedProjections(values, around) : undefined;
  // Said once, by the plainest of the four rules that would fit.
  if (why !== undefined) return variant.biases || variant.maskAsBias ? undefined : refuse(why);
  if (variant.biases && !projections) return undefined;
  if (variant.maskAsBias && objectionToMask(reading) === undefined && !mask.lengths) return undefined;
  const emit = (get: Get): readonly Value[] => {
    const heads = parts.q.dims[1] as number;
    const made = projections && withoutBiases(projections, get);
    const rows = made?.rows ?? values.map((h) => toRows(get(h)));
    const bias = parts.bias && get(parts.bias);
    const attend = (lengths: Value | undefined, scores: Value | undefined, unidirectional: number | undefined): Value => {
      const attrs = { num_heads: heads, scale: node.attrs.scale, unidirectional };
      return apply(MultiHeadAttention, [...rows, made?.bias, lengths, scores], attrs)[0]!;
    };
    if (variant.maskAsBias) {
      const { keep, mend } = scoreMask(reading, get, around);
      return [mend(attend(undefined, keep ? maskAsBias(keep, bias, rows[0]!.dtype) : bias, undefined), heads)];
    }
    const lengths = mask.lengths && get(mask.lengths);
    const y = attend(lengths && cast(lengths, 'int32'), bias, reading.causal ? 1 : undefined);
    // A sequence without keys gives the mean of all values here, and 0 by our meaning.
    const empty = lengths && !around.promised('no empty sequences');
    return [empty ? zeroBlind(reshape(greaterOrEqual(lengths, 1), [lengths.dims[0]!, 1, 1, 1]), y, heads) : toHeads(y, heads)];
  };
  return {
    covers: node.outputs,
    absorbs: projections?.absorbs ?? [],
    cost: variant.maskAsBias ? allPairs(reading) : 0,
    emit,
  };
}

const variant = (name: string, biases: boolean, maskAsBias: boolean) =>
  rule(name, Attend, (node, around) => match(node, around, { biases, maskAsBias }));

/** Attend → MultiHeadAttention. */
export const useMultiHeadAttention = variant('Attend → MultiHeadAttention', false, false);
/** The same with the biases of the three projections, which the kernel adds on its way. */
export const useMultiHeadAttentionWithBias = variant('Attend(Linear + bias) → MultiHeadAttention', true, false);
/** The same with the mask turned into a bias over all scores. */
export const useMultiHeadAttentionOverBias = variant('Attend → MultiHeadAttention with the mask in its bias', false, true);
/** Both. */
export const useMultiHeadAttentionWithBiasOverBias = variant(
  'Attend(Linear + bias) → MultiHeadAttention with the mask in its bias',
  true,
  true,
);
