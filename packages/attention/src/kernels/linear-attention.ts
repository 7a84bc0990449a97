// LinearAttention of com.microsoft: recurrences with a matrix per head as their state.
import { type Dim, mulDims, type Node, type TensorType, type Value } from '@onnxformers/core';
import {
  apply,
  defineOp,
  defineReasons,
  type MatchContext,
  mismatch,
  operandsOf,
  printType,
  type Rule,
  reasons,
  refuse,
  rule,
} from '@onnxformers/core/lowering';
import { useScan } from '../recurrent/carry-scan';
import { LinearRecurrence, linearRecurrence } from '../recurrent/linear-recurrence';

type LinearAttentionAttrs = {
  readonly q_num_heads: number;
  readonly kv_num_heads: number;
  readonly update_rule: 'linear' | 'gated' | 'delta' | 'gated_delta';
  /** 0 would be 1 / √head_dim. */
  readonly scale: number;
};

const names = ['query', 'key', 'value', 'past_state?', 'decay?', 'beta?'] as const;

/**
 * The kernel. Operands: query [batch, seq, heads · n], key, value [batch, seq, heads · m], past_state [batch, heads, n, m], decay
 * [batch, seq, heads] or [batch, seq, heads · n], beta [batch, seq, heads].
 */
export const LinearAttention = defineOp<LinearAttentionAttrs, typeof names>({
  key: 'com.microsoft.LinearAttention',
  operands: names,
  results: ['output', 'present_state'],
  attributes: { q_num_heads: 'int', kv_num_heads: 'int', update_rule: 'string', scale: 'float' },
  infer(given, { q_num_heads: queryHeads, kv_num_heads: heads }) {
    const { query, value } = operandsOf(names, given);
    for (const t of [query, value])
      if (t.dims.length !== 3 || typeof t.dims[2] !== 'number')
        throw mismatch('an operand does not have 3 axes', '[batch, seq, heads · width]', printType(t));
    const width = (t: TensorType, n: number): number => (t.dims[2] as number) / n;
    return [value, { dtype: value.dtype, dims: [value.dims[0]!, heads, width(query, queryHeads), width(value, heads)] }];
  },
  decompose(given, { q_num_heads: queryHeads, kv_num_heads: heads, scale }, { reshape }) {
    const { query, key, value, past_state: past, decay, beta } = operandsOf(names, given);
    const split = (x: Value, n: number): Value =>
      reshape(x, [x.dims[0]!, x.dims[1]!, n, (x.dims[2] as number) / n] as readonly Dim[]);
    const [q, k, v] = [split(query, queryHeads), split(key, queryHeads), split(value, heads)];
    const decays = decay && decay.dims[2] !== heads ? split(decay, heads) : decay;
    const [y, state] = linearRecurrence({ q, k, v, past, decay: decays, beta, scale });
    return [reshape(y, value.dims), state];
  },
});

const own = defineReasons({
  oneAfterAnother: ({ positions, most }: { readonly positions: Dim; readonly most: number }) =>
    `it takes one position after another: chunks of ${positions} positions take less time, from ${most} on`,
  zeroScale: () => 'it reads a scale of 0 as 1 / √head_dim',
});

const rules = {
  sum: ['linear', 'gated'],
  delta: ['delta', 'gated_delta'],
} as const;

/** LinearRecurrence → LinearAttention; heads of keys that several heads share are repeated. */
export const useLinearAttention = rule('LinearRecurrence → LinearAttention', LinearRecurrence, (node, context) => {
  const { update, scale, short } = node.attrs;
  const { q, v } = operandsOf(['q', 'k', 'v'] as const, node.operands as readonly [Value, Value, Value]);
  const [heads, n, m] = [v.dims[2]!, q.dims[3]!, v.dims[3]!];
  if (typeof heads !== 'number' || typeof n !== 'number' || typeof m !== 'number') return refuse(reasons.headCountsUnknown());
  if (Math.fround(scale) === 0) return refuse(own.zeroScale());
  const seq = short ? undefined : longOn(node, context);
  if (typeof seq === 'number') return refuse(own.oneAfterAnother({ positions: seq, most: few }));
  return {
    covers: node.outputs,
    cost: 1,
    emit(get) {
      const [queries, keys, values, past, decay, beta] = node.operands.map((x) => x && get(x));
      const { ops } = values!.graph;
      const inRows = (x: Value): Value => {
        const [batch, seq, shared, width] = x.dims as readonly [Dim, Dim, number, number];
        const each = heads / shared;
        const repeated = each === 1 ? x : ops.expand(ops.unsqueeze(x, [3]), [batch, seq, shared, each, width]);
        return ops.reshape(repeated, [batch, seq, mulDims(heads, width)]);
      };
      const attrs: LinearAttentionAttrs = {
        q_num_heads: heads,
        kv_num_heads: heads,
        update_rule: rules[update][decay ? 1 : 0],
        scale,
      };
      const decays = decay?.rank === 4 ? inRows(decay) : decay;
      const operands = [inRows(queries!), inRows(keys!), inRows(values!), past, decays, beta];
      const [y, state] = apply<LinearAttentionAttrs>(LinearAttention, operands, attrs);
      return [ops.reshape(y!, values!.dims), state!];
    },
  };
});

/**
 * On a device, the number of positions up to which the kernel is faster than chunks. It takes one position after another, 2 to 4 microseconds each on an H200; chunks take
 * 0.3 to 0.6 ms for their many small steps, and 0.04 to 0.25 microseconds for each position: docs/benchmarks.md.
 */
const few = 256;
/** Sequences and heads together from which the kernel fills a device whatever their length. */
const manyStates = 1024;

/** The number of positions if the kernel may take longer than chunks: a number, if it certainly does. */
function longOn(node: Node, { waitsInLoops }: MatchContext): Dim | undefined {
  const [batch, seq, heads] = operandsOf(LinearRecurrence, node.operands).v!.dims as readonly [Dim, Dim, Dim];
  if (!waitsInLoops || (typeof batch === 'number' && batch * Number(heads) >= manyStates)) return undefined;
  return typeof seq === 'number' && seq <= few ? undefined : seq;
}

/** LinearRecurrence → an If on the number of positions, where it is known only in a run: the kernel for few, chunks for many. */
export const useChunksWhereLong: Rule = {
  ...rule('LinearRecurrence → by the number of positions', LinearRecurrence, (node, context) => {
    const seq = node.attrs.short ? undefined : longOn(node, context);
    if (seq === undefined || typeof seq === 'number' || !context.cheapest(node)) return undefined;
    return {
      covers: node.outputs,
      cost: 0,
      emit(get) {
        const { ops } = node.graph;
        const operands = node.operands.map((x) => x && get(x));
        return ops.cond(
          ops.lessOrEqual(ops.size(operandsOf(LinearRecurrence, operands).v!, seq), few),
          () => apply(LinearRecurrence, operands, { ...node.attrs, short: true }),
          () => LinearRecurrence.decompose!(operands, node.attrs, ops),
        );
      },
    };
  }),
  compares: true,
};

/** The kernel and its rivals on a device, for blocks with a recurrence. */
export const recurrenceRules: readonly Rule[] = [useLinearAttention, useChunksWhereLong, useScan];
