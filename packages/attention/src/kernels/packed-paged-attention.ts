// PagedAttention of com.microsoft on packed sequences without a cache: its pools are only room for the keys and values of one run.
import {
  addDims,
  and,
  causal,
  ceilDivDims,
  type Dim,
  documents,
  mulDims,
  none,
  slidingWindow,
  type Value,
} from '@onnxformers/core';
import {
  apply,
  attendParts,
  defineOp,
  defineReasons,
  expressedBy,
  type Get,
  maskKinds,
  operandsOf,
  reasons,
  refuse,
  rule,
  sourceOf,
  tokenPlaces,
} from '@onnxformers/core/lowering';
import { Attend } from '@onnxformers/core/ops';
import { pagedOperands as names, PagedAttention } from './paged-attention';
import { toHeads, tokens, toRows } from './rows';
import { scalesAsked } from './scales';

type PackedPagedAttrs = {
  readonly num_heads: number;
  readonly kv_num_heads: number;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  readonly local_window_size?: number | undefined;
  /** Default 1. */
  readonly is_causal?: number | undefined;
};

/**
 * The kernel {@link PagedAttention} for sequences of any lengths, without cached positions: past_seqlens is 0, and each sequence has blocks of its own in pools that no
 * other node reads before they are written. Operands and outputs as there.
 */
export const PackedPagedAttention = defineOp<PackedPagedAttrs, typeof names>({
  key: PagedAttention.key,
  operands: names,
  attributes: {
    num_heads: 'int',
    kv_num_heads: 'int',
    scale: 'float',
    softcap: 'float',
    local_window_size: 'int',
    is_causal: 'int',
  },
  asks(given, { is_causal, scale, ...attrs }) {
    return { ...PagedAttention.asks!(given, attrs), ...scalesAsked(scale), 'all pairs of a sequence': is_causal === 0 };
  },
  infer: ([query]) => [query!],
  decompose(given, { num_heads, kv_num_heads, scale, softcap, local_window_size, is_causal }, ops) {
    const { query, key, value, cumulative_sequence_length: ends, head_sink: sinks } = operandsOf(names, given);
    const window = local_window_size === undefined ? none : slidingWindow({ left: local_window_size - 1, right: 0 });
    const [q, k, v] = [
      toHeads(query, num_heads, tokens),
      toHeads(key, kv_num_heads, tokens),
      toHeads(value, kv_num_heads, tokens),
    ];
    const y = ops.attendOp(q, k, v, {
      mask: and(documents(ops.cast(ends, 'int64')), is_causal === 0 ? none : causal, window),
      ...(scale !== undefined && { scale }),
      ...(softcap !== undefined && { softcap }),
      ...(sinks && { sinks }),
    });
    return [toRows(y, tokens)];
  },
});

const own = defineReasons({
  looksAhead: () => 'it has no window without a causal mask',
  perPair: ({ what }: { readonly what: string }) => `it has no ${what} for pairs of packed tokens`,
  withoutCache: () => 'its rows have as many queries as keys',
  valueWidth: () => 'values have another width than keys',
});

/** Rows of a block: the flash kernel takes multiples of 256 for every width of heads. */
const blockSize = 256;
/**
 * With its kernel, more than PackedMultiHeadAttention and than plain attention on padded rows in 16 bits, which are faster. Under a window it has no rival but blocks
 * of primitives.
 */
const besides = 15.3;

/**
 * Attend on packed sequences → PagedAttention: for what PackedMultiHeadAttention lacks (bfloat16, causal masks and windows, shared key heads, softcap, sinks). It writes
 * keys and values to pools first.
 */
export const usePackedPagedAttention = rule('Attend(packed) → PagedAttention', Attend, (node) => {
  const { q, k, v, mask, bias, noise, sinks } = attendParts(node.operands, node.attrs);
  if (!maskKinds(mask).includes('documents')) return undefined;
  const m = expressedBy(mask, { documents: true, window: true });
  if (m.inexpressible !== undefined) return refuse(reasons.maskNotExpressible(m.inexpressible));
  const { offsets, keyOffsets } = m.documents!;
  const source = sourceOf(offsets);
  if (offsets !== keyOffsets) return refuse(reasons.keysOfOthers());
  if (!source) return refuse(reasons.derivedOffsets());
  const isCausal = m.right === 0;
  if ((!isCausal && (m.right !== undefined || m.left !== undefined)) || (m.left ?? 0) < 0) return refuse(own.looksAhead());
  if (bias) return refuse(own.perPair({ what: 'bias' }));
  if (noise) return refuse(own.perPair({ what: 'dropout' }));
  const [heads, kvHeads] = [q.dims[1], k.dims[1]];
  if (typeof heads !== 'number' || typeof kvHeads !== 'number') return refuse(reasons.headCountsUnknown());
  if (k.dims[3] !== v.dims[3]) return refuse(own.valueWidth());
  const { scale, softcap } = node.attrs;
  const emit = (get: Get): readonly Value[] => {
    const rows = [q, k, v].map((x) => toRows(get(x), tokens)) as [Value, Value, Value];
    // Only its dims are read.
    const places = tokenPlaces(rows[0].graph.root, { ...source, lengths: get(source.lengths) });
    const sequences = { near: places, ends: node.graph.ops.cast(get(offsets), 'int32'), heads, kvHeads };
    const attrs = { scale, softcap, ...(m.left !== undefined && { window: m.left + 1 }), isCausal };
    return [toHeads(inPools(rows, sequences, attrs, sinks && get(sinks)), heads, tokens)];
  };
  return { covers: node.outputs, cost: m.left === undefined ? besides : 0, emit };
});

/** Sequences one behind the other. */
interface Sequences {
  /** A value of dims [batch, longest]. */
  readonly near: Value;
  /** int32 [batch + 1] */
  readonly ends: Value;
  readonly heads: number;
  readonly kvHeads: number;
}
interface Way {
  readonly scale: number | undefined;
  readonly softcap: number | undefined;
  /** Keys of a window, the query's own included. */
  readonly window?: number;
  readonly isCausal: boolean;
}

/** The kernel on rows [tokens, heads · head_dim]. */
function inPools(
  rows: readonly [Value, Value, Value],
  { near, ends, heads, kvHeads }: Sequences,
  { scale, softcap, window, isCausal }: Way,
  sinks: Value | undefined,
): Value {
  const { add, cast, fill, iota, mul, reshape, size, sizes } = near.graph.ops;
  const [batch, longest] = near.dims as [Dim, Dim];
  const blocks = ceilDivDims(longest, blockSize);
  const width = Number(rows[2].dims[1]) / kvHeads;
  const pool = (filled: number): Value => fill(near, [mulDims(batch, blocks), blockSize, kvHeads, width], filled, rows[1].dtype);
  const first = mul(reshape(iota(near, batch), [batch, 1]), size(near, blocks, [near]));
  const operands = {
    query: rows[0],
    key: rows[1],
    value: rows[2],
    // Equal pools would become one. Each layer writes them anew before it reads them, so all layers share them.
    key_cache: pool(0),
    value_cache: pool(1),
    cumulative_sequence_length: ends,
    past_seqlens: fill(near, [batch], 0, 'int32'),
    block_table: cast(add(first, reshape(iota(near, blocks), [1, blocks])), 'int32'),
    head_sink: sinks,
    // In CPU memory, since it comes from sizes.
    attention_metadata: cast(sizes(near, [longest, longest], [near]), 'int32'),
  };
  const attrs: PackedPagedAttrs = {
    num_heads: heads,
    kv_num_heads: kvHeads,
    scale,
    softcap,
    local_window_size: window,
    is_causal: isCausal ? undefined : 0,
  };
  return apply(PackedPagedAttention, operands, attrs)[0]!;
}

/**
 * Attend under a causal window → PagedAttention, each row of the batch as a sequence of its own: on an H200 it takes half the time of GroupQueryAttention, which copies
 * keys and values to outputs.
 */
export const usePagedWindow = rule('Attend(window) → PagedAttention', Attend, (node) => {
  const { q, k, v, mask, bias, noise, sinks, queryOffset } = attendParts(node.operands, node.attrs);
  const m = expressedBy(mask, { window: true });
  if (m.inexpressible !== undefined || m.left === undefined || m.right !== 0 || m.left < 0) return undefined;
  const [batch, heads, seq, headDim] = q.dims as [Dim, Dim, Dim, Dim];
  const kvHeads = k.dims[1]!;
  if (seq !== k.dims[2] || queryOffset) return refuse(own.withoutCache());
  if (bias) return refuse(own.perPair({ what: 'bias' }));
  if (noise) return refuse(own.perPair({ what: 'dropout' }));
  if (typeof heads !== 'number' || typeof kvHeads !== 'number') return refuse(reasons.headCountsUnknown());
  if (k.dims[3] !== v.dims[3]) return refuse(own.valueWidth());
  const { scale, softcap } = node.attrs;
  const left = m.left;
  const emit = (get: Get): readonly Value[] => {
    const { cast, fill, iota, mul, reshape, size } = node.graph.ops;
    const flat = (x: Value): Value => {
      const [b, s, width] = x.dims as [Dim, Dim, Dim];
      return reshape(x, [mulDims(b, s), width]);
    };
    const rows = [q, k, v].map((x) => flat(toRows(get(x)))) as [Value, Value, Value];
    const near = fill(get(q), [batch, seq], 0, 'int32');
    const ends = cast(mul(iota(get(q), addDims(batch, 1)), size(get(q), seq)), 'int32');
    const attrs = { scale, softcap, window: left + 1, isCausal: true };
    const y = inPools(rows, { near, ends, heads, kvHeads }, attrs, sinks && get(sinks));
    return [toHeads(reshape(y, [batch, seq, mulDims(heads, headDim)]), heads)];
  };
  return { covers: node.outputs, emit };
});
