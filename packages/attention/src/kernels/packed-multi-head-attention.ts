// PackedMultiHeadAttention of com.microsoft: attention of each sequence to itself, over tokens without padding.
import { documents, type Node, type TensorType, type Value } from '@onnxformers/core';
import {
  type AttendAttrs,
  type AttendParts,
  apply,
  attendParts,
  defineOp,
  defineReasons,
  expressedBy,
  type Get,
  type MaskFeatures,
  type Match,
  type MatchContext,
  maskKinds,
  mismatch,
  type Outcome,
  operandsOf,
  printType,
  type Reason,
  reasons,
  refuse,
  rule,
  sourceOf,
  tokenPlaces,
} from '@onnxformers/core/lowering';
import { Attend } from '@onnxformers/core/ops';
import { biasedProjections, type Projections, toHeads, tokens, toRows, withoutBiases } from './rows';
import { scalesAsked } from './scales';

type PackedAttrs = { readonly num_heads: number; readonly scale?: number | undefined };

const names = ['query', 'key', 'value', 'bias?', 'token_offset', 'cumulative_sequence_length', 'attention_bias?'] as const;
/**
 * The kernel. Operands: query [tokens, heads · head_dim], key, value, bias of the three projections, token_offset int32 [batch, longest] (indices
 * of the tokens in a padded batch, then those of the padding), cumulative_sequence_length int32 [batch + 1].
 */
export const PackedMultiHeadAttention = defineOp<PackedAttrs, typeof names>({
  key: 'com.microsoft.PackedMultiHeadAttention',
  operands: names,
  attributes: { num_heads: 'int', scale: 'float' },
  asks(given, { num_heads, scale }) {
    const { query, value, bias } = operandsOf(names, given);
    const widthOf = ({ dims }: TensorType): number => (dims[1] as number) / num_heads;
    return {
      head_dim: widthOf(query),
      'v_head_dim other than head_dim': widthOf(value) !== widthOf(query),
      'biases of the projections': !!bias,
      ...scalesAsked(scale),
    };
  },
  infer(given) {
    const { query, key, value, token_offset: places, cumulative_sequence_length: offsets } = operandsOf(names, given);
    for (const t of [query, key, value])
      if (t.dims.length !== 2) throw mismatch('an operand does not have 2 axes', '[tokens, heads · head_dim]', printType(t));
    if (places.dtype !== 'int32' || places.dims.length !== 2)
      throw mismatch('token_offset does not fit', 'int32[batch, longest]', printType(places));
    if (offsets.dtype !== 'int32' || offsets.dims.length !== 1)
      throw mismatch('cumulative_sequence_length does not fit', 'int32[batch + 1]', printType(offsets));
    return [{ dtype: query.dtype, dims: [query.dims[0]!, value.dims[1]!] }];
  },
  decompose(given, { num_heads, scale }, ops) {
    const { query, key, value, bias, cumulative_sequence_length: offsets } = operandsOf(names, given);
    const width = query.dims[1] as number;
    const heads = (rows: Value, at: number): Value => {
      const part = bias && ops.slice(bias, { axes: [0], starts: [at], ends: [at + (rows.dims[1] as number)] });
      return toHeads(part ? ops.add(rows, part) : rows, num_heads, tokens);
    };
    const wide = ops.cast(offsets, 'int64');
    const [q, k, v] = [heads(query, 0), heads(key, width), heads(value, 2 * width)];
    return [toRows(ops.attendOp(q, k, v, { mask: documents(wide), ...(scale !== undefined && { scale }) }), tokens)];
  },
});

const own = defineReasons({
  paddedBias: () => 'its attention bias has the dims of padded scores',
});

function objection(
  { q, k, bias, sinks, noise }: AttendParts<Value>,
  { softcap }: AttendAttrs,
  { offsets, keyOffsets }: Documents,
): Reason | undefined {
  if (offsets !== keyOffsets) return reasons.keysOfOthers();
  if (!sourceOf(offsets)) return reasons.derivedOffsets();
  if (typeof q.dims[1] !== 'number') return reasons.headCountsUnknown();
  if (q.dims[1] !== k.dims[1]) return reasons.headCountsDiffer({ heads: q.dims[1], kvHeads: k.dims[1]! });
  if (softcap !== undefined) return reasons.lacks({ feature: 'softcap' });
  if (bias) return own.paddedBias();
  if (sinks) return reasons.lacks({ feature: 'sinks' });
  if (noise) return reasons.lacks({ feature: 'dropout' });
  return undefined;
}
type Documents = NonNullable<MaskFeatures<Value>['documents']>;

function match(node: Node<AttendAttrs>, context: MatchContext): Outcome {
  const parts = attendParts(node.operands, node.attrs);
  if (!maskKinds(parts.mask).includes('documents')) return undefined;
  const mask = expressedBy(parts.mask, { documents: true });
  if (mask.inexpressible !== undefined) return refuse(reasons.maskNotExpressible(mask.inexpressible));
  const packed = mask.documents!;
  const why = objection(parts, node.attrs, packed);
  if (why) return refuse(why);
  const { q, k, v } = parts;
  const projections = biasedProjections([q, k, v], context, tokens);
  return [...(projections ? [made(node, [q, k, v], packed, projections)] : []), made(node, [q, k, v], packed)];
}

function made(node: Node<AttendAttrs>, heads: readonly Value[], { offsets }: Documents, projections?: Projections): Match {
  const source = sourceOf(offsets)!;
  const emit = (get: Get): readonly Value[] => {
    const unbiased = projections && withoutBiases(projections, get);
    const rows = unbiased?.rows ?? heads.map((h) => toRows(get(h), tokens));
    const places = tokenPlaces(rows[0]!.graph.root, { ...source, lengths: get(source.lengths) });
    const attrs = { num_heads: heads[0]!.dims[1] as number, scale: node.attrs.scale };
    const [query, key, value] = rows as readonly Value[] as [Value, Value, Value];
    const operands = {
      query,
      key,
      value,
      bias: unbiased?.bias,
      token_offset: places,
      cumulative_sequence_length: node.graph.ops.cast(get(offsets), 'int32'),
    };
    const y = apply(PackedMultiHeadAttention, operands, attrs)[0]!;
    return [toHeads(y, attrs.num_heads, tokens)];
  };
  const variant = projections && { variant: "with the projections' biases" };
  return { ...variant, covers: node.outputs, absorbs: projections?.absorbs ?? [], emit };
}

/** Attend on packed sequences → PackedMultiHeadAttention, also with the biases of the three projections, which the kernel adds. */
export const usePackedMultiHeadAttention = rule('Attend(packed) → PackedMultiHeadAttention', Attend, match);
