// MultiHeadAttention of com.microsoft: fused attention with equal numbers of query and key heads, or with key heads repeated.
import {
  and,
  causal,
  type Dim,
  keyLengths,
  type Mask,
  mulDims,
  type Node,
  none,
  padded,
  splitHeads,
  type TensorType,
  type Value,
} from '@onnxformers/core';
import {
  type AttendAttrs,
  apply,
  defineOp,
  expressedBy,
  type Get,
  knownNonEmpty,
  type Match,
  type MatchContext,
  mismatch,
  type Outcome,
  operandsOf,
  printType,
  type Reason,
  type Refusal,
  reasons,
  refuse,
  rule,
} from '@onnxformers/core/lowering';
import { Attend } from '@onnxformers/core/ops';
import { biasedProjections, type Projections, toHeads, toRows, withoutBiases } from './rows';
import { scalesAsked } from './scales';
import { allPairs, maskNote, type Reading, readAttend, scoreMask, zeroFullyMasked } from './score-mask';

type MultiHeadAttentionAttrs = {
  readonly num_heads: number;
  readonly scale?: number | undefined;
  readonly unidirectional?: number | undefined;
  /** Added to the scores of keys beyond the length of a sequence; the default of −10,000 is not below all possible scores. */
  readonly mask_filter_value?: number | undefined;
};

const names = ['query', 'key', 'value', 'bias?', 'key_padding_mask?', 'attention_bias?'] as const;
/**
 * The kernel. Operands: query [batch, seq, heads · head_dim], key, value, bias of the three projections, key_padding_mask int32 [batch] (lengths),
 * attention_bias [1 or batch, 1 or heads, seq, kv_seq].
 */
export const MultiHeadAttention = defineOp<MultiHeadAttentionAttrs, typeof names>({
  key: 'com.microsoft.MultiHeadAttention',
  operands: names,
  attributes: { num_heads: 'int', scale: 'float', unidirectional: 'int', mask_filter_value: 'float' },
  asks(given, { num_heads, scale, unidirectional }) {
    const { query, key, value, bias, key_padding_mask: lengths, attention_bias: scores } = operandsOf(names, given);
    const widthOf = ({ dims }: TensorType): number => (dims[2] as number) / num_heads;
    const across = query.dims[1] !== key.dims[1];
    return {
      head_dim: widthOf(query),
      'v_head_dim other than head_dim': widthOf(value) !== widthOf(query),
      'kv_seq other than seq': across,
      'biases of the projections': !!bias,
      lengths: !!lengths,
      bias: !!scores,
      'causal mask': unidirectional === 1,
      ...scalesAsked(scale),
    };
  },
  infer(given) {
    const { query, key, value, key_padding_mask: lengths } = operandsOf(names, given);
    for (const t of [query, key, value])
      if (t.dims.length !== 3) throw mismatch('an operand does not have 3 axes', '[batch, seq, heads · head_dim]', printType(t));
    if (lengths && lengths.dtype !== 'int32') throw mismatch('the lengths are not int32', 'int32[batch]', printType(lengths));
    return [{ dtype: query.dtype, dims: [query.dims[0]!, query.dims[1]!, value.dims[2]!] }];
  },
  decompose(given, { num_heads, scale, unidirectional }, ops) {
    const { query, key, value, bias, key_padding_mask: lengths, attention_bias: scores } = operandsOf(names, given);
    const heads = (rows: Value, at: number): Value => {
      const part = bias && ops.slice(bias, { axes: [0], starts: [at], ends: [at + (rows.dims[2] as number)] });
      return splitHeads(part ? ops.add(rows, part) : rows, num_heads, padded);
    };
    const width = query.dims[2] as number;
    const [q, k, v] = [heads(query, 0), heads(key, width), heads(value, 2 * width)];
    const masks: Mask<Value>[] = [unidirectional ? causal : none];
    if (lengths) masks.push(keyLengths(ops.cast(lengths, 'int64')));
    return [
      toRows(
        ops.attendOp(q, k, v, { mask: and(...masks), ...(scores && { bias: scores }), ...(scale !== undefined && { scale }) }),
      ),
    ];
  },
});

// Why the kernel cannot compute this attention with any mask.
function objection({ parts: { q, k, sinks, noise } }: Reading, { softcap }: AttendAttrs): Reason | undefined {
  if (typeof q.dims[1] !== 'number' || typeof k.dims[1] !== 'number') return reasons.headCountsUnknown();
  if (softcap !== undefined) return reasons.lacks({ feature: 'softcap' });
  if (sinks) return reasons.lacks({ feature: 'sinks' });
  if (noise) return reasons.lacks({ feature: 'dropout' });
  return undefined;
}

/** A mask as the kernel expresses it. */
interface OwnMask {
  readonly causal: boolean;
  readonly lengths?: Value | undefined;
}

// The mask as the kernel expresses it, or why it cannot express it.
function ownMask({ parts, options }: Reading): OwnMask | Refusal {
  const mask = expressedBy(parts.mask, { causal: true, lengths: true }, options);
  if (mask.inexpressible !== undefined) return refuse(reasons.maskNotExpressible(mask.inexpressible));
  if (parts.queryOffset) return refuse(reasons.lacks({ feature: 'query offset' }));
  return mask;
}

interface Form {
  /** The projections whose biases the kernel adds. */
  readonly projections?: Projections | undefined;
  /** Absent: the mask becomes a bias over all scores. */
  readonly mask?: OwnMask | undefined;
}

// [batch, kv_seq, kv_heads · width] with each head repeated for the query heads that share it. Tile copies whole rows of two axes, which Expand does not.
function repeated(rows: Value, kvHeads: number, times: number): Value {
  const { ops } = rows.graph;
  const [batch, kvSeq, all] = rows.dims as [Dim, Dim, number];
  const width = all / kvHeads;
  const apart = ops.reshape(rows, [mulDims(batch, kvSeq, kvHeads), width]);
  return ops.reshape(ops.tile(apart, [1, times]), [batch, kvSeq, kvHeads * times * width]);
}

// All variants: with the mask as the kernel expresses it, or as a bias; with the biases of the projections, or without.
function match(node: Node<AttendAttrs>, context: MatchContext): Outcome {
  const reading = readAttend(node);
  const why = objection(reading, node.attrs);
  if (why) return refuse(why);
  const { q, k, v } = reading.parts;
  const [heads, kvHeads] = [q.dims[1] as number, k.dims[1] as number];
  const shared = heads !== kvHeads;
  const projections = shared ? undefined : biasedProjections([q, k, v], context);
  const mask = ownMask(reading);
  // Providers align a causal mask differently if there are more or fewer keys than queries, and some have no lengths.
  const doubtful = !('refused' in mask) && (mask.lengths || (mask.causal && reading.lengthsDiffer));
  const masks = 'refused' in mask ? [undefined] : doubtful ? [mask, undefined] : [mask];
  const ways = masks.flatMap((mask) =>
    (projections ? [projections, undefined] : [undefined]).map((p) => made(node, reading, { mask, projections: p }, context)),
  );
  return [
    ...(shared ? [refuse(reasons.headCountsDiffer({ heads, kvHeads }))] : []),
    ...('refused' in mask ? [mask] : []),
    ...ways,
  ];
}

// One variant of the kernel, for an attention that it can compute.
function made(node: Node<AttendAttrs>, reading: Reading, { mask, projections }: Form, context: MatchContext): Match {
  const { parts } = reading;
  const { ops } = node.graph;
  const [heads, kvHeads] = [parts.q.dims[1] as number, parts.k.dims[1] as number];
  const emit = (get: Get): readonly Value[] => {
    const unbiased = projections && withoutBiases(projections, get);
    const own = unbiased?.rows ?? [parts.q, parts.k, parts.v].map((h) => toRows(get(h)));
    const rows = heads === kvHeads ? own : own.map((r, i) => (i === 0 ? r : repeated(r, kvHeads, heads / kvHeads)));
    const bias = parts.bias && get(parts.bias);
    const attend = (lengths: Value | undefined, scores: Value | undefined, unidirectional: number | undefined): Value => {
      const mask_filter_value = lengths && Number.NEGATIVE_INFINITY;
      const attrs = { num_heads: heads, scale: node.attrs.scale, unidirectional, mask_filter_value };
      const [query, key, value] = rows as [Value, Value, Value];
      const optional = { bias: unbiased?.bias, key_padding_mask: lengths, attention_bias: scores };
      return apply(MultiHeadAttention, { query, key, value, ...optional }, attrs)[0]!;
    };
    if (!mask) {
      const { asBias, finish } = scoreMask(reading, get, context);
      return [finish(attend(undefined, asBias(bias, rows[0]!.dtype), undefined), heads)];
    }
    const lengths = mask.lengths && get(mask.lengths);
    const y = attend(lengths && ops.cast(lengths, 'int32'), bias, mask.causal ? 1 : undefined);
    // For a sequence without keys the kernel returns the mean of all values; the definition returns 0.
    const empty = lengths && !knownNonEmpty(mask.lengths!, context);
    return [
      empty
        ? zeroFullyMasked(ops.reshape(ops.greaterOrEqual(lengths, 1), [lengths.dims[0]!, 1, 1, 1]), y, heads)
        : toHeads(y, heads),
    ];
  };
  const variant = [
    ...(heads === kvHeads ? [] : ['on repeated key heads']),
    ...(projections ? ["with the projections' biases"] : []),
    ...(mask ? [] : ['with the mask in its bias']),
  ].join(', ');
  return {
    ...(variant && { variant }),
    covers: node.outputs,
    absorbs: projections?.absorbs ?? [],
    cost: mask ? 0 : allPairs(reading),
    ...(!mask && { notes: [maskNote(reading)] }),
    emit,
  };
}

/**
 * Attend → MultiHeadAttention: also with the biases of the three projections, which the kernel adds; with the mask converted to a bias
 * over all scores; and with repeated key heads, where that costs less than kernels for grouped heads, or there are none.
 */
export const useMultiHeadAttention = rule('Attend → MultiHeadAttention', Attend, match);
