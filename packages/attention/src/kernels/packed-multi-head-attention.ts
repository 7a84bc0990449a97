// PackedMultiHeadAttention of com.microsoft: attention of each sequence to itself, over tokens without padding.
import {
  Attend,
  type AttendAttrs,
  add,
  apply,
  attendOp,
  cast,
  defineOp,
  derive,
  documents,
  expressedBy,
  type Get,
  type Layout,
  type MaskFeatures,
  type Match,
  type MatchContext,
  maskKinds,
  mismatch,
  type Node,
  printType,
  type Refusal,
  refuse,
  rule,
  slice,
  type Value,
} from '@onnxformers/core';
import { biasedProjections, toHeads, toRows, withoutBiases } from './rows';
import { type Reading, readAttend } from './score-mask';

type PackedAttrs = { readonly num_heads: number; readonly scale?: number | undefined };

// What splits and merges heads of tokens; places are not asked for.
const tokens = { kind: 'packed' } as Layout;

/**
 * The kernel. Operands: query [tokens, heads · head_dim], key, value, bias of the three projections, token_offset int32 [batch, longest] (places
 * of the tokens in a padded batch, then those of the padding), cumulative_sequence_length int32 [batch + 1].
 */
export const PackedMultiHeadAttention = defineOp<PackedAttrs>({
  key: 'com.microsoft.PackedMultiHeadAttention',
  attributes: { num_heads: 'int', scale: 'float' },
  infer([query, key, value, , places, offsets]) {
    for (const t of [query, key, value])
      if (t?.dims.length !== 2) throw mismatch('rows of tokens are needed', '[tokens, heads · head_dim]', printType(t));
    if (places?.dtype !== 'int32' || places.dims.length !== 2)
      throw mismatch('the places do not fit', 'int32[batch, longest]', printType(places));
    if (offsets?.dtype !== 'int32' || offsets.dims.length !== 1)
      throw mismatch('the offsets do not fit', 'int32[batch + 1]', printType(offsets));
    return [{ dtype: query!.dtype, dims: [query!.dims[0]!, value!.dims[1]!] }];
  },
  decompose([query, key, value, bias, , offsets], { num_heads, scale }) {
    const width = query!.dims[1] as number;
    const heads = (rows: Value, at: number): Value => {
      const part = bias && slice(bias, { axes: [0], starts: [at], ends: [at + (rows.dims[1] as number)] });
      return toHeads(part ? add(rows, part) : rows, num_heads, tokens);
    };
    const wide = cast(offsets!, 'int64');
    const [q, k, v] = [heads(query!, 0), heads(key!, width), heads(value!, 2 * width)];
    return [toRows(attendOp(q, k, v, { mask: documents(wide), ...(scale !== undefined && { scale }) }), tokens)];
  },
});

type Packed = NonNullable<MaskFeatures<Value>['documents']>;

// The lengths of the sequences, where they are an input that offsets were derived from.
function lengthsOf(offsets: Value): Value | undefined {
  return offsets.leaf?.kind === 'derived' && offsets.leaf.how === 'offsets' ? offsets.leaf.from[0] : undefined;
}

function objection(
  { q, k, bias, sinks, noise }: Reading['parts'],
  { offsets, keyOffsets }: Packed,
  { softcap, scale }: AttendAttrs,
): string | undefined {
  if (offsets !== keyOffsets) return 'the keys are not those of the queries';
  if (!lengthsOf(offsets)) return 'the lengths of the sequences must be an input';
  if (typeof q.dims[1] !== 'number' || q.dims[1] !== k.dims[1])
    return `it needs as many key heads as query heads; there are ${q.dims[1]} and ${k.dims[1]}`;
  if (softcap !== undefined) return 'it has no softcap';
  if (scale === 0) return 'a scale of 0 is its default';
  if (bias) return 'its bias is one over padded scores';
  if (sinks) return 'it has no sinks';
  if (noise) return 'it has no dropout';
  return undefined;
}

function match(node: Node<AttendAttrs>, around: MatchContext, biases: boolean): Match | Refusal | undefined {
  const { parts } = readAttend(node);
  if (!maskKinds(parts.mask).includes('documents')) return undefined;
  const mask = expressedBy(parts.mask, { documents: true });
  if (mask.beyond !== undefined) return biases ? undefined : refuse(`it cannot express the mask: ${mask.beyond}`);
  const why = objection(parts, mask.documents!, node.attrs);
  if (why !== undefined) return biases ? undefined : refuse(why);
  const heads = [parts.q, parts.k, parts.v];
  const projections = biases ? biasedProjections(heads, around, tokens) : undefined;
  if (biases && !projections) return undefined;
  const { offsets } = mask.documents!;
  const lengths = lengthsOf(offsets)!;
  const emit = (get: Get): readonly Value[] => {
    const made = projections && withoutBiases(projections, get);
    const rows = made?.rows ?? heads.map((h) => toRows(get(h), tokens));
    const name = 'name' in lengths.leaf! ? lengths.leaf.name : 'sequences';
    const type = { dtype: 'int32', dims: [lengths.dims[0]!, `longest_of_${name}`] } as const;
    const places = derive(rows[0]!.graph.root, 'tokenOffset', type, [get(lengths)]);
    const attrs = { num_heads: parts.q.dims[1] as number, scale: node.attrs.scale };
    const y = apply(PackedMultiHeadAttention, [...rows, made?.bias, places, cast(get(offsets), 'int32')], attrs)[0]!;
    return [toHeads(y, attrs.num_heads, tokens)];
  };
  return { covers: node.outputs, absorbs: projections?.absorbs ?? [], emit };
}

/** Attend to packed sequences → PackedMultiHeadAttention. */
export const usePackedMultiHeadAttention = rule('Attend(packed) → PackedMultiHeadAttention', Attend, (node, around) =>
  match(node, around, false),
);
/** The same with the biases of the three projections. */
export const usePackedMultiHeadAttentionWithBias = rule(
  'Attend(packed, Linear + bias) → PackedMultiHeadAttention',
  Attend,
  (node, around) => match(node, around, true),
);
