// MultiHeadAttention of com.microsoft: fused attention for as many key heads as query heads, or with key heads repeated.
import {
  Attend,
  type AttendAttrs,
  add,
  and,
  apply,
  attendOp,
  cast,
  causal,
  type Dim,
  defineOp,
  expand,
  expressedBy,
  type Get,
  greaterOrEqual,
  keyLengths,
  type Mask,
  type Match,
  type MatchContext,
  mismatch,
  type Node,
  none,
  padded,
  printType,
  type Refusal,
  refuse,
  reshape,
  rule,
  slice,
  splitHeads,
  type Value,
} from '@onnxformers/core';
import { biasedProjections, toHeads, toRows, withoutBiases } from './rows';
import { allPairs, assumedNonEmpty, type Reading, readAttend, scoreMask, zeroFullyMasked } from './score-mask';

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
    if (lengths) masks.push(keyLengths(cast(lengths, 'int64')));
    return [
      toRows(attendOp(q, k, v, { mask: and(...masks), ...(scores && { bias: scores }), ...(scale !== undefined && { scale }) })),
    ];
  },
});

// Why the kernel cannot stand for this attention, whatever becomes of its mask.
function objection({ parts: { q, k, sinks, noise } }: Reading, { softcap, scale }: AttendAttrs): string | undefined {
  if (typeof q.dims[1] !== 'number' || typeof k.dims[1] !== 'number') return 'the numbers of heads must be known';
  if (softcap !== undefined) return 'it has no softcap';
  if (scale === 0) return 'a scale of 0 is its default';
  if (sinks) return 'it has no sinks';
  if (noise) return 'it has no dropout';
  return undefined;
}

// The mask in its own words, or why it cannot say it.
function ownMask({ parts, options, lengthsDiffer }: Reading): OwnMask | Refusal {
  const mask = expressedBy(parts.mask, { causal: true, lengths: true }, options);
  if (mask.beyond !== undefined) return refuse(`it cannot express the mask: ${mask.beyond}`);
  if (mask.causal && lengthsDiffer)
    return refuse('where queries and keys differ in number, providers disagree on what causal means');
  if (parts.queryOffset) return refuse('it has no cache with a place for each row');
  return mask;
}
type OwnMask = { readonly causal: boolean; readonly lengths?: Value | undefined };

interface Variant {
  /** The kernel adds the biases of the projections. */
  readonly biases: boolean;
  /** The mask becomes a bias over all scores. */
  readonly maskAsBias: boolean;
  /** Each head of keys and values is written once for each query head that shares it. */
  readonly repeats: boolean;
}

/** What repeating costs, on the scale of targets: more than any kernel there that shares heads by itself, less than the definition. */
const repeating = 7;

// Rows [batch, kv_seq, kv_heads · width] with each head as often as queries share it.
function repeated(rows: Value, kvHeads: number, times: number): Value {
  const [batch, kvSeq, all] = rows.dims as [Dim, Dim, number];
  const width = all / kvHeads;
  const apart = reshape(rows, [batch, kvSeq, kvHeads, 1, width]);
  return reshape(expand(apart, [batch, kvSeq, kvHeads, times, width]), [batch, kvSeq, kvHeads * times * width]);
}

function match(node: Node<AttendAttrs>, around: MatchContext, variant: Variant): Match | Refusal | undefined {
  const reading = readAttend(node);
  const { parts } = reading;
  const mask = ownMask(reading);
  const own = 'refused' in mask ? undefined : mask;
  const why = objection(reading, node.attrs) ?? (!variant.maskAsBias && 'refused' in mask ? mask.refused : undefined);
  const [heads, kvHeads] = [parts.q.dims[1] as number, parts.k.dims[1] as number];
  const values = [parts.q, parts.k, parts.v];
  const projections = variant.biases ? biasedProjections(values, around) : undefined;
  const plainest = !variant.biases && !variant.maskAsBias && !variant.repeats;
  // Said once, by the plainest of the rules that would fit.
  if (why !== undefined) return plainest ? refuse(why) : undefined;
  if (variant.biases && !projections) return undefined;
  if (variant.repeats !== (heads !== kvHeads))
    return plainest ? refuse(`it needs as many key heads as query heads; there are ${heads} and ${kvHeads}`) : undefined;
  if (variant.maskAsBias && own && !own.lengths) return undefined;
  const emit = (get: Get): readonly Value[] => {
    const made = projections && withoutBiases(projections, get);
    const separate = made?.rows ?? values.map((h) => toRows(get(h)));
    const rows = variant.repeats ? separate.map((r, i) => (i === 0 ? r : repeated(r, kvHeads, heads / kvHeads))) : separate;
    const bias = parts.bias && get(parts.bias);
    const attend = (lengths: Value | undefined, scores: Value | undefined, unidirectional: number | undefined): Value => {
      const attrs = { num_heads: heads, scale: node.attrs.scale, unidirectional };
      return apply(MultiHeadAttention, [...rows, made?.bias, lengths, scores], attrs)[0]!;
    };
    if (variant.maskAsBias || !own) {
      const { asBias, finish } = scoreMask(reading, get, around);
      return [finish(attend(undefined, asBias(bias, rows[0]!.dtype), undefined), heads)];
    }
    const lengths = own.lengths && get(own.lengths);
    const y = attend(lengths && cast(lengths, 'int32'), bias, own.causal ? 1 : undefined);
    // A sequence without keys gives the mean of all values here, and 0 by our meaning.
    const empty = lengths && !assumedNonEmpty(own.lengths!, around);
    return [
      empty ? zeroFullyMasked(reshape(greaterOrEqual(lengths, 1), [lengths.dims[0]!, 1, 1, 1]), y, heads) : toHeads(y, heads),
    ];
  };
  return {
    covers: node.outputs,
    absorbs: projections?.absorbs ?? [],
    cost: (variant.maskAsBias ? allPairs(reading) : 0) + (variant.repeats ? repeating : 0),
    emit,
  };
}

const variant = (name: string, { biases = false, maskAsBias = false, repeats = false }: Partial<Variant> = {}) =>
  rule(name, Attend, (node, around) => match(node, around, { biases, maskAsBias, repeats }));

/** Attend → MultiHeadAttention. */
export const useMultiHeadAttention = variant('Attend → MultiHeadAttention');
/** The same with the biases of the three projections, which the kernel adds on its way. */
export const useMultiHeadAttentionWithBias = variant('Attend(Linear + bias) → MultiHeadAttention', { biases: true });
/** The same with the mask turned into a bias over all scores. */
export const useMultiHeadAttentionOverBias = variant('Attend → MultiHeadAttention with the mask in its bias', {
  maskAsBias: true,
});
/** Both. */
export const useMultiHeadAttentionWithBiasOverBias = variant(
  'Attend(Linear + bias) → MultiHeadAttention with the mask in its bias',
  { biases: true, maskAsBias: true },
);
/** For heads of keys that queries share, where the target has no kernel for that: they are repeated. */
export const useMultiHeadAttentionOnRepeatedHeads = variant('Attend → MultiHeadAttention on repeated key heads', {
  repeats: true,
});
/** The same with the mask turned into a bias over all scores. */
export const useMultiHeadAttentionOnRepeatedHeadsOverBias = variant(
  'Attend → MultiHeadAttention on repeated key heads with the mask in its bias',
  { maskAsBias: true, repeats: true },
);
