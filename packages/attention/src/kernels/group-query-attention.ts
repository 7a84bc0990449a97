// GroupQueryAttention of com.microsoft: causal attention with grouped key heads, windows, softcap, sinks, and its own cache.
import {
  addDims,
  and,
  causal,
  type Dim,
  type Mask,
  type Node,
  padded,
  printMask,
  slidingWindow,
  splitHeads,
  type Value,
} from '@onnxformers/core';
import {
  type AttendAttrs,
  apply,
  attendParts,
  defineOp,
  defineReasons,
  derive,
  expressedBy,
  type Get,
  type Match,
  type MatchContext,
  madeBy,
  maskKinds,
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
import { Attend, type CacheAppendAttrs } from '@onnxformers/core/ops';
import { type Places, type Rotation, rotationOf } from './rotation';
import { toHeads, toRows } from './rows';
import { scalesAsked } from './scales';

type GroupQueryAttentionAttrs = {
  readonly num_heads: number;
  readonly kv_num_heads: number;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  readonly local_window_size?: number | undefined;
  readonly do_rotary?: number | undefined;
  readonly rotary_interleaved?: number | undefined;
};

const names = [
  'query',
  'key',
  'value',
  'past_key?',
  'past_value?',
  'seqlens_k',
  'total_sequence_length',
  'cos_cache?',
  'sin_cache?',
  'position_ids?',
  'attention_bias?',
  'head_sink?',
] as const;
/**
 * The kernel. Operands: query [batch, seq, heads · head_dim], key and value [batch, seq, kv_heads · head_dim], past_key and past_value
 * [batch, kv_heads, past or capacity, head_dim], seqlens_k int32 [batch] (valid keys − 1), total_sequence_length int32 [] in CPU memory, cos_cache
 * and sin_cache [at least total_sequence_length, rotary_dim / 2], position_ids, attention_bias, head_sink [heads]. Outputs: result, present_key,
 * present_value. With do_rotary queries and new keys are rotated by their positions, from seqlens_k + 1 − seq on; position_ids is not used.
 */
export const GroupQueryAttention = defineOp<GroupQueryAttentionAttrs & { readonly present: Dim }, typeof names>({
  key: 'com.microsoft.GroupQueryAttention',
  operands: names,
  attributes: {
    num_heads: 'int',
    kv_num_heads: 'int',
    scale: 'float',
    softcap: 'float',
    local_window_size: 'int',
    do_rotary: 'int',
    rotary_interleaved: 'int',
    present: 'data',
  },
  asks(given, { num_heads, kv_num_heads, scale, softcap, local_window_size, present, do_rotary, rotary_interleaved }) {
    const { key, past_key, cos_cache: cos, attention_bias: bias, head_sink: sinks } = operandsOf(names, given);
    const headDim = (key.dims[2] as number) / kv_num_heads;
    return {
      head_dim: headDim,
      'head_dim with rotary': do_rotary ? headDim : undefined,
      'rotary pairs': do_rotary ? cos!.dims[1]! : undefined,
      rotary: !!do_rotary,
      'interleaved rotary': !!do_rotary && rotary_interleaved === 1,
      'partial rotary': !!do_rotary && cos!.dims[1] !== headDim / 2,
      'grouped heads': num_heads !== kv_num_heads,
      softcap: !!softcap,
      window: local_window_size !== undefined && local_window_size > 0,
      bias: !!bias,
      sinks: !!sinks,
      'growing cache': !!past_key && past_key.dims[2] !== present,
      'growing cache of known size': !!past_key && past_key.dims[2] !== present && typeof past_key.dims[2] === 'number',
      'fixed cache': past_key?.dims[2] === present,
      ...scalesAsked(scale),
    };
  },
  infer(given, { kv_num_heads, present }) {
    const { query, key, seqlens_k: lengths } = operandsOf(names, given);
    if (query?.dims.length !== 3 || key?.dims.length !== 3)
      throw mismatch('an operand does not have 3 axes', '[batch, seq, heads · head_dim]', printType(query));
    if (lengths?.dtype !== 'int32') throw mismatch('seqlens_k is not int32', 'int32[batch]', printType(lengths));
    const cache = { dtype: query.dtype, dims: [query.dims[0]!, kv_num_heads, present, (key.dims[2] as number) / kv_num_heads] };
    return [query, cache, cache];
  },
  decompose(given, { num_heads, kv_num_heads, scale, softcap, local_window_size, present, do_rotary, rotary_interleaved }, ops) {
    const { query, key, value, seqlens_k, ...optional } = operandsOf(names, given);
    const { past_key, past_value, cos_cache: cos, sin_cache: sin, attention_bias: bias, head_sink: sinks } = optional;
    const [batch, seq] = query.dims as readonly [Dim, Dim];
    const queryOffset = ops.add(ops.cast(seqlens_k, 'int64'), ops.sub(1, ops.size(query.graph, seq)));
    const turn = (x: Value): Value => {
      if (!do_rotary) return x;
      const places = ops.expand(ops.add(ops.unsqueeze(queryOffset, [1]), ops.reshape(ops.iota(x.graph, seq), [1, seq])), [
        batch,
        seq,
      ]);
      const [interleaved, rotaryDim] = [rotary_interleaved === 1, 2 * (cos!.dims[1] as number)];
      return ops.rotaryEmbedding(x, cos!, sin!, places, { interleaved, ...(rotaryDim !== x.dims[3] && { rotaryDim }) });
    };
    const q = turn(splitHeads(query, num_heads, padded));
    const [k, v] = [turn(splitHeads(key, kv_num_heads, padded)), splitHeads(value, kv_num_heads, padded)];
    const grows = !past_key || past_key.dims[2] !== present;
    const append = (past: Value | undefined, rows: Value) =>
      past ? ops.cacheAppend(past, rows, grows ? undefined : queryOffset) : rows;
    const [allKeys, allValues] = [append(past_key, k), append(past_value, v)];
    const window =
      local_window_size !== undefined && local_window_size > 0
        ? slidingWindow({ left: local_window_size - 1, right: 0 })
        : causal;
    const y = ops.attendOp(q, allKeys, allValues, {
      mask: and(causal, window),
      queryOffset,
      ...(scale !== undefined && { scale }),
      ...(softcap ? { softcap } : {}),
      ...(bias && { bias }),
      ...(sinks && { sinks }),
    });
    return [toRows(y), allKeys, allValues];
  },
  // Without queries or sequences the result is as empty as the queries, and the caches have the new rows.
  ofNothing(given, { kv_num_heads, present }, ops) {
    const { query, key, value, past_key, past_value } = operandsOf(names, given);
    const rows = (x: Value): Value => splitHeads(x, kv_num_heads, padded);
    const after = (past: Value | undefined, x: Value): Value => {
      if (!past) return rows(x);
      return past.dims[2] === present ? past : ops.concat([past, rows(x)], 2);
    };
    return [query, after(past_key, key), after(past_value, value)];
  },
});

const own = defineReasons({
  notCausal: ({ mask }: { readonly mask: string }) => `it is always causal; the mask is ${mask}`,
  valueWidth: ({ keys, values }: { readonly keys: number | string; readonly values: number | string }) =>
    `keys and values must have the same head_dim, got ${keys} and ${values}`,
  offsetOfCache: () => 'the queries do not start where the cache ends',
  offsetMissing: () => 'a cache of fixed capacity requires a query offset',
  lengthsDiffer: () => 'there are more keys than queries, and there is no cache',
  growingTables: () =>
    'the last position of a growing cache is not known, so its tables of angles would be computed in every call',
});

interface Caches {
  readonly key: Node<CacheAppendAttrs>;
  readonly value: Node<CacheAppendAttrs>;
}

// Keys and values that this node appends to a cache.
function cachesOf(k: Value, v: Value): Caches | undefined {
  const { CacheAppend } = k.graph.ops;
  const [key, value] = [madeBy(k, CacheAppend), madeBy(v, CacheAppend)];
  return key && value ? { key, value } : undefined;
}
const appended = (node: Node<CacheAppendAttrs>) => operandsOf(node.graph.ops.CacheAppend, node.operands);

interface Window {
  /** Number of keys that a query attends to, up to its own position; undefined: all up to its own position. */
  readonly seen: number | undefined;
}

// The causal mask or window as the kernel expresses it, or why it cannot express it.
function windowOf(mask: Mask<Value>, q: Value): Window | Reason {
  const m = expressedBy(mask, { window: true });
  if (m.inexpressible !== undefined) return reasons.maskNotExpressible(m.inexpressible);
  // A single query is at the position of the last key.
  const causal = m.right === 0 || (q.dims[2] === 1 && (m.right ?? 0) >= 0);
  if (!causal) return own.notCausal({ mask: printMask(mask) });
  if ((m.left ?? 0) < 0) return reasons.maskNotExpressible({ mask: printMask(mask), kinds: maskKinds(mask) });
  return { seen: m.left === undefined ? undefined : m.left + 1 };
}

// Why the kernel cannot compute this attention in any variant.
function objection(
  { operands, attrs }: Node<AttendAttrs>,
  caches: Caches | undefined,
  context: MatchContext,
): Reason | undefined {
  const { q, k, v, queryOffset, noise } = attendParts(operands, attrs);
  if (typeof q.dims[1] !== 'number' || typeof k.dims[1] !== 'number') return reasons.headCountsUnknown();
  const headDim = k.dims[3]!;
  if (v.dims[3] !== headDim || typeof headDim !== 'number') return own.valueWidth({ keys: headDim, values: v.dims[3]! });
  if (noise) return reasons.lacks({ feature: 'dropout' });
  const fixed = caches?.key.attrs.form === 'fixed';
  if (queryOffset && !(fixed && appended(caches.key).pastLengths === queryOffset)) return own.offsetOfCache();
  if (!queryOffset && fixed) return own.offsetMissing();
  if (!caches && q.dims[2] !== k.dims[2]) return own.lengthsDiffer();
  if (caches && q.dims[2] !== 1 && q.dims[0] !== 1 && !context.assumes(emptyCache))
    return reasons.assumption({
      assumption: emptyCache,
      without: 'with a cache it accepts several new tokens in one call only for a batch of 1',
      holds: 'only the first call (prefill) has several new tokens',
    });
  return undefined;
}
const emptyCache = 'prefill into empty cache';

interface Form {
  readonly variant?: string;
  /** With a sink whose weight is 0. */
  readonly nullSink?: boolean;
  /** With the rotary embedding of queries and keys inside the kernel. */
  readonly turns?: Rotation | undefined;
}

function match(node: Node<AttendAttrs>, context: MatchContext): Outcome {
  const { q, k, v, queryOffset, sinks, mask } = attendParts(node.operands, node.attrs);
  const window = windowOf(mask, q);
  if (!('seen' in window)) return refuse(window);
  const { seen } = window;
  const caches = cachesOf(k, v);
  const why = objection(node, caches, context);
  if (why) return refuse(why);
  const [newKeys, newValues] = caches ? [appended(caches.key).rows, appended(caches.value).rows] : [k, v];
  const turning = rotation(q, newKeys, { queryOffset, cached: caches !== undefined, count: k.dims[2]! }, context);
  const ways = ({ variant, turns }: Form): Match[] => [
    made(node, { caches, newKeys, newValues, seen }, { ...(variant && { variant }), turns }),
    ...(sinks
      ? []
      : [
          made(
            node,
            { caches, newKeys, newValues, seen },
            { variant: [variant, 'a null sink'].filter(Boolean).join(' and '), turns, nullSink: true },
          ),
        ]),
  ];
  const rotated = 'rotary embedding';
  if (!turning) return ways({});
  return [
    ...ways({}),
    ...('refused' in turning ? [refuse(turning.refused, `with ${rotated}`)] : ways({ variant: rotated, turns: turning })),
  ];
}

interface Found extends Window {
  readonly caches: Caches | undefined;
  readonly newKeys: Value;
  readonly newValues: Value;
}

// One variant of the kernel, for an attention that it can compute.
function made(node: Node<AttendAttrs>, { caches, newKeys, newValues, seen }: Found, { variant, nullSink, turns }: Form): Match {
  const { q, k, queryOffset, bias, sinks } = attendParts(node.operands, node.attrs);
  const attrs = {
    num_heads: q.dims[1] as number,
    kv_num_heads: k.dims[1] as number,
    scale: node.attrs.scale,
    softcap: node.attrs.softcap,
    local_window_size: seen,
    do_rotary: turns && 1,
    rotary_interleaved: turns?.interleaved ? 1 : undefined,
    present: k.dims[2]!,
  };
  const emit = (get: Get): readonly Value[] => {
    const query = get(turns?.q ?? q);
    const [batch, seq] = [query.dims[0]!, query.dims[2]!];
    const [freshKey, freshValue] = [turns?.k ?? newKeys, newValues].map((rowsOf) => toRows(get(rowsOf)));
    const [cos, sin] = turns?.tables(get) ?? [];
    const { lengths, total } = queryOffset ? placed(get(queryOffset), seq) : whole(query, batch, k.dims[2]!);
    const outputs = apply(
      GroupQueryAttention,
      {
        query: toRows(query),
        key: freshKey!,
        value: freshValue!,
        past_key: caches && pastOf(caches.key, get),
        past_value: caches && pastOf(caches.value, get),
        seqlens_k: lengths,
        total_sequence_length: total,
        cos_cache: cos,
        sin_cache: sin,
        attention_bias: bias && get(bias),
        head_sink: nullSink ? idle(query) : sinks && get(sinks),
      },
      attrs,
    );
    const y = toHeads(outputs[0]!, attrs.num_heads);
    return caches ? [y, outputs[1]!, outputs[2]!] : [y];
  };
  const covers = caches ? [...node.outputs, ...caches.key.outputs, ...caches.value.outputs] : node.outputs;
  return { ...(variant && { variant: `with ${variant}` }), covers, absorbs: turns?.absorbs ?? [], emit };
}

// Tables must contain every position. For a cache of known capacity they are computed once; otherwise in every run, as the rotation itself.
function rotation(
  q: Value,
  k: Value,
  o: Places & { readonly cached: boolean },
  context: MatchContext,
): Rotation | Refusal | undefined {
  const found = rotationOf(q, k, o, context);
  if (!found || 'refused' in found || !o.cached || typeof o.count === 'number') return found;
  return refuse(own.growingTables());
}

// For a past that is computed: the runtime may write the result into its memory, so it must be large enough for the new positions.
function pastOf(node: Node<CacheAppendAttrs>, get: Get): Value {
  const { past, rows } = appended(node);
  const growing = node.attrs.form === 'growing' && past.producer !== undefined;
  return growing ? node.graph.ops.concat([get(past), get(rows)], 2) : get(past);
}

// Every sequence of the batch has the same number of keys.
function whole(query: Value, batch: Dim, keys: Dim): { lengths: Value; total: Value } {
  const { ops } = query.graph;
  const total = ops.cast(ops.size(query.graph, keys), 'int32');
  return { lengths: ops.expand(ops.reshape(ops.cast(ops.size(query.graph, addDims(keys, -1)), 'int32'), [1]), [batch]), total };
}

// Each sequence has its own length; the longest one is in CPU memory.
function placed(queryOffset: Value, seq: Dim): { lengths: Value; total: Value } {
  const { graph } = queryOffset;
  const { ops } = graph;
  const lengths = ops.cast(ops.add(queryOffset, ops.size(graph, addDims(seq, -1))), 'int32');
  return { lengths, total: derive(graph.root, 'longest', { dtype: 'int32', dims: [] }, [queryOffset], seq) };
}

// A logit for each head whose weight is 0 beside any score; in causal attention there is always a score.
const idle = ({ graph, dtype, dims: [, heads] }: Value): Value =>
  graph.ops.fill(graph, [heads!], Number.NEGATIVE_INFINITY, dtype);

/**
 * Attend, with the appends to its caches if there are any → GroupQueryAttention: also with the rotary embedding of queries and keys
 * inside, and with a null sink, which avoids a path of the kernel that is slow on some targets.
 */
export const useGroupQueryAttention = rule('Attend → GroupQueryAttention', Attend, match);
