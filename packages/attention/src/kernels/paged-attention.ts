// PagedAttention of com.microsoft: causal attention on a paged cache, which it updates in place.
import {
  addDims,
  and,
  causal,
  type Dim,
  divDims,
  mulDims,
  type Node,
  padded,
  printMask,
  slidingWindow,
  splitHeads,
  type Value,
} from '@onnxformers/core';
import {
  apply,
  attendParts,
  defineOp,
  defineReasons,
  encoded,
  expressedBy,
  type Get,
  madeBy,
  maskKinds,
  mismatch,
  operandsOf,
  printType,
  reasons,
  refuse,
  rule,
} from '@onnxformers/core/lowering';
import { Attend } from '@onnxformers/core/ops';
import { toHeads, toRows } from './rows';
import { scalesAsked } from './scales';

type PagedAttentionAttrs = {
  readonly num_heads: number;
  readonly kv_num_heads: number;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  readonly local_window_size?: number | undefined;
};

/** The kernel's operands. */
export const pagedOperands = [
  'query',
  'key',
  'value',
  'key_cache',
  'value_cache',
  'cumulative_sequence_length',
  'past_seqlens',
  'block_table',
  'cos_cache?',
  'sin_cache?',
  'slot_mapping?',
  'head_sink?',
  'q_norm_weight?',
  'k_norm_weight?',
  'k_scale?',
  'v_scale?',
  'attention_metadata?',
] as const;
/**
 * The kernel, for the same number of new positions in each sequence. Operands: query [tokens, heads · head_dim], key and value [tokens, kv_heads · head_dim],
 * key_cache and value_cache [blocks, block_size, kv_heads, head_dim] (states), cumulative_sequence_length int32 [batch + 1], past_seqlens int32
 * [batch], block_table int32 [batch, n], cos_cache, sin_cache, slot_mapping, head_sink [heads], q_norm_weight, k_norm_weight, k_scale,
 * v_scale, attention_metadata int32 [2] in CPU memory (maximum number of new positions, and of positions of a sequence). Outputs: result, and the two caches, which are
 * not written as outputs, because they would have to share the memory of the inputs.
 */
export const PagedAttention = defineOp<PagedAttentionAttrs, typeof pagedOperands>({
  key: 'com.microsoft.PagedAttention',
  operands: pagedOperands,
  attributes: { num_heads: 'int', kv_num_heads: 'int', scale: 'float', softcap: 'float', local_window_size: 'int' },
  writes: ['key_cache', 'value_cache'],
  asks(given, { num_heads, kv_num_heads, scale, softcap, local_window_size }) {
    const { key_cache, head_sink: sinks } = operandsOf(pagedOperands, given);
    return {
      head_dim: key_cache.dims[3]!,
      block_size: key_cache.dims[1]!,
      'grouped heads': num_heads !== kv_num_heads,
      softcap: !!softcap,
      window: local_window_size !== undefined && local_window_size > 0,
      sinks: !!sinks,
      ...(sinks && { [sinkBlocks(key_cache.dims[3]!)]: key_cache.dims[1]! }),
      ...scalesAsked(scale),
    };
  },
  infer(given) {
    const { query, key, value, key_cache, value_cache, block_table: table } = operandsOf(pagedOperands, given);
    for (const t of [query, key, value])
      if (t.dims.length !== 2) throw mismatch('an operand does not have 2 axes', '[tokens, heads · head_dim]', printType(t));
    if (table.dtype !== 'int32') throw mismatch('the block table is not int32', 'int32[batch, blocks]', printType(table));
    return [query, key_cache, value_cache];
  },
  decompose(given, { num_heads, kv_num_heads, scale, softcap, local_window_size }, ops) {
    const { query, key, value, key_cache, value_cache, ...others } = operandsOf(pagedOperands, given);
    const { past_seqlens: past, block_table: table, head_sink: sinks } = others;
    const batch = table.dims[0]!;
    const seq = divDims(query.dims[0]!, batch);
    const heads = (x: Value, n: number): Value => splitHeads(ops.reshape(x, [batch, seq, x.dims[1]!]), n, padded);
    const pastLengths = ops.cast(past, 'int64');
    const append = (pool: Value, x: Value): readonly Value[] =>
      apply(ops.PagedAppend, { pool, rows: heads(x, kv_num_heads), pastLengths, table }, {});
    const [k, keysAfter] = append(key_cache, key);
    const [v, valuesAfter] = append(value_cache, value);
    const window =
      local_window_size !== undefined && local_window_size > 0
        ? slidingWindow({ left: local_window_size - 1, right: 0 })
        : causal;
    const y = ops.attendOp(heads(query, num_heads), k!, v!, {
      mask: and(causal, window),
      queryOffset: pastLengths,
      ...(scale !== undefined && { scale }),
      ...(softcap ? { softcap } : {}),
      ...(sinks && { sinks }),
    });
    return [ops.reshape(toRows(y), query.dims), keysAfter!, valuesAfter!];
  },
  vjp: 'nonDifferentiable',
  encode: (node) => ({ ...encoded(node as Node, node.operands), outputs: [node.outputs[0]] }),
});

// Which blocks sinks require depends on the width of heads; a name for each of the widths that the kernel distinguishes.
const sinkBlocks = (headDim: Dim): string => {
  const width = Number(headDim) <= 64 ? 'up to 64' : Number(headDim) <= 128 ? 'up to 128' : 'above 128';
  return `block_size with sinks and a head_dim ${width}`;
};

const appended = (node: Node) => operandsOf(node.graph.ops.PagedAppend, node.operands);

const own = defineReasons({
  offsetOfPools: () => 'the queries do not start where the cached positions end',
  poolsRead: () => 'something else reads the cached keys or values',
});

/** Attend with its two appends to pools → PagedAttention. */
export const usePagedAttention = rule('Attend(PagedAppend) → PagedAttention', Attend, (node, context) => {
  const { ops } = node.graph;
  const { q, k, v, queryOffset, bias, sinks, noise, mask } = attendParts(node.operands, node.attrs);
  const [keys, values] = [madeBy(k, ops.PagedAppend), madeBy(v, ops.PagedAppend)];
  if (!keys || !values) return undefined;
  const [ofKeys, ofValues] = [appended(keys), appended(values)];
  const m = expressedBy(mask, { window: true });
  if (m.inexpressible !== undefined || m.right !== 0 || (m.left ?? 0) < 0)
    return refuse(reasons.maskNotExpressible({ mask: printMask(mask), kinds: maskKinds(mask) }));
  if (bias) return refuse(reasons.lacks({ feature: 'bias' }));
  if (noise) return refuse(reasons.lacks({ feature: 'dropout' }));
  const { pool, pastLengths, table } = ofKeys;
  if (queryOffset !== pastLengths || ofValues.pastLengths !== pastLengths || ofValues.table !== table)
    return refuse(own.offsetOfPools());
  if (context.uses(k) !== 1 || context.uses(v) !== 1) return refuse(own.poolsRead());
  const [heads, kvHeads] = [q.dims[1], k.dims[1]];
  if (typeof heads !== 'number' || typeof kvHeads !== 'number') return refuse(reasons.headCountsUnknown());
  const attrs: PagedAttentionAttrs = {
    num_heads: heads,
    kv_num_heads: kvHeads,
    scale: node.attrs.scale,
    softcap: node.attrs.softcap,
    local_window_size: m.left === undefined ? undefined : m.left + 1,
  };
  const emit = (get: Get): readonly Value[] => {
    const query = get(q);
    const [batch, seq] = [query.dims[0]!, query.dims[2]!];
    const flat = (x: Value): Value => {
      const rows = toRows(x);
      return ops.reshape(rows, [mulDims(batch, seq), rows.dims[2]!]);
    };
    const { ends, most } = bounds(query, { batch, seq, rows: mulDims(table.dims[1]!, pool.dims[1]!) });
    const operands = {
      query: flat(query),
      key: flat(get(ofKeys.rows)),
      value: flat(get(ofValues.rows)),
      key_cache: get(ofKeys.pool),
      value_cache: get(ofValues.pool),
      cumulative_sequence_length: ends,
      past_seqlens: ops.cast(get(pastLengths), 'int32'),
      block_table: get(table),
      head_sink: sinks && get(sinks),
      attention_metadata: most,
    };
    const [y, keysAfter, valuesAfter] = apply(PagedAttention, operands, attrs) as [Value, Value, Value];
    const rows = ops.reshape(y, [batch, seq, y.dims[1]!]);
    // The gathered keys and values are no longer read; the kernel reads the pools.
    return [toHeads(rows, heads), keysAfter, keysAfter, valuesAfter, valuesAfter];
  };
  return { covers: [...node.outputs, ...keys.outputs, ...values.outputs], emit };
});

// The end of each sequence among the tokens, and the maximum number of positions: computed only from sizes, without waiting for the device.
function bounds(
  { graph }: Value,
  o: { readonly batch: Dim; readonly seq: Dim; readonly rows: Dim },
): { readonly ends: Value; readonly most: Value } {
  const g = graph.root;
  const { ops } = g;
  const counted = ops.iota(g, addDims(o.batch, 1));
  const ends = ops.cast(ops.mul(counted, ops.size(g, o.seq)), 'int32');
  const most = ops.concat(
    [o.seq, o.rows].map((d) => ops.reshape(ops.size(g, d), [1])),
    0,
  );
  return { ends, most: ops.cast(most, 'int32') };
}
